//! The store of sessions that are with their clients.

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

    async fn touch(&self, _: &StoreKey, _: Timestamp, _: Timestamp) -> Result<bool, StoreError> {
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
