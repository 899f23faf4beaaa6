//! A cache whose slots can be emptied, whatever they hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use session_cache::{Cache, Entry, Lease, MemoryCache, Slot};
use session_core::store::{Change, Record, Saved, StoreError, StoreKey, Timestamp, Version};

/// Every slot has a name of its own in the cache behind, and after an eviction another: that stands for an eviction, and for
/// the end of a lease's and a tombstone's life, at any moment. Clones are the same cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evictable {
    cache: MemoryCache,
    names: Arc<Mutex<HashMap<StoreKey, StoreKey>>>,
}

/// Over all caches, so that many of them can share one behind them.
static NAMES: AtomicU64 = AtomicU64::new(0);

impl Evictable {
    pub(crate) fn over(cache: &MemoryCache) -> Self {
        Self {
            cache: cache.clone(),
            names: Arc::default(),
        }
    }

    fn new_name() -> StoreKey {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        StoreKey::parse(&format!("{number:040x}")).expect("hexadecimal digits are a key")
    }

    fn names(&self) -> MutexGuard<'_, HashMap<StoreKey, StoreKey>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name_of(&self, key: &StoreKey) -> StoreKey {
        let mut names = self.names();
        names
            .entry(key.clone())
            .or_insert_with(Self::new_name)
            .clone()
    }

    pub(crate) fn evict(&self, key: &StoreKey) {
        self.names().insert(key.clone(), Self::new_name());
    }

    /// As after a restart that kept nothing.
    pub(crate) fn evict_all(&self) {
        self.names().clear();
    }

    /// What the cache holds now, to be put back later.
    pub(crate) async fn snapshot(&self) -> Vec<(StoreKey, Slot)> {
        let names: Vec<_> = self.names().clone().into_iter().collect();
        let mut slots = Vec::new();
        for (key, name) in names {
            let slot = self.cache.get(&name).await.expect("a cache in memory");
            slots.push((key, slot));
        }
        slots
    }

    /// As after a restart from an older snapshot.
    pub(crate) async fn restore(&self, slots: Vec<(StoreKey, Slot)>, now: Timestamp) {
        self.evict_all();
        for (key, slot) in slots {
            let name = self.name_of(&key);
            match slot {
                Slot::Entry(entry) => {
                    let lease = Lease::generate().expect("randomness");
                    let life = Duration::from_secs(60);
                    self.cache
                        .lease(&name, lease, life)
                        .await
                        .expect("in memory");
                    let filled = self.cache.fill(&name, lease, entry, now).await;
                    assert!(filled.expect("in memory"), "the snapshot is not put back");
                }
                Slot::Tombstone { life } => {
                    self.cache.bury(&name, life).await.expect("in memory");
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Cache for Evictable {
    fn name(&self) -> &'static str {
        "the evictable cache"
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        self.cache.get(&self.name_of(key)).await
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        self.cache.lease(&self.name_of(key), lease, life).await
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.cache.fill(&self.name_of(key), lease, entry, now).await
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.cache.put_newer(&self.name_of(key), entry, now).await
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.cache.invalidate(&self.name_of(key)).await
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        self.cache.bury(&self.name_of(key), life).await
    }

    async fn add(
        &self,
        key: &StoreKey,
        record: Record,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.cache.add(&self.name_of(key), record, now).await
    }

    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.cache
            .compare_and_swap(&self.name_of(key), expected, change, now)
            .await
    }

    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.cache.expire(&self.name_of(key), expires_at, now).await
    }
}
