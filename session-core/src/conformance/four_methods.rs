//! The smallest store there is: four methods over a map, with a latency if that is wanted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{SessionStore, StoreError};

/// A store that implements the required methods and nothing else, so that whatever is tested over it runs on the
/// default bodies.
///
/// With [`with_latency`](Self::with_latency) every call takes as long as a round trip to a server, half of it before
/// the work and half after, and concurrent requests overlap as they do in production.
#[derive(Default)]
pub struct FourMethodStore {
    state: Mutex<State>,
    latency: Duration,
}

#[derive(Default)]
struct State {
    records: HashMap<StoreKey, Record>,
    // Over all keys, so that a key that is deleted and created anew gets no version back that it had before.
    last_version: u64,
}

impl FourMethodStore {
    const NAME: &str = "the store of four methods";

    /// A store without records and without latency.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long every call takes. Needs a tokio runtime with its timers on; their resolution is one millisecond.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn travel(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency / 2).await;
        }
    }
}

impl fmt::Debug for FourMethodStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FourMethodStore")
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}

impl State {
    fn live(&self, key: &StoreKey, now: Timestamp) -> Option<&Record> {
        self.records.get(key).filter(|record| record.is_live(now))
    }

    fn next_version(&mut self) -> Version {
        self.last_version += 1;
        Version::Counter(self.last_version)
    }

    fn create(&mut self, key: &StoreKey, new: NewRecord, now: Timestamp) -> Option<Version> {
        if self.live(key, now).is_some() {
            return None;
        }
        let version = self.next_version();
        let record = Record::created(new, version.clone());
        self.records.insert(key.clone(), record);
        Some(version)
    }

    fn save(
        &mut self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Saved {
        let version = self.next_version();
        let record = match self.live(key, now) {
            None => return Saved::Gone,
            Some(record) if record.version != *expected => return Saved::Conflict,
            Some(record) => record.changed(change, version.clone()),
        };
        self.records.insert(key.clone(), record);
        Saved::Stored(version)
    }
}

#[async_trait]
impl SessionStore for FourMethodStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.travel().await;
        let found = self.state().live(key, now).cloned();
        self.travel().await;
        Ok(found)
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.travel().await;
        let created = self.state().create(key, new, now);
        self.travel().await;
        created.ok_or_else(|| StoreError::key_taken(Self::NAME))
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.travel().await;
        let saved = self.state().save(key, expected, change, now);
        self.travel().await;
        Ok(saved)
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.travel().await;
        let deleted = self.state().records.remove(key).is_some();
        self.travel().await;
        Ok(deleted)
    }
}
