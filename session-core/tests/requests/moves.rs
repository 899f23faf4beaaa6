//! A session that moves to the place of a newer digest key is one session all the while: to its visitor, to whoever ends it,
//! and to servers that have the keys in another order.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use session_core::conformance::{Call, FaultStore, Operation};
use session_core::store::{
    Change, NewRecord, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp, Version,
};
use session_core::{
    Clock, DigestKeys, Expiry, KeyPolicy, KeyRing, ManualClock, MemoryStore, Owner, Policy,
    SessionKey, SessionManager,
};

use crate::at_rest::{Server, ring, rings};
use crate::support::{Request, must_end, times, told};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn copy_of(key: &SessionKey) -> SessionKey {
    SessionKey::parse(key.expose_secret().as_bytes()).unwrap()
}

/// Two servers while a new key is brought to the front: one has done so, the other not yet.
fn ahead_and_behind() -> (Server, Server) {
    let sealing = ring(1);
    let ahead = Server::new(&rings(11, &[10]), &sealing);
    let behind = ahead.with(&rings(10, &[11]), &sealing);
    (ahead, behind)
}

#[tokio::test]
async fn end_01_a_log_out_ends_a_session_that_a_server_with_the_other_order_moves_meanwhile() {
    for without_loading in [true, false] {
        let (ahead, behind) = ahead_and_behind();
        let key = ahead.visitor("a").await;
        // The old place was looked at; the new one is next.
        let gate = ahead.store.hold(Call::of(Operation::Delete).nth(2));
        let log_out = tokio::spawn({
            let (ahead, key) = (ahead.clone(), copy_of(&key));
            async move {
                let request = ahead.request(&key);
                if without_loading {
                    request.slot.log_out();
                } else {
                    request.session().await.log_out();
                }
                request.finish().await.expect_done();
            }
        });
        gate.reached().await;
        behind.write(&key, "n", 1).await.expect_done();
        gate.release();
        log_out.await.unwrap();
        assert_eq!(
            ahead.records().await.len(),
            0,
            "a session outlived its log-out, without loading: {without_loading}"
        );
    }
}

#[tokio::test]
async fn end_02_a_log_out_goes_on_to_every_place_when_one_can_not_be_assured() {
    let (ahead, _) = ahead_and_behind();
    let key = ahead.visitor("a").await;
    ahead.store.refuse_with(Operation::Delete, || {
        StoreError::deleted_within("the cache", Duration::from_secs(60))
    });
    let request = ahead.request(&key);
    request.slot.log_out();
    let ended = request.finish().await;
    assert_eq!(ended.word(), "store error", "{ended:?}");
    assert_eq!(
        ahead.records().await.len(),
        0,
        "the record is said to be deleted, and opens the session"
    );
}

#[tokio::test]
async fn a_write_follows_a_session_that_a_server_with_the_other_order_has_moved() {
    let (ahead, behind) = ahead_and_behind();
    let key = ahead.visitor("a").await;
    let slow = ahead.request(&key);
    slow.session().await.set("slow", &1).unwrap();
    behind.write(&key, "fast", 1).await.expect_done();
    let ended = slow.finish().await;
    assert_eq!(
        ended.word(),
        "accessed",
        "a living session was called ended"
    );
    let session = ahead.manager.load(&key).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("fast").unwrap(), Some(1));
    assert_eq!(session.get::<u32>("slow").unwrap(), Some(1));
    assert_eq!(ahead.records().await.len(), 1);
}

#[tokio::test]
async fn rot_03_a_log_in_kills_the_old_key_although_its_session_was_moved_meanwhile() {
    let (ahead, behind) = ahead_and_behind();
    let key = ahead.visitor("a").await;
    let log_in = ahead.request(&key);
    log_in.session().await.log_in(7).unwrap();
    behind.write(&key, "n", 1).await.expect_done();
    let new = log_in.finish().await.expect_issued();
    assert!(
        ahead.manager.load(&key).await.unwrap().is_none(),
        "the key from before the log-in is still logged in"
    );
    assert_eq!(ahead.reads(&new).await.as_deref(), Some("a"));
    assert_eq!(ahead.records().await.len(), 1);
}

#[tokio::test]
async fn a_session_that_was_moved_meanwhile_is_still_the_current_one() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let request = both.request(&key);
    let session = request.session().await;
    both.write(&key, "n", 1).await.expect_done();
    let listed = session.own_sessions().await.unwrap();
    let current: Vec<_> = listed.iter().filter(|listed| listed.is_current).collect();
    assert_eq!(current.len(), 1, "the visitor's own device is not marked");
    assert!(session.end(&current[0].handle).await.unwrap());
    assert_eq!(
        request.finish().await.word(),
        "revoke",
        "the visitor ended the session, and keeps its key"
    );
    assert_eq!(both.records().await.len(), 0);
}

#[tokio::test]
async fn ending_the_current_session_by_its_handle_ends_it_although_it_is_moved_at_that_moment() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let gate = both.store.hold(Operation::End);
    let ending = tokio::spawn({
        let (both, key) = (both.clone(), copy_of(&key));
        async move {
            let request = both.request(&key);
            let session = request.session().await;
            let handle = session.own_sessions().await.unwrap().remove(0).handle;
            session.end(&handle).await.unwrap();
            request.finish().await
        }
    });
    gate.reached().await;
    both.write(&key, "n", 1).await.expect_done();
    gate.release();
    assert_eq!(ending.await.unwrap().word(), "revoke");
    assert_eq!(
        both.records().await.len(),
        0,
        "the client was told to forget a session that goes on"
    );
}

#[test]
fn leak_09_what_is_damaged_or_over_is_told_once_also_while_there_are_older_keys() {
    let (ahead, _) = ahead_and_behind();
    let lines = told(async || {
        let (damaged, over) = (ahead.visitor("a").await, ahead.visitor("b").await);
        let place = ahead.manager.policy().keys().store_key(&damaged);
        let records = ahead.records().await;
        let (_, other) = records.iter().find(|(found, _)| *found != place).unwrap();
        ahead.forge(&place, other).await;
        assert!(ahead.manager.load(&damaged).await.unwrap().is_none());
        let policy = ahead.manager.policy().clone();
        let strict = policy.with_not_before(SystemTime::from(Timestamp::MAX));
        let strict = ahead.manager.clone().with_policy(strict);
        assert!(strict.load(&over).await.unwrap().is_none());
    });
    for event in ["session_damaged", "session_expired"] {
        assert_eq!(times(&lines, event), 1, "{event}: {lines:#?}");
    }
}

/// Has the required methods, and rotates in several steps.
#[derive(Debug)]
struct InSteps(FaultStore<MemoryStore>);

#[async_trait]
impl SessionStore for InSteps {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }
}

/// A server whose store rotates in several steps, before and after a new key, and a session from before.
async fn in_steps(expiry: Expiry) -> (Arc<InSteps>, SessionManager, SessionKey, Timestamp) {
    let store = Arc::new(InSteps(FaultStore::new(MemoryStore::new())));
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let now = clock.now();
    let clock = Arc::new(clock);
    let manager = |digest: KeyRing| {
        let policy = Policy::new().with_keys(KeyPolicy::Keyed(DigestKeys::new(&digest)));
        SessionManager::new(Arc::clone(&store))
            .with_policy(policy)
            .with_clock(Arc::clone(&clock))
    };
    let before = manager(ring(10)).start();
    before.set("n", &0).unwrap();
    before.set_expiry(expiry).unwrap();
    before.save().await.unwrap();
    let key = before.session_key().unwrap();
    let after = manager(rings(11, &[10]));
    (store, after, key, now)
}

fn request(manager: &SessionManager, key: &SessionKey) -> Request {
    let slot = manager.slot();
    slot.present([key.expose_secret().as_bytes()]);
    Request { slot }
}

#[tokio::test]
async fn race_03_two_requests_that_move_a_session_at_once_in_steps_are_both_counted_once() {
    let tomorrow = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000) + DAY;
    for expiry in [Expiry::Default, Expiry::At(tomorrow)] {
        let (store, manager, key, now) = in_steps(expiry).await;
        let add = |request: &Request| {
            let slot = request.slot.clone();
            async move {
                let session = slot.session().await.unwrap();
                session.modify("n", |n: &mut u32| *n += 1).unwrap();
            }
        };
        let (first, second) = (request(&manager, &key), request(&manager, &key));
        add(&first).await;
        add(&second).await;
        // The record is at its new place, and the old one is not yet gone.
        let gate = store.0.hold(Operation::Save);
        let moving = tokio::spawn(async move { first.finish().await });
        gate.reached().await;
        let ended = second.finish().await;
        assert_eq!(ended.word(), "accessed", "{expiry:?}: {ended:?}");
        gate.release();
        let ended = moving.await.unwrap();
        assert_eq!(ended.word(), "accessed", "{expiry:?}: {ended:?}");
        let session = manager.load(&key).await.unwrap().unwrap();
        assert_eq!(session.get::<u32>("n").unwrap(), Some(2), "{expiry:?}");
        assert_eq!(
            session.time_left(),
            Some(session.expiry_age()),
            "a session that was moved has the life of an orphan: {expiry:?}"
        );
        let place = DigestKeys::new(&ring(10));
        let place = KeyPolicy::Keyed(place).store_key(&key);
        assert!(store.load(&place, now).await.unwrap().is_none());
    }
}

/// Says of every session that it is gone when it is to be moved, and finds it all the same.
#[derive(Debug)]
struct Contradicting(InSteps);

#[async_trait]
impl SessionStore for Contradicting {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }

    async fn rotate(
        &self,
        _: &StoreKey,
        _: &Version,
        _: &StoreKey,
        _: Change,
        _: Timestamp,
    ) -> Result<Saved, StoreError> {
        Ok(Saved::Gone)
    }
}

#[test]
fn race_08_a_move_that_a_store_refuses_and_denies_ends_in_an_error() {
    must_end(async || {
        let store = InSteps(FaultStore::new(MemoryStore::new()));
        let store = Arc::new(Contradicting(store));
        let manager = |digest: KeyRing| {
            let mut limits = *Policy::new().limits();
            limits.commit_timeout = Duration::from_millis(200);
            let keys = KeyPolicy::Keyed(DigestKeys::new(&digest));
            let policy = Policy::new().with_keys(keys).with_limits(limits);
            SessionManager::new(Arc::clone(&store)).with_policy(policy)
        };
        let before = manager(ring(10)).start();
        before.set("n", &0).unwrap();
        before.log_in(Owner::from(7)).unwrap();
        before.save().await.unwrap();
        let key = before.session_key().unwrap();
        let session = manager(rings(11, &[10])).load(&key).await;
        let session = session.unwrap().unwrap();
        session.set("n", &1).unwrap();
        session.save().await.expect_err("nothing was stored");
    });
}

#[tokio::test]
async fn a_log_in_on_a_session_to_be_moved_whose_answer_is_lost_is_followed() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let log_in = both.request(&key);
    let session = log_in.session().await;
    session.log_in(7).unwrap();
    both.store.lose_answer(Operation::Rotate);
    session.save().await.unwrap_err();
    let new = log_in.finish().await.expect_issued();
    assert!(both.manager.load(&key).await.unwrap().is_none());
    assert_eq!(both.reads(&new).await.as_deref(), Some("a"));
    assert_eq!(both.records().await.len(), 1);
}

#[tokio::test]
async fn a_log_in_on_a_session_that_has_ended_begins_a_fresh_one_also_while_there_are_older_keys() {
    for moves in [false, true] {
        let sealing = ring(1);
        let (new, old) = (rings(11, &[10]), ring(10));
        let server = Server::new(if moves { &old } else { &new }, &sealing);
        let key = server.visitor("a").await;
        let both = server.with(&new, &sealing);
        let log_in = both.request(&key);
        let session = log_in.session().await;
        session.log_in(7).unwrap();
        session.set("own", &1).unwrap();
        assert_eq!(both.manager.end_all(&Owner::from(7)).await.unwrap(), 1);
        let issued = log_in.finish().await.expect_issued();
        let fresh = both.manager.load(&issued).await.unwrap().unwrap();
        assert_eq!(fresh.get::<u32>("own").unwrap(), Some(1));
        assert_eq!(
            fresh.get::<String>("secret").unwrap(),
            None,
            "data of a session that was ended came back"
        );
    }
}

#[tokio::test]
async fn a_session_that_is_ended_while_its_move_is_under_way_ends() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let request = both.request(&key);
    let session = request.session().await;
    session.set("n", &1).unwrap();
    let gate = both.store.hold_answer(Operation::Rotate);
    let ending = async {
        gate.reached().await;
        session.log_out();
        gate.release();
    };
    let (saved, ()) = tokio::join!(session.save(), ending);
    saved.unwrap();
    assert_eq!(request.finish().await.word(), "revoke");
    assert_eq!(both.records().await.len(), 0, "it lives at its new place");
}

#[tokio::test]
async fn a_renewal_that_moves_a_session_and_whose_answer_is_lost_loses_no_later_change() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    both.clock.advance(7 * DAY);
    let request = both.request(&key);
    let session = request.session().await;
    both.store.lose_answer(Operation::Rotate);
    session.save().await.unwrap_err();
    session.set("n", &1).unwrap();
    assert_eq!(request.finish().await.word(), "accessed");
    let stored = both.manager.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(both.records().await.len(), 1);
}
