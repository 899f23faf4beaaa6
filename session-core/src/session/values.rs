//! Values: reading, writing, changing, now or at the commit.

use std::sync::Arc;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Entry, Modifier, Selection};
use crate::commit::Effect;
use crate::data::{RawJson, SessionData};
use crate::error::SessionError;
use crate::field::{Name, NameOf};
use crate::policy::CLOSURE_TRIES_MAX;
use crate::session::SessionBase;
use crate::state::check_limits;

/// Reading and writing values.
#[expect(
    clippy::needless_pass_by_value,
    reason = "names are strings and small constants, written without a `&`"
)]
impl SessionBase {
    /// The value of `name`, or `None`.
    ///
    /// ```
    /// # use session_core::{MemoryStore, SessionError, SessionManager};
    /// # let session = SessionManager::new(MemoryStore::new()).start();
    /// session.set("visits", &3)?;
    /// assert_eq!(session.get::<u32>("visits")?, Some(3));
    /// assert_eq!(session.get::<u32>("absent")?, None);
    /// assert!(matches!(session.get::<Vec<u32>>("visits"), Err(SessionError::WrongType { .. })));
    /// # Ok::<(), SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is a value of another shape. It is kept, and so are the others.
    pub fn get<T: DeserializeOwned>(&self, name: impl Name<T>) -> Result<Option<T>, SessionError> {
        let name = name.text();
        self.raw(name).map(|raw| raw.parse(name)).transpose()
    }

    /// Sets `name` to `value`. If another request sets the same name, the later commit wins.
    ///
    /// ```
    /// # use session_core::{Field, MemoryStore, SessionError, SessionManager};
    /// # let session = SessionManager::new(MemoryStore::new()).start();
    /// const NAME: Field<String> = Field::new("from_name");
    ///
    /// session.set(NAME, "Ada")?;
    /// session.set("visits", &3)?;
    /// assert!(matches!(session.set("_mine", &3), Err(SessionError::ReservedName { .. })));
    /// # Ok::<(), SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::NotSerializable`], [`SessionError::ReservedName`], or the limit that would be exceeded. Nothing is
    /// changed then; there are no surprises left for the commit.
    pub fn set<V: Serialize + ?Sized>(
        &self,
        name: impl NameOf<V>,
        value: &V,
    ) -> Result<(), SessionError> {
        let name = name.text();
        self.check_name(name)?;
        self.set_raw(RawJson::of(name, value)?)
    }

    /// Whether `name` has a value. Django's `in` and `has_key`.
    #[doc(alias = "has_key")]
    #[must_use]
    pub fn contains_key(&self, name: impl AsRef<str>) -> bool {
        self.raw(name.as_ref()).is_some()
    }

    /// Removes `name`. `true` if it was there; otherwise nothing counts as modified.
    pub fn remove(&self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref();
        let mut state = self.accessed();
        let is_there = !name.starts_with('_') && state.view().data.contains(name);
        is_there
            && state
                .apply(Entry::Remove {
                    name: ByteString::from(name),
                })
                .is_ok()
    }

    /// Removes `name` and gives its value, or `None`. Stored at the commit: of two requests at the same time both may get
    /// it. For a value that only one may have, there is [`take`](Self::take).
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is a value of another shape. It stays.
    pub fn pop<T: DeserializeOwned>(&self, name: impl Name<T>) -> Result<Option<T>, SessionError> {
        let name = name.text();
        self.check_name(name)?;
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let value = raw.parse(name)?;
        self.accessed().apply(Entry::Remove {
            name: ByteString::from(name),
        })?;
        Ok(Some(value))
    }

    /// The value of `name`; if there is none, what `make` returns is set and given. If another request sets the name
    /// meanwhile, its value stands. Django's `setdefault`.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get) and [`set`](Self::set).
    #[doc(alias = "setdefault")]
    pub fn get_or_insert_with<T: Serialize + DeserializeOwned>(
        &self,
        name: impl Name<T>,
        make: impl FnOnce() -> T,
    ) -> Result<T, SessionError> {
        let name = name.text();
        self.check_name(name)?;
        if let Some(raw) = self.raw(name) {
            return raw.parse(name);
        }
        let made = make();
        let value = RawJson::of(name, &made)?;
        let mut state = self.accessed();
        if let Some(raw) = state.view().data.raw(name).cloned() {
            drop(state);
            return raw.parse(name);
        }
        self.check_room(&state, &value)?;
        state.apply(Entry::SetIfAbsent { value })?;
        Ok(made)
    }

    /// Sets every field of a struct, or every entry of a map: all or none. Django's `update`.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set); [`SessionError::NotSerializable`] also when it is neither a struct nor a map.
    #[doc(alias = "update")]
    pub fn set_all(&self, values: &impl Serialize) -> Result<(), SessionError> {
        let json = RawJson::of("", values)?;
        let values = SessionData::from_json(json.as_str().to_owned()).map_err(|source| {
            SessionError::NotSerializable {
                name: String::new(),
                source,
            }
        })?;
        for (name, _) in values.iter() {
            self.check_name(name)?;
        }
        let mut state = self.accessed();
        let mut after = state.view().data.clone();
        after.set_all_raw(values.entries());
        check_limits(
            &state.view().data,
            after.measure(),
            self.0.policy().limits(),
        )?;
        self.check_client_room(&state, |content| {
            content.data = after.clone();
            Ok(())
        })?;
        state.view_mut().data = after;
        for value in values.entries() {
            let value = value.clone();
            state.note(Entry::Set { value });
        }
        state.modified = true;
        Ok(())
    }

    /// Changes the value of `name` in place, starting from `T::default()` if there is none. This request sees the result
    /// at once; at the commit `change` runs again on what other requests have stored meanwhile. Two requests that add one
    /// each have added two.
    ///
    /// ```
    /// # use session_core::{MemoryStore, SessionError, SessionManager};
    /// # let session = SessionManager::new(MemoryStore::new()).start();
    /// session.modify("cart", |cart: &mut Vec<u32>| cart.push(7))?;
    /// assert_eq!(session.get("cart")?, Some(vec![7]));
    /// # Ok::<(), SessionError>(())
    /// ```
    ///
    /// `change` may run several times, and must depend on nothing but the value. If it panics, nothing is changed. For the
    /// value that counted in the end there is [`modify_now`](Self::modify_now).
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get) and [`set`](Self::set); [`SessionError::Contended`] when the value is another one whenever
    /// `change` has run, since it sets the name itself.
    pub fn modify<T>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<(), SessionError>
    where
        T: Default + Serialize + DeserializeOwned + 'static,
    {
        let name = ByteString::from(name.text());
        self.check_name(&name)?;
        let modifier: Modifier = {
            let name = name.clone();
            Arc::new(move |raw| {
                let mut value = parse_or_default::<T>(&name, raw)?;
                change(&mut value);
                RawJson::of(&name, &value).map(Some)
            })
        };
        self.modify_raw(name, modifier)
    }

    /// Runs `modifier` on the value of `name`, now and on whatever other requests store until the commit.
    pub(super) fn modify_raw(
        &self,
        name: ByteString,
        modifier: Modifier,
    ) -> Result<(), SessionError> {
        for _ in 0..CLOSURE_TRIES_MAX {
            let before = self.raw(&name);
            // The application's code, so without the lock: if somebody else in this request was faster, once more.
            let value = modifier(before.as_ref())?;
            let mut state = self.0.lock();
            if state.view().data.raw(&name) != before.as_ref() {
                continue;
            }
            match value {
                Some(value) => {
                    self.check_room(&state, &value)?;
                    state.view_mut().data.set_raw(value);
                }
                None => drop(state.view_mut().data.take_raw(&name)),
            }
            state.note(Entry::Modify { name, modifier });
            return Ok(());
        }
        Err(SessionError::Contended)
    }

    /// Changes the value of `name` and stores it at once; gives what `change` returned for the value that was stored.
    /// Fifty requests that draw a number from a counter draw fifty different ones.
    ///
    /// Pending changes of the same name are stored along with it; the others wait for the end of the request. It stands
    /// whatever becomes of the request. `change` may run several times.
    ///
    /// # Errors
    ///
    /// As for [`save`](Self::save), [`get`](Self::get) and [`set`](Self::set).
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn modify_now<T, R>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) -> R + Send + Sync,
    ) -> Result<R, SessionError>
    where
        T: Default + Serialize + DeserializeOwned,
        R: Send,
    {
        let stored = self
            .try_modify_now(name, |value| {
                Ok::<R, std::convert::Infallible>(change(value))
            })
            .await?;
        match stored {
            Ok(answer) => Ok(answer),
            Err(never) => match never {},
        }
    }

    /// As [`modify_now`](Self::modify_now), for a change that may be refused: if `change` returns `Err`, nothing is stored
    /// ("out of stock").
    ///
    /// ```
    /// # use session_core::{MemoryStore, SessionManager};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let session = SessionManager::new(MemoryStore::new()).start();
    /// session.set("stock", &1_u32)?;
    /// let buy = |stock: &mut u32| stock.checked_sub(1).map(|left| *stock = left).ok_or("out of stock");
    /// assert_eq!(session.try_modify_now("stock", buy).await?, Ok(()));
    /// assert_eq!(session.try_modify_now("stock", buy).await?, Err("out of stock"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`modify_now`](Self::modify_now).
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn try_modify_now<T, R, E>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) -> Result<R, E> + Send + Sync,
    ) -> Result<Result<R, E>, SessionError>
    where
        T: Default + Serialize + DeserializeOwned,
        R: Send,
        E: Send,
    {
        self.0.manager.require_store("change a value at once")?;
        let name = ByteString::from(name.text());
        self.check_name(&name)?;
        self.touch_data(true);
        self.0
            .store(Selection::Named(&name), |content| {
                let mut value = parse_or_default::<T>(&name, content.data.raw(&name))?;
                match change(&mut value) {
                    Ok(answer) => {
                        content.data.set_raw(RawJson::of(&name, &value)?);
                        Ok(Effect::Changed(Ok(answer)))
                    }
                    Err(refusal) => Ok(Effect::Refused(Err(refusal))),
                }
            })
            .await
    }

    /// Removes `name` at once and gives its value, to one caller only: of two requests at the same time one gets it. For
    /// what may be used once: the state of an OAuth log-in, a flash message. It stands whatever becomes of the request.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is a value of another shape: it stays. Otherwise as for
    /// [`save`](Self::save).
    ///
    /// # Cancel safety
    ///
    /// The value has been removed or not. If it was, it is lost.
    pub async fn take<T: DeserializeOwned + Send>(
        &self,
        name: impl Name<T>,
    ) -> Result<Option<T>, SessionError> {
        self.0.manager.require_store("take a value once")?;
        let name = name.text().to_owned();
        self.check_name(&name)?;
        self.touch_data(false);
        self.0
            .store(Selection::Named(&name), |content| {
                let Some(value) = content.data.get(&name)? else {
                    return Ok(Effect::Refused(None));
                };
                content.data.remove(&name);
                Ok(Effect::Changed(Some(value)))
            })
            .await
    }

    /// Removes all data and keeps the key: an existing session is stored empty. Its owner stays; to end a session, there
    /// is [`flush`](Self::flush).
    pub fn clear(&self) {
        let cleared = self.accessed().apply(Entry::Clear);
        debug_assert!(cleared.is_ok(), "clearing computes nothing that could fail");
    }

    /// The names, in the order in which they were first set.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.accessed()
            .view()
            .data
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Everything, as this request sees it now.
    #[doc(alias = "items")]
    #[must_use]
    pub fn snapshot(&self) -> SessionData {
        self.accessed().view().data.clone()
    }

    /// How many names there are, the framework's own included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accessed().view().data.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn parse_or_default<T: Default + DeserializeOwned>(
    name: &str,
    raw: Option<&RawJson>,
) -> Result<T, SessionError> {
    raw.map_or_else(|| Ok(T::default()), |raw| raw.parse(name))
}
