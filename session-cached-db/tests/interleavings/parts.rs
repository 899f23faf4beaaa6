//! The cache and the database of the tests: each call waits for its turn, slots can be evicted, rules can be weakened.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use session_cache::{Cache, Entry, Lease, MemoryCache, Slot};
use session_core::store::{
    Change, EndScope, NewRecord, OwnerIndex, Page, Record, Saved, SessionStore, StoreError,
    StoreKey, Timestamp, Version,
};
use session_core::{MemoryStore, Owner};

use crate::script::Script;
use crate::support::evictable::Evictable;

/// A rule of the protocol that the cache breaks, to see that the exploration finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// A save writes its copy where there is none.
    WritesIntoEmptySlots,
    /// A conflict empties a slot that holds a tombstone.
    EmptiesTombstones,
    /// Whoever has read the row fills, also when the lease is another's or gone.
    FillsWithoutItsLease,
    /// Whoever has read the row fills a slot that holds a tombstone.
    FillsOnTombstones,
    /// A save leaves the lease of whoever has read the row from before.
    LeavesLeases,
    /// A save that comes late puts its copy over a newer one.
    PutsOlderOverNewer,
}

/// All runs share one cache, in which every run has names of its own.
static CACHE: LazyLock<MemoryCache> = LazyLock::new(MemoryCache::new);

/// The real cache in memory, with a hand on it.
#[derive(Debug)]
pub(crate) struct Slots {
    cache: Evictable,
    weakness: Option<Weakness>,
}

impl Slots {
    pub(crate) fn new(weakness: Option<Weakness>) -> Self {
        Self {
            cache: Evictable::over(&CACHE),
            weakness,
        }
    }

    /// Empties the slot, whatever it holds: an eviction, or the end of a lease's or a tombstone's life.
    pub(crate) fn evict(&self, key: &StoreKey) {
        self.cache.evict(key);
    }

    fn is(&self, weakness: Weakness) -> bool {
        self.weakness == Some(weakness)
    }

    async fn put_whatever_is_there(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.evict(key);
        let lease = Lease::generate()?;
        let life = Duration::from_secs(60);
        self.cache.lease(key, lease, life).await?;
        self.cache.fill(key, lease, entry, now).await
    }
}

/// The cache, one call per turn.
#[derive(Debug, Clone)]
pub(crate) struct Stepping {
    pub(crate) slots: Arc<Slots>,
    pub(crate) script: Script,
}

#[async_trait]
impl Cache for Stepping {
    fn name(&self) -> &'static str {
        "the cache of the test"
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        let work = async { self.slots.cache.get(key).await };
        self.script.step("get", true, work).await
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let work = async {
            self.script.name_lease(lease);
            self.slots.cache.lease(key, lease, life).await
        };
        self.script.step("lease", true, work).await
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let work = async {
            let held = self.slots.cache.get(key).await?;
            let is_weak = match held {
                Slot::Empty => self.slots.is(Weakness::FillsWithoutItsLease),
                Slot::Leased { lease: held, .. } => {
                    held != lease && self.slots.is(Weakness::FillsWithoutItsLease)
                }
                Slot::Tombstone { .. } => self.slots.is(Weakness::FillsOnTombstones),
                _ => false,
            };
            if is_weak {
                return self.slots.put_whatever_is_there(key, entry, now).await;
            }
            self.slots.cache.fill(key, lease, entry, now).await
        };
        self.script.step("fill", true, work).await
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let work = async {
            let is_weak = match self.slots.cache.get(key).await? {
                Slot::Empty => self.slots.is(Weakness::WritesIntoEmptySlots),
                Slot::Entry(_) => self.slots.is(Weakness::PutsOlderOverNewer),
                Slot::Leased { .. } if self.slots.is(Weakness::LeavesLeases) => return Ok(false),
                _ => false,
            };
            if is_weak {
                return self.slots.put_whatever_is_there(key, entry, now).await;
            }
            self.slots.cache.put_newer(key, entry, now).await
        };
        self.script.step("put_newer", true, work).await
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let work = async {
            match self.slots.cache.get(key).await? {
                Slot::Tombstone { .. } if self.slots.is(Weakness::EmptiesTombstones) => {
                    self.slots.evict(key);
                    Ok(false)
                }
                Slot::Leased { .. } if self.slots.is(Weakness::LeavesLeases) => Ok(false),
                _ => self.slots.cache.invalidate(key).await,
            }
        };
        self.script.step("invalidate", true, work).await
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        let work = async { self.slots.cache.bury(key, life).await };
        self.script.step("bury", true, work).await
    }

    async fn add(&self, _: &StoreKey, _: Record, _: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "add"))
    }

    async fn compare_and_swap(
        &self,
        _: &StoreKey,
        _: &Version,
        _: Change,
        _: Timestamp,
    ) -> Result<Saved, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "swap"))
    }

    async fn expire(&self, _: &StoreKey, _: Timestamp, _: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "expire"))
    }
}

/// The database, one call per turn.
#[derive(Debug, Clone)]
pub(crate) struct SteppingStore {
    pub(crate) rows: Arc<MemoryStore>,
    pub(crate) script: Script,
}

#[async_trait]
impl SessionStore for SteppingStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.script
            .step("row: load", false, self.rows.load(key, now))
            .await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.script
            .step("row: create", false, self.rows.create(key, new, now))
            .await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.script
            .step(
                "row: save",
                false,
                self.rows.save(key, expected, change, now),
            )
            .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.script
            .step("row: delete", false, self.rows.delete(key))
            .await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.script
            .step("row: touch", false, self.rows.touch(key, expires_at, now))
            .await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.script
            .step(
                "row: rotate",
                false,
                self.rows.rotate(from, expected, to, change, now),
            )
            .await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for SteppingStore {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        self.script
            .step("row: list", false, self.rows.sessions_of(owner, page, now))
            .await
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        self.script
            .step("row: end", false, self.rows.end(owner, scope))
            .await
    }
}
