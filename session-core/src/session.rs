//! The session as an application sees it: Django's API, in Rust.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Entry, Modifier, Selection};
use crate::commit::Effect;
use crate::data::{RawJson, SessionData};
use crate::error::SessionError;
use crate::expiry::{ABSOLUTE_NAME, EXPIRY_NAME, Expiry, Terms, whole_secs};
use crate::field::Name;
use crate::key::SessionKey;
use crate::owner::Owner;
use crate::policy::LABEL_BYTES_MAX;
use crate::record::Label;
use crate::state::{Shared, State, check_limits};

const TEST_COOKIE_NAME: &str = "testcookie";
const TEST_COOKIE_VALUE: &str = "worked";

/// A visitor's session: names and values that last from one request to the next.
///
/// Cheap to clone; clones share one state, and so does everything in one request that asks for the session. The methods
/// that are not `async` change what this request sees, and the change is stored at the end of the request, merged with
/// what other requests wrote meanwhile. Those that are `async` act at once. [The table](crate#now-or-at-commit) says it
/// method by method.
///
/// Names that begin with `_` are the framework's: they can be read, and not be set.
///
/// Django's `SessionBase`.
#[derive(Clone)]
pub struct SessionBase(pub(crate) Arc<Shared>);

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
    /// # Errors
    ///
    /// [`SessionError::NotSerializable`], [`SessionError::ReservedName`], or the limit that would be exceeded. Nothing is
    /// changed then; there are no surprises left for the commit.
    pub fn set<T: Serialize + ?Sized>(
        &self,
        name: impl Name<T>,
        value: &T,
    ) -> Result<(), SessionError> {
        let name = name.text();
        self.check_name(name)?;
        self.set_raw(name, RawJson::of(name, value)?)
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
        let is_there = !name.starts_with('_') && state.view.data.contains(name);
        is_there
            && state
                .apply(Entry::Remove {
                    name: name.to_owned(),
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
            name: name.to_owned(),
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
        if let Some(raw) = state.view.data.raw(name).cloned() {
            drop(state);
            return raw.parse(name);
        }
        self.check_room(&state, |data| data.set_raw(name, value.clone()))?;
        state.apply(Entry::SetIfAbsent {
            name: name.to_owned(),
            value,
        })?;
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
        let all = || {
            values
                .iter()
                .filter_map(|(name, _)| Some((name, values.raw(name)?.clone())))
        };
        self.check_room(&state, |data| {
            all().for_each(|(name, value)| data.set_raw(name, value));
        })?;
        for (name, value) in all() {
            state.apply(Entry::Set {
                name: name.to_owned(),
                value,
            })?;
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
    /// As for [`get`](Self::get) and [`set`](Self::set).
    pub fn modify<T>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<(), SessionError>
    where
        T: Default + Serialize + DeserializeOwned + 'static,
    {
        let name = name.text().to_owned();
        self.check_name(&name)?;
        let modifier: Modifier = {
            let name = name.clone();
            Arc::new(move |raw| {
                let mut value = parse_or_default::<T>(&name, raw)?;
                change(&mut value);
                RawJson::of(&name, &value)
            })
        };
        loop {
            let (before, generation) = {
                let state = self.accessed();
                (state.view.data.raw(&name).cloned(), state.generation)
            };
            // The application's code, so without the lock: if somebody else in this request was faster, once more.
            let value = modifier(before.as_ref())?;
            let mut state = self.0.lock();
            if state.generation != generation {
                continue;
            }
            self.check_room(&state, |data| data.set_raw(&name, value.clone()))?;
            state.view.data.set_raw(&name, value);
            state.note(Entry::Modify { name, modifier });
            return Ok(());
        }
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
        let name = name.text().to_owned();
        self.check_name(&name)?;
        self.touch_data(true);
        self.0
            .store(Selection::Named(&name), |content| {
                let mut value = parse_or_default::<T>(&name, content.data.raw(&name))?;
                match change(&mut value) {
                    Ok(answer) => {
                        content.data.set_raw(&name, RawJson::of(&name, &value)?);
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
            .view
            .data
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Everything, as this request sees it now.
    #[doc(alias = "items")]
    #[must_use]
    pub fn snapshot(&self) -> SessionData {
        self.accessed().view.data.clone()
    }

    /// How many names there are, the framework's own included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accessed().view.data.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Beginning and ending.
impl SessionBase {
    /// Makes this the session of `owner`: to be called when somebody has proved who they are.
    ///
    /// The key is changed (which defeats session fixation, OWASP ASVS 5.0 V7.2.4), the old one dies, and the absolute
    /// timeout starts anew. An anonymous visitor's data is kept, another owner's is flushed first. Stored at the commit;
    /// dropped if the response is a server error.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidOwner`] when the id is empty or longer than 256 bytes.
    #[doc(alias = "login")]
    pub fn log_in(&self, owner: impl Into<Owner>) -> Result<(), SessionError> {
        let owner = owner.into();
        owner.check()?;
        let at = self.0.manager.now();
        self.accessed().apply(Entry::LogIn { owner, at })
    }

    /// Ends the session: the record dies, the client is told to forget its key, the data is gone. What is set afterwards
    /// starts a new session. Stands also if the response is a server error. The same as [`flush`](Self::flush).
    #[doc(alias = "logout")]
    pub fn log_out(&self) {
        self.flush();
    }

    /// Ends the session: the record dies, the client is told to forget its key, the data is gone. What is set afterwards
    /// starts a new session. Stands also if the response is a server error.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        if let Some(ended) = state.held.as_ref().map(|held| held.store_key.clone()) {
            state.ended.push(ended);
        }
        state.let_go();
    }

    /// Changes the key and keeps the data: to be called at every change of privilege ([`log_in`](Self::log_in) does it by
    /// itself). The old key dies. Stands also if the response is a server error.
    pub fn cycle_key(&self) {
        let mut state = self.accessed();
        state.cycle = true;
        state.modified = true;
    }

    /// Whose session it is, once somebody has logged in.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.accessed().view.owner.clone()
    }

    /// Names the visitor's device, for [`own_sessions`](Self::own_sessions). `None` removes the name.
    ///
    /// # Errors
    ///
    /// [`SessionError::LabelTooLong`] for more than 256 bytes.
    pub fn set_label<'a>(&self, label: impl Into<Option<&'a str>>) -> Result<(), SessionError> {
        let label = label.into();
        if label.is_some_and(|label| label.len() > LABEL_BYTES_MAX) {
            return Err(SessionError::LabelTooLong {
                bytes_max: LABEL_BYTES_MAX,
            });
        }
        self.accessed().apply(Entry::SetLabel {
            label: label.map(Label::new),
        })
    }

    /// The name of the visitor's device, if one was set.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        self.accessed()
            .view
            .label
            .as_ref()
            .map(|label| label.as_str().to_owned())
    }
}

/// Expiry.
impl SessionBase {
    /// When this session expires, if not as the policy says. Kept in the session: later requests don't undo it. The client
    /// is told anew.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    pub fn set_expiry(&self, expiry: Expiry) -> Result<(), SessionError> {
        self.set_or_remove(EXPIRY_NAME, expiry.to_raw()?)
    }

    /// How long this session lives at most, counted from its creation or the last log-in, if not as the policy says.
    /// Whole seconds. "Remember me" may need a longer one; `None` returns to the policy's.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    pub fn set_absolute_timeout(
        &self,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(), SessionError> {
        let raw = timeout
            .into()
            .map(|timeout| RawJson::of(ABSOLUTE_NAME, &whole_secs(timeout)))
            .transpose()?;
        self.set_or_remove(ABSOLUTE_NAME, raw)
    }

    /// What [`set_expiry`](Self::set_expiry) has set.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.terms().expiry()
    }

    /// How long the session lives if it is stored now and not used again. Django's `get_expiry_age`.
    #[doc(alias = "get_expiry_age")]
    #[must_use]
    pub fn expiry_age(&self) -> Duration {
        let now = self.0.manager.now();
        self.terms()
            .expires_at(self.0.policy(), now)
            .saturating_since(now)
    }

    /// When the session expires if it is stored now and not used again. Django's `get_expiry_date`.
    #[doc(alias = "get_expiry_date")]
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.terms()
            .expires_at(self.0.policy(), self.0.manager.now())
            .into()
    }

    /// Whether the client forgets the session when the browser closes. Django's `get_expire_at_browser_close`.
    #[doc(alias = "get_expire_at_browser_close")]
    #[must_use]
    pub fn expires_at_browser_close(&self) -> bool {
        match self.expiry() {
            Expiry::AtBrowserClose => true,
            Expiry::Default => self.0.policy().expire_at_browser_close(),
            _ => false,
        }
    }

    fn terms(&self) -> Terms {
        let state = self.accessed();
        Terms::of(&state.view.data, state.view.created_at, self.0.policy())
    }

    fn set_or_remove(&self, name: &str, raw: Option<RawJson>) -> Result<(), SessionError> {
        let mut state = self.accessed();
        let name = name.to_owned();
        match raw {
            Some(value) => {
                self.check_room(&state, |data| data.set_raw(&name, value.clone()))?;
                state.apply(Entry::Set { name, value })
            }
            None => state.apply(Entry::Remove { name }),
        }
    }
}

/// Whether a client sends back what it is sent.
impl SessionBase {
    /// Sets a value that the next request can look for: the first step of finding out whether the browser accepts
    /// cookies.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    pub fn set_test_cookie(&self) -> Result<(), SessionError> {
        self.set(TEST_COOKIE_NAME, TEST_COOKIE_VALUE)
    }

    /// Whether the value is there: the browser accepts cookies.
    #[must_use]
    pub fn test_cookie_worked(&self) -> bool {
        self.raw(TEST_COOKIE_NAME).is_some_and(|raw| {
            raw.parse::<String>(TEST_COOKIE_NAME)
                .is_ok_and(|value| value == TEST_COOKIE_VALUE)
        })
    }

    /// Removes the value again.
    pub fn delete_test_cookie(&self) {
        self.remove(TEST_COOKIE_NAME);
    }
}

/// Storing, and the session's own state.
impl SessionBase {
    /// Stores everything that is pending, now. Needed by streams, sockets and jobs; otherwise the end of the request does
    /// it. A new and empty session is not stored.
    ///
    /// # Errors
    ///
    /// [`SessionError::Interrupted`] when another request has ended the session, [`SessionError::Contended`] when others
    /// were faster until the time was up, [`SessionError::HeadersSent`] when the client would have to be told of a key and
    /// the headers are out, a limit that the merged data exceed, or what the store answers. After an error whose outcome is
    /// unknown, values that were set stay pending, and closures of [`modify`](Self::modify) are not run again: they take
    /// effect at most once.
    ///
    /// # Cancel safety
    ///
    /// The changes have been stored or not, as after an error.
    pub async fn save(&self) -> Result<(), SessionError> {
        self.touch_data(false);
        self.0
            .store(Selection::All, |_| Ok(Effect::Plain(())))
            .await
    }

    /// Reads the stored session anew, and keeps what is pending. Django's `load`.
    ///
    /// # Errors
    ///
    /// [`SessionError::Interrupted`] when the session has been ended; what the store answers.
    ///
    /// # Cancel safety
    ///
    /// Nothing is stored.
    #[doc(alias = "load")]
    pub async fn reload(&self) -> Result<(), SessionError> {
        self.touch_data(false);
        self.0.reload().await
    }

    /// Whether this request has looked at the session.
    #[must_use]
    pub fn is_accessed(&self) -> bool {
        self.0.lock().accessed
    }

    /// Whether this request has changed the session.
    #[must_use]
    pub fn is_modified(&self) -> bool {
        self.0.lock().modified
    }

    /// The key under which the session is stored, or `None` if it is not. A secret: whoever has it has the session.
    #[must_use]
    pub fn session_key(&self) -> Option<SessionKey> {
        self.0.lock().held.as_ref().map(|held| held.key.duplicate())
    }

    fn raw(&self, name: &str) -> Option<RawJson> {
        self.accessed().view.data.raw(name).cloned()
    }

    fn set_raw(&self, name: &str, value: RawJson) -> Result<(), SessionError> {
        let mut state = self.accessed();
        self.check_room(&state, |data| data.set_raw(name, value.clone()))?;
        state.apply(Entry::Set {
            name: name.to_owned(),
            value,
        })
    }

    fn accessed(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.0.lock();
        state.accessed = true;
        state
    }

    fn touch_data(&self, is_modified: bool) {
        let mut state = self.accessed();
        state.modified |= is_modified;
    }

    fn check_name(&self, name: &str) -> Result<(), SessionError> {
        let bytes_max = self.0.policy().limits().name_bytes_max;
        if name.starts_with('_') {
            return Err(SessionError::ReservedName {
                name: name.to_owned(),
            });
        }
        if name.is_empty() || name.len() > bytes_max {
            return Err(SessionError::InvalidName {
                bytes: name.len(),
                bytes_max,
            });
        }
        Ok(())
    }

    /// Refuses a change that would exceed a limit, before anything is changed.
    fn check_room(
        &self,
        state: &State,
        change: impl FnOnce(&mut SessionData),
    ) -> Result<(), SessionError> {
        let mut after = state.view.data.clone();
        change(&mut after);
        check_limits(&after, self.0.policy().limits())
    }
}

impl fmt::Debug for SessionBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("SessionBase")
            .field("len", &state.view.data.len())
            .field("is_stored", &state.held.is_some())
            .field("is_accessed", &state.accessed)
            .field("is_modified", &state.modified)
            .finish_non_exhaustive()
    }
}

fn parse_or_default<T: Default + DeserializeOwned>(
    name: &str,
    raw: Option<&RawJson>,
) -> Result<T, SessionError> {
    raw.map_or_else(|| Ok(T::default()), |raw| raw.parse(name))
}
