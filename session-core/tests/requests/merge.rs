//! Requests on one session at the same time: nothing is lost, nothing comes back.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Request, Site, must_end};
use proptest::prelude::*;
use session_core::conformance::{Call, FourMethodStore, Operation};
use session_core::store::{Change, ExpiryChange, Saved, SessionStore};
use session_core::{
    Expiry, Limits, MemoryStore, Owner, Policy, SessionBase, SessionError, SessionKey,
    SessionManager,
};

async fn site_with_visitor() -> (Site, SessionKey) {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    (site, key)
}

/// Two requests that have both loaded the session.
async fn two_tabs(site: &Site, key: &SessionKey) -> [(Request, SessionBase); 2] {
    let (one, two) = (site.request(Some(key)), site.request(Some(key)));
    let (in_one, in_two) = (one.session().await, two.session().await);
    [(one, in_one), (two, in_two)]
}

#[tokio::test]
async fn race_02_changes_to_different_names_both_survive() {
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    in_one.set("a", &1).unwrap();
    in_two.set("b", &2).unwrap();
    in_two.remove("n");
    one.finish().await.expect_done();
    two.finish().await.expect_done();
    assert_eq!(
        site.stored(&key).await.unwrap().snapshot().to_json(),
        r#"{"a":1,"b":2}"#
    );
    assert_eq!(
        in_two.snapshot().to_json(),
        r#"{"a":1,"b":2}"#,
        "the request sees what was merged"
    );
}

#[tokio::test]
async fn of_two_sets_of_one_name_the_later_commit_wins() {
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    in_one.set("n", &"one").unwrap();
    in_two.set("n", &"two").unwrap();
    two.finish().await.expect_done();
    one.finish().await.expect_done();
    assert_eq!(
        site.stored(&key).await.unwrap().get("n").unwrap(),
        Some("one".to_owned())
    );
}

#[tokio::test]
async fn a_default_gives_way_to_what_another_request_has_set() {
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    assert_eq!(
        in_one
            .get_or_insert_with("colour", || "grey".to_owned())
            .unwrap(),
        "grey"
    );
    in_two.set("colour", "red").unwrap();
    two.finish().await.expect_done();
    one.finish().await.expect_done();
    assert_eq!(in_one.get("colour").unwrap(), Some("red".to_owned()));
}

#[tokio::test]
async fn race_02_race_03_fifty_requests_on_one_session_lose_nothing() {
    for store in stores() {
        let manager = SessionManager::from(store);
        let key = start(&manager).await;
        let requests = (0..50).map(|number| {
            let (manager, key) = (
                manager.clone(),
                SessionKey::parse(key.expose_secret().as_bytes()).unwrap(),
            );
            tokio::spawn(async move {
                let slot = manager.slot();
                slot.present([key.expose_secret().as_bytes()]);
                let session = slot.session().await?;
                session.set(&format!("name{number}"), &number)?;
                session.modify("counter", |counter: &mut u32| *counter += 1)?;
                let drawn = session
                    .modify_now("tickets", |tickets: &mut u32| {
                        *tickets += 1;
                        *tickets
                    })
                    .await?;
                let _outcome = slot
                    .commit(session_core::adapter::Completion::Success)
                    .await?;
                Ok::<u32, SessionError>(drawn)
            })
        });
        let mut drawn = BTreeSet::new();
        for request in requests.collect::<Vec<_>>() {
            drawn.insert(request.await.unwrap().expect("every request is answered"));
        }
        assert_eq!(
            drawn,
            (1..=50).collect(),
            "two requests drew the same ticket"
        );
        let session = manager.load(&key).await.unwrap().unwrap();
        assert_eq!(session.len(), 52, "names were lost: {:?}", session.keys());
        assert_eq!(session.get("counter").unwrap(), Some(50));
    }
}

fn stores() -> Vec<Arc<dyn SessionStore>> {
    vec![
        Arc::new(MemoryStore::new()),
        Arc::new(FourMethodStore::new()),
        Arc::new(FourMethodStore::new().with_latency(Duration::from_millis(2))),
    ]
}

async fn start(manager: &SessionManager) -> SessionKey {
    let session = manager.start();
    session.set("first", &true).unwrap();
    session.save().await.unwrap();
    session.remove("first");
    session.save().await.unwrap();
    session.session_key().unwrap()
}

#[tokio::test]
async fn race_04_one_of_fifty_callers_takes_a_value() {
    let (site, key) = site_with_visitor().await;
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(site.request(Some(&key)).session().await);
    }
    let mut taken = 0;
    for session in sessions {
        taken += usize::from(session.take::<u32>("n").await.unwrap().is_some());
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn who_comes_too_late_to_take_a_value_does_not_see_it_any_more() {
    // The request met the newer record, was refused by it, and went on showing the older one.
    let (site, key) = site_with_visitor().await;
    let [(_one, in_one), (_two, in_two)] = two_tabs(&site, &key).await;
    assert_eq!(in_two.take::<u32>("n").await.unwrap(), Some(1));
    assert_eq!(in_one.take::<u32>("n").await.unwrap(), None);
    assert!(!in_one.contains_key("n"), "a taken value is still shown");
}

#[tokio::test]
async fn what_was_taken_is_handed_over_even_if_another_pending_change_no_longer_fits() {
    // The value was removed from the store, and then the view was computed anew, which failed over another name: the
    // caller got that error, and the value was lost.
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    in_one
        .modify("count", |count: &mut u32| *count += 1)
        .unwrap();
    in_two.set("count", "many").unwrap();
    two.finish().await.expect_done();
    assert_eq!(in_one.take::<u32>("n").await.unwrap(), Some(1));
    assert!(matches!(
        one.finish().await.0,
        Err(SessionError::WrongType { .. })
    ));
}

#[tokio::test]
async fn race_01_a_late_writer_does_not_bring_a_session_back() {
    let (site, key) = site_with_visitor().await;
    let [(slow, in_slow), (other, in_other)] = two_tabs(&site, &key).await;
    in_slow.set("n", &2).unwrap();
    let gate = site.store.hold(Operation::Save);
    let slow = tokio::spawn(async move { slow.finish().await.word() });
    gate.reached().await;
    in_other.flush();
    assert_eq!(other.finish().await.word(), "revoke");
    gate.release();
    assert_eq!(slow.await.unwrap(), "interrupted");
    assert!(
        site.stored(&key).await.is_none(),
        "the session was brought back"
    );
    assert!(site.store.inner().inner().is_empty(), "something of it was");
}

#[tokio::test]
async fn rot_03_a_late_writer_does_not_bring_a_rotated_key_back() {
    let (site, key) = site_with_visitor().await;
    let [(slow, in_slow), (other, in_other)] = two_tabs(&site, &key).await;
    in_slow.set("n", &2).unwrap();
    in_other.log_in(7).unwrap();
    let new = other.finish().await.expect_issued();
    assert_eq!(slow.finish().await.word(), "interrupted");
    assert!(site.stored(&key).await.is_none());
    assert_eq!(site.stored(&new).await.unwrap().get("n").unwrap(), Some(1));
}

#[tokio::test]
async fn of_two_requests_that_change_the_key_one_is_interrupted() {
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    in_one.cycle_key();
    in_two.cycle_key();
    let new = one.finish().await.expect_issued();
    assert_eq!(two.finish().await.word(), "interrupted");
    assert!(site.stored(&new).await.is_some());
    assert_eq!(site.store.inner().inner().len(), 1, "two keys live");
}

#[tokio::test]
async fn whoever_logs_in_while_the_session_ends_gets_a_fresh_one() {
    let (site, key) = site_with_visitor().await;
    let [(log_in, in_log_in), (other, in_other)] = two_tabs(&site, &key).await;
    in_log_in.set("mine", &1).unwrap();
    in_log_in.log_in("ada").unwrap();
    in_other.flush();
    assert_eq!(other.finish().await.word(), "revoke");
    let fresh = log_in.finish().await.expect_issued();
    let session = site.stored(&fresh).await.unwrap();
    assert_eq!(session.owner(), Some(Owner::from("ada")));
    assert_eq!(
        session.keys(),
        ["mine"],
        "something of the dead session came back"
    );
}

#[tokio::test]
async fn what_was_written_for_one_owner_is_not_handed_to_the_next_when_the_session_ends() {
    // A log-in flushes what belongs to another owner. When that owner's session ended at the same moment, there was
    // nobody left to compare with, and what the request had written before the log-in went into the new owner's
    // session.
    let site = Site::new();
    let bob = site
        .visitor(|session| {
            session.log_in("bob").unwrap();
            session.set("address", "Bob's house").unwrap();
        })
        .await;
    let [(ada, in_ada), (other, in_other)] = two_tabs(&site, &bob).await;
    let address: String = in_ada.get("address").unwrap().unwrap();
    in_ada.set("ship_to", &address).unwrap();
    in_ada.set_label("Bob's phone").unwrap();
    in_ada.log_in("ada").unwrap();
    in_ada.set("mine", &1).unwrap();
    in_other.flush();
    other.finish().await.expect_done();
    let key = ada.finish().await.expect_issued();
    let session = site.stored(&key).await.unwrap();
    assert_eq!(session.owner(), Some(Owner::from("ada")));
    assert_eq!(session.keys(), ["mine"], "ada was given something of bob's");
    assert_eq!(session.label(), None);
}

#[tokio::test]
async fn race_05_a_log_in_meets_a_session_that_somebody_else_took_meanwhile() {
    let (site, key) = site_with_visitor().await;
    let [(ada, in_ada), (bob, in_bob)] = two_tabs(&site, &key).await;
    in_ada.set("mine", &1).unwrap();
    in_ada.log_in("ada").unwrap();
    // Bob's request saves at once, under the key that both have: Ada's log-in has to be judged anew.
    in_bob.set("bobs", &1).unwrap();
    in_bob.save().await.unwrap();
    let ada = ada.finish().await.expect_issued();
    let session = site.stored(&ada).await.unwrap();
    assert_eq!(
        session.keys(),
        ["n", "bobs", "mine"],
        "an anonymous visitor's data is kept"
    );
    assert_eq!(bob.finish().await.word(), "accessed");
}

#[tokio::test]
async fn a_renewal_and_a_save_do_not_lose_each_other() {
    let (site, key) = site_with_visitor().await;
    site.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let [(reader, _), (writer, in_writer)] = two_tabs(&site, &key).await;
    in_writer.set("n", &2).unwrap();
    let gate = site.store.hold(Operation::Save);
    let writer = tokio::spawn(async move { writer.finish().await.word() });
    gate.reached().await;
    assert_eq!(reader.finish().await.word(), "accessed");
    gate.release();
    assert_eq!(writer.await.unwrap(), "accessed");
    site.clock.advance(Duration::from_secs(13 * 24 * 3600));
    assert_eq!(
        site.stored(&key)
            .await
            .expect("the renewal was lost")
            .get("n")
            .unwrap(),
        Some(2)
    );
}

#[tokio::test]
async fn exp_06_a_late_renewal_does_not_undo_a_shorter_expiry() {
    let (site, key) = site_with_visitor().await;
    site.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let [(reader, _), (other, in_other)] = two_tabs(&site, &key).await;
    in_other
        .set_expiry(Expiry::OnInactivity(Duration::from_secs(60)))
        .unwrap();
    other.finish().await.expect_done();
    assert_eq!(reader.finish().await.word(), "accessed");
    site.clock.advance(Duration::from_secs(60));
    assert!(
        site.stored(&key).await.is_none(),
        "a session that was to end after a minute was renewed for weeks"
    );
}

#[tokio::test]
async fn an_expiry_set_elsewhere_is_respected_by_a_merging_writer() {
    let (site, key) = site_with_visitor().await;
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    in_one
        .set_expiry(Expiry::OnInactivity(Duration::from_secs(60)))
        .unwrap();
    in_two.set("m", &1).unwrap();
    one.finish().await.expect_issued();
    assert_eq!(two.finish().await.word(), "accessed");
    site.clock.advance(Duration::from_secs(60));
    assert!(
        site.stored(&key).await.is_none(),
        "the shorter expiry was lost"
    );
}

#[tokio::test]
async fn a_refused_change_stores_nothing_and_a_pending_one_of_its_name_goes_along() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.set("stock", &1_u32).unwrap();
    session.set("other", &1).unwrap();
    let buy = |stock: &mut u32| {
        stock
            .checked_sub(1)
            .map(|left| *stock = left)
            .ok_or("out of stock")
    };
    session.try_modify_now("stock", buy).await.unwrap().unwrap();
    assert_eq!(
        session.try_modify_now("stock", buy).await.unwrap(),
        Err("out of stock")
    );
    let stored = site.stored(&key).await.unwrap();
    assert_eq!(stored.snapshot().to_json(), r#"{"n":1,"stock":0}"#);
    assert_eq!(
        session.snapshot().to_json(),
        r#"{"n":1,"stock":0,"other":1}"#
    );
}

#[tokio::test]
async fn a_change_at_once_after_a_log_in_takes_the_log_in_along() {
    let site = Site::new();
    let bob = site
        .visitor(|session| {
            session.log_in("bob").unwrap();
            session.set("count", &41).unwrap();
        })
        .await;
    let request = site.request(Some(&bob));
    let session = request.session().await;
    session.log_in("ada").unwrap();
    let counted = session
        .modify_now("count", |count: &mut u32| {
            *count += 1;
            *count
        })
        .await;
    assert_eq!(counted.unwrap(), 1, "ada was told of bob's data");
    let ada = request.finish_with_5xx().await.expect_issued();
    assert_eq!(
        site.stored(&ada).await.unwrap().get("count").unwrap(),
        Some(1)
    );
    assert!(site.stored(&bob).await.is_none());
}

#[tokio::test]
async fn a_change_at_once_after_a_clear_does_not_see_what_was_cleared() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.clear();
    session
        .modify_now("n", |n: &mut u32| *n += 10)
        .await
        .unwrap();
    request.finish().await.expect_done();
    assert_eq!(
        site.stored(&key).await.unwrap().snapshot().to_json(),
        r#"{"n":10}"#
    );
}

#[tokio::test]
async fn fail_03_a_save_whose_answer_was_lost_is_not_done_twice() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.modify("n", |n: &mut u32| *n += 1).unwrap();
    session.set("m", &1).unwrap();
    site.store.lose_answer(Operation::Save);
    let error = session.save().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    session.save().await.unwrap();
    request.finish().await.expect_done();
    assert!(site.store.clear_faults());
    assert_eq!(
        site.stored(&key).await.unwrap().snapshot().to_json(),
        r#"{"n":2,"m":1}"#,
        "counted twice"
    );
}

#[test]
fn a_reload_after_a_save_whose_answer_was_lost_ends() {
    // The lock on the state lived through the body of an `if let`, which locked it again: the thread hung for ever.
    must_end(|| async {
        let (site, key) = site_with_visitor().await;
        let session = site.request(Some(&key)).session().await;
        session.modify("n", |n: &mut u32| *n += 1).unwrap();
        session.set("m", &1).unwrap();
        site.store.lose_answer(Operation::Save);
        session.save().await.unwrap_err();
        session.reload().await.unwrap();
        assert_eq!(session.get("n").unwrap(), Some(2));
        session.save().await.unwrap();
        assert_eq!(
            site.stored(&key).await.unwrap().snapshot().to_json(),
            r#"{"n":2,"m":1}"#
        );
    });
}

#[tokio::test]
async fn fail_07_a_save_that_was_dropped_is_not_done_twice() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.modify("n", |n: &mut u32| *n += 1).unwrap();
    session.set("m", &1).unwrap();
    let gate = site.store.hold_answer(Operation::Save);
    {
        let mut save = Box::pin(session.save());
        tokio::select! {
            biased;
            saved = &mut save => panic!("the gate did not hold: {saved:?}"),
            () = gate.reached() => {}
        }
    }
    drop(gate);
    request.finish().await.expect_done();
    assert_eq!(
        site.stored(&key).await.unwrap().snapshot().to_json(),
        r#"{"n":2,"m":1}"#,
        "counted twice"
    );
}

#[tokio::test]
async fn a_key_that_changed_although_the_answer_was_lost_is_told_to_the_client() {
    // The new key was known to nobody but the request, which asked for the old record, found it gone, and reported
    // that somebody had ended the session. It lived on under a key that no client had, and its visitor was logged
    // out.
    for is_log_in in [false, true] {
        let (site, key) = site_with_visitor().await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        session.modify("n", |n: &mut u32| *n += 1).unwrap();
        if is_log_in {
            session.log_in("ada").unwrap();
        } else {
            session.cycle_key();
        }
        site.store.lose_answer(Operation::Rotate);
        assert!(session.save().await.unwrap_err().is_unavailable());
        let new = request.finish_with_5xx().await.expect_issued();
        assert!(site.stored(&key).await.is_none());
        assert_eq!(site.stored(&new).await.unwrap().get("n").unwrap(), Some(2));
        assert_eq!(site.store.inner().inner().len(), 1, "an orphan is left");
    }
}

#[tokio::test]
async fn a_log_out_after_a_key_change_whose_answer_was_lost_leaves_nothing() {
    // Only the record under the old key was deleted; the moved one lived on.
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.cycle_key();
    site.store.lose_answer(Operation::Rotate);
    session.save().await.unwrap_err();
    session.log_out();
    assert_eq!(request.finish().await.word(), "revoke");
    assert!(
        site.store.inner().inner().is_empty(),
        "the session lives on"
    );
}

#[tokio::test]
async fn a_key_that_did_not_change_although_nobody_answered_is_changed_by_the_next_save() {
    // The other half of the above: the rotation did not happen.
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.cycle_key();
    site.store.refuse(Operation::Rotate);
    session.save().await.unwrap_err();
    let new = request.finish().await.expect_issued();
    assert!(site.stored(&key).await.is_none());
    assert_eq!(site.stored(&new).await.unwrap().get("n").unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_polls_does_not_keep_others_waiting_for_ever() {
    // Calls of one request wait for one another without a limit, and a future that is held and no longer polled, as
    // in a branch of `select!`, kept its turn: the commit never ended.
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.set("n", &2).unwrap();
    let gate = site.store.hold(Operation::Save);
    let mut first = Box::pin(session.save());
    tokio::select! {
        biased;
        saved = &mut first => panic!("the gate did not hold: {saved:?}"),
        () = gate.reached() => {}
    }
    let second = tokio::time::timeout(Duration::from_secs(60), session.save()).await;
    let error = second.expect("it waits for ever").unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let commit = tokio::time::timeout(Duration::from_secs(60), request.finish()).await;
    assert!(
        commit
            .expect("it waits for ever")
            .0
            .unwrap_err()
            .is_unavailable()
    );
    gate.release();
    first.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_flushed_while_it_is_saved_is_gone() {
    for operation in [Operation::Save, Operation::Rotate] {
        let (site, key) = site_with_visitor().await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        session.set("n", &2).unwrap();
        if operation == Operation::Rotate {
            session.cycle_key();
        }
        let gate = site.store.hold(operation);
        let saving = tokio::spawn({
            let session = session.clone();
            async move { session.save().await }
        });
        gate.reached().await;
        session.flush();
        gate.release();
        saving.await.unwrap().unwrap();
        assert_eq!(request.finish().await.word(), "revoke");
        assert!(
            site.store.inner().inner().is_empty(),
            "{operation:?}: a flushed session lives"
        );
    }
}

#[tokio::test]
async fn a_key_that_a_task_creates_during_the_commit_is_told() {
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    let gate = site.store.hold(Operation::Create);
    session.set("n", &1).unwrap();
    let task = tokio::spawn({
        let session = session.clone();
        async move { session.save().await }
    });
    gate.reached().await;
    let commit = tokio::spawn(async move { request.finish().await });
    tokio::task::yield_now().await;
    gate.release();
    task.await.unwrap().unwrap();
    let key = commit.await.unwrap().expect_issued();
    assert!(site.stored(&key).await.is_some());
}

#[tokio::test]
async fn a_session_that_is_flushed_while_it_is_created_is_gone() {
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    session.set("n", &2).unwrap();
    let gate = site.store.hold(Operation::Create);
    let saving = tokio::spawn({
        let session = session.clone();
        async move { session.save().await }
    });
    gate.reached().await;
    session.flush();
    gate.release();
    saving.await.unwrap().unwrap();
    assert_eq!(request.finish().await.word(), "accessed");
    assert!(
        site.store.inner().inner().is_empty(),
        "a flushed session lives"
    );
}

#[tokio::test]
async fn end_02_a_delete_that_failed_is_tried_by_the_next_commit() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.flush();
    site.store.refuse(Call::of(Operation::Delete).nth(1));
    site.store.refuse(Call::of(Operation::Delete).nth(2));
    assert!(session.save().await.unwrap_err().is_unavailable());
    assert!(site.store.clear_faults());
    assert_eq!(request.finish().await.word(), "revoke");
    assert!(site.stored(&key).await.is_none());
}

#[tokio::test]
async fn closures_run_without_a_lock_and_may_panic() {
    let (site, key) = site_with_visitor().await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let inner = session.clone();
    session
        .modify("n", move |n: &mut u32| {
            assert!(
                inner.contains_key("n"),
                "the closure can look at the session it changes"
            );
            *n += 1;
        })
        .unwrap();
    let panicking = session.clone();
    let panicked =
        tokio::spawn(async move { panicking.modify("n", |_: &mut u32| panic!("in the closure")) })
            .await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(session.get("n").unwrap(), Some(2));
    request.finish().await.expect_done();
    assert_eq!(site.stored(&key).await.unwrap().get("n").unwrap(), Some(2));
}

#[test]
fn a_closure_that_changes_the_session_itself_ends() {
    // Whatever changed the session while the closure ran made it run again, also what the closure did: it never
    // ended.
    must_end(|| async {
        let (site, key) = site_with_visitor().await;
        let request = site.request(Some(&key));
        let session = request.session().await;
        let inner = session.clone();
        session
            .modify("n", move |n: &mut u32| {
                *n += 1;
                inner.set("seen", n).unwrap();
            })
            .unwrap();
        session.reload().await.unwrap();
        request.finish().await.expect_done();
        assert_eq!(site.stored(&key).await.unwrap().get("n").unwrap(), Some(2));

        let session = site.request(Some(&key)).session().await;
        let inner = session.clone();
        let refused = session.modify("n", move |n: &mut u32| {
            let more: u32 = inner.get("n").unwrap().unwrap_or(0);
            inner.set("n", &(more + 1)).unwrap();
            *n += 1;
        });
        assert!(
            matches!(refused, Err(SessionError::Contended)),
            "{refused:?}"
        );
    });
}

struct LooksWhenDropped(SessionBase);

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        assert!(self.0.len() < 9);
    }
}

#[test]
fn what_a_closure_holds_is_dropped_without_a_lock() {
    // A change that superseded a closure dropped it, and what it held, under the lock on the state: a destructor that
    // looked at the session hung for ever.
    must_end(|| async {
        let (site, key) = site_with_visitor().await;
        let leave: [fn(&SessionBase); 3] = [
            |session| session.set("n", &7).unwrap(),
            |session| session.clear(),
            |session| session.flush(),
        ];
        for leave in leave {
            let session = site.request(Some(&key)).session().await;
            let held = LooksWhenDropped(session.clone());
            session
                .modify("n", move |n: &mut u32| *n += u32::from(!held.0.is_empty()))
                .unwrap();
            leave(&session);
        }
        let request = site.request(Some(&key));
        let session = request.session().await;
        let held = LooksWhenDropped(session.clone());
        session
            .modify("n", move |n: &mut u32| *n += u32::from(!held.0.is_empty()))
            .unwrap();
        request.finish_with_5xx().await.expect_done();
    });
}

#[tokio::test]
async fn a_modification_is_replayed_once_per_conflict_and_applied_once() {
    let (site, key) = site_with_visitor().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let [(one, in_one), (two, in_two)] = two_tabs(&site, &key).await;
    let counted = Arc::clone(&runs);
    in_one
        .modify("n", move |n: &mut u32| {
            counted.fetch_add(1, Ordering::SeqCst);
            *n *= 10;
        })
        .unwrap();
    in_two.set("n", &5).unwrap();
    two.finish().await.expect_done();
    one.finish().await.expect_done();
    assert_eq!(site.stored(&key).await.unwrap().get("n").unwrap(), Some(50));
    assert_eq!(
        runs.load(Ordering::SeqCst),
        2,
        "once to show and to save in vain, once on the newer record"
    );
}

#[tokio::test]
async fn race_08_a_session_that_others_never_stop_writing_is_given_up() {
    let mut limits = Limits::default();
    limits.commit_timeout = Duration::from_millis(50);
    let site = Site::with_policy(Policy::new().with_limits(limits));
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let session = site.request(Some(&key)).session().await;
    let (racer, store_key) = (
        Arc::clone(&site.store),
        site.manager.policy().keys().store_key(&key),
    );
    let now = session_core::Clock::now(&site.clock);
    let counted = session
        .modify_now("n", |n: &mut u32| {
            *n += 1;
            // Another process writes between our load and our save, every time.
            run(async {
                let store = racer.inner().inner();
                let record = store.load(&store_key, now).await.unwrap().unwrap();
                let change = Change::of(&record, record.payload.clone(), ExpiryChange::Keep);
                let saved = store
                    .save(&store_key, &record.version, change, now)
                    .await
                    .unwrap();
                assert!(matches!(saved, Saved::Stored(_)));
            });
        })
        .await;
    assert!(
        matches!(counted, Err(SessionError::Contended)),
        "{counted:?}"
    );
    assert_eq!(
        site.stored(&key).await.unwrap().get("n").unwrap(),
        Some(1),
        "a refused change was stored"
    );
}

/// Runs a future that never waits.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Runs a future that may have to wait.
fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

/// What the requests of a random program do.
#[derive(Debug, Clone)]
enum Step {
    Set(usize, u8),
    Remove(usize),
    Add(usize, u8),
    AddNow(usize, u8),
    Take(usize),
    Save,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        (0..3_usize, any::<u8>()).prop_map(|(name, value)| Step::Set(name, value)),
        (0..3_usize).prop_map(Step::Remove),
        (0..3_usize, any::<u8>()).prop_map(|(name, value)| Step::Add(name, value)),
        (0..3_usize, any::<u8>()).prop_map(|(name, value)| Step::AddNow(name, value)),
        (0..3_usize).prop_map(Step::Take),
        Just(Step::Save),
    ];
    prop::collection::vec((0..3_usize, step), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sums survive whatever the order: each counter ends at the sum of what was added to it, since every commit is replayed
    /// onto the newest record.
    #[test]
    fn sums_survive_every_interleaving(adds in prop::collection::vec((0..4_usize, 0..3_usize, 1..9_u64, any::<bool>()), 1..40)) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        in_runtime(async {
            let manager = SessionManager::new(MemoryStore::new());
            let key = start(&manager).await;
            let mut sessions = Vec::new();
            for _ in 0..4 {
                sessions.push(manager.load(&key).await.unwrap().unwrap());
            }
            let mut sums = [0_u64; 3];
            for (tab, name, amount, now) in adds {
                sums[name] += amount;
                if now {
                    sessions[tab].modify_now(NAMES[name], |sum: &mut u64| *sum += amount).await.unwrap();
                } else {
                    sessions[tab].modify(NAMES[name], move |sum: &mut u64| *sum += amount).unwrap();
                }
            }
            for session in &sessions {
                session.save().await.unwrap();
            }
            let stored = manager.load(&key).await.unwrap().unwrap();
            for (name, sum) in NAMES.iter().zip(sums) {
                prop_assert_eq!(stored.get::<u64>(*name).unwrap().unwrap_or(0), sum);
            }
            Ok(())
        })?;
    }

    /// What a request sees is always what a save of it would store: the view is the record it knows plus its own log.
    #[test]
    fn what_a_request_sees_is_what_it_stores(program in steps()) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        in_runtime(async {
            let manager = SessionManager::new(MemoryStore::new());
            let key = start(&manager).await;
            let mut tabs = Vec::new();
            for _ in 0..3 {
                tabs.push(manager.load(&key).await.unwrap().unwrap());
            }
            for (tab, step) in program {
                let session = &tabs[tab];
                match step {
                    Step::Set(name, value) => session.set(NAMES[name], &value).unwrap(),
                    Step::Remove(name) => drop(session.remove(NAMES[name])),
                    Step::Add(name, value) => session.modify(NAMES[name], move |sum: &mut u8| *sum = sum.wrapping_add(value)).unwrap(),
                    Step::AddNow(name, value) => session.modify_now(NAMES[name], |sum: &mut u8| *sum = sum.wrapping_add(value)).await.unwrap(),
                    Step::Take(name) => drop(session.take::<u8>(NAMES[name]).await.unwrap()),
                    Step::Save => {
                        // A save of nothing asks nothing, and so sees nothing new.
                        session.set("tab", &tab).unwrap();
                        session.save().await.unwrap();
                        let stored = manager.load(&key).await.unwrap().unwrap();
                        prop_assert_eq!(session.snapshot(), stored.snapshot());
                    }
                }
            }
            for session in &tabs {
                session.reload().await.unwrap();
                let seen = session.snapshot();
                session.save().await.unwrap();
                prop_assert_eq!(&seen, &session.snapshot());
                prop_assert_eq!(&seen, &manager.load(&key).await.unwrap().unwrap().snapshot());
            }
            Ok(())
        })?;
    }
}
