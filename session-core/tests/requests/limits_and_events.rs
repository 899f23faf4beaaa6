//! Limits at their edges and while others are at work, and what an operator is told of it.
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use session_core::conformance::{Call, FourMethodStore, Operation};
use session_core::store::{Page, SessionStore, StoreError, Timestamp};
use session_core::{Owner, Policy, SessionBase, SessionError, SessionKey, SessionManager};

use crate::support::{Site, times, told};

async fn log_in(site: &Site, owner: u64) -> SessionKey {
    site.visitor(|session| session.log_in(owner).unwrap()).await
}

async fn is_alive(site: &Site, key: &SessionKey) -> bool {
    site.stored(key).await.is_some()
}

async fn records(site: &Site) -> usize {
    let scan = site.store.scan().expect("memory can be scanned");
    scan.page(Page::first(10_000)).await.unwrap().len()
}

fn at_most(sessions: usize) -> Policy {
    let sessions = NonZeroUsize::new(sessions).unwrap();
    Policy::new().with_sessions_per_owner_max(sessions)
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[tokio::test]
async fn end_11_a_limit_counts_all_sessions_however_many_there_are() {
    for limit in [3, 1_100] {
        let site = Site::new();
        for _ in 0..1_200 {
            let session = site.manager.start();
            session.log_in(7).unwrap();
            session.save().await.unwrap();
        }
        site.clock.advance(second());
        let last = log_in(&site.with(at_most(limit)), 7).await;
        assert_eq!(
            records(&site).await,
            limit,
            "sessions beyond the limit live"
        );
        assert!(is_alive(&site, &last).await, "the newest session was ended");
    }
}

#[tokio::test]
async fn end_11_a_log_in_that_can_not_be_limited_is_not_stored() {
    let store = Arc::new(FourMethodStore::new());
    let manager = SessionManager::new(store).with_policy(at_most(1));
    let session = manager.start();
    session.set("cart", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    session.log_in(7).unwrap();
    let saved = session.save().await;
    assert!(
        matches!(saved, Err(SessionError::Unsupported { .. })),
        "{saved:?}"
    );
    let stored = manager.load(&key).await.unwrap();
    let stored = stored.expect("a log-in that was refused ended the visitor's session");
    assert_eq!(stored.owner(), None);
    assert_eq!(stored.get::<u32>("cart").unwrap(), Some(1));
}

#[test]
fn end_11_leak_09_a_session_that_two_log_ins_end_is_told_once() {
    let site = Site::with_policy(at_most(1));
    let lines = told(async || {
        let _oldest = log_in(&site, 7).await;
        site.clock.advance(second());
        let gate = site.store.hold(Operation::End);
        let first = tokio::task::LocalSet::new();
        let manager = site.manager.clone();
        let log_in_held = first.spawn_local(async move {
            let session = manager.start();
            session.log_in(7).unwrap();
            session.save().await.unwrap();
        });
        first
            .run_until(async {
                gate.reached().await;
                site.clock.advance(second());
                let _newest = log_in(&site, 7).await;
                gate.release();
                log_in_held.await.unwrap();
            })
            .await;
        assert_eq!(records(&site).await, 1);
    });
    assert_eq!(times(&lines, "reason=\"limit\""), 2, "{lines:#?}");
}

#[tokio::test]
async fn end_11_a_surplus_session_does_not_escape_by_changing_its_key_at_that_moment() {
    let site = Site::with_policy(at_most(1));
    let oldest = log_in(&site, 7).await;
    site.clock.advance(second());
    let gate = site.store.hold(Operation::End);
    let logging_in = tokio::spawn({
        let manager = site.manager.clone();
        async move {
            let session = manager.start();
            session.log_in(7).unwrap();
            session.save().await.unwrap();
            session.session_key().unwrap()
        }
    });
    gate.reached().await;
    let rotating = site.request(Some(&oldest));
    rotating.session().await.cycle_key();
    let rotated = rotating.finish().await.expect_issued();
    gate.release();
    let newest = logging_in.await.unwrap();
    assert!(is_alive(&site, &newest).await);
    assert!(!is_alive(&site, &rotated).await, "there are two sessions");
}

#[tokio::test]
async fn end_11_a_cache_that_is_down_keeps_nobody_from_logging_in_at_the_limit() {
    let site = Site::with_policy(at_most(1));
    let _oldest = log_in(&site, 7).await;
    site.clock.advance(second());
    site.store.refuse_with(Operation::End, || {
        StoreError::deleted_within("the cache", Duration::from_secs(60))
    });
    let newest = log_in(&site, 7).await;
    assert!(is_alive(&site, &newest).await);
    assert!(site.store.clear_faults(), "nothing was ended");
}

#[tokio::test]
async fn end_10_what_ended_at_a_moment_is_in_no_list() {
    let site = Site::new();
    let before = log_in(&site, 7).await;
    site.clock.advance(second());
    let after = log_in(&site, 7).await;
    let began = SystemTime::from(session_core::Clock::now(&site.clock));
    let strict = site.with(Policy::new().with_not_before(began));
    let session = strict.stored(&after).await.unwrap();
    let listed = session.own_sessions().await.unwrap();
    assert_eq!(listed.len(), 1, "a session is listed that opens nothing");
    assert!(!is_alive(&strict, &before).await);
}

#[tokio::test]
async fn dos_01_a_clock_that_goes_back_and_forth_does_not_refill_the_budget() {
    let site = Site::with_policy(Policy::new().with_new_anonymous_per_minute_max(1));
    let create = async || {
        let request = site.request(None);
        request.session().await.set("n", &1).unwrap();
        request.finish().await.0.is_ok()
    };
    let minute = 60 * 30_000_000;
    site.clock.set(Timestamp::from_secs(minute));
    assert!(create().await);
    for _ in 0..3 {
        site.clock.set(Timestamp::from_secs(minute - 1));
        assert!(!create().await, "a second back refills the budget");
        site.clock.set(Timestamp::from_secs(minute));
        assert!(!create().await, "a second forth refills the budget");
    }
    // Somebody has put right a clock that was a day ahead.
    site.clock.set(Timestamp::from_secs(minute - 24 * 60 * 60));
    assert!(create().await, "nobody gets a session for a day");
}

#[tokio::test]
async fn fix_04_every_unknown_key_of_a_request_is_counted() {
    let site = Site::new();
    let known = log_in(&site, 7).await;
    let guess = |n: u32| format!("{n:032}");
    let slot = site.manager.slot();
    slot.present([guess(1).as_bytes(), guess(2).as_bytes()]);
    assert!(slot.session().await.unwrap().is_empty());
    assert_eq!(site.manager.unknown_keys(), 2);
    let slot = site.manager.slot();
    slot.present([guess(3).as_bytes(), known.expose_secret().as_bytes()]);
    assert_eq!(slot.session().await.unwrap().owner(), Some(Owner::from(7)));
    assert_eq!(
        site.manager.unknown_keys(),
        3,
        "a guess beside a known key goes unseen"
    );
}

#[test]
fn race_09_a_late_log_out_or_change_of_key_that_nobody_stores_is_told() {
    let deeds: [fn(&SessionBase); 3] = [
        |session| session.set("n", &1).unwrap(),
        SessionBase::log_out,
        SessionBase::cycle_key,
    ];
    for (n, deed) in deeds.into_iter().enumerate() {
        let site = Site::new();
        let lines = told(async || {
            let key = log_in(&site, 7).await;
            let request = site.request(Some(&key));
            let session = request.session().await;
            request.finish().await.expect_done();
            deed(&session);
        });
        assert_eq!(
            times(&lines, "session_changes_lost"),
            1,
            "deed {n} was lost in silence: {lines:#?}"
        );
    }
}

#[test]
fn race_09_a_change_that_a_commit_under_way_does_not_take_along_is_told() {
    let site = Site::new();
    let lines = told(async || {
        let key = log_in(&site, 7).await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        session.set("n", &1).unwrap();
        let gate = site.store.hold(Operation::Save);
        let commit = request.finish();
        let change = async {
            gate.reached().await;
            session.set("m", &1).unwrap();
            gate.release();
        };
        let (ended, ()) = tokio::join!(commit, change);
        ended.expect_done();
        let stored = site.stored(&key).await.unwrap();
        assert_eq!(stored.get::<u32>("m").unwrap(), None);
    });
    assert_eq!(times(&lines, "session_changes_lost"), 1, "{lines:#?}");
}

#[test]
fn race_09_what_was_stored_or_refused_aloud_is_not_called_lost() {
    let site = Site::new();
    let lines = told(async || {
        let key = log_in(&site, 7).await;
        // A commit that failed has said so.
        let request = site.request(Some(&key));
        request.session().await.set("n", &1).unwrap();
        site.store.refuse(Operation::Save);
        assert_eq!(request.finish().await.word(), "store error");
        // Changed late, and saved.
        let request = site.request(Some(&key));
        let session = request.session().await;
        request.finish().await.expect_done();
        session.set("n", &2).unwrap();
        session.modify("m", |m: &mut u32| *m += 1).unwrap();
        session.save().await.unwrap();
        // Ended late, at once.
        assert_eq!(session.end_all().await.unwrap(), 1);
    });
    assert_eq!(times(&lines, "session_changes_lost"), 0, "{lines:#?}");
}

#[test]
fn leak_09_an_administrator_who_ends_sessions_is_told_of() {
    let site = Site::new();
    let lines = told(async || {
        log_in(&site, 7).await;
        assert_eq!(site.manager.end_all(&Owner::from(7)).await.unwrap(), 1);
    });
    assert_eq!(times(&lines, "event=\"sessions_ended\""), 1, "{lines:#?}");
}

#[test]
fn leak_09_a_store_that_fails_to_end_or_renew_a_session_is_told_of() {
    for operation in [
        Operation::Delete,
        Operation::End,
        Operation::SessionsOf,
        Operation::Save,
    ] {
        let site = Site::with_policy(Policy::new().with_renew_after(Duration::ZERO));
        let lines = told(async || {
            let key = log_in(&site, 7).await;
            site.clock.advance(second());
            let request = site.request(Some(&key));
            let session = request.session().await;
            // What may be done twice is tried twice.
            site.store.refuse(Call::of(operation).and_later());
            match operation {
                Operation::Delete => session.log_out(),
                Operation::End => drop(session.end_all().await.unwrap_err()),
                Operation::SessionsOf => drop(session.own_sessions().await.unwrap_err()),
                _ => drop(session.get::<u32>("n")),
            }
            if matches!(operation, Operation::Delete | Operation::Save) {
                assert_eq!(request.finish().await.word(), "store error");
            }
        });
        assert_eq!(
            times(&lines, "event=\"store_failed\""),
            1,
            "{operation:?}: {lines:#?}"
        );
    }
}

#[test]
fn fix_08_in_11_a_request_with_several_sessions_or_too_many_keys_is_told_under_a_name() {
    let site = Site::new();
    let lines = told(async || {
        let (one, other) = (log_in(&site, 7).await, log_in(&site, 8).await);
        let slot = site.manager.slot();
        slot.present([
            one.expose_secret().as_bytes(),
            other.expose_secret().as_bytes(),
        ]);
        assert_eq!(slot.session().await.unwrap().owner(), None);
        let slot = site.manager.slot();
        let guesses: Vec<String> = (0..5).map(|n| format!("{n:032}")).collect();
        slot.present(guesses.iter().map(String::as_bytes));
        assert_eq!(slot.session().await.unwrap().owner(), None);
    });
    assert_eq!(
        times(&lines, "event=\"session_ambiguous\""),
        2,
        "{lines:#?}"
    );
}
