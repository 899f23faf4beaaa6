//! How a session's data becomes the bytes that a store keeps.

use std::fmt;

use bytes::Bytes;

use crate::data::SessionData;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::store::StoreError;

/// Turns [`SessionData`] into bytes and back.
///
/// It is given the [`StoreKey`], so that a codec that seals can bind the bytes to the record they belong to; a codec that
/// does not may ignore it.
///
/// The bytes come from outside: `decode` must bound its work and never panic. Neither direction may put a value into its
/// error.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The bytes for `data`, to be kept under `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unrepresentable`] when this format can't hold the data; nothing is then stored.
    fn encode(&self, key: &StoreKey, data: &SessionData) -> Result<Bytes, StoreError>;

    /// The data in `bytes`, which were found under `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when the bytes are not what `encode` makes: the visitor then starts afresh under a new
    /// key, and the record is left as it is. [`StoreError::Unrepresentable`] when they are valid, but hold something that
    /// [`SessionData`] can't: the request then fails, and the record is left as it is.
    fn decode(&self, key: &StoreKey, bytes: &Bytes) -> Result<SessionData, StoreError>;

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
}

/// The default codec: one JSON object in UTF-8, names in the order in which they were first set.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn encode(&self, _key: &StoreKey, data: &SessionData) -> Result<Bytes, StoreError> {
        Ok(data.to_json())
    }

    fn decode(&self, _key: &StoreKey, bytes: &Bytes) -> Result<SessionData, StoreError> {
        SessionData::from_json(bytes.clone())
            .map_err(|error| StoreError::damaged("the JSON codec", error))
    }
}
