//! Sessions that live with the client, whole: there is no store, and the text that the client keeps is the session.

#[cfg(feature = "sealed")]
mod sealed;

use std::fmt;
use std::sync::Arc;

use crate::change::Content;
use crate::clock::Timestamp;
use crate::error::SessionError;
use crate::outcome::IssuedValue;
use crate::policy::Policy;
use crate::store::StoreError;

#[cfg(feature = "sealed")]
pub use sealed::SealedIrrevocableCookies;

/// What a browser keeps of a cookie, name, value and attributes together, less room for a name and attributes as most have them. An
/// adapter that knows them says it exactly.
#[cfg(any(feature = "django", feature = "sealed"))]
const TEXT_BYTES_MAX: usize = 4096 - 256;

/// Turns a session into a text for the client to keep, and back.
pub(crate) trait ClientCodec: fmt::Debug + Send + Sync + 'static {
    /// The text for `content`, which expires at `expires_at`, made at `now`. An error if the client could not keep it.
    fn issue(
        &self,
        place: &Place,
        content: &Content,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<IssuedValue, StoreError>;

    /// The content of a text, and when it expires; `None` if that was before `now`. Damaged if it was not issued here.
    fn open(
        &self,
        place: &Place,
        text: &[u8],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<(Content, Timestamp)>, StoreError>;

    /// Refuses what the client could not keep, before it becomes the session's content.
    fn check_room(&self, place: &Place, content: &Content) -> Result<(), SessionError>;
}

/// Where the client keeps the text.
#[cfg_attr(
    not(feature = "sealed"),
    expect(
        dead_code,
        reason = "the codec that asks for it comes with the feature"
    )
)]
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A cookie's name, such as it is.
    pub(crate) name: Arc<str>,
    pub(crate) text_bytes_max: usize,
}

/// What turns sessions into texts, and where those are kept.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) codec: Arc<dyn ClientCodec>,
    pub(crate) place: Place,
}

impl Client {
    #[cfg(any(feature = "django", feature = "sealed"))]
    pub(crate) fn new(codec: impl ClientCodec) -> Self {
        Self {
            codec: Arc::new(codec),
            place: Place {
                name: Arc::from(""),
                text_bytes_max: TEXT_BYTES_MAX,
            },
        }
    }
}

#[cfg(any(feature = "django", feature = "sealed"))]
pub(crate) use nowhere::Nowhere;

#[cfg(any(feature = "django", feature = "sealed"))]
mod nowhere {
    use async_trait::async_trait;

    use crate::clock::Timestamp;
    use crate::key::StoreKey;
    use crate::record::{Change, NewRecord, Record, Saved, Version};
    use crate::store::{SessionStore, StoreError};

    /// Takes everything and keeps nothing: what was written is with the client.
    #[derive(Debug)]
    pub(crate) struct Nowhere;

    /// There is one session in a request, and nobody else writes it.
    const VERSION: Version = Version::Counter(0);

    #[async_trait]
    #[deny(clippy::missing_trait_methods)]
    impl SessionStore for Nowhere {
        fn system_name(&self) -> &'static str {
            "other"
        }

        async fn load(&self, _: &StoreKey, _: Timestamp) -> Result<Option<Record>, StoreError> {
            Ok(None)
        }

        async fn create(
            &self,
            _: &StoreKey,
            _: NewRecord,
            _: Timestamp,
        ) -> Result<Version, StoreError> {
            Ok(VERSION)
        }

        async fn save(
            &self,
            _: &StoreKey,
            _: &Version,
            _: Change,
            _: Timestamp,
        ) -> Result<Saved, StoreError> {
            Ok(Saved::Stored(VERSION))
        }

        async fn delete(&self, _: &StoreKey) -> Result<bool, StoreError> {
            Ok(true)
        }

        async fn touch(
            &self,
            _: &StoreKey,
            _: Timestamp,
            _: Timestamp,
        ) -> Result<bool, StoreError> {
            Err(unsupported("touch"))
        }

        async fn rotate(
            &self,
            _: &StoreKey,
            _: &Version,
            _: &StoreKey,
            _: Change,
            _: Timestamp,
        ) -> Result<Saved, StoreError> {
            Ok(Saved::Stored(VERSION))
        }

        async fn clear_expired(
            &self,
            _: Timestamp,
            _: &mut (dyn FnMut(u64) + Send),
        ) -> Result<u64, StoreError> {
            Err(unsupported("clear expired sessions"))
        }

        fn owner_index(&self) -> Option<&dyn crate::store::OwnerIndex> {
            None
        }

        fn scan(&self) -> Option<&dyn crate::store::StoreScan> {
            None
        }
    }

    fn unsupported(operation: &'static str) -> StoreError {
        StoreError::unsupported("a client that keeps its session itself", operation)
    }
}
