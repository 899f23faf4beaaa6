//! A cache of two methods: the contract of caches and the one of stores, and bytes that are no slot.
#![cfg(feature = "conformance")]

#[cfg(test)]
#[path = "support/map.rs"]
mod map;

use std::time::Duration;

use map::Map;
use session_cache::{Cache as _, CacheStore, CellCache};
use session_core::store::{NewRecord, Payload, SessionStore as _, StoreError, StoreKey, Timestamp};

session_cache::cache_conformance_suite!(|| async { CellCache::new(Map::default()) });

session_core::conformance_suite!(
    || async { CacheStore::new(CellCache::new(Map::default())) },
    except: [
        keeps_expired_records = "the cache forgets by itself",
        owner_index = "cells know nothing of owners",
        scan = "a cache has no order",
    ],
);

#[tokio::test]
async fn bytes_that_are_no_slot_are_one_sessions_problem_and_can_be_removed() {
    let now = Timestamp::from_secs(1_900_000_000);
    let key = |text: &str| StoreKey::parse(text).expect("a key");
    let store = CacheStore::new(CellCache::new(Map::default()));
    let cache = store.cache();
    let new = || {
        NewRecord::new(
            Payload::from_bytes("data"),
            now.saturating_add(Duration::from_secs(60)),
        )
    };
    for (damaged, healthy, bytes) in [
        ("a1", "b1", &b"something else"[..]),
        ("a2", "b2", b"SES2E"),
        ("a3", "b3", b"SES1E0000"),
    ] {
        let (damaged, healthy) = (key(damaged), key(healthy));
        store.create(&healthy, new(), now).await.unwrap();
        cache.cells().spoil(&damaged, bytes);
        let loaded = store.load(&damaged, now).await;
        assert!(
            matches!(loaded, Err(StoreError::Damaged { .. })),
            "what can't be read was loaded as {loaded:?}"
        );
        let created = store.create(&damaged, new(), now).await;
        assert!(
            matches!(created, Err(StoreError::Damaged { .. })),
            "what can't be read was overwritten: {created:?}"
        );
        assert!(store.load(&healthy, now).await.unwrap().is_some());
        assert!(store.delete(&damaged).await.unwrap(), "it can't be removed");
        assert!(store.load(&damaged, now).await.unwrap().is_none());
        cache.cells().spoil(&damaged, bytes);
        cache.bury(&damaged, Duration::from_secs(60)).await.unwrap();
        assert!(store.load(&damaged, now).await.unwrap().is_none());
    }
}
