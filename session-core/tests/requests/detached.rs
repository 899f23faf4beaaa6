//! Sessions that outlive their request: whether they still live, and what they store without a commit.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::conformance::{Call, Operation};
use session_core::{DetachedSession, Policy, SessionBase, SessionError, SessionKey};

use crate::support::{Site, poll_once, times, told};

const INTERVAL: Duration = Duration::from_secs(30);

/// A visitor whose request is over, and what has outlived it.
async fn stream(site: &Site) -> (SessionKey, DetachedSession) {
    let key = site
        .visitor(|session| {
            session.log_in(7).unwrap();
            session.set("n", &1).unwrap();
        })
        .await;
    let detached = detach(site, Some(&key)).await;
    (key, detached)
}

async fn detach(site: &Site, key: Option<&SessionKey>) -> DetachedSession {
    let request = site.request(key);
    let detached = request.session().await.detach();
    request.finish().await.expect_done();
    site.calls();
    detached
}

async fn log_out(site: &Site, key: &SessionKey) {
    let request = site.request(Some(key));
    request.slot.log_out();
    request.finish().await.expect_done();
    site.calls();
}

fn loads(site: &Site) -> u64 {
    let loads = site.store.inner().count(Operation::Load);
    site.calls();
    loads
}

#[tokio::test]
async fn a_log_out_elsewhere_is_seen_within_the_interval_in_which_the_store_is_asked_once() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    for _ in 0..100 {
        assert!(stream.is_alive().await.unwrap());
    }
    assert_eq!(loads(&site), 1, "every look at the session costs a look-up");
    log_out(&site, &key).await;
    site.clock.advance(INTERVAL - Duration::from_secs(1));
    assert!(stream.is_alive().await.unwrap());
    assert_eq!(loads(&site), 0, "the store is asked before its time");
    site.clock.advance(Duration::from_secs(1));
    for _ in 0..100 {
        assert!(
            !stream.is_alive().await.unwrap(),
            "a dead session streams on"
        );
    }
    assert_eq!(loads(&site), 1, "what is over for good is asked for again");
    assert!(matches!(
        stream.reload().await,
        Err(SessionError::Interrupted)
    ));
    assert_eq!(stream.get("n").unwrap(), Some(1), "what was read is gone");
}

#[tokio::test]
async fn the_interval_is_a_parameter_and_zero_asks_each_time() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    for interval in [Duration::ZERO, Duration::from_millis(999)] {
        let eager = stream.clone().with_check_interval(interval);
        for _ in 0..3 {
            assert!(eager.is_alive().await.unwrap());
        }
        assert_eq!(loads(&site), 3, "{interval:?}: an answer is too old");
    }
    let patient = stream.with_check_interval(Duration::from_secs(300));
    log_out(&site, &key).await;
    site.clock.advance(Duration::from_secs(299));
    assert!(patient.is_alive().await.unwrap());
    site.clock.advance(Duration::from_secs(1));
    assert!(!patient.is_alive().await.unwrap());
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_answer_younger() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    assert!(stream.is_alive().await.unwrap());
    log_out(&site, &key).await;
    let now = session_core::Clock::now(&site.clock);
    site.clock
        .set(now.saturating_sub(Duration::from_secs(3600)));
    assert!(
        !stream.is_alive().await.unwrap(),
        "a dead session streams on until the clock has caught up"
    );
}

#[tokio::test]
async fn clones_that_ask_at_the_same_time_cost_one_look_up() {
    let site = Site::new();
    let (_, stream) = stream(&site).await;
    let gate = site.store.hold(Operation::Load);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let clone = stream.clone();
            tokio::spawn(async move { clone.is_alive().await })
        })
        .collect();
    gate.reached().await;
    gate.release();
    for one in asking {
        assert!(one.await.unwrap().unwrap());
    }
    assert_eq!(loads(&site), 1);
}

#[tokio::test]
async fn a_store_that_can_not_be_asked_is_an_error_and_not_the_end() {
    let site = Site::new();
    let (_, stream) = stream(&site).await;
    site.store.refuse(Call::any().and_later());
    let error = stream.is_alive().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(stream.ended().await.is_err(), "an outage ends every stream");
    assert!(site.store.clear_faults());
    assert!(
        stream.is_alive().await.unwrap(),
        "an outage is held against the session"
    );
}

#[tokio::test]
async fn a_look_shows_what_others_have_stored_and_is_no_sign_of_life() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let left = stream.time_left();
    let request = site.request(Some(&key));
    request.session().await.set("n", &2).unwrap();
    request.finish().await.expect_done();
    assert_eq!(stream.get("n").unwrap(), Some(1));
    site.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
    site.calls();
    assert!(stream.is_alive().await.unwrap());
    assert_eq!(site.calls(), 1, "an open stream keeps its session alive");
    assert_eq!(stream.get("n").unwrap(), Some(2));
    assert!(stream.time_left() < left);
    stream.save(|_| Ok(())).await.unwrap();
    assert_eq!(
        stream.time_left(),
        left,
        "a save that changes nothing renews"
    );
    assert_eq!(site.store.inner().count(Operation::Save), 1);
    site.clock.advance(Duration::from_secs(14 * 24 * 60 * 60));
    assert!(!stream.is_alive().await.unwrap(), "it has expired");
}

#[tokio::test]
async fn what_its_own_request_does_to_the_session_is_followed() {
    type Deed = fn(&SessionBase);
    let deeds: [(&str, Deed, bool); 4] = [
        ("a log-in", |session| session.log_in(8).unwrap(), true),
        ("another key", SessionBase::cycle_key, true),
        ("nothing", |_| (), true),
        ("a log-out", SessionBase::flush, false),
    ];
    for (what, deed, is_alive) in deeds {
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        let stream = session.detach();
        assert!(stream.is_alive().await.unwrap());
        deed(&session);
        request.finish().await.expect_done();
        site.clock.advance(INTERVAL);
        assert_eq!(stream.is_alive().await.unwrap(), is_alive, "{what}");
    }
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    let stream = session.detach();
    assert!(!stream.is_alive().await.unwrap(), "nothing is stored yet");
    session.set("n", &1).unwrap();
    request.finish().await.expect_issued();
    assert!(stream.is_alive().await.unwrap(), "its commit has stored it");
}

#[tokio::test]
async fn a_key_that_another_request_changes_is_over() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let request = site.request(Some(&key));
    request.session().await.cycle_key();
    request.finish().await.expect_issued();
    assert!(!stream.is_alive().await.unwrap());
    let lost = stream.modify_now("n", |n: &mut u32| *n += 1).await;
    assert!(matches!(lost, Err(SessionError::Interrupted)), "{lost:?}");
}

#[tokio::test]
async fn a_look_while_the_own_request_changes_the_key_does_not_find_it_dead() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let stream = session.detach();
    session.cycle_key();
    // The old key is dead, and the request does not know the new one yet.
    let gate = site.store.hold_answer(Operation::Rotate);
    let commit = request.finish();
    let look = async {
        gate.reached().await;
        let mut look = Box::pin(stream.is_alive());
        assert!(
            poll_once(&mut look).await.is_none(),
            "it does not wait for the commit"
        );
        gate.release();
        look.await
    };
    let (ended, is_alive) = tokio::join!(commit, look);
    ended.expect_issued();
    assert!(
        is_alive.unwrap(),
        "a change of key ends the visitor's own stream"
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_learns_of_it_within_the_interval() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let begun = tokio::time::Instant::now();
    let mut ended = Box::pin(stream.ended());
    assert!(poll_once(&mut ended).await.is_none());
    tokio::time::advance(INTERVAL * 3).await;
    assert!(
        poll_once(&mut ended).await.is_none(),
        "a live session has ended"
    );
    log_out(&site, &key).await;
    ended.await.unwrap();
    assert_eq!(begun.elapsed(), INTERVAL * 4);
    // With an interval of nothing it does not ask without a pause.
    let (key, stream) = self::stream(&site).await;
    let eager = stream.with_check_interval(Duration::ZERO);
    let mut ended = Box::pin(eager.ended());
    assert!(poll_once(&mut ended).await.is_none());
    assert!(poll_once(&mut ended).await.is_none());
    assert_eq!(loads(&site), 1, "it asks as often as it is polled");
    log_out(&site, &key).await;
    ended.await.unwrap();
}

#[tokio::test]
async fn what_a_stream_saves_is_stored_when_it_returns_and_merged() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let request = site.request(Some(&key));
    request.session().await.set("other", &1).unwrap();
    request.finish().await.expect_done();
    let answer = stream.save(|session| {
        session.set("a", &1)?;
        session.remove("n");
        session.modify("count", |count: &mut u32| *count += 1)?;
        assert!(
            !session.contains_key("n"),
            "the change is not shown to itself"
        );
        Ok("done")
    });
    assert_eq!(answer.await.unwrap(), "done");
    assert_eq!(stream.take::<u32>("other").await.unwrap(), Some(1));
    let stock = stream.try_modify_now("count", |_: &mut u32| Err::<(), _>("sold out"));
    assert_eq!(stock.await.unwrap(), Err("sold out"));
    let expected = r#"{"a":1,"count":1}"#;
    let stored = site.stored(&key).await.unwrap();
    assert_eq!(stored.snapshot().to_json(), expected);
    assert_eq!(stream.snapshot().to_json(), expected);
    assert_eq!(stream.owner(), Some(7.into()));
}

#[tokio::test]
async fn what_could_not_be_stored_is_not_stored_later() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let failed = stream.save(|session| {
        session.set("half", &1)?;
        session.set("_reserved", &1)
    });
    assert!(matches!(
        failed.await,
        Err(SessionError::ReservedName { .. })
    ));
    site.store.refuse(Operation::Save);
    let failed = stream.save(|session| session.set("refused", &1));
    assert!(failed.await.unwrap_err().is_unavailable());
    assert!(
        !stream.contains_key("refused"),
        "it is shown as if it were stored"
    );
    let gate = site.store.hold(Operation::Save);
    let mut dropped = Box::pin(stream.save(|session| session.set("dropped", &1)));
    assert!(poll_once(&mut dropped).await.is_none());
    assert!(gate.is_reached());
    drop(dropped);
    stream
        .save(|session| session.set("stored", &1))
        .await
        .unwrap();
    let stored = site.stored(&key).await.unwrap();
    assert_eq!(stored.snapshot().to_json(), r#"{"n":1,"stored":1}"#);
}

#[tokio::test]
async fn two_batches_at_the_same_time_are_both_stored_whole() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    let gate = site.store.hold(Operation::Save);
    let batch = |name: &'static str| {
        let stream = stream.clone();
        tokio::spawn(async move {
            stream
                .save(move |session| {
                    session.set(&format!("{name}1"), &1)?;
                    session.set(&format!("{name}2"), &2)
                })
                .await
        })
    };
    let (one, two) = (batch("a"), batch("b"));
    gate.reached().await;
    gate.release();
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
    let stored = site.stored(&key).await.unwrap();
    for name in ["a1", "a2", "b1", "b2"] {
        assert!(stored.contains_key(name), "{name} is lost");
    }
}

#[tokio::test]
async fn what_needs_a_cookie_is_refused_and_spoils_nothing() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    type Deed = fn(&SessionBase) -> Result<(), SessionError>;
    let deeds: [Deed; 2] = [
        |session| session.log_in(8),
        |session| {
            session.cycle_key();
            Ok(())
        },
    ];
    for deed in deeds {
        let refused = stream.save(deed).await;
        assert!(
            matches!(refused, Err(SessionError::HeadersSent)),
            "{refused:?}"
        );
    }
    stream.save(|session| session.set("m", &1)).await.unwrap();
    assert!(site.stored(&key).await.unwrap().contains_key("m"));
    let nobody = detach(&site, None).await;
    assert!(!nobody.is_alive().await.unwrap());
    let refused = nobody.save(|session| session.set("m", &1)).await;
    assert!(
        matches!(refused, Err(SessionError::HeadersSent)),
        "{refused:?}"
    );
    assert!(nobody.snapshot().is_empty());
    assert_eq!(site.calls(), 0, "nobody's stream has asked the store");
}

#[tokio::test]
async fn a_job_ends_the_session() {
    let site = Site::new();
    let (key, stream) = stream(&site).await;
    site.store.refuse(Call::of(Operation::Delete));
    site.store.refuse(Call::of(Operation::Delete).nth(2));
    stream.log_out().await.unwrap_err();
    stream.log_out().await.unwrap();
    assert!(site.stored(&key).await.is_none());
    assert!(!stream.is_alive().await.unwrap());
}

#[tokio::test]
async fn a_closure_that_is_withdrawn_is_not_run_again() {
    let site = Site::new();
    let (_, stream) = stream(&site).await;
    let is_run = Arc::new(AtomicBool::new(false));
    site.store.refuse(Operation::Save);
    let in_closure = Arc::clone(&is_run);
    let failed = stream.save(move |session| {
        session.modify("n", move |_: &mut u32| {
            in_closure.store(true, Ordering::SeqCst);
        })
    });
    failed.await.unwrap_err();
    is_run.store(false, Ordering::SeqCst);
    stream.save(|session| session.set("m", &1)).await.unwrap();
    assert!(!is_run.load(Ordering::SeqCst));
    assert_eq!(Arc::strong_count(&is_run), 1, "the closure is kept");
}

#[test]
fn a_set_that_nobody_will_commit_is_told() {
    let site = Site::with_policy(Policy::new());
    let lines = told(async || {
        site.manager.start().set("n", &1).unwrap();
    });
    assert_eq!(times(&lines, "session_changes_lost"), 1, "{lines:#?}");
    let lines = told(async || {
        let (key, stream) = stream(&site).await;
        let loaded = site.stored(&key).await.unwrap();
        loaded.set("n", &2).unwrap();
        drop((loaded, stream));
    });
    assert_eq!(times(&lines, "session_changes_lost"), 1, "{lines:#?}");
    let lines = told(async || {
        let (key, stream) = stream(&site).await;
        stream.save(|session| session.set("n", &2)).await.unwrap();
        stream
            .save(|session| session.set("_n", &2))
            .await
            .unwrap_err();
        stream.log_out().await.unwrap();
        let session = site.manager.start();
        session.set("n", &1).unwrap();
        session.save().await.unwrap();
        assert!(site.stored(&key).await.is_none());
    });
    assert_eq!(times(&lines, "session_changes_lost"), 0, "{lines:#?}");
}
