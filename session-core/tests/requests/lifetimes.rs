//! How long sessions live, how many of them there may be, and who is told.
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use session_core::conformance::Operation;
use session_core::store::{Page, SessionStore, Timestamp};
use session_core::{
    Activity, Clock, Expiry, Owner, Policy, Renewal, SessionBase, SessionError, SessionHandle,
    SessionKey,
};

use crate::support::{Site, keep_events_on};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn log_in(site: &Site, owner: u64) -> SessionKey {
    site.visitor(|session| session.log_in(owner).unwrap()).await
}

async fn is_alive(site: &Site, key: &SessionKey) -> bool {
    site.stored(key).await.is_some()
}

/// A request that does this, and nothing else.
async fn request(site: &Site, key: &SessionKey, deed: impl FnOnce(&SessionBase)) {
    let request = site.request(Some(key));
    deed(&request.session().await);
    request.finish().await.expect_done();
}

#[tokio::test]
async fn exp_01_both_timeouts_end_a_session_at_their_second_and_not_before() {
    let policy = Policy::new()
        .with_idle_timeout(HOUR)
        .with_absolute_timeout(3 * HOUR);
    let site = Site::with_policy(policy);
    let idle = log_in(&site, 1).await;
    site.clock.advance(HOUR - Duration::from_secs(1));
    assert!(is_alive(&site, &idle).await, "it ended a second early");
    site.clock.advance(Duration::from_secs(1));
    assert!(
        !is_alive(&site, &idle).await,
        "it outlived its idle timeout"
    );

    let busy = log_in(&site, 2).await;
    for _ in 0..3 * 60 - 1 {
        site.clock.advance(MINUTE);
        request(&site, &busy, |session| drop(session.get::<u32>("n"))).await;
    }
    site.clock.advance(MINUTE - Duration::from_secs(1));
    assert!(is_alive(&site, &busy).await, "it ended a second early");
    site.clock.advance(Duration::from_secs(1));
    assert!(
        !is_alive(&site, &busy).await,
        "it outlived its absolute timeout"
    );
}

#[tokio::test]
async fn exp_02_a_cookie_that_a_client_keeps_too_long_opens_nothing() {
    let site = Site::new();
    let key = site
        .visitor(|session| session.set_expiry(Expiry::OnInactivity(HOUR)).unwrap())
        .await;
    site.clock.advance(HOUR);
    let replayed = site.request(Some(&key));
    assert!(replayed.session().await.is_empty());
    assert_eq!(
        replayed.finish().await.word(),
        "accessed",
        "the client was told something"
    );
}

#[test]
fn exp_03_the_presets_are_those_of_the_assurance_levels() {
    #[rustfmt::skip]
    let table = [
        (Policy::aal1(), 30 * DAY,  7 * DAY),
        (Policy::aal2(), DAY,       HOUR),
        (Policy::aal3(), 12 * HOUR, 15 * MINUTE),
    ];
    for (policy, absolute, idle) in table {
        assert_eq!(policy.absolute_timeout(), Some(absolute), "{policy:?}");
        assert_eq!(policy.idle_timeout(), idle, "{policy:?}");
    }
}

#[tokio::test]
async fn exp_05_a_log_in_starts_both_timers_anew_and_activity_only_one() {
    let policy = Policy::new()
        .with_idle_timeout(HOUR)
        .with_absolute_timeout(2 * HOUR);
    let site = Site::with_policy(policy);
    let key = log_in(&site, 1).await;
    site.clock.advance(50 * MINUTE);
    request(&site, &key, |session| drop(session.get::<u32>("n"))).await;
    site.clock.advance(50 * MINUTE);
    // Once more with a password: 100 minutes have passed.
    let again = site.request(Some(&key));
    again.session().await.log_in(1).unwrap();
    let key = again.finish().await.expect_issued();
    site.clock.advance(50 * MINUTE);
    assert!(
        is_alive(&site, &key).await,
        "the log-in did not start the absolute timeout anew"
    );
    request(&site, &key, |session| drop(session.get::<u32>("n"))).await;
    site.clock.advance(50 * MINUTE);
    request(&site, &key, |session| drop(session.get::<u32>("n"))).await;
    site.clock.advance(20 * MINUTE);
    assert!(
        !is_alive(&site, &key).await,
        "activity moved the absolute timeout"
    );
}

#[tokio::test]
async fn exp_11_asking_how_much_time_is_left_does_not_give_more() {
    let policy = Policy::new()
        .with_idle_timeout(HOUR)
        .with_renew_after(Duration::ZERO);
    let site = Site::with_policy(policy);
    let key = log_in(&site, 1).await;
    for minutes in 1..60 {
        site.clock.advance(MINUTE);
        let asking = site.request(Some(&key));
        let session = asking.session().await;
        session.set_activity(Activity::Ignore);
        assert_eq!(session.time_left(), Some(HOUR - minutes * MINUTE));
        asking.finish().await.expect_done();
    }
    site.clock.advance(MINUTE);
    assert!(!is_alive(&site, &key).await, "asking kept it alive");
    let new = site.request(None);
    assert_eq!(new.session().await.time_left(), None);
}

#[tokio::test]
async fn exp_12_what_is_no_activity_does_not_renew_whatever_the_policy_says_and_stores_what_it_changes()
 {
    for renewal in [Renewal::OnAccess, Renewal::OnSave, Renewal::EveryRequest] {
        let policy = Policy::new()
            .with_idle_timeout(HOUR)
            .with_renew_after(Duration::ZERO)
            .with_renewal(renewal);
        let site = Site::with_policy(policy);
        let (polled, used) = (log_in(&site, 1).await, log_in(&site, 2).await);
        for n in 0..6 {
            site.clock.advance(10 * MINUTE);
            request(&site, &used, |session| session.set("n", &n).unwrap()).await;
            if n == 5 {
                break;
            }
            request(&site, &polled, |session| {
                session.set_activity(Activity::Ignore);
                session.set("n", &n).unwrap();
            })
            .await;
            assert_eq!(
                site.stored(&polled).await.unwrap().get("n").unwrap(),
                Some(n)
            );
            // Nobody asks for the session, and nobody is to count it.
            let unasked = site.request(Some(&polled));
            unasked.slot.set_activity(Activity::Ignore);
            assert!(unasked.slot.is_untouched(), "{renewal:?}");
            unasked.finish().await.expect_done();
        }
        assert!(
            !is_alive(&site, &polled).await,
            "polling kept it alive: {renewal:?}"
        );
        assert!(is_alive(&site, &used).await, "{renewal:?}");
    }
}

#[tokio::test]
async fn end_10_a_moment_ends_everything_that_began_before_it() {
    let before = Site::new();
    let (old, also_old) = (
        log_in(&before, 1).await,
        before.visitor(|s| s.set("n", &1).unwrap()).await,
    );
    let moment = SystemTime::from(before.clock.now()) + Duration::from_millis(500);
    before.clock.advance(Duration::from_secs(1));
    let young = log_in(&before, 2).await;
    let after = before.with(Policy::new().with_not_before(moment));
    assert!(!is_alive(&after, &old).await);
    assert!(!is_alive(&after, &also_old).await);
    assert!(
        is_alive(&after, &young).await,
        "one that began later ended as well"
    );
    // Nothing brings it back, and a log-in from it begins anew.
    let late = after.request(Some(&old));
    late.session().await.log_in(1).unwrap();
    let anew = late.finish().await.expect_issued();
    assert!(is_alive(&after, &anew).await);
    assert!(!is_alive(&after, &old).await);
}

#[tokio::test]
async fn end_11_of_fifty_concurrent_log_ins_as_many_live_as_the_limit_says() {
    let limit = NonZeroUsize::new(3).unwrap();
    let site = Site::with_policy(Policy::new().with_sessions_per_owner_max(limit));
    let other = log_in(&site, 8).await;
    // All of them have loaded, and are stored at the same moment.
    let gate = site.store.hold(Operation::Create);
    let mut log_ins = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let manager = site.manager.clone();
        log_ins.spawn(async move {
            let session = manager.start();
            session.log_in(7).unwrap();
            session.save().await.unwrap();
            session.session_key().unwrap()
        });
    }
    gate.reached().await;
    gate.release();
    let keys = log_ins.join_all().await;
    let mut alive = 0;
    for key in &keys {
        alive += u32::from(is_alive(&site, key).await);
    }
    assert_eq!(alive, 3);
    assert!(
        is_alive(&site, &other).await,
        "somebody else's session was ended"
    );
}

#[tokio::test]
async fn end_11_the_oldest_session_beyond_the_limit_ends() {
    let limit = NonZeroUsize::new(2).unwrap();
    let site = Site::with_policy(Policy::new().with_sessions_per_owner_max(limit));
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(log_in(&site, 7).await);
        site.clock.advance(Duration::from_secs(1));
    }
    let mut alive = Vec::new();
    for key in &keys {
        alive.push(is_alive(&site, key).await);
    }
    assert_eq!(alive, [false, false, true, true]);
}

#[tokio::test]
async fn dos_01_reading_creates_nothing_and_writing_no_more_than_the_budget() {
    let site = Site::with_policy(Policy::new().with_new_anonymous_per_minute_max(10));
    for _ in 0..1_000 {
        let reader = site.request(None);
        assert_eq!(reader.session().await.get::<u32>("n").unwrap(), None);
        reader.finish().await.expect_done();
    }
    assert_eq!(records(&site).await, 0, "a crawler has filled the store");
    let mut refused = 0;
    for _ in 0..100 {
        let writer = site.request(None);
        writer.session().await.set("n", &1).unwrap();
        match writer.finish().await.0 {
            Err(
                error @ SessionError::TooManyNewSessions {
                    per_minute_max: 10, ..
                },
            ) => {
                assert!(error.is_unavailable());
                refused += 1;
            }
            other => assert!(other.is_ok(), "{other:?}"),
        }
    }
    assert_eq!((records(&site).await, refused), (10, 90));
    let known = log_in(&site, 7).await;
    assert!(
        is_alive(&site, &known).await,
        "nobody can log in during a flood"
    );
    request(&site, &known, |session| session.set("n", &1).unwrap()).await;
    site.clock.advance(MINUTE);
    site.visitor(|session| session.set("n", &1).unwrap()).await;
    assert_eq!(records(&site).await, 12, "the budget does not begin anew");
}

async fn records(site: &Site) -> usize {
    let scan = site.store.scan().expect("memory can be scanned");
    scan.page(Page::first(10_000)).await.unwrap().len()
}

#[tokio::test]
async fn dos_02_a_session_without_a_log_in_has_a_shorter_life_of_its_own() {
    let policy = Policy::new()
        .with_idle_timeout(DAY)
        .with_anonymous_idle_timeout(HOUR);
    let site = Site::with_policy(policy);
    let anonymous = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let becomes_known = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let shopper = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(30 * MINUTE);
    let log_in = site.request(Some(&becomes_known));
    log_in.session().await.log_in(7).unwrap();
    let known = log_in.finish().await.expect_issued();
    request(&site, &shopper, |session| drop(session.get::<u32>("n"))).await;
    site.clock.advance(30 * MINUTE);
    assert!(!is_alive(&site, &anonymous).await);
    assert!(
        is_alive(&site, &shopper).await,
        "a short session is not renewed"
    );
    site.clock.advance(12 * HOUR);
    assert!(
        is_alive(&site, &known).await,
        "a log-in kept the short life"
    );
    assert!(!is_alive(&site, &shopper).await);
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was told while this ran, one event to a line.
fn told<F: Future<Output = ()>>(body: impl FnOnce() -> F) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    keep_events_on();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(body()));
    let text = log.0.lock().unwrap().clone();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn fix_04_unknown_keys_are_counted_each_and_told_once_a_minute() {
    let site = Site::new();
    let lines = told(async || {
        for n in 0..1_000_u32 {
            let key = format!("{n:032}");
            let slot = site.manager.slot();
            slot.present([key.as_bytes()]);
            assert!(slot.session().await.unwrap().is_empty());
            if n == 500 {
                site.clock.advance(MINUTE);
            }
        }
    });
    assert_eq!(site.manager.unknown_keys(), 1_000);
    let told = lines.iter().filter(|line| line.contains("session_unknown"));
    assert_eq!(told.count(), 2, "{lines:?}");
}

#[test]
fn leak_09_every_security_event_is_told_once_under_its_name() {
    let limit = NonZeroUsize::new(1).unwrap();
    let policy = Policy::new()
        .with_sessions_per_owner_max(limit)
        .with_new_anonymous_per_minute_max(2)
        .with_absolute_timeout(DAY);
    let site = Site::with_policy(policy);
    let lines = told(async || {
        // session_created, then session_rotated by a log-in.
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let first = site.request(Some(&key));
        first.session().await.log_in(7).unwrap();
        let key = first.finish().await.expect_issued();
        site.clock.advance(Duration::from_secs(1));
        // session_ended by the limit.
        let second = site.request(None);
        second.session().await.log_in(7).unwrap();
        let second = second.finish().await.expect_issued();
        assert!(!is_alive(&site, &key).await);
        // session_conflict
        let slow = site.request(Some(&second));
        slow.session().await.set("slow", &1).unwrap();
        request(&site, &second, |session| session.set("fast", &1).unwrap()).await;
        slow.finish().await.expect_done();
        // store_failed
        site.store.refuse(Operation::Save);
        let failing = site.request(Some(&second));
        failing.session().await.set("n", &2).unwrap();
        assert_eq!(failing.finish().await.word(), "store error");
        // session_ended by a log-out
        request(&site, &second, SessionBase::log_out).await;
        // session_limit: one is left of two.
        let last = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let refused = site.request(None);
        refused.session().await.set("n", &1).unwrap();
        refused.finish().await.0.unwrap_err();
        // sessions_ended
        let owner = site.request(None);
        let session = owner.session().await;
        session.log_in(9).unwrap();
        session.save().await.unwrap();
        assert_eq!(session.end_all().await.unwrap(), 1);
        // session_expired: the policy became stricter.
        let strict = site.with(Policy::new().with_not_before(SystemTime::from(Timestamp::MAX)));
        let slot = strict.manager.slot();
        slot.present([last.expose_secret().as_bytes()]);
        assert!(slot.session().await.unwrap().is_empty());
    });
    #[rustfmt::skip]
    let expected = [
        ("event=\"session_created\"",  4),
        ("event=\"session_rotated\"",  1),
        ("event=\"session_ended\"",    2),
        ("event=\"session_conflict\"", 1),
        ("event=\"store_failed\"",     1),
        ("event=\"session_limit\"",    1),
        ("event=\"sessions_ended\"",   1),
        ("event=\"session_expired\"",  1),
    ];
    for (event, times) in expected {
        let told = lines.iter().filter(|line| line.contains(event)).count();
        assert_eq!(told, times, "{event}: {lines:#?}");
    }
    for reason in ["reason=\"limit\"", "reason=\"log_out\""] {
        let told = lines.iter().filter(|line| line.contains(reason)).count();
        assert_eq!(told, 1, "{reason}: {lines:#?}");
    }
}

#[test]
fn leak_03_leak_08_an_event_names_a_session_by_its_handle_and_nothing_else_in_it_grows() {
    let site = Site::new();
    let mut keys = Vec::new();
    let lines = told(async || {
        for owner in 0..300_u32 {
            let key = log_in(&site, owner.into()).await;
            let next = site.request(Some(&key));
            next.session().await.cycle_key();
            let key = next.finish().await.expect_issued();
            request(&site, &key, SessionBase::log_out).await;
            keys.push(key);
        }
    });
    let mut words: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut handles = 0;
    for line in lines.iter().filter(|line| line.contains("event=")) {
        for (name, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
            if name == "session" || name == "before" {
                value.parse::<SessionHandle>().unwrap();
                handles += 1;
            } else {
                words.entry(name).or_default().insert(value);
            }
        }
    }
    assert_eq!(
        handles,
        300 * 4,
        "an event does not say which session it is about"
    );
    for (name, values) in words {
        assert!(values.len() <= 8, "{name} has a value for each session");
    }
    let text = lines.join("\n");
    for key in keys {
        let place = site.manager.policy().keys().store_key(&key);
        assert!(!text.contains(key.expose_secret()) && !text.contains(place.as_str()));
    }
}

#[tokio::test]
async fn end_08_an_account_that_is_closed_has_no_sessions() {
    let site = Site::new();
    let (one, other, neighbour) = (
        log_in(&site, 7).await,
        log_in(&site, 7).await,
        log_in(&site, 8).await,
    );
    assert_eq!(site.manager.end_all(&Owner::from(7)).await.unwrap(), 2);
    assert!(!is_alive(&site, &one).await && !is_alive(&site, &other).await);
    assert!(is_alive(&site, &neighbour).await);
}
