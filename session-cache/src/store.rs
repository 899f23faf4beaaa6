//! Any cache as a store: sessions that live in it and nowhere else.

use std::sync::Arc;

use async_trait::async_trait;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};

use crate::cache::Cache;
use crate::slot::Slot;

/// Keeps sessions in a cache and nowhere else: what the cache loses is lost, and its visitors have to log in again.
///
/// Cheap to clone; clones share the cache.
#[derive(Debug)]
pub struct CacheStore<C> {
    records: Records<C>,
}

impl<C: Cache> CacheStore<C> {
    /// A store over `cache`.
    #[must_use]
    pub fn new(cache: C) -> Self {
        Self {
            records: Records(Arc::new(cache)),
        }
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &C {
        &self.records.0
    }
}

impl<C> Clone for CacheStore<C> {
    fn clone(&self) -> Self {
        Self {
            records: Records(Arc::clone(&self.records.0)),
        }
    }
}

/// Where the versions of a new record begin: at random, so that a key that is deleted and created anew gets none back that it
/// had before. Far below 2^53, since the numbers of scripts are floating.
fn first_version() -> Result<Version, StoreError> {
    match getrandom::u32() {
        Ok(number) => Ok(Version::Counter(u64::from(number) << 16)),
        Err(error) => Err(StoreError::failed("the cache", "number a record", error)),
    }
}

/// The methods that every store has to have. On its own, so that it rotates by the trait's default body, in three steps, where
/// the cache can't do it in one.
#[derive(Debug)]
struct Records<C>(Arc<C>);

#[async_trait]
impl<C: Cache> SessionStore for Records<C> {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        match self.0.get(key).await? {
            Slot::Entry(entry) if entry.is_usable(now) => Ok(Some(entry.record)),
            _ => Ok(None),
        }
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let version = first_version()?;
        let record = Record::created(new, version.clone());
        if self.0.add(key, record, now).await? {
            Ok(version)
        } else {
            Err(StoreError::key_taken(self.0.name()))
        }
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.compare_and_swap(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.invalidate(key).await
    }
}

#[async_trait]
impl<C: Cache> SessionStore for CacheStore<C> {
    fn system_name(&self) -> &'static str {
        self.cache().system_name()
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.records.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.records.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.records.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.records.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.cache().expire(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let at_once = self
            .cache()
            .rotate(from, expected, to, change.clone(), now)
            .await?;
        match at_once {
            Some(saved) => Ok(saved),
            None => self.records.rotate(from, expected, to, change, now).await,
        }
    }

    /// Has nothing to do and answers 0: a cache forgets what has expired by itself.
    async fn clear_expired(
        &self,
        _now: Timestamp,
        _progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.cache().owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.cache().scan()
    }
}
