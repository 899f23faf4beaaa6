//! One database and one cache, and processes that share them.

use std::sync::Arc;
use std::time::Duration;

use session_cached_db::{CachedDbConfig, CachedDbStore};
use session_core::MemoryStore;
use session_core::conformance::{CountingStore, FaultStore};

use super::fault_cache::FaultCache;

/// The rows, whose reads are counted and can be held up.
pub(crate) type Database = Arc<FaultStore<CountingStore<MemoryStore>>>;

/// What one process has: its own connection to the cache, and a store over it.
pub(crate) struct Process {
    pub(crate) cache: FaultCache,
    pub(crate) store: CachedDbStore<FaultCache, Database>,
}

/// The application: what all of its processes share.
pub(crate) struct Site {
    pub(crate) database: Database,
    pub(crate) cache: FaultCache,
}

pub(crate) const STALENESS_MAX: Duration = Duration::from_secs(60);

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            database: Arc::new(FaultStore::new(CountingStore::new(MemoryStore::new()))),
            cache: FaultCache::new(),
        }
    }

    pub(crate) fn process(&self) -> Process {
        self.process_with(CachedDbConfig::new())
    }

    pub(crate) fn process_with(&self, config: CachedDbConfig) -> Process {
        let cache = self.cache.beside();
        let store = config.build_single_process(cache.clone(), Arc::clone(&self.database));
        Process { cache, store }
    }
}
