//! A whole struct in a session: with defaults, and with a hook that brings an older shape up to date.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Modifier, Selection};
use crate::commit::Effect;
use crate::data::{RawJson, SessionData};
use crate::error::SessionError;
use crate::field::Field;
use crate::session::SessionBase;

/// Where a struct's version stands, among its fields. Version 1 is not written.
const VERSION_NAME: &str = "_version";

/// A struct that is kept in a session as a whole, and may change its shape while sessions live.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use session_core::{Field, MemoryStore, OldView, SessionError, SessionManager, View};
///
/// #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
/// #[serde(default)] // a field that is added later needs no new version
/// struct Settings {
///     languages: Vec<String>,
///     page_size: u32,
/// }
///
/// /// What was there before: one language.
/// #[derive(Deserialize)]
/// struct SettingsV1 {
///     language: String,
/// }
///
/// impl View for Settings {
///     const FIELD: Field<Self> = Field::new("settings");
///     const VERSION: u32 = 2;
///
///     fn upgrade(old: OldView<'_>) -> Result<Self, SessionError> {
///         let SettingsV1 { language } = old.parse()?;
///         Ok(Self { languages: vec![language], ..Self::default() })
///     }
/// }
///
/// # let session = SessionManager::new(MemoryStore::new()).slot();
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let session = session.session().await?;
/// # #[derive(Serialize)] struct Before { language: &'static str }
/// # session.set("settings", &Before { language: "en" })?;
/// // Stored by the last release: {"language": "en"}
/// let settings = session.view::<Settings>();
/// assert_eq!(settings.get()?.languages, ["en"]);
///
/// settings.modify(|settings| settings.languages.push("fi".to_owned()))?;
/// assert_eq!(session.get(Settings::FIELD)?, Some(settings.get()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// At version 1 nothing but the struct is stored, so that a value that was set by its [`Field`] so far is a view from now on.
/// From version 2 on the number stands beside the struct's own fields, as `_version`; a struct that denies unknown fields is
/// then read by its view alone. While servers of two releases run side by side, the older one refuses what the newer
/// one has written, and leaves it as it is.
pub trait View: Default + Serialize + DeserializeOwned + 'static {
    /// The name under which it is stored.
    const FIELD: Field<Self>;
    /// The version of its shape, from 1. To be raised when a value as it is stored can't be read any more, or means something else.
    const VERSION: u32 = 1;

    /// Makes a value of the current version out of an older one. Called once for a stored value: what it returns is stored, by
    /// the request's commit or by the change that the value was read for. It may be called again when the request fails, or when
    /// another request has stored another old value meanwhile; so it must depend on nothing else.
    ///
    /// # Errors
    ///
    /// What [`OldView::parse`] says, or [`OldView::refuse`]: the session answers [`SessionError::NotUpgradable`], and the old value
    /// stays as it is.
    fn upgrade(old: OldView<'_>) -> Result<Self, SessionError> {
        Err(old.refuse("the application knows no way from that version"))
    }
}

/// What [`View::upgrade`] is given: a value of an older version.
pub struct OldView<'a> {
    name: &'static str,
    version: u32,
    body: &'a RawJson,
}

impl OldView<'_> {
    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The value in its old shape, without the version's number.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when it has another shape.
    pub fn parse<O: DeserializeOwned>(&self) -> Result<O, SessionError> {
        self.body.parse(self.name)
    }

    /// The error that says why there is no way to the current version.
    #[must_use]
    pub fn refuse(&self, reason: &'static str) -> SessionError {
        SessionError::WrongType {
            name: self.name.to_owned(),
            source: reason.into(),
        }
    }
}

impl fmt::Debug for OldView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldView")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One struct of a session, by [`SessionBase::view`]. Cheap to clone; clones share the session.
pub struct TypedSession<T> {
    session: SessionBase,
    view: PhantomData<fn() -> T>,
}

impl SessionBase {
    /// The struct `T` in this session.
    #[must_use]
    pub fn view<T: View>(&self) -> TypedSession<T> {
        TypedSession {
            session: self.clone(),
            view: PhantomData,
        }
    }
}

impl<T: View> TypedSession<T> {
    /// The value, or `T::default()` if there is none. One of an older version is upgraded, and stored as such by the commit; in a
    /// session without a commit to come, by the next change.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is a value of another shape, [`SessionError::NotUpgradable`] when there is one of
    /// another version and no way from it. It is kept. The limit that the upgraded value would exceed.
    pub fn get(&self) -> Result<T, SessionError> {
        let Some(raw) = self.session.raw(T::FIELD.name()) else {
            return Ok(T::default());
        };
        let upgrades = Upgrades::<T>::default();
        let (value, is_old) = upgrades.read(&raw)?;
        if is_old && self.session.0.will_be_committed() {
            let modifier: Modifier = Arc::new(move |raw| {
                raw.map(|raw| match upgrades.read(raw)? {
                    (value, true) => write(&value),
                    (_, false) => Ok(raw.clone()),
                })
                .transpose()
            });
            self.session.modify_raw(Self::name(), modifier)?;
        }
        Ok(value)
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.session.contains_key(T::FIELD)
    }

    /// Sets the value. If another request sets it, the later commit wins.
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::set`]; [`SessionError::NotSerializable`] also for a struct with a field `_version`, and, from version
    /// 2 on, for what is neither a struct nor a map.
    pub fn set(&self, value: &T) -> Result<(), SessionError> {
        self.session.set_raw(write(value)?)
    }

    /// Changes the value in place, as [`SessionBase::modify`]: this request sees the result at once, and at the commit `change`
    /// runs again on what other requests have stored meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), [`set`](Self::set) and [`SessionBase::modify`].
    pub fn modify(
        &self,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<(), SessionError> {
        let upgrades = Upgrades::<T>::default();
        let modifier: Modifier = Arc::new(move |raw| {
            let mut value = upgrades.read_or_default(raw)?;
            change(&mut value);
            write(&value).map(Some)
        });
        self.session.modify_raw(Self::name(), modifier)
    }

    /// Changes the value and stores it at once, as [`SessionBase::modify_now`]; gives what `change` returned for the value that was
    /// stored.
    ///
    /// # Errors
    ///
    /// As for [`modify`](Self::modify) and [`SessionBase::modify_now`].
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn modify_now<R: Send>(
        &self,
        change: impl Fn(&mut T) -> R + Send + Sync,
    ) -> Result<R, SessionError> {
        let stored = self
            .try_modify_now(|value| Ok::<R, std::convert::Infallible>(change(value)))
            .await?;
        match stored {
            Ok(answer) => Ok(answer),
            Err(never) => match never {},
        }
    }

    /// As [`modify_now`](Self::modify_now), for a change that may be refused: if `change` returns `Err`, nothing is stored.
    ///
    /// # Errors
    ///
    /// As for [`modify_now`](Self::modify_now).
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn try_modify_now<R: Send, E: Send>(
        &self,
        change: impl Fn(&mut T) -> Result<R, E> + Send + Sync,
    ) -> Result<Result<R, E>, SessionError> {
        let shared = &self.session.0;
        shared.manager.require_store("change a value at once")?;
        self.session.touch_data(true);
        let name = Self::name();
        let upgrades = Upgrades::<T>::default();
        shared
            .store(Selection::Named(&name), |content| {
                let mut value = upgrades.read_or_default(content.data.raw(&name))?;
                match change(&mut value) {
                    Ok(answer) => {
                        content.data.set_raw(write(&value)?);
                        Ok(Effect::Changed(Ok(answer)))
                    }
                    Err(refusal) => Ok(Effect::Refused(Err(refusal))),
                }
            })
            .await
    }

    /// Removes the value. `true` if there was one.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is called for what it does; the answer is for those who care"
    )]
    pub fn remove(&self) -> bool {
        self.session.remove(T::FIELD)
    }

    /// The whole session.
    #[must_use]
    pub const fn session(&self) -> &SessionBase {
        &self.session
    }

    const fn name() -> ByteString {
        ByteString::from_static(T::FIELD.name())
    }
}

impl<T> Clone for TypedSession<T> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            view: PhantomData,
        }
    }
}

impl<T: View> fmt::Debug for TypedSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSession")
            .field("name", &T::FIELD.name())
            .field("session", &self.session)
            .finish()
    }
}

/// Reads stored values, and remembers the last that it has upgraded: a commit that is tried again upgrades nothing anew.
struct Upgrades<T> {
    last: Mutex<Option<(RawJson, RawJson)>>,
    view: PhantomData<fn() -> T>,
}

impl<T> Default for Upgrades<T> {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            view: PhantomData,
        }
    }
}

impl<T: View> Upgrades<T> {
    fn read_or_default(&self, raw: Option<&RawJson>) -> Result<T, SessionError> {
        raw.map_or_else(|| Ok(T::default()), |raw| Ok(self.read(raw)?.0))
    }

    /// The value, and whether it was of an older version.
    fn read(&self, raw: &RawJson) -> Result<(T, bool), SessionError> {
        let name = T::FIELD.name();
        let (version, body) = take_apart(name, raw)?;
        if version == T::VERSION {
            return Ok((body.parse(name)?, false));
        }
        let not_upgradable = |source| SessionError::NotUpgradable {
            name: name.to_owned(),
            found: version,
            wanted: T::VERSION,
            source,
        };
        if version > T::VERSION {
            return Err(not_upgradable(
                "it was stored by a newer release of the application".into(),
            ));
        }
        let known = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.as_ref()
                .filter(|(old, _)| old == raw)
                .map(|(_, upgraded)| upgraded.clone())
        };
        if let Some(upgraded) = known {
            let (_, body) = take_apart(name, &upgraded)?;
            return Ok((body.parse(name)?, true));
        }
        let old = OldView {
            name,
            version,
            body: &body,
        };
        let value = T::upgrade(old).map_err(|error| not_upgradable(Box::new(error)))?;
        let upgraded = write(&value)?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((raw.clone(), upgraded));
        Ok((value, true))
    }
}

/// A stored value's version, and the value without it.
fn take_apart(name: &str, raw: &RawJson) -> Result<(u32, RawJson), SessionError> {
    let Some(mut fields) = fields_with_version(raw) else {
        return Ok((1, raw.clone()));
    };
    let version = fields.raw(VERSION_NAME).map(|raw| raw.parse(name));
    fields.remove(VERSION_NAME);
    let body = RawJson::of_data(name, &fields)?;
    Ok((version.unwrap_or(Ok(1))?, body))
}

/// The fields of a value among which there is a version.
fn fields_with_version(raw: &RawJson) -> Option<SessionData> {
    // Most values have none, and are not taken apart.
    if !raw.as_str().contains(VERSION_NAME) {
        return None;
    }
    let fields = SessionData::from_json(raw.as_str().to_owned()).ok()?;
    fields.contains(VERSION_NAME).then_some(fields)
}

/// A value with its version, as it is stored.
fn write<T: View>(value: &T) -> Result<RawJson, SessionError> {
    let name = T::FIELD.name();
    let raw = RawJson::of(name, value)?;
    let refuse = |reason: &'static str| SessionError::NotSerializable {
        name: name.to_owned(),
        source: reason.into(),
    };
    if fields_with_version(&raw).is_some() {
        return Err(refuse(
            "it has a field `_version`, where a view's version stands",
        ));
    }
    if T::VERSION == 1 {
        return Ok(raw);
    }
    let mut fields = SessionData::default();
    fields.insert(VERSION_NAME, &T::VERSION)?;
    let own = SessionData::from_json(raw.as_str().to_owned())
        .map_err(|_says_no_more| refuse("from version 2 on a view is a struct or a map"))?;
    fields.set_all_raw(own.entries());
    RawJson::of_data(name, &fields)
}
