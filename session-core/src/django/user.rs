//! Who is logged in, as Django's `django.contrib.auth` keeps it in the session.

use std::fmt;

use hmac::Mac;
use serde_json::Value;

use super::settings::DjangoSettings;
use super::signer::is_same;
use crate::data::{RawJson, SessionData};
use crate::error::SessionError;
use crate::owner::Owner;
use crate::session::{Before, SessionBase};

const ID_NAME: &str = "_auth_user_id";
const BACKEND_NAME: &str = "_auth_user_backend";
const HASH_NAME: &str = "_auth_user_hash";
/// The token of forms, in projects with `CSRF_USE_SESSIONS`. Django draws a new one when it is not there.
const CSRF_NAME: &str = "_csrftoken";
/// What Django salts the hash with.
const HASH_SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// A user whom Django knows, as its session names them: id, authentication backend, and a hash of the password field.
///
/// The hash ties the session to the password: when the password changes, the hash no longer matches, and Django counts the
/// session as anonymous. So does whoever calls [`authenticate`](Self::authenticate); a service that only reads
/// [`id`](Self::id) keeps letting in sessions that Django has given up.
///
/// ```
/// use session_core::django::{DjangoSettings, DjangoUser};
/// use session_core::MemoryStore;
///
/// let settings = DjangoSettings::new("the project's SECRET_KEY");
/// let session = settings.manager(MemoryStore::new(), settings.policy())?.start();
///
/// // What the users' table has.
/// let (id, password) = (42, "pbkdf2_sha256$1000000$…");
/// DjangoUser::new(&settings, id, "django.contrib.auth.backends.ModelBackend", password).log_in(&session)?;
///
/// let user = DjangoUser::of(&session).ok_or("somebody has just logged in")?;
/// assert_eq!(user.id().as_str(), "42");
/// assert!(user.authenticate(&session, &settings, password)?);
///
/// // The password was changed elsewhere: the session is over.
/// assert!(!user.authenticate(&session, &settings, "pbkdf2_sha256$1000000$other")?);
/// assert!(DjangoUser::of(&session).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DjangoUser {
    id: Owner,
    backend: String,
    hash: String,
}

/// How a session's hash relates to the user's password as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a session whose hash does not match is anonymous"]
pub enum HashMatch {
    /// It was made of this password, with `SECRET_KEY`.
    Current,
    /// It was made of this password, with one of `SECRET_KEY_FALLBACKS`: the session is good, and gets a new hash.
    Fallback,
    /// It was made of another password, or with a key that is no longer configured, or it is missing.
    Mismatch,
}

impl DjangoUser {
    /// The user with this primary key, who was authenticated by `backend` (a dotted path from the project's
    /// `AUTHENTICATION_BACKENDS`), and whose row has `password` in its password field, as it stands there.
    #[must_use]
    pub fn new(
        settings: &DjangoSettings,
        id: impl Into<Owner>,
        backend: impl Into<String>,
        password: &str,
    ) -> Self {
        Self {
            id: id.into(),
            backend: backend.into(),
            hash: hashes(settings, password).next().unwrap_or_default(),
        }
    }

    /// Whom the session names, or `None` for an anonymous visitor. Check the hash before you let anybody in:
    /// [`authenticate`](Self::authenticate).
    #[must_use]
    pub fn of(session: &SessionBase) -> Option<Self> {
        Self::in_data(&session.snapshot())
    }

    /// Whom the data of a session name.
    #[must_use]
    pub fn in_data(data: &SessionData) -> Option<Self> {
        let text = |name| data.get::<String>(name).ok().flatten();
        Some(Self {
            id: owner_of(data)?,
            backend: text(BACKEND_NAME)?,
            // Without one Django lets nobody in, and neither does a hash that is empty.
            hash: text(HASH_NAME).unwrap_or_default(),
        })
    }

    /// The primary key, as text.
    #[must_use]
    pub fn id(&self) -> &Owner {
        &self.id
    }

    /// The dotted path of the backend that authenticated them. Django lets nobody in whose backend is not in its
    /// `AUTHENTICATION_BACKENDS`.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// How the session's hash relates to the user's password field as it is now. In constant time. The project's user model
    /// must not override `get_session_auth_hash`.
    pub fn verify(&self, settings: &DjangoSettings, password: &str) -> HashMatch {
        for (position, hash) in hashes(settings, password).enumerate() {
            if is_same(hash.as_bytes(), self.hash.as_bytes()) {
                return if position == 0 {
                    HashMatch::Current
                } else {
                    HashMatch::Fallback
                };
            }
        }
        HashMatch::Mismatch
    }

    /// Whether the session is still theirs, given the user's password field as it is now; does what Django's `get_user` does
    /// about it. A hash made with a fallback key is renewed, under a new session key; a session whose hash does not match is
    /// flushed. Stored at the commit.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    #[doc(alias = "get_user")]
    pub fn authenticate(
        &self,
        session: &SessionBase,
        settings: &DjangoSettings,
        password: &str,
    ) -> Result<bool, SessionError> {
        match self.verify(settings, password) {
            HashMatch::Current => Ok(true),
            HashMatch::Fallback => {
                let Self { id, backend, .. } = self;
                Self::new(settings, id, backend, password).update_hash(session)?;
                Ok(true)
            }
            HashMatch::Mismatch => {
                session.flush();
                Ok(false)
            }
        }
    }

    /// Makes this the session of the user, as Django's `login` does: to be called when they have proved who they are.
    ///
    /// The key is changed and the old one dies. An anonymous visitor's data is kept, but for the token of forms; the data of
    /// another user, or of the same user with another password, are flushed first. Stored at the commit; dropped if the
    /// response is a server error.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidOwner`] when the id is empty, longer than 256 bytes, or has a NUL in it; the limit that would be
    /// exceeded.
    #[doc(alias = "login")]
    pub fn log_in(&self, session: &SessionBase) -> Result<(), SessionError> {
        let before = Self::of(session);
        let Self { id, backend, hash } = self;
        let is_of_another_password = before.is_some_and(|before| {
            before.id == *id && !is_same(before.hash.as_bytes(), hash.as_bytes())
        });
        let before = if is_of_another_password {
            Before::Cleared
        } else {
            Before::Kept
        };
        session.log_in_as(id.clone(), before)?;
        session.remove_raw(CSRF_NAME)?;
        set(session, ID_NAME, id.as_str())?;
        set(session, BACKEND_NAME, backend)?;
        set(session, HASH_NAME, hash)
    }

    /// Keeps this session after the user changed their password, and gives it a new key; the user's other sessions are over.
    /// Django's `update_session_auth_hash`. Stored at the commit.
    ///
    /// # Errors
    ///
    /// The limit that would be exceeded.
    #[doc(alias = "update_session_auth_hash")]
    pub fn update_hash(&self, session: &SessionBase) -> Result<(), SessionError> {
        set(session, HASH_NAME, &self.hash)?;
        session.cycle_key();
        Ok(())
    }
}

impl fmt::Debug for DjangoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DjangoUser(…)")
    }
}

/// Whose session the data say it is.
pub(super) fn owner_of(data: &SessionData) -> Option<Owner> {
    let owner = match data.get::<Value>(ID_NAME).ok()?? {
        Value::String(id) => Owner::from(id),
        Value::Number(id) => Owner::from(id.to_string()),
        _ => return None,
    };
    owner.check().ok().map(|()| owner)
}

fn set(session: &SessionBase, name: &str, value: &str) -> Result<(), SessionError> {
    session.set_raw(RawJson::of(name, value)?)
}

/// The hash of a password field, with the secret key and then with each fallback.
fn hashes(settings: &DjangoSettings, password: &str) -> impl Iterator<Item = String> {
    settings.secrets().keyed_for(HASH_SALT).map(move |key| {
        let digest = key.chain_update(password).finalize().into_bytes();
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .filter_map(|digit| char::from_digit(u32::from(digit), 16))
            .collect()
    })
}
