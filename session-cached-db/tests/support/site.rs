//! One database and one cache, and processes that share them.

use std::sync::Arc;
use std::time::Duration;

use session_cached_db::{CachedDbConfig, CachedDbStore};
use session_core::MemoryStore;
use session_core::conformance::{Call, CountingStore, FaultStore, Operation};
use session_core::store::{Record, SessionStore, StoreKey, Version};

use super::NOW;
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

/// The version that a request would save at.
pub(crate) async fn version_of(store: &dyn SessionStore, key: &StoreKey) -> Version {
    let record = store.load(key, NOW).await.expect("the database answers");
    record.expect("the session is there").version
}

impl Site {
    /// The row, asked past everything that counts and fails.
    pub(crate) async fn row(&self, key: &StoreKey) -> Option<Record> {
        let rows = self.database.inner().inner();
        rows.load(key, NOW).await.expect("a database in memory")
    }

    /// How many loads have reached the database.
    pub(crate) fn reads(&self) -> u64 {
        self.database.inner().count(Operation::Load)
    }

    pub(crate) fn forget_counts(&self) {
        self.database.inner().reset();
    }

    pub(crate) fn cut_the_database(&self) {
        self.database.refuse(Call::any().and_later());
    }

    pub(crate) fn mend_the_database(&self) {
        let is_met = self.database.clear_faults();
        assert!(is_met, "the database was never asked while it was down");
    }
}
