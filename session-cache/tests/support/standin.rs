//! What the contract's tests run on where there is no server: it has what Redis has, and says nothing about Redis.

use async_trait::async_trait;
use session_core::MemoryStore;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};

/// A memory store that forgets what has expired whenever it is asked to clear.
#[derive(Debug, Default)]
pub(crate) struct Standin(MemoryStore);

#[async_trait]
impl SessionStore for Standin {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.rotate(from, expected, to, change, now).await
    }

    async fn clear_expired(
        &self,
        _now: Timestamp,
        _progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.scan()
    }
}
