//! How a session's data becomes the bytes that a store keeps.

#[cfg(feature = "sealed")]
mod sealed;

use std::fmt;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::data::SessionData;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::Record;
use crate::store::StoreError;

#[cfg(feature = "sealed")]
pub use sealed::SealedCodec;

/// Turns [`SessionData`] into bytes and back.
///
/// It is given the [`Binding`], so that a codec that seals can bind the bytes to the record they belong to; a codec that
/// does not may ignore it.
///
/// The bytes come from outside: `decode` must bound its work and never panic. Neither direction may put a value into its
/// error.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The bytes for `data`, to be kept where `binding` says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unrepresentable`] when this format can't hold the data; nothing is then stored.
    fn encode(&self, binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError>;

    /// The data in `bytes`, which were found where `binding` says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when the bytes are not what `encode` makes: the visitor then starts afresh under a new
    /// key, and the record is left as it is. [`StoreError::Unrepresentable`] when they are valid, but hold something that
    /// [`SessionData`] can't: the request then fails, and the record is left as it is.
    fn decode(&self, binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError>;

    /// Whether another framework reads and writes the sessions as well, as Django does. Their owner is then among their data,
    /// in that framework's words, and there is no place for a label or a time of creation: `log_in`, `set_label` and
    /// `set_absolute_timeout` of [`SessionBase`](crate::SessionBase) are `Unsupported`.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whose session the data say it is, if the sessions are [shared](Self::is_shared).
    fn owner(&self, _data: &SessionData) -> Option<Owner> {
        None
    }

    /// Whether `bytes` are as [`encode`](Self::encode) writes them today, with its newest key. The others are what
    /// [`SessionManager::reseal`](crate::SessionManager::reseal) rewrites.
    fn is_current(&self, _bytes: &Bytes) -> bool {
        true
    }
}

/// Where a payload belongs: its record's key, and what the record holds beside the data. A session that is moved, or whose
/// owner is another, gets its payload written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The record's key.
    pub key: StoreKey,
    /// The record's owner.
    pub owner: Option<Owner>,
    /// When the record says that the session began.
    pub created_at: Option<Timestamp>,
}

impl Binding {
    /// The record at `key`, without an owner or a time of creation.
    #[must_use]
    pub const fn new(key: StoreKey) -> Self {
        Self {
            key,
            owner: None,
            created_at: None,
        }
    }

    /// Where the payload of `record` belongs, which is at `key`.
    pub(crate) fn of(key: &StoreKey, record: &Record) -> Self {
        Self {
            key: key.clone(),
            owner: record.owner.clone(),
            created_at: record.created_at,
        }
    }

    /// Whether it is that place.
    pub(crate) fn is_of(&self, key: &StoreKey, record: &Record) -> bool {
        let Self {
            key: own,
            owner,
            created_at,
        } = self;
        own == key && *owner == record.owner && *created_at == record.created_at
    }
}

/// The default codec: one JSON object in UTF-8, names in the order in which they were first set.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn encode(&self, _binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        Ok(data.to_json())
    }

    fn decode(&self, _binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        SessionData::from_json(bytes.clone())
            .map_err(|error| StoreError::damaged("the JSON codec", error))
    }
}
