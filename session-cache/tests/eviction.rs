//! The cache in memory when it is full: its bounds hold, what it drops is said, and who has just come stays.
#![cfg(feature = "memory")]

use session_cache::{Cache as _, CacheStore, MemoryCache, MemoryCacheConfig, Slot};
use session_core::store::{NewRecord, Payload, Saved, SessionStore as _, StoreKey, Timestamp};

#[cfg(test)]
#[path = "support/numbers.rs"]
mod numbers;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

#[cfg(test)]
fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{number:040x}")).expect("hexadecimal digits are a key")
}

#[cfg(test)]
fn new(bytes: usize) -> NewRecord {
    NewRecord::new(Payload::from_bytes(vec![b'x'; bytes]), LATER)
}

#[cfg(test)]
async fn alive(store: &CacheStore<MemoryCache>, numbers: std::ops::Range<u64>) -> u64 {
    let mut alive = 0;
    for number in numbers {
        // Not by a load, which would be a use.
        let slot = store
            .cache()
            .get(&key(number))
            .await
            .expect("memory answers");
        alive += u64::from(matches!(slot, Slot::Entry(_)));
    }
    alive
}

#[tokio::test]
async fn the_bound_on_bytes_holds_whatever_comes() {
    let cache = MemoryCacheConfig::new().with_bytes_max(1024 * 1024).build();
    let store = CacheStore::new(cache.clone());
    for number in 0..2_000 {
        store.create(&key(number), new(4_000), NOW).await.unwrap();
        assert!(
            cache.bytes() <= 1024 * 1024 + 64 * 5_000,
            "after {number} sessions the cache holds {} bytes, far more than it may",
            cache.bytes()
        );
    }
    cache.settle();
    assert!(cache.bytes() <= 1024 * 1024, "{}", cache.bytes());
    let alive = alive(&store, 0..2_000).await;
    assert!(
        (200..=262).contains(&alive),
        "{alive} sessions of 4 KB are in 1 MiB"
    );
    assert_eq!(
        cache.evicted(),
        2_000 - alive,
        "sessions were dropped and not counted"
    );
}

#[tokio::test]
async fn the_bound_on_entries_holds_however_small_they_are() {
    let cache = MemoryCacheConfig::new().with_entries_max(100).build();
    let store = CacheStore::new(cache.clone());
    for number in 0..1_000 {
        store.create(&key(number), new(1), NOW).await.unwrap();
    }
    cache.settle();
    let alive = alive(&store, 0..1_000).await;
    assert!(
        (90..=100).contains(&alive),
        "{alive} sessions are in a cache of 100"
    );
    assert_eq!(cache.evicted(), 1_000 - alive);
}

#[tokio::test]
async fn a_session_that_grows_weighs_what_it_has_become() {
    let cache = MemoryCacheConfig::new().with_bytes_max(1024 * 1024).build();
    let store = CacheStore::new(cache.clone());
    for number in 0..100 {
        let version = store.create(&key(number), new(10), NOW).await.unwrap();
        let grown = session_core::store::Change::new(
            Payload::from_bytes(vec![b'x'; 50_000]),
            session_core::store::ExpiryChange::Keep,
        );
        let saved = store
            .save(&key(number), &version, grown, NOW)
            .await
            .unwrap();
        assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");
    }
    cache.settle();
    assert!(cache.bytes() <= 1024 * 1024, "{}", cache.bytes());
}

#[tokio::test]
async fn who_has_just_come_stays_and_who_was_away_longest_goes() {
    let cache = MemoryCacheConfig::new().with_entries_max(50).build();
    let store = CacheStore::new(cache.clone());
    let regular = key(1_000_000);
    store.create(&regular, new(10), NOW).await.unwrap();
    for number in 0..500 {
        let version = store.create(&key(number), new(10), NOW).await.unwrap();
        let record = store.load(&key(number), NOW).await.unwrap();
        assert_eq!(
            record
                .expect("a session that has just begun was dropped")
                .version,
            version
        );
        assert!(
            store.load(&regular, NOW).await.unwrap().is_some(),
            "a visitor who is there all the time was logged out after {number} others had come"
        );
        cache.settle();
    }
    assert_eq!(
        alive(&store, 0..440).await,
        0,
        "others than the oldest went"
    );
    assert_eq!(alive(&store, 460..500).await, 40);
}

#[tokio::test]
async fn what_expires_or_is_deleted_is_no_eviction() {
    let cache = MemoryCacheConfig::new().with_entries_max(50).build();
    let store = CacheStore::new(cache.clone());
    for number in 0..40 {
        store.create(&key(number), new(10), NOW).await.unwrap();
        store.delete(&key(number)).await.unwrap();
        store.create(&key(number), new(10), NOW).await.unwrap();
        store.create(&key(number), new(10), LATER).await.unwrap();
    }
    cache.settle();
    assert_eq!(cache.evicted(), 0);
}

#[tokio::test]
async fn a_session_larger_than_the_whole_cache_is_refused() {
    let cache = MemoryCacheConfig::new().with_bytes_max(10_000).build();
    let store = CacheStore::new(cache.clone());
    let created = store.create(&key(1), new(20_000), NOW).await;
    assert!(
        matches!(
            created,
            Err(session_core::store::StoreError::TooLarge { .. })
        ),
        "a session that can't be kept was answered with {created:?}"
    );
    let version = store.create(&key(1), new(10), NOW).await.unwrap();
    let grown = session_core::store::Change::new(
        Payload::from_bytes(vec![b'x'; 20_000]),
        session_core::store::ExpiryChange::Keep,
    );
    let saved = store.save(&key(1), &version, grown, NOW).await;
    assert!(
        matches!(saved, Err(session_core::store::StoreError::TooLarge { .. })),
        "{saved:?}"
    );
    assert!(
        store.load(&key(1), NOW).await.unwrap().is_some(),
        "a save that was refused cost the session"
    );
}

#[test]
fn an_operator_can_count_what_was_dropped_and_not_what_was_ended() {
    let numbers = numbers::Numbers::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let evicted = metrics::with_local_recorder(&numbers, || {
        runtime.expect("a runtime").block_on(async {
            let cache = MemoryCacheConfig::new().with_entries_max(10).build();
            let store = CacheStore::new(cache.clone());
            for number in 0..5 {
                store.create(&key(number), new(10), NOW).await.unwrap();
            }
            store.delete(&key(0)).await.unwrap();
            cache.settle();
            assert_eq!(
                numbers.of("session.cache.evictions"),
                0,
                "a log-out counts as a lost session"
            );
            for number in 5..25 {
                store.create(&key(number), new(10), NOW).await.unwrap();
                cache.settle();
            }
            cache.evicted()
        })
    });
    assert!(evicted >= 10, "{evicted} sessions were dropped");
    assert_eq!(
        numbers.of("session.cache.evictions"),
        evicted,
        "sessions were dropped and not counted"
    );
}
