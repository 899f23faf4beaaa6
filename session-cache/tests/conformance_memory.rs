//! The contract of every store, on the cache in memory.
#![cfg(feature = "memory")]

use session_cache::{CacheStore, MemoryCache};

session_core::conformance_suite!(
    || async { CacheStore::new(MemoryCache::new()) },
    except: [
        keeps_expired_records = "the cache forgets by itself",
        owner_index = "the cache in memory keeps none",
        scan = "a cache has no order",
    ],
);
