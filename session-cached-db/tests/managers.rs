//! What visitors see through the session API, of two processes that share one cache and one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_cache::MemoryCache;
use session_cached_db::{CachedDbConfig, CachedDbStore};
use session_core::conformance::Operation;
use session_core::{SessionError, SessionManager};
use session_db::DbStore;

use support::fault_cache::{CacheCall, Fate, Gate};
use support::scenarios::{self, Pair};
use support::site::Site;

#[cfg(test)]
mod support;

#[cfg(test)]
fn pair_of(site: &Site) -> Pair {
    Pair {
        one: SessionManager::new(site.process().store),
        other: SessionManager::new(site.process().store),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_over_memory() {
    scenarios::all(&pair_of(&Site::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_over_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let cache = Arc::new(MemoryCache::new());
    let mut managers = Vec::new();
    for _ in 0..2 {
        let database = DbStore::connect(&url).await.unwrap();
        database.migrate().await.unwrap();
        let store = CachedDbStore::single_process(Arc::clone(&cache), database);
        managers.push(SessionManager::new(store));
    }
    let [one, other] = <[SessionManager; 2]>::try_from(managers).unwrap();
    scenarios::all(&Pair { one, other }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_over_a_cache_that_forgets() {
    let site = Site::new();
    let forgetful = || {
        let process = site.process();
        let calls = AtomicU64::new(0);
        process.cache.plan(move |_, _| {
            if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                Fate::Forgotten
            } else {
                Fate::Passes
            }
        });
        SessionManager::new(process.store)
    };
    let pair = Pair {
        one: forgetful(),
        other: forgetful(),
    };
    scenarios::all(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_over_a_cache_that_is_down_lose_no_update() {
    let site = Site::new();
    let cut_off = || {
        let process = site.process();
        process.cache.all(Fate::Refused);
        SessionManager::new(process.store)
    };
    let pair = Pair {
        one: cut_off(),
        other: cut_off(),
    };
    scenarios::fifty_writers_lose_nothing(&pair).await;
    scenarios::a_count_by_fifty_is_exact(&pair).await;
    scenarios::of_twenty_who_take_one_gets_it(&pair).await;
    scenarios::what_one_process_writes_the_other_reads_at_once(&pair).await;
}

// Steps fail here and there, so that older copies are read for a while: no update is lost for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_over_a_cache_that_loses_steps_lose_no_update() {
    let site = Site::new();
    let lossy = |every: u64| {
        let config = CachedDbConfig::new().with_cache_timeout(Duration::from_millis(5));
        let process = site.process_with(config);
        process.cache.plan(move |_, call| match call % every {
            0 => Fate::Refused,
            1 => Fate::AnswerLost,
            2 => Fate::Late(Duration::from_millis(8)),
            _ => Fate::Passes,
        });
        SessionManager::new(process.store)
    };
    let pair = Pair {
        one: lossy(7),
        other: lossy(11),
    };
    for _ in 0..5 {
        scenarios::fifty_writers_lose_nothing_in_the_end(&pair).await;
        scenarios::of_twenty_who_take_one_gets_it(&pair).await;
    }
}

#[tokio::test]
async fn a_request_that_was_overtaken_by_a_log_out_elsewhere_is_interrupted_and_brings_nothing_back()
 {
    let site = Site::new();
    let pair = pair_of(&site);
    let session = pair.one.start();
    session.set("name", "Ada").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();

    let slow = pair.one.load(&key).await.unwrap().unwrap();
    slow.set("late", &true).unwrap();
    let gate = site.database.hold(Operation::Save);
    let saving = tokio::spawn(async move { slow.save().await });
    gate.reached().await;
    let leaving = pair.other.load(&key).await.unwrap().unwrap();
    leaving.log_out();
    leaving.save().await.unwrap();
    gate.release();
    let saved = saving.await.unwrap();
    assert!(
        matches!(saved, Err(SessionError::Interrupted)),
        "a save after a log-out is answered with {saved:?}"
    );
    for manager in [&pair.one, &pair.other] {
        assert!(
            manager.load(&key).await.unwrap().is_none(),
            "a late save brought a session back"
        );
    }
}

#[tokio::test]
async fn a_request_that_was_overtaken_by_a_log_in_elsewhere_leaves_no_copy_under_the_old_key() {
    let site = Site::new();
    let (slow, fast) = (site.process(), site.process());
    let one = SessionManager::new(slow.store);
    let other = SessionManager::new(fast.store);
    let session = one.start();
    session.set("name", "Ada").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();

    // One process has read the row for its copy, and is held up before it fills.
    let gate = Gate::new();
    slow.cache
        .each(CacheCall::Fill, Fate::Held(Arc::clone(&gate)));
    let reading = tokio::spawn({
        let (one, key) = (
            one.clone(),
            session_core::SessionKey::parse(key.expose_secret().as_bytes()).unwrap(),
        );
        async move { one.load(&key).await }
    });
    gate.reached().await;
    let logging_in = other.load(&key).await.unwrap().unwrap();
    logging_in.log_in(7).unwrap();
    logging_in.save().await.unwrap();
    let new_key = logging_in.session_key().unwrap();
    gate.open();
    assert!(reading.await.unwrap().unwrap().is_some());
    for manager in [&one, &other] {
        assert!(
            manager.load(&key).await.unwrap().is_none(),
            "the key from before the log-in still opens the session"
        );
        assert!(manager.load(&new_key).await.unwrap().is_some());
    }
}

// The copy that a request conflicted with must not be what its merge is given, or it would try until its time is up.
#[tokio::test(start_paused = true)]
async fn a_merge_ends_although_the_cache_can_not_be_told_of_anything() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    let one = SessionManager::new(here.store);
    let other = SessionManager::new(there.store);
    let session = one.start();
    session.set("count", &0_u32).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();

    let mine = one.load(&key).await.unwrap().unwrap();
    // Another process counts, and can't tell the cache; nor can this one.
    let theirs = other.load(&key).await.unwrap().unwrap();
    let readable = |call: CacheCall, _: u64| match call {
        CacheCall::Get => Fate::Passes,
        _ => Fate::Refused,
    };
    there.cache.plan(readable);
    here.cache.plan(readable);
    theirs
        .modify("count", |count: &mut u32| *count += 1)
        .unwrap();
    theirs.save().await.unwrap();
    mine.modify("count", |count: &mut u32| *count += 1).unwrap();
    mine.save()
        .await
        .expect("a merge loads the same old copy until its time is up");
    let session = one.load(&key).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("count").unwrap(), Some(2));
}
