//! What a request costs, and that a cold session is read once.

use std::sync::Arc;

use session_cached_db::CachedDbConfig;
use session_core::conformance::Operation;
use session_core::store::{ExpiryChange, Saved, SessionStore};

use support::fault_cache::{CacheCall, Fate, Gate};
use support::site::{Site, version_of};
use support::{NOW, at, change, key, new, shown};

#[cfg(test)]
mod support;

/// Calls on the cache and on the database since the last time.
#[cfg(test)]
fn cost(site: &Site, process: &support::site::Process) -> (u64, u64) {
    let counted = (process.cache.calls(), site.database.inner().total());
    process.cache.heal();
    site.forget_counts();
    counted
}

#[tokio::test]
async fn requests_cost_what_the_documentation_says() {
    let site = Site::new();
    let process = site.process();
    let store = &process.store;
    store.create(&key(1), new("x"), NOW).await.unwrap();
    assert_eq!(cost(&site, &process), (0, 1), "a first write");

    shown(store, &key(1), NOW).await;
    assert_eq!(cost(&site, &process), (3, 1), "a read without a copy");
    for _ in 0..10 {
        shown(store, &key(1), NOW).await;
    }
    assert_eq!(cost(&site, &process), (10, 0), "ten reads of a copy");

    let version = version_of(store, &key(1)).await;
    let saved = store.save(&key(1), &version, change("y"), NOW).await;
    assert_eq!(
        cost(&site, &process),
        (3, 1),
        "a write to an existing session"
    );
    let Ok(Saved::Stored(_)) = saved else {
        panic!("{saved:?}");
    };
    shown(store, &key(1), NOW).await;
    assert_eq!(cost(&site, &process), (1, 0), "a read after a write");

    let version = version_of(store, &key(1)).await;
    let mut retimed = change("z");
    retimed.expiry = ExpiryChange::Set(at(500));
    let saved = store.save(&key(1), &version, retimed, NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    assert_eq!(
        cost(&site, &process),
        (2, 1),
        "a write that changes the expiry"
    );

    let version = version_of(store, &key(1)).await;
    let rotated = store
        .rotate(&key(1), &version, &key(2), change("z"), NOW)
        .await;
    assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
    assert_eq!(cost(&site, &process), (3, 1), "a log-in");

    assert!(store.delete(&key(2)).await.unwrap());
    assert_eq!(cost(&site, &process), (2, 1), "a log-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_requests_for_a_cold_session_read_its_row_once() {
    for _ in 0..20 {
        let site = Site::new();
        let process = site.process();
        process.store.create(&key(1), new("x"), NOW).await.unwrap();
        let gate = site.database.hold(Operation::Load);
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let store = process.store.clone();
                tokio::spawn(async move { shown(&store, &key(1), NOW).await })
            })
            .collect();
        gate.reached().await;
        gate.release();
        for request in requests {
            assert_eq!(request.await.unwrap().as_deref(), Some("x"));
        }
        assert_eq!(site.reads(), 1, "a cold session is read more than once");
    }
}

#[tokio::test]
async fn while_another_process_reads_a_cold_session_one_request_of_this_one_does() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("x"), NOW).await.unwrap();
    // The other process holds the lease, and does not come on.
    let theirs = site.database.hold(Operation::Load);
    let reading = tokio::spawn({
        let store = there.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    theirs.reached().await;
    let ours = site.database.hold(Operation::Load);
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let store = here.store.clone();
            tokio::spawn(async move { shown(&store, &key(1), NOW).await })
        })
        .collect();
    ours.reached().await;
    assert_eq!(site.reads(), 0, "both are held");
    theirs.release();
    assert!(reading.await.unwrap().is_some());
    ours.release();
    for request in requests {
        assert!(request.await.unwrap().is_some());
    }
    assert_eq!(site.reads(), 2, "two processes, and more than two reads");
}

#[tokio::test]
async fn whoever_waits_is_not_given_what_was_read_before_it_asked() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("x"), NOW).await.unwrap();
    let gate = site.database.hold_answer(Operation::Load);
    let first = tokio::spawn({
        let store = here.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    // The row is read. Now the session ends, elsewhere, and is asked for once more.
    assert!(there.store.delete(&key(1)).await.unwrap());
    let second = tokio::spawn({
        let store = here.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    tokio::task::yield_now().await;
    gate.release();
    assert!(first.await.unwrap().is_some());
    assert!(
        second.await.unwrap().is_none(),
        "a request was given a session that had ended before it asked"
    );
}

#[tokio::test]
async fn whoever_waits_for_a_reading_that_a_save_overtook_reads_what_was_saved() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    let version = here.store.create(&key(1), new("old"), NOW).await.unwrap();
    let gate = site.database.hold_answer(Operation::Load);
    let read = || {
        let store = here.store.clone();
        tokio::spawn(async move { shown(&store, &key(1), NOW).await })
    };
    let first = read();
    gate.reached().await;
    // It waits already when the save comes.
    let second = read();
    tokio::task::yield_now().await;
    let saved = there
        .store
        .save(&key(1), &version, change("new"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    let third = read();
    tokio::task::yield_now().await;
    gate.release();
    assert_eq!(first.await.unwrap().as_deref(), Some("old"));
    for waiting in [second, third] {
        assert_eq!(
            waiting.await.unwrap().as_deref(),
            Some("new"),
            "a request was given what was read before it asked"
        );
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_hands_over() {
    let site = Site::new();
    let process = site.process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    let gate = site.database.hold(Operation::Load);
    let read = || {
        let store = process.store.clone();
        tokio::spawn(async move { shown(&store, &key(1), NOW).await })
    };
    let first = read();
    gate.reached().await;
    let waiting: Vec<_> = (0..10).map(|_| read()).collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    first.abort();
    for request in waiting {
        assert!(
            request.await.unwrap().is_some(),
            "a request waits for one that has gone"
        );
    }
    assert_eq!(site.reads(), 1, "each of those who waited reads the row");
    site.forget_counts();
    assert!(shown(&process.store, &key(1), NOW).await.is_some());
    assert_eq!(
        site.reads(),
        0,
        "the lease of who has gone keeps the slot empty"
    );
}

#[tokio::test]
async fn requests_for_a_slot_that_nobody_may_fill_do_not_wait_for_each_other() {
    let site = Site::new();
    let process = site.process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    let version = version_of(&process.store, &key(1)).await;
    // A rotation that conflicted has left a tombstone on a living session.
    let saved = process
        .store
        .save(&key(1), &version, change("y"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    let rotated = process
        .store
        .rotate(&key(1), &version, &key(2), change("z"), NOW)
        .await;
    assert_eq!(rotated.unwrap(), Saved::Conflict);
    let gate = site.database.hold(Operation::Load);
    let held = tokio::spawn({
        let store = process.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    assert_eq!(
        shown(&process.store, &key(1), NOW).await.as_deref(),
        Some("y"),
        "a request waits for another whose reading it can't use"
    );
    gate.release();
    assert!(held.await.unwrap().is_some());
}

#[tokio::test]
async fn without_a_lease_a_request_that_was_filled_before_asks_the_cache_again() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("x"), NOW).await.unwrap();
    let gate = Gate::new();
    here.cache
        .each(CacheCall::Lease, Fate::Held(Arc::clone(&gate)));
    let late = tokio::spawn({
        let store = here.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    shown(&there.store, &key(1), NOW).await;
    gate.open();
    assert!(late.await.unwrap().is_some());
    assert_eq!(site.reads(), 1, "the row is read although there is a copy");
}

#[tokio::test]
async fn unknown_keys_cost_one_read_and_leave_no_copy() {
    let site = Site::new();
    let process = site.process_with(CachedDbConfig::new());
    for _ in 0..3 {
        assert!(shown(&process.store, &key(1), NOW).await.is_none());
    }
    assert_eq!(
        site.reads(),
        3,
        "\"no such session\" was cached, and a session that begins would not be seen"
    );
}
