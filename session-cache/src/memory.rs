//! A bounded cache in this process's memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Slots;
use session_core::store::{Change, Record, Saved, StoreError, StoreKey, Timestamp, Version};

use crate::cache::Cache;
use crate::slot::{Entry, Lease, Slot, Step};

/// How much a [`MemoryCache`] may keep.
///
/// ```
/// use session_cache::{CacheStore, MemoryCacheConfig};
///
/// let cache = MemoryCacheConfig::new()
///     .with_bytes_max(16 * 1024 * 1024)
///     .with_entries_max(50_000)
///     .build();
/// let store = CacheStore::new(cache);
/// # drop(store);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until it is built"]
pub struct MemoryCacheConfig {
    bytes_max: u64,
    entries_max: u64,
}

impl MemoryCacheConfig {
    /// 64 MiB and 100,000 entries.
    pub const fn new() -> Self {
        Self {
            bytes_max: 64 * 1024 * 1024,
            entries_max: 100_000,
        }
    }

    /// At most so many bytes: of payloads, owners and labels, and about 256 for each entry beside them.
    pub const fn with_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// At most so many entries.
    pub const fn with_entries_max(self, entries_max: u64) -> Self {
        Self {
            entries_max,
            ..self
        }
    }

    /// The cache, empty.
    #[must_use]
    pub fn build(self) -> MemoryCache {
        MemoryCache::with_config(&self)
    }
}

impl Default for MemoryCacheConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A cache in this process's memory, bounded by bytes and by number.
///
/// When it is full, the entries that nobody has used for the longest time go. With sessions that live here alone
/// ([`CacheStore`](crate::CacheStore)) these are visitors who have to log in again, so it never does this silently: each
/// time is an event of `tracing` and counts in [`evicted`](Self::evicted). Cheap to clone; clones are the same cache.
#[derive(Clone)]
pub struct MemoryCache {
    slots: Slots<StoreKey, Kept>,
    evicted: Arc<AtomicU64>,
    bytes_max: u64,
}

/// A slot, and for how long it is kept from the moment it is put.
#[derive(Clone)]
struct Kept {
    slot: Slot,
    life: Duration,
}

/// What an entry takes beside its payload, owner and label: measured roughly, and rounded up.
const ENTRY_OVERHEAD: u64 = 256;

/// The library counts time in nanoseconds, of which 64 bits hold 584 years.
const LIFE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

struct KeepsForItsLife;

impl Expiry<StoreKey, Kept> for KeepsForItsLife {
    fn expire_after_create(&self, _: &StoreKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.life)
    }

    fn expire_after_update(
        &self,
        _: &StoreKey,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.life)
    }
}

impl MemoryCache {
    const NAME: &str = "the memory cache";

    /// An empty cache with the bounds of [`MemoryCacheConfig::new`].
    #[must_use]
    pub fn new() -> Self {
        MemoryCacheConfig::new().build()
    }

    fn with_config(config: &MemoryCacheConfig) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evicted);
        // The library bounds one sum of weights. An entry that weighs at least its share of the bytes bounds the number, too.
        let share = (config.bytes_max / config.entries_max.max(1)).max(1);
        let slots = Slots::builder()
            .max_capacity(config.bytes_max)
            // What is new must get in: by frequency, a session that has just begun would be the first to go.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(move |_, kept: &Kept| {
                u32::try_from(weight(&kept.slot).max(share)).unwrap_or(u32::MAX)
            })
            .expire_after(KeepsForItsLife)
            .eviction_listener(move |_, kept: Kept, cause| {
                if cause == RemovalCause::Size && matches!(kept.slot, Slot::Entry(_)) {
                    session_core::telemetry::evicted();
                    let evicted = counter.fetch_add(1, Ordering::Relaxed) + 1;
                    tracing::warn!(
                        evicted,
                        "the memory cache is full and dropped a session: raise its bounds if this goes on"
                    );
                }
            })
            .build();
        Self {
            slots,
            evicted,
            bytes_max: config.bytes_max,
        }
    }

    /// How many bytes the entries weigh, as [`with_bytes_max`](MemoryCacheConfig::with_bytes_max) counts them. What was put in the
    /// last moments may not be counted yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slots.weighted_size()
    }

    /// Evicts and counts now what the cache would have a moment later. For tests of an application.
    pub fn settle(&self) {
        self.slots.run_pending_tasks();
    }

    /// How many entries were dropped for want of room since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Does `step` to the slot while nobody else can.
    fn apply<A>(
        &self,
        key: &StoreKey,
        now: Timestamp,
        step: impl FnOnce(&Slot) -> Step<A>,
    ) -> Result<A, StoreError> {
        let mut answer = Err(StoreError::failed(
            Self::NAME,
            "change a slot",
            "nobody did",
        ));
        let _result = self.slots.entry_by_ref(key).and_compute_with(|held| {
            let held = held.map_or(Slot::Empty, |entry| entry.into_value().slot);
            let done = step(&held);
            // It would be dropped as soon as it is put, and the one before with it.
            if let Some(next) = &done.next
                && let bytes = weight(next)
                && bytes > self.bytes_max
            {
                let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
                answer = Err(StoreError::too_large(
                    Self::NAME,
                    size(bytes),
                    size(self.bytes_max),
                ));
                return Op::Nop;
            }
            answer = Ok(done.answer);
            let Some(next) = done.next else {
                return Op::Nop;
            };
            let life = next.kept_for(now).min(LIFE_MAX);
            if life.is_zero() {
                Op::Remove
            } else {
                Op::Put(Kept { slot: next, life })
            }
        });
        answer
    }
}

fn weight(slot: &Slot) -> u64 {
    let held = match slot {
        Slot::Entry(Entry { record, .. }) => {
            record.payload.weight()
                + record
                    .owner
                    .as_ref()
                    .map_or(0, |owner| owner.as_str().len())
                + record
                    .label
                    .as_ref()
                    .map_or(0, |label| label.as_str().len())
        }
        Slot::Empty | Slot::Leased { .. } | Slot::Tombstone { .. } => 0,
    };
    u64::try_from(held)
        .unwrap_or(u64::MAX)
        .saturating_add(ENTRY_OVERHEAD)
}

impl Default for MemoryCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("entries", &self.slots.entry_count())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}

/// Where an operation is given no time, none is needed: it puts no entry.
const NO_TIME: Timestamp = Timestamp::MIN;

#[async_trait]
impl Cache for MemoryCache {
    fn system_name(&self) -> &'static str {
        "memory"
    }

    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        Ok(self.slots.get(key).map_or(Slot::Empty, |kept| kept.slot))
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        self.apply(key, NO_TIME, |slot| slot.lease(lease, life))
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.apply(key, now, |slot| slot.fill(lease, entry))
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.apply(key, now, |slot| slot.put_newer(entry))
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.apply(key, NO_TIME, Slot::invalidate)
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        self.apply(key, NO_TIME, |slot| slot.bury(life))
    }

    async fn add(
        &self,
        key: &StoreKey,
        record: Record,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.apply(key, now, |slot| slot.add(record, now))
    }

    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.apply(key, now, |slot| {
            slot.compare_and_swap(expected, change, now)
        })
    }

    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.apply(key, now, |slot| slot.expire(expires_at, now))
    }
}
