//! What a caller sees when the cache is down, slow, empty, damaged or back with old data: the table of the crate's
//! documentation, line by line.

use std::time::Duration;

use session_cached_db::CachedDbConfig;
use session_core::conformance::Operation;
use session_core::store::{
    Change, EndScope, ExpiryChange, OwnerIndex, Payload, Saved, SessionStore, StoreError, Timestamp,
};
use session_core::{Owner, SessionKey};
use tokio::time::Instant;

use support::events::Events;
use support::everything::{assert_within_the_bound, does_everything};
use support::fault_cache::{CacheCall, Fate, Gate};
use support::site::{STALENESS_MAX, Site, version_of};
use support::{NOW, at, change, key, new, new_of, shown};

#[cfg(test)]
#[path = "../../session-cache/tests/support/numbers.rs"]
mod numbers;
#[cfg(test)]
mod support;

const BOUND: i64 = 60;
const LIMIT: Duration = Duration::from_millis(250);

#[tokio::test(start_paused = true)]
async fn fail_10_with_the_cache_down_everything_works_and_an_end_says_what_it_could_not_assure() {
    let process = Site::new().process();
    process.cache.all(Fate::Refused);
    does_everything(&process.store, false).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_cache_that_never_answers_everything_works_as_with_one_that_is_down() {
    let process = Site::new().process();
    process.cache.all(Fate::Hangs);
    does_everything(&process.store, false).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_cache_that_is_slow_within_its_limit_everything_works_and_is_assured() {
    let process = Site::new().process();
    process.cache.all(Fate::Late(Duration::from_millis(200)));
    does_everything(&process.store, true).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_cache_that_does_what_it_is_told_and_never_says_so_everything_works() {
    let process = Site::new().process();
    process.cache.all(Fate::AnswerLost);
    does_everything(&process.store, false).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_cache_that_forgets_at_once_everything_works_and_is_assured() {
    let process = Site::new().process();
    process.cache.all(Fate::Forgotten);
    does_everything(&process.store, true).await;
}

#[tokio::test(start_paused = true)]
async fn with_slots_that_nobody_can_read_everything_works_and_the_cache_is_not_left_alone() {
    let process = Site::new().process();
    process.cache.all(Fate::Damaged);
    does_everything(&process.store, true).await;
    process.cache.all(Fate::Damaged);
    for _ in 0..20 {
        shown(&process.store, &key(9), NOW).await;
    }
    assert_eq!(
        process.cache.calls(),
        40,
        "unreadable slots, one look and one removal each, count as an outage"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_nobody_can_read_is_filled_anew() {
    let site = Site::new();
    let process = site.process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.nth(1, Fate::Damaged);
    for _ in 0..3 {
        assert!(shown(&process.store, &key(1), NOW).await.is_some());
    }
    let reads = site.reads();
    assert_eq!(reads, 2, "an unreadable slot is never filled again");
}

#[tokio::test(start_paused = true)]
async fn dos_07_a_cache_that_does_not_answer_costs_a_few_time_limits_and_then_nothing() {
    let process = Site::new().process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.all(Fate::Hangs);
    let began = Instant::now();
    for _ in 0..5 {
        shown(&process.store, &key(1), NOW).await;
    }
    assert_eq!(
        began.elapsed(),
        LIMIT * 5,
        "a load waits once for the cache"
    );
    let calls = process.cache.calls();
    for _ in 0..100 {
        shown(&process.store, &key(1), NOW).await;
    }
    assert_eq!(
        began.elapsed(),
        LIMIT * 5,
        "a dead cache still slows every request"
    );
    assert_eq!(
        process.cache.calls(),
        calls,
        "a dead cache is asked all the time"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_cache_is_left_alone_saves_skip_it_and_ends_try_it() {
    let process = Site::new().process();
    let version = process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.all(Fate::Refused);
    for _ in 0..5 {
        shown(&process.store, &key(1), NOW).await;
    }
    process.cache.all(Fate::Refused);
    let saved = process
        .store
        .save(&key(1), &version, change("y"), NOW)
        .await
        .unwrap();
    process.store.touch(&key(1), at(1), NOW).await.unwrap();
    assert_eq!(process.cache.calls(), 0, "a save waits for a dead cache");
    let Saved::Stored(version) = saved else {
        panic!("{saved:?}");
    };
    let rotated = process
        .store
        .rotate(&key(1), &version, &key(2), change("z"), NOW)
        .await;
    assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
    assert_eq!(
        process.cache.calls(),
        2,
        "a log-in tries to bury its old key twice"
    );
    assert_within_the_bound(&process.store.delete(&key(2)).await);
    assert_eq!(process.cache.calls(), 4, "a log-out tries twice");
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_finds_out_whether_the_cache_is_back() {
    let site = Site::new();
    let process = site.process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.all(Fate::Refused);
    for _ in 0..5 {
        shown(&process.store, &key(1), NOW).await;
    }
    let gate = Gate::new();
    process.cache.all(Fate::Held(std::sync::Arc::clone(&gate)));
    tokio::time::advance(Duration::from_secs(1)).await;
    let probe = tokio::spawn({
        let store = process.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    for _ in 0..10 {
        shown(&process.store, &key(1), NOW).await;
    }
    assert_eq!(process.cache.calls(), 1, "everybody probes at once");
    process.cache.heal();
    gate.open();
    assert!(probe.await.unwrap().is_some());
    site.forget_counts();
    for _ in 0..10 {
        shown(&process.store, &key(1), NOW).await;
    }
    assert_eq!(site.reads(), 0, "the cache is back, and nobody uses it");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_event_at_its_beginning_and_one_at_its_end() {
    let events = Events::capture();
    let process = Site::new().process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.all(Fate::Refused);
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(1)).await;
        shown(&process.store, &key(1), NOW).await;
    }
    process.cache.heal();
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(1)).await;
        shown(&process.store, &key(1), NOW).await;
    }
    assert_eq!(
        events.texts_above_debug(),
        [
            "WARN the cache does not answer: sessions are read from the database until it does",
            "INFO the cache answers again: sessions are read from it",
        ],
        "an operator is not told, or too often"
    );
}

#[tokio::test(start_paused = true)]
async fn a_save_whose_copy_failed_is_read_at_once_by_this_process_and_by_others_within_the_bound() {
    for set in [None, Some(at(5_000))] {
        let site = Site::new();
        let (here, there) = (site.process(), site.process());
        here.store.create(&key(1), new("old"), NOW).await.unwrap();
        shown(&here.store, &key(1), NOW).await;
        let version = version_of(&here.store, &key(1)).await;
        here.cache.all(Fate::Refused);
        let mut saving = change("new");
        saving.expiry = set.map_or(ExpiryChange::Keep, ExpiryChange::Set);
        let saved = here.store.save(&key(1), &version, saving, NOW).await;
        assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
        assert_eq!(
            shown(&here.store, &key(1), NOW).await.as_deref(),
            Some("new"),
            "whoever saved does not read what was saved"
        );
        here.cache.heal();
        assert_eq!(
            shown(&there.store, &key(1), NOW).await.as_deref(),
            Some("old"),
            "the fault did not happen: this test shows nothing"
        );
        assert_eq!(
            shown(&there.store, &key(1), at(BOUND)).await.as_deref(),
            Some("new"),
            "an older copy is read beyond the bound"
        );
        // The first load of the process that knows has emptied the slot by now.
        assert_eq!(
            shown(&here.store, &key(1), NOW).await.as_deref(),
            Some("new")
        );
        assert_eq!(
            shown(&there.store, &key(1), NOW).await.as_deref(),
            Some("new"),
            "the process that knew of the fault did not repair it"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_failed_saves_and_no_copy_is_believed_until_the_bound_has_passed() {
    let site = Site::new();
    let process = site.process();
    const SAVES: u64 = 1_025;
    for number in 0..=SAVES {
        process
            .store
            .create(&key(number), new("old"), NOW)
            .await
            .unwrap();
    }
    let kept = key(SAVES);
    shown(&process.store, &kept, NOW).await;
    process.cache.all(Fate::Refused);
    for number in 0..SAVES {
        let version = version_of(site.database.as_ref(), &key(number)).await;
        let saved = process
            .store
            .save(&key(number), &version, change("new"), NOW)
            .await;
        assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    }
    process.cache.heal();
    tokio::time::advance(Duration::from_secs(1)).await;
    site.forget_counts();
    for number in 0..SAVES {
        assert_eq!(
            shown(&process.store, &key(number), NOW).await.as_deref(),
            Some("new"),
            "whoever saved does not read what was saved"
        );
    }
    shown(&process.store, &kept, NOW).await;
    assert_eq!(site.reads(), SAVES + 1, "a copy was believed");
    assert_eq!(process.cache.calls(), 0, "a copy was looked at");
    tokio::time::advance(STALENESS_MAX).await;
    site.forget_counts();
    shown(&process.store, &kept, NOW).await;
    assert_eq!(site.reads(), 0, "copies are never believed again");
}

#[tokio::test(start_paused = true)]
async fn end_02_fail_10_a_log_out_that_can_not_be_buried_says_so_and_holds_here_at_once_and_elsewhere_within_the_bound()
 {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("x"), NOW).await.unwrap();
    shown(&here.store, &key(1), NOW).await;
    here.cache.each(CacheCall::Bury, Fate::Refused);
    assert_within_the_bound(&here.store.delete(&key(1)).await);
    assert!(site.row(&key(1)).await.is_none(), "the row is not gone");
    assert!(
        shown(&there.store, &key(1), at(BOUND - 1)).await.is_some(),
        "the fault did not happen: this test shows nothing"
    );
    assert!(
        shown(&there.store, &key(1), at(BOUND)).await.is_none(),
        "a session is read beyond the bound"
    );
    assert!(
        shown(&here.store, &key(1), NOW).await.is_none(),
        "the process that could not bury the session reads it"
    );
    assert!(
        shown(&there.store, &key(1), NOW).await.is_none(),
        "the process that knew of the fault did not repair it"
    );
}

#[tokio::test(start_paused = true)]
async fn one_tombstone_of_the_two_is_enough() {
    for failing in [1, 2] {
        for fate in [Fate::Refused, Fate::Hangs, Fate::AnswerLost] {
            let site = Site::new();
            let (here, there) = (site.process(), site.process());
            here.store.create(&key(1), new("x"), NOW).await.unwrap();
            shown(&here.store, &key(1), NOW).await;
            here.cache.nth(failing, fate);
            assert!(
                here.store.delete(&key(1)).await.unwrap(),
                "a log-out fails that could be assured"
            );
            for process in [&here, &there] {
                assert!(
                    shown(&process.store, &key(1), NOW).await.is_none(),
                    "a session is read after an assured log-out"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_whose_time_passed_while_the_row_was_deleted_assures_nothing() {
    let site = Site::new();
    let process =
        site.process_with(CachedDbConfig::new().with_tombstone_life(Duration::from_secs(2)));
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    process.cache.nth(2, Fate::Refused);
    let gate = site.database.hold(Operation::Delete);
    let deleting = tokio::spawn({
        let store = process.store.clone();
        async move { store.delete(&key(1)).await }
    });
    gate.reached().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    gate.release();
    assert_within_the_bound(&deleting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_the_cache_could_not_be_told_of_is_merged_all_the_same() {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("old"), NOW).await.unwrap();
    let old = version_of(&here.store, &key(1)).await;
    // Somebody saves, and the slot keeps the older copy.
    there.cache.all(Fate::Refused);
    let saved = there.store.save(&key(1), &old, change("new"), NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    assert_eq!(
        shown(&here.store, &key(1), NOW).await.as_deref(),
        Some("old")
    );
    here.cache.each(CacheCall::Invalidate, Fate::Refused);
    let saved = here.store.save(&key(1), &old, change("mine"), NOW).await;
    assert_eq!(saved.unwrap(), Saved::Conflict);
    assert_eq!(
        shown(&here.store, &key(1), NOW).await.as_deref(),
        Some("new"),
        "a merge loads the copy that it has just conflicted with"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_in_without_the_cache_leaves_a_copy_that_can_be_read_and_not_saved() {
    let events = Events::capture();
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store.create(&key(1), new("x"), NOW).await.unwrap();
    let version = version_of(&there.store, &key(1)).await;
    here.cache.each(CacheCall::Bury, Fate::Refused);
    let rotated = here
        .store
        .rotate(&key(1), &version, &key(2), change("y"), NOW)
        .await;
    assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
    let said = events.texts_above_debug();
    assert!(
        said.iter()
            .any(|text| text.contains("a session got a new key")),
        "nobody is told of the copy under the old key: {said:?}"
    );
    assert!(shown(&there.store, &key(1), NOW).await.is_some());
    let saved = there.store.save(&key(1), &version, change("z"), NOW).await;
    assert_eq!(saved.unwrap(), Saved::Gone, "the old key still saves");
    assert!(
        shown(&there.store, &key(1), NOW).await.is_none(),
        "a save that found the session gone left its copy"
    );
    assert!(shown(&here.store, &key(1), NOW).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn ending_many_sessions_with_a_hanging_cache_takes_a_few_time_limits_and_not_one_for_each() {
    let process = Site::new().process();
    for number in 0..250 {
        let made = process.store.create(&key(number), new_of("ada"), NOW).await;
        made.unwrap();
    }
    process.cache.all(Fate::Hangs);
    let began = Instant::now();
    let ended = process.store.end(&Owner::from("ada"), EndScope::All).await;
    assert_within_the_bound(&ended);
    assert!(
        began.elapsed() <= LIMIT * 6,
        "ending 250 sessions took {:?}",
        began.elapsed()
    );
    for number in 0..250 {
        let kept = shown(&process.store, &key(number), NOW).await;
        assert!(kept.is_none(), "a session was not ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_was_restarted_empty_is_filled_again() {
    let site = Site::new();
    let process = site.process();
    process.store.create(&key(1), new("x"), NOW).await.unwrap();
    shown(&process.store, &key(1), NOW).await;
    process.cache.slots.evict_all();
    site.forget_counts();
    for _ in 0..3 {
        assert!(shown(&process.store, &key(1), NOW).await.is_some());
    }
    assert_eq!(
        site.reads(),
        1,
        "a cache that lost everything is not filled"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_was_restarted_with_old_data_is_believed_until_the_deadline_of_each_copy() {
    let site = Site::new();
    let process = site.process();
    for number in 1..=2 {
        let made = process.store.create(&key(number), new("old"), NOW).await;
        made.unwrap();
        shown(&process.store, &key(number), NOW).await;
    }
    let snapshot = process.cache.slots.snapshot().await;
    let version = version_of(&process.store, &key(1)).await;
    let saved = process
        .store
        .save(&key(1), &version, change("new"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    assert!(process.store.delete(&key(2)).await.unwrap());

    process.cache.slots.restore(snapshot, NOW).await;
    // Within the bound it can't be told from the truth by reading; a save finds out and merges.
    let stale = process.store.load(&key(1), NOW).await.unwrap().unwrap();
    assert_eq!(support::text(&stale), "old");
    let saving = Change::of(&stale, Payload::from_bytes("mine"), ExpiryChange::Keep);
    let saved = process
        .store
        .save(&key(1), &stale.version, saving, NOW)
        .await;
    assert_eq!(
        saved.unwrap(),
        Saved::Conflict,
        "an old copy overwrote the row"
    );
    assert_eq!(
        shown(&process.store, &key(1), NOW).await.as_deref(),
        Some("new")
    );
    assert!(
        shown(&process.store, &key(2), at(BOUND - 1))
            .await
            .is_some()
    );
    assert!(
        shown(&process.store, &key(2), at(BOUND)).await.is_none(),
        "an old snapshot keeps a session alive beyond the bound"
    );
}

#[tokio::test(start_paused = true)]
async fn a_copy_by_a_clock_that_is_fast_is_not_believed_for_longer_than_the_bound() {
    let site = Site::new();
    let (fast, right) = (site.process(), site.process());
    fast.store.create(&key(1), new("old"), NOW).await.unwrap();
    let an_hour_ahead = at(3_600);
    shown(&fast.store, &key(1), an_hour_ahead).await;
    let version = version_of(site.database.as_ref(), &key(1)).await;
    let saved = site
        .database
        .save(&key(1), &version, change("new"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    assert_eq!(
        shown(&right.store, &key(1), at(BOUND)).await.as_deref(),
        Some("new"),
        "a copy that another's clock dated is believed for an hour"
    );
}

#[tokio::test(start_paused = true)]
async fn leak_01_no_error_and_no_event_shows_a_key_or_data() {
    let events = Events::capture();
    let secret = SessionKey::generate().unwrap();
    let store_key = session_core::KeyPolicy::Hashed.store_key(&secret);
    let site = Site::new();
    let process = site.process();
    let data = "the data of the session";
    process
        .store
        .create(&store_key, new(data), NOW)
        .await
        .unwrap();
    shown(&process.store, &store_key, NOW).await;
    let version = version_of(&process.store, &store_key).await;
    let mut told = format!("{:?}", process.store);
    for fate in [Fate::Refused, Fate::Hangs, Fate::Damaged] {
        process.cache.all(fate);
        for _ in 0..10 {
            shown(&process.store, &store_key, NOW).await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    process.cache.all(Fate::Refused);
    let rotated = process
        .store
        .rotate(&store_key, &version, &key(2), change(data), NOW)
        .await;
    told += &format!("{rotated:?}");
    told += &format!("{:?}", process.store.delete(&key(2)).await);
    told += &format!("{:?}", process.store);
    told += &events.everything();
    assert!(
        told.contains("250ms"),
        "nothing was told: this test shows nothing"
    );
    assert!(
        !told.contains(store_key.as_str()),
        "a store key is shown: {told}"
    );
    assert!(!told.contains(data), "data is shown: {told}");
}

#[tokio::test(start_paused = true)]
async fn with_the_database_down_cached_sessions_are_read_and_nothing_is_written() {
    let site = Site::new();
    let process = site.process();
    let store = &process.store;
    for number in 1..=4 {
        store
            .create(&key(number), new_of("ada"), NOW)
            .await
            .unwrap();
    }
    for number in 1..=3 {
        shown(store, &key(number), NOW).await;
    }
    let version = version_of(store, &key(1)).await;
    site.cut_the_database();
    let unavailable = |answer: Result<(), StoreError>| {
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "a database that is down is taken for something else: {answer:?}"
        );
    };
    assert!(shown(store, &key(1), NOW).await.is_some());
    unavailable(store.load(&key(4), NOW).await.map(drop));
    unavailable(store.load(&key(1), at(BOUND)).await.map(drop));
    unavailable(store.create(&key(5), new("x"), NOW).await.map(drop));
    unavailable(
        store
            .save(&key(1), &version, change("y"), NOW)
            .await
            .map(drop),
    );
    unavailable(store.touch(&key(1), at(1), NOW).await.map(drop));
    assert_eq!(
        shown(store, &key(1), NOW).await.as_deref(),
        Some("data"),
        "a write that failed takes the copy with it"
    );
    unavailable(
        store
            .rotate(&key(2), &version, &key(6), change("y"), NOW)
            .await
            .map(drop),
    );
    unavailable(store.delete(&key(3)).await.map(drop));
    let index = store.owner_index().expect("the database has one");
    unavailable(
        index
            .end(&Owner::from("ada"), EndScope::All)
            .await
            .map(drop),
    );
    unavailable(
        store
            .clear_expired(Timestamp::MAX, &mut |_| {})
            .await
            .map(drop),
    );
    // What was about to end is read from the row alone.
    for number in [2, 3] {
        unavailable(store.load(&key(number), NOW).await.map(drop));
    }
    site.mend_the_database();
    for number in 1..=4 {
        assert_eq!(
            shown(store, &key(number), NOW).await.as_deref(),
            Some("data"),
            "an outage of the database has changed a session"
        );
    }
}

#[test]
fn an_operator_can_count_how_often_the_cache_was_given_up() {
    let numbers = numbers::Numbers::default();
    let openings = || numbers.of("session.cache.breaker.openings");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    metrics::with_local_recorder(&numbers, || {
        runtime.expect("a runtime").block_on(async {
            let process = Site::new().process();
            process.cache.all(Fate::Refused);
            for _ in 0..4 {
                shown(&process.store, &key(1), NOW).await;
            }
            assert_eq!(openings(), 0, "it was given up too early");
            for _ in 0..20 {
                shown(&process.store, &key(1), NOW).await;
            }
            assert_eq!(openings(), 1, "one outage counts as one");
            // A look whether it is back that fails is the same outage.
            tokio::time::advance(Duration::from_secs(3_600)).await;
            shown(&process.store, &key(1), NOW).await;
            assert_eq!(openings(), 1, "a failed look counts as another outage");
        });
    });
}
