//! The session as an application sees it: Django's API, in Rust.

mod detached;
mod lifetime;
mod messages;
mod values;
mod view;

pub use detached::DetachedSession;
#[cfg(feature = "django")]
pub(crate) use lifetime::Before;
pub use messages::{Message, MessageLevel, Messages};
pub use view::{OldView, TypedSession, View};

use std::fmt;

#[cfg(feature = "django")]
use bytestring::ByteString;
use triomphe::Arc;

use crate::change::{Content, Entry, Selection};
use crate::commit::Effect;
use crate::data::RawJson;
use crate::error::SessionError;
use crate::key::SessionKey;
use crate::state::{Locked, Shared, State, check_limits};

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

/// Storing, and the session's own state.
impl SessionBase {
    /// Stores everything that is pending, now. Otherwise the end of the request does it; for streams, sockets and jobs there is
    /// [`detach`](Self::detach), which leaves nothing pending. A new and empty session is not stored.
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

    /// The key under which the session is stored, or `None` if it is not, or lives with its client. A secret: whoever has it
    /// has the session.
    #[must_use]
    pub fn session_key(&self) -> Option<SessionKey> {
        self.0
            .manager
            .require_store("name a session by a key")
            .ok()?;
        self.0.lock().held.as_ref().map(|held| held.key.duplicate())
    }

    fn raw(&self, name: &str) -> Option<RawJson> {
        self.accessed().view().data.raw(name).cloned()
    }

    pub(crate) fn set_raw(&self, value: RawJson) -> Result<(), SessionError> {
        let mut state = self.accessed();
        self.check_room(&state, &value)?;
        state.apply(Entry::Set { value })
    }

    #[cfg(feature = "django")]
    pub(crate) fn remove_raw(&self, name: &str) -> Result<(), SessionError> {
        self.accessed().apply(Entry::Remove {
            name: ByteString::from(name),
        })
    }

    fn accessed(&self) -> Locked<'_> {
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

    /// Refuses a value for which there is no room, before anything is changed.
    fn check_room(&self, state: &State, value: &RawJson) -> Result<(), SessionError> {
        let data = &state.view().data;
        let limits = self.0.policy().limits();
        // Only close to a limit does it matter what the value replaces.
        let is_far =
            data.len() < limits.names_max && data.size() + value.size() <= limits.data_bytes_max;
        if !is_far {
            check_limits(data, data.measure_with(value), limits)?;
        }
        self.check_client_room(state, |after| {
            after.data.set_raw(value.clone());
            Ok(())
        })
    }

    /// Refuses a change for which a client has no room that keeps its session itself, before anything is changed.
    fn check_client_room(
        &self,
        state: &State,
        change: impl FnOnce(&mut Content) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        let Some(client) = self.0.manager.client() else {
            return Ok(());
        };
        let mut after = state.view().clone();
        change(&mut after)?;
        client.codec.check_room(&client.place, &after)
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

impl fmt::Debug for SessionBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("SessionBase")
            .field("len", &state.view().data.len())
            .field("is_stored", &state.held.is_some())
            .field("is_accessed", &state.accessed)
            .field("is_modified", &state.modified)
            .finish_non_exhaustive()
    }
}
