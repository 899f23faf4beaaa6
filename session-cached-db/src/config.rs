//! How old a copy may get, how patient the store is with its cache, and when it gives up on it.

use std::time::Duration;

use session_cache::{Cache, SharedCache};
use session_core::store::SessionStore;

use crate::store::CachedDbStore;

/// How to set up a [`CachedDbStore`]: what differs from the defaults. Give all processes the same.
///
/// ```
/// use std::time::Duration;
/// use session_cache::MemoryCache;
/// use session_cached_db::CachedDbConfig;
/// use session_core::MemoryStore;
///
/// let store = CachedDbConfig::new()
///     .with_staleness_max(Duration::from_secs(10))
///     .build_single_process(MemoryCache::new(), MemoryStore::new());
/// # drop(store);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until it is built"]
pub struct CachedDbConfig {
    pub(crate) staleness_max: Duration,
    pub(crate) lease_life: Duration,
    pub(crate) tombstone_life: Duration,
    pub(crate) cache_timeout: Duration,
    pub(crate) failures_max: u32,
    pub(crate) probe_after: Duration,
}

impl CachedDbConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            staleness_max: Duration::from_secs(60),
            lease_life: Duration::from_secs(10),
            tombstone_life: Duration::from_secs(60),
            cache_timeout: Duration::from_millis(250),
            failures_max: 5,
            probe_after: Duration::from_secs(1),
        }
    }

    /// How old a copy may get before the row is read again, in whole seconds. 60 seconds by default: a busy session costs the
    /// database one read a minute, and a step that a fault has skipped is forgotten after that long. With zero no copy is
    /// believed.
    pub const fn with_staleness_max(self, staleness_max: Duration) -> Self {
        Self {
            staleness_max,
            ..self
        }
    }

    /// For how long whoever reads a row may fill the slot with it. 10 seconds by default, twice what a database may take. If
    /// a process dies while it reads, nobody fills this slot for that long.
    pub const fn with_lease_life(self, lease_life: Duration) -> Self {
        Self { lease_life, ..self }
    }

    /// For how long nothing is put where a session has ended. 60 seconds by default. It has to be longer than the database
    /// takes to delete a row; if that took longer all the same, the answer does not depend on it.
    pub const fn with_tombstone_life(self, tombstone_life: Duration) -> Self {
        Self {
            tombstone_life,
            ..self
        }
    }

    /// How long one call to the cache may take, before it counts as a failure. 250 milliseconds by default: far more than a
    /// cache takes, and little of the 5 seconds that a request may wait for its session.
    pub const fn with_cache_timeout(self, cache_timeout: Duration) -> Self {
        Self {
            cache_timeout,
            ..self
        }
    }

    /// After how many failures in a row the cache is left alone. 5 by default, at least 1.
    pub const fn with_failures_max(self, failures_max: u32) -> Self {
        Self {
            failures_max,
            ..self
        }
    }

    /// For how long the cache is left alone before one request tries it again. 1 second by default.
    pub const fn with_probe_after(self, probe_after: Duration) -> Self {
        Self {
            probe_after,
            ..self
        }
    }

    /// A store with a cache that all processes see. See [`CachedDbStore::new`].
    pub fn build<C: SharedCache, S: SessionStore>(self, cache: C, store: S) -> CachedDbStore<C, S> {
        CachedDbStore::of(cache, store, self)
    }

    /// A store with a cache that may be this process's own. See [`CachedDbStore::single_process`].
    pub fn build_single_process<C: Cache, S: SessionStore>(
        self,
        cache: C,
        store: S,
    ) -> CachedDbStore<C, S> {
        CachedDbStore::of(cache, store, self)
    }
}

impl Default for CachedDbConfig {
    fn default() -> Self {
        Self::new()
    }
}
