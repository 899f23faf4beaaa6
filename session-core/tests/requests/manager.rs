//! What requests do to the store, and what their clients are told.
use std::time::{Duration, SystemTime};

use crate::support::{Request, Site};
use session_core::Clock as _;
use session_core::conformance::Operation;
use session_core::store::{SessionStore, StoreError};
use session_core::{
    Expiry, Field, Limits, Owner, Policy, Reissue, Renewal, SessionBase, SessionData, SessionError,
    SessionKey,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the table's requests bring.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Brings {
    Nothing,
    NoKey,
    UnknownKey,
    LiveKey,
}

/// Something that an application does, and its name.
type Deed = (&'static str, fn(&SessionBase));

/// One row: what the client brings, what the application does, the outcome after a 2xx and after a 5xx, the store's calls
/// for each, and whether the visitor's record lives afterwards.
type Row = (
    Brings,
    &'static str,
    fn(&SessionBase),
    (&'static str, u64),
    (&'static str, u64),
);

#[tokio::test]
async fn every_state_after_the_handler_has_its_store_calls_and_its_outcome() {
    use Brings::{LiveKey, NoKey, Nothing, UnknownKey};
    let read: fn(&SessionBase) = |session| drop(session.get::<u32>("n"));
    let write: fn(&SessionBase) = |session| session.set("m", &1).unwrap();
    let flush: fn(&SessionBase) = SessionBase::flush;
    let clear: fn(&SessionBase) = SessionBase::clear;
    let cycle: fn(&SessionBase) = SessionBase::cycle_key;
    let log_in: fn(&SessionBase) = |session| session.log_in(7).unwrap();
    let retime: fn(&SessionBase) = |session| session.set_expiry(Expiry::AtBrowserClose).unwrap();
    let flush_and_write: fn(&SessionBase) = |session| {
        session.flush();
        session.set("m", &1).unwrap();
    };
    #[rustfmt::skip]
    let rows: &[Row] = &[
        // brings     does              with             2xx               5xx
        (Nothing,    "read",            read,            ("accessed", 0),  ("accessed", 0)),
        (Nothing,    "write",           write,           ("issue", 1),     ("accessed", 0)),
        (Nothing,    "flush",           flush,           ("accessed", 0),  ("accessed", 0)),
        (Nothing,    "clear",           clear,           ("accessed", 0),  ("accessed", 0)),
        (Nothing,    "cycle_key",       cycle,           ("accessed", 0),  ("accessed", 0)),
        (Nothing,    "log_in",          log_in,          ("issue", 1),     ("accessed", 0)),
        (NoKey,      "read",            read,            ("accessed", 0),  ("accessed", 0)),
        (NoKey,      "write",           write,           ("issue", 1),     ("accessed", 0)),
        (NoKey,      "flush",           flush,           ("revoke", 0),    ("revoke", 0)),
        (UnknownKey, "read",            read,            ("accessed", 1),  ("accessed", 1)),
        (UnknownKey, "write",           write,           ("issue", 2),     ("accessed", 1)),
        (UnknownKey, "clear",           clear,           ("accessed", 1),  ("accessed", 1)),
        (UnknownKey, "flush",           flush,           ("revoke", 1),    ("revoke", 1)),
        (UnknownKey, "flush, write",    flush_and_write, ("issue", 2),     ("revoke", 1)),
        (UnknownKey, "cycle_key",       cycle,           ("accessed", 1),  ("accessed", 1)),
        (UnknownKey, "log_in",          log_in,          ("issue", 2),     ("accessed", 1)),
        (LiveKey,    "read",            read,            ("accessed", 1),  ("accessed", 1)),
        (LiveKey,    "write",           write,           ("accessed", 2),  ("accessed", 1)),
        (LiveKey,    "clear",           clear,           ("accessed", 2),  ("accessed", 1)),
        (LiveKey,    "set_expiry",      retime,          ("issue", 2),     ("accessed", 1)),
        (LiveKey,    "cycle_key",       cycle,           ("issue", 2),     ("issue", 2)),
        (LiveKey,    "log_in",          log_in,          ("issue", 2),     ("accessed", 1)),
        (LiveKey,    "flush",           flush,           ("revoke", 2),    ("revoke", 2)),
        (LiveKey,    "flush, write",    flush_and_write, ("issue", 3),     ("revoke", 2)),
    ];
    for (brings, does, with, on_2xx, on_5xx) in rows {
        for (expected, fails) in [(on_2xx, false), (on_5xx, true)] {
            let (site, live) = site_with_visitor().await;
            let request = request(&site, *brings, &live);
            with(&request.session().await);
            let ended = if fails {
                request.finish_with_5xx().await
            } else {
                request.finish().await
            };
            let met = (ended.word(), site.calls());
            assert_eq!(met, *expected, "{brings:?}, {does}, 5xx: {fails}");
            let live_lives = site.stored(&live).await.is_some();
            let expects_death = *brings == LiveKey
                && (does.starts_with("flush")
                    || *does == "cycle_key"
                    || (*does == "log_in" && !fails));
            assert_eq!(
                live_lives, !expects_death,
                "{brings:?}, {does}, 5xx: {fails}: the visitor's old key"
            );
        }
    }
}

#[tokio::test]
async fn a_request_that_never_asks_costs_nothing() {
    let (site, live) = site_with_visitor().await;
    let request = site.request(Some(&live));
    assert!(request.slot.is_untouched());
    assert_eq!(request.finish().await.word(), "untouched");
    assert_eq!(site.calls(), 0);
}

#[tokio::test]
async fn a_log_out_without_loading_is_one_call() {
    let (site, live) = site_with_visitor().await;
    let request = site.request(Some(&live));
    request.slot.log_out();
    assert_eq!(request.finish().await.word(), "revoke");
    assert_eq!(site.calls(), 1);
    assert!(
        site.stored(&live).await.is_none(),
        "the session outlived its log-out"
    );
}

#[tokio::test]
async fn a_changed_key_keeps_data_owner_label_and_expiry() {
    let site = Site::new();
    let old = site
        .visitor(|session| {
            session.set("cart", &[1, 2]).unwrap();
            session.log_in("ada").unwrap();
            session.set_label("laptop").unwrap();
            session.set_expiry(Expiry::OnInactivity(DAY)).unwrap();
        })
        .await;
    let request = site.request(Some(&old));
    request.session().await.cycle_key();
    let new = request.finish().await.expect_issued();
    assert!(
        site.stored(&old).await.is_none(),
        "the old key still opens the session"
    );
    let session = site.stored(&new).await.unwrap();
    assert_eq!(session.get("cart").unwrap(), Some(vec![1, 2]));
    assert_eq!(session.owner(), Some(Owner::from("ada")));
    assert_eq!(session.label().as_deref(), Some("laptop"));
    assert_eq!(session.expiry(), Expiry::OnInactivity(DAY));
}

#[tokio::test]
async fn fix_07_a_log_in_keeps_anonymous_data_and_flushes_another_owners() {
    let site = Site::new();
    let anonymous = site
        .visitor(|session| session.set("cart", &1).unwrap())
        .await;
    let request = site.request(Some(&anonymous));
    request.session().await.log_in("ada").unwrap();
    let ada = request.finish().await.expect_issued();
    let session = site.stored(&ada).await.unwrap();
    assert_eq!(session.get("cart").unwrap(), Some(1));

    let request = site.request(Some(&ada));
    let session = request.session().await;
    session.set("before", &1).unwrap();
    session.log_in("bob").unwrap();
    session.set("after", &1).unwrap();
    assert_eq!(session.keys(), ["after"]);
    let bob = request.finish().await.expect_issued();
    let session = site.stored(&bob).await.unwrap();
    assert_eq!(session.keys(), ["after"], "ada's data reached bob");
    assert_eq!(session.owner(), Some(Owner::from("bob")));
}

#[tokio::test]
async fn reading_renews_when_a_tenth_of_the_time_has_passed() {
    let site = Site::with_policy(Policy::new().with_idle_timeout(10 * DAY));
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.calls();
    for (days, calls) in [(0, 1), (1, 2), (1, 2)] {
        site.clock.advance(days * DAY);
        let request = site.request(Some(&key));
        request.session().await;
        assert_eq!(request.finish().await.word(), "accessed");
        assert_eq!(site.calls(), calls, "after {days} more days");
    }
    site.clock.advance(10 * DAY - Duration::from_secs(1));
    assert!(
        site.stored(&key).await.is_some(),
        "the renewals moved the expiry"
    );
    site.clock.advance(Duration::from_secs(1));
    assert!(
        site.stored(&key).await.is_none(),
        "the session outlived its idle timeout"
    );
}

#[tokio::test]
async fn a_policy_says_what_renews() {
    for (renewal, asks, reads, calls) in [
        (Renewal::OnSave, true, true, 1),
        (Renewal::OnAccess, true, true, 2),
        (Renewal::OnAccess, false, false, 0),
        (Renewal::EveryRequest, false, false, 2),
    ] {
        let site = Site::with_policy(Policy::new().with_renewal(renewal));
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        site.calls();
        site.clock.advance(7 * DAY);
        let request = site.request(Some(&key));
        if asks {
            let session = request.session().await;
            assert_eq!(reads, session.contains_key("n"));
        }
        request.finish().await.expect_done();
        assert_eq!(site.calls(), calls, "{renewal:?}, asked: {asks}");
    }
}

#[tokio::test]
async fn an_absolute_timeout_ends_a_busy_session_and_starts_anew_at_a_log_in() {
    let site = Site::with_policy(Policy::new().with_absolute_timeout(10 * DAY));
    let busy = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(9 * DAY);
    let request = site.request(Some(&busy));
    request.session().await.cycle_key();
    let ended = request.finish().await;
    assert_eq!(
        ended.max_age(),
        Some(DAY),
        "a changed key does not prolong the session"
    );
    let busy = ended.expect_issued();
    let request = site.request(Some(&busy));
    request.session().await.log_in(7).unwrap();
    let ended = request.finish().await;
    assert_eq!(ended.max_age(), Some(10 * DAY));
    let busy = ended.expect_issued();
    site.clock.advance(9 * DAY);
    let request = site.request(Some(&busy));
    request.session().await.set("n", &2).unwrap();
    request.finish().await.expect_done();
    site.clock.advance(DAY);
    assert!(
        site.stored(&busy).await.is_none(),
        "the session outlived its absolute timeout"
    );
}

#[tokio::test]
async fn a_timeout_shortened_in_the_configuration_holds_for_sessions_that_exist() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(DAY);
    let stricter = site
        .manager
        .clone()
        .with_policy(Policy::new().with_absolute_timeout(DAY));
    assert!(stricter.load(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn remember_me_brings_its_own_timeouts_and_later_requests_keep_them() {
    let site = Site::with_policy(
        Policy::new()
            .with_idle_timeout(DAY)
            .with_absolute_timeout(2 * DAY),
    );
    let key = site
        .visitor(|session| {
            session.log_in(7).unwrap();
            session.set_expiry(Expiry::OnInactivity(30 * DAY)).unwrap();
            session.set_absolute_timeout(90 * DAY).unwrap();
        })
        .await;
    for _ in 0..4 {
        site.clock.advance(20 * DAY);
        let request = site.request(Some(&key));
        request.session().await.set("n", &1).unwrap();
        assert_eq!(request.finish().await.word(), "accessed");
    }
    assert!(site.stored(&key).await.is_some());
    site.clock.advance(10 * DAY);
    assert!(site.stored(&key).await.is_none(), "90 days are over");
}

#[tokio::test]
async fn the_client_keeps_its_key_for_as_long_as_the_session_can_last() {
    let at = |site: &Site, after: Duration| {
        Expiry::At(SystemTime::from(session_core::Clock::now(&site.clock)) + after)
    };
    let year = 365 * DAY;
    for (policy, expiry, max_age) in [
        (Policy::new(), None, Some(400 * DAY)),
        (
            Policy::new(),
            Some(Expiry::OnInactivity(DAY)),
            Some(400 * DAY),
        ),
        (Policy::new().with_absolute_timeout(year), None, Some(year)),
        (Policy::new(), Some(Expiry::AtBrowserClose), None),
        (Policy::new().with_expire_at_browser_close(true), None, None),
        (
            Policy::new().with_expire_at_browser_close(true),
            Some(Expiry::OnInactivity(DAY)),
            Some(400 * DAY),
        ),
        (
            Policy::new().with_reissue(Reissue::OnSave),
            None,
            Some(14 * DAY),
        ),
        (
            Policy::new().with_reissue(Reissue::OnSave),
            Some(Expiry::OnInactivity(DAY)),
            Some(DAY),
        ),
    ] {
        let site = Site::with_policy(policy);
        let request = site.request(None);
        let session = request.session().await;
        session.set("n", &1).unwrap();
        if let Some(expiry) = expiry {
            session.set_expiry(expiry).unwrap();
        }
        assert_eq!(
            request.finish().await.max_age(),
            max_age,
            "{expiry:?}, {:?}",
            site.manager.policy()
        );
    }
    let site = Site::new();
    let request = site.request(None);
    request
        .session()
        .await
        .set_expiry(at(&site, 3 * DAY))
        .unwrap();
    assert_eq!(request.finish().await.max_age(), Some(3 * DAY));
}

#[tokio::test]
async fn a_key_that_the_client_has_is_sent_again_only_if_the_policy_says_so() {
    for (reissue, word) in [(Reissue::OnChange, "accessed"), (Reissue::OnSave, "issue")] {
        let site = Site::with_policy(Policy::new().with_reissue(reissue));
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let request = site.request(Some(&key));
        request.session().await.set("n", &2).unwrap();
        assert_eq!(request.finish().await.word(), word, "{reissue:?}");
    }
}

#[tokio::test]
async fn fix_08_in_11_of_several_keys_exactly_one_live_one_counts() {
    let site = Site::new();
    let one = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let two = site.visitor(|session| session.set("n", &2).unwrap()).await;
    let strange = || SessionKey::generate().unwrap();
    let text = |key: &SessionKey| key.expose_secret().to_owned();
    for (brought, sees) in [
        (vec![text(&strange()), text(&one)], Some(1)),
        (vec![text(&one), text(&one)], Some(1)),
        (vec!["junk".to_owned(), text(&two), String::new()], Some(2)),
        (vec![text(&one), text(&two)], None),
        (
            vec![
                text(&strange()),
                text(&strange()),
                text(&strange()),
                text(&one),
            ],
            Some(1),
        ),
        (
            vec![
                text(&strange()),
                text(&strange()),
                text(&strange()),
                text(&strange()),
                text(&one),
            ],
            None,
        ),
    ] {
        let slot = site.manager.slot();
        slot.present(brought.iter().map(String::as_bytes));
        let session = slot.session().await.unwrap();
        assert_eq!(
            session.get::<u32>("n").unwrap(),
            sees,
            "of {} keys",
            brought.len()
        );
    }
}

#[tokio::test]
async fn fix_01_an_unknown_key_is_never_adopted() {
    let site = Site::new();
    let planted = SessionKey::generate().unwrap();
    let request = site.request(Some(&planted));
    request.session().await.set("n", &1).unwrap();
    request.finish().await.expect_issued();
    assert!(
        site.stored(&planted).await.is_none(),
        "the visitor has a key that somebody else chose"
    );
}

#[tokio::test]
async fn data_08_fail_05_a_damaged_record_is_left_alone_and_the_visitor_starts_afresh() {
    let site = Site::new();
    let key = SessionKey::generate().unwrap();
    let store_key = site.manager.policy().keys().store_key(&key);
    let now = session_core::Clock::now(&site.clock);
    let damaged = session_core::store::Payload::from_bytes("{\"n\": 1");
    let new = session_core::store::NewRecord::new(damaged, now.saturating_add(DAY));
    site.store.create(&store_key, new, now).await.unwrap();

    let request = site.request(Some(&key));
    let session = request.session().await;
    assert!(session.is_empty());
    session.set("n", &2).unwrap();
    let fresh = request.finish().await.expect_issued();
    assert_eq!(
        site.stored(&fresh).await.unwrap().get("n").unwrap(),
        Some(2)
    );
    let left = site.store.load(&store_key, now).await.unwrap().unwrap();
    assert_eq!(
        left.payload.to_bytes().unwrap(),
        "{\"n\": 1",
        "the damaged record was overwritten"
    );
}

#[tokio::test]
async fn fail_01_a_store_that_cannot_be_asked_is_not_no_session() {
    let (site, live) = site_with_visitor().await;
    site.store
        .refuse(session_core::conformance::Call::any().and_later());
    let request = site.request(Some(&live));
    let error = request.slot.session().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(
        request.finish().await.word(),
        "accessed",
        "no cookie is touched"
    );
    assert!(site.store.clear_faults());
    assert!(site.stored(&live).await.is_some());
}

#[tokio::test]
async fn fail_03_a_load_is_tried_once_more_and_a_create_is_not() {
    let (site, live) = site_with_visitor().await;
    site.store.refuse(Operation::Load);
    let request = site.request(Some(&live));
    assert_eq!(request.session().await.get::<u32>("n").unwrap(), Some(1));
    site.store.refuse(Operation::Create);
    let request = site.request(None);
    request.session().await.set("n", &1).unwrap();
    assert_eq!(request.finish().await.word(), "store error");
    assert!(site.store.clear_faults());
}

#[tokio::test(start_paused = true)]
async fn dos_07_a_store_that_never_answers_is_given_up_in_time() {
    let (site, live) = site_with_visitor().await;
    let gate = site
        .store
        .hold(session_core::conformance::Call::any().and_later());
    let started = tokio::time::Instant::now();
    let error = site.request(Some(&live)).slot.session().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(
        started.elapsed() <= Duration::from_secs(5),
        "the visitor waited {:?}",
        started.elapsed()
    );
    drop(gate);
}

#[tokio::test]
async fn data_04_limits_are_errors_and_nothing_is_lost() {
    let mut limits = Limits::default();
    limits.names_max = 2;
    limits.data_bytes_max = 40;
    limits.name_bytes_max = 10;
    let site = Site::with_policy(Policy::new().with_limits(limits));
    let key = site.visitor(|session| session.set("a", &1).unwrap()).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let long = "x".repeat(37);
    assert!(matches!(
        session.set("b", long.as_str()),
        Err(SessionError::DataTooLarge { bytes: 42, .. })
    ));
    session.set("b", &long[3..]).unwrap();
    assert!(matches!(
        session.set("c", &1),
        Err(SessionError::TooManyNames { .. })
    ));
    assert!(matches!(
        session.set("elevenbytes", &1),
        Err(SessionError::InvalidName { bytes: 11, .. })
    ));
    assert!(matches!(
        session.set("", &1),
        Err(SessionError::InvalidName { bytes: 0, .. })
    ));
    assert!(matches!(
        session.set("_mine", &1),
        Err(SessionError::ReservedName { .. })
    ));
    assert!(matches!(
        session.modify("b", |value: &mut String| value.push_str("1234")),
        Err(SessionError::DataTooLarge { .. })
    ));
    assert!(matches!(
        session.get_or_insert_with("c", || 1),
        Err(SessionError::TooManyNames { .. })
    ));
    assert!(matches!(
        session.log_in("x".repeat(257)),
        Err(SessionError::InvalidOwner { .. })
    ));
    assert!(matches!(
        session.log_in("a\0b"),
        Err(SessionError::InvalidOwner { .. })
    ));
    assert!(matches!(
        session.set_label("a\0b"),
        Err(SessionError::InvalidLabel { .. })
    ));
    assert!(matches!(
        session.log_in(""),
        Err(SessionError::InvalidOwner { .. })
    ));
    assert!(matches!(
        session.set_label("x".repeat(257).as_str()),
        Err(SessionError::InvalidLabel { .. })
    ));
    assert_eq!(request.finish().await.word(), "accessed");
    assert_eq!(site.stored(&key).await.unwrap().keys(), ["a", "b"]);
}

#[tokio::test]
async fn a_session_that_was_within_the_limits_once_can_be_read_moved_and_made_smaller() {
    // Every commit checked the limits, those of requests that only read included: after one was lowered, whoever had
    // more was answered by an error, whatever they did.
    let site = Site::new();
    let key = site
        .visitor(|session| {
            for name in ["a", "b", "c", "d"] {
                session.set(name, &1).unwrap();
            }
        })
        .await;
    let mut limits = Limits::default();
    limits.names_max = 2;
    let manager = site
        .manager
        .clone()
        .with_policy(Policy::new().with_limits(limits));
    let site = Site { manager, ..site };
    let request = site.request(Some(&key));
    request.session().await;
    assert_eq!(request.finish().await.word(), "accessed");
    let request = site.request(Some(&key));
    request.session().await.remove("a");
    assert_eq!(request.finish().await.word(), "accessed");
    let request = site.request(Some(&key));
    let session = request.session().await;
    session.log_in("ada").unwrap();
    assert!(matches!(
        session.set("e", &1),
        Err(SessionError::TooManyNames { .. })
    ));
    let key = request.finish().await.expect_issued();
    assert_eq!(site.stored(&key).await.unwrap().keys(), ["b", "c", "d"]);
}

#[test]
fn no_limit_lets_in_more_names_than_are_read_back() {
    // More names than the JSON codec reads could be stored, and were a damaged session from then on.
    let mut limits = Limits::default();
    limits.names_max = usize::MAX;
    let policy = Policy::new().with_limits(limits);
    assert_eq!(policy.limits().names_max, 16_384);
}

#[tokio::test]
async fn merging_cannot_exceed_a_limit_unseen() {
    let mut limits = Limits::default();
    limits.names_max = 2;
    let site = Site::with_policy(Policy::new().with_limits(limits));
    let key = site.visitor(|session| session.set("a", &1).unwrap()).await;
    let (one, two) = (site.request(Some(&key)), site.request(Some(&key)));
    one.session().await.set("b", &1).unwrap();
    two.session().await.set("c", &1).unwrap();
    one.finish().await.expect_done();
    let refused = two.finish().await.0.unwrap_err();
    assert!(
        matches!(refused, SessionError::TooManyNames { .. }),
        "{refused}"
    );
    assert_eq!(site.stored(&key).await.unwrap().keys(), ["a", "b"]);
}

#[tokio::test]
async fn djangos_methods_mark_what_django_marks() {
    let site = Site::new();
    let fresh = || site.manager.start();
    let marks = |session: &SessionBase| (session.is_accessed(), session.is_modified());
    let with_a = || {
        let session = fresh();
        session.set("a", &1).unwrap();
        session
    };
    assert_eq!(marks(&fresh()), (false, false));
    #[rustfmt::skip]
    let reads: &[Deed] = &[
        ("get", |session| drop(session.get::<u32>("a"))),
        ("contains_key", |session| assert!(!session.contains_key("a"))),
        ("keys", |session| assert!(session.keys().is_empty())),
        ("snapshot", |session| assert!(session.snapshot().is_empty())),
        ("remove of nothing", |session| assert!(!session.remove("a"))),
        ("pop of nothing", |session| assert_eq!(session.pop::<u32>("a").unwrap(), None)),
        ("test_cookie_worked", |session| assert!(!session.test_cookie_worked())),
        ("expiry_age", |session| assert_eq!(session.expiry_age(), 14 * DAY)),
        ("delete_test_cookie of nothing", SessionBase::delete_test_cookie),
    ];
    for (does, with) in reads {
        let session = fresh();
        with(&session);
        assert_eq!(marks(&session), (true, false), "{does}");
    }
    #[rustfmt::skip]
    let writes: &[Deed] = &[
        ("set", |session| session.set("a", &1).unwrap()),
        ("get_or_insert_with", |session| assert_eq!(session.get_or_insert_with("a", || 1).unwrap(), 1)),
        ("set_all", |session| session.set_all(&std::collections::BTreeMap::from([("a", 1)])).unwrap()),
        ("set_all of nothing", |session| session.set_all(&std::collections::BTreeMap::<String, u32>::new()).unwrap()),
        ("modify", |session| session.modify("a", |a: &mut u32| *a += 1).unwrap()),
        ("clear", SessionBase::clear),
        ("flush", SessionBase::flush),
        ("cycle_key", SessionBase::cycle_key),
        ("log_in", |session| session.log_in(7).unwrap()),
        ("set_test_cookie", |session| session.set_test_cookie().unwrap()),
        ("set_expiry", |session| session.set_expiry(Expiry::AtBrowserClose).unwrap()),
    ];
    for (does, with) in writes {
        let session = fresh();
        with(&session);
        assert_eq!(marks(&session), (true, true), "{does}");
    }
    let session = with_a();
    assert_eq!(session.get_or_insert_with("a", || 2).unwrap(), 1);
    assert!(session.remove("a"));
    assert!(session.is_empty());
    assert_eq!(with_a().pop::<u32>("a").unwrap(), Some(1));
}

#[tokio::test]
async fn data_06_values_of_another_shape_are_errors_that_spare_the_rest() {
    let (site, live) = site_with_visitor().await;
    let request = site.request(Some(&live));
    let session = request.session().await;
    assert!(matches!(
        session.get::<String>("n"),
        Err(SessionError::WrongType { .. })
    ));
    assert!(matches!(
        session.pop::<String>("n"),
        Err(SessionError::WrongType { .. })
    ));
    assert!(matches!(
        session.modify("n", |n: &mut String| n.push('x')),
        Err(SessionError::WrongType { .. })
    ));
    assert!(matches!(
        session.take::<String>("n").await,
        Err(SessionError::WrongType { .. })
    ));
    let pushed = session.modify_now("n", |n: &mut String| n.push('x')).await;
    assert!(matches!(pushed, Err(SessionError::WrongType { .. })));
    assert!(
        !matches!(
            session.set("f", &f64::NAN),
            Err(SessionError::WrongType { .. })
        ),
        "NaN is null in JSON"
    );
    let unserializable = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(
        session.set("map", &unserializable),
        Err(SessionError::NotSerializable { .. })
    ));
    assert!(matches!(
        session.set_all(&1),
        Err(SessionError::NotSerializable { .. })
    ));
    assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
}

#[tokio::test]
async fn typed_fields_and_strings_name_the_same_values() {
    const CART: Field<Vec<u32>> = Field::new("cart");
    let session = Site::new().manager.start();
    session.set(CART, &vec![1]).unwrap();
    session.modify(CART, |cart| cart.push(2)).unwrap();
    let name = String::from("cart");
    assert_eq!(session.get::<Vec<u32>>(&name).unwrap(), Some(vec![1, 2]));
    assert!(
        session.contains_key(CART) && session.contains_key("cart") && session.contains_key(&name)
    );
    assert_eq!(session.pop(CART).unwrap(), Some(vec![1, 2]));
    let expected = SessionData::default();
    assert_eq!(session.snapshot(), expected);
}

#[tokio::test]
async fn the_test_cookie_takes_two_requests() {
    let site = Site::new();
    let request = site.request(None);
    request.session().await.set_test_cookie().unwrap();
    let key = request.finish().await.expect_issued();
    let request = site.request(Some(&key));
    let session = request.session().await;
    assert!(session.test_cookie_worked());
    session.delete_test_cookie();
    request.finish().await.expect_done();
    assert!(!site.stored(&key).await.unwrap().test_cookie_worked());
    assert!(
        !site.request(None).session().await.test_cookie_worked(),
        "a browser that refuses cookies"
    );
}

#[tokio::test]
async fn an_administrator_sees_and_ends_every_session_of_an_owner_however_many() {
    const SESSIONS: usize = 1_250;
    let site = Site::new();
    let mut keys = Vec::new();
    for number in 0..SESSIONS {
        let session = site.visitor(|session| {
            session.log_in("ada").unwrap();
            session.set_label(number.to_string().as_str()).unwrap();
        });
        keys.push(session.await);
    }
    site.clock.advance(DAY);
    let newest = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let bob = site.visitor(|session| session.log_in("bob").unwrap()).await;
    let (ada, bobs) = (Owner::from("ada"), Owner::from("bob"));

    let found = site.manager.sessions_of(&ada).await.unwrap();
    assert_eq!(found.len(), SESSIONS + 1, "some of them are not listed");
    assert!(found[0].label.is_none(), "the newest does not come first");
    assert!(found.iter().all(|session| !session.is_current));
    let labels: std::collections::BTreeSet<_> =
        found.iter().filter_map(|one| one.label.clone()).collect();
    assert_eq!(labels.len(), SESSIONS, "a session is listed twice");

    for (number, key) in keys.iter().enumerate() {
        let label = number.to_string();
        let one = found.iter().find(|one| one.label.as_ref() == Some(&label));
        let handle = &one.unwrap().handle;
        if number % 125 == 0 {
            assert!(
                !site.manager.end(&bobs, handle).await.unwrap(),
                "a handle ended a session of somebody else"
            );
            assert!(site.stored(key).await.is_some());
            assert!(site.manager.end(&ada, handle).await.unwrap(), "{number}");
            assert!(!site.manager.end(&ada, handle).await.unwrap());
            assert!(site.stored(key).await.is_none(), "session {number} lives");
        }
    }
    let left = site.manager.sessions_of(&ada).await.unwrap().len();
    assert_eq!(left, SESSIONS + 1 - 10, "others were ended as well");
    assert!(site.stored(&newest).await.is_some());
    assert!(site.stored(&bob).await.is_some());

    let after_a_leak = site.with(Policy::new().with_not_before(site.clock.now().into()));
    let found = after_a_leak.manager.sessions_of(&ada).await.unwrap();
    assert_eq!(
        found.len(),
        1,
        "sessions that the policy has ended are listed"
    );
}

#[tokio::test]
async fn end_04_end_05_end_06_an_owner_sees_and_ends_their_own_sessions() {
    let site = Site::new();
    let mut keys = Vec::new();
    for label in ["phone", "laptop", "library"] {
        site.clock.advance(DAY);
        keys.push(
            site.visitor(|session| {
                session.log_in("ada").unwrap();
                session.set_label(label).unwrap();
            })
            .await,
        );
    }
    let bob = site.visitor(|session| session.log_in("bob").unwrap()).await;
    let request = site.request(Some(&keys[1]));
    let session = request.session().await;
    let own = session.own_sessions().await.unwrap();
    let labels: Vec<_> = own
        .iter()
        .map(|one| (one.label.as_deref().unwrap(), one.is_current))
        .collect();
    assert_eq!(
        labels,
        [("library", false), ("laptop", true), ("phone", false)]
    );

    let bobs = site
        .stored(&bob)
        .await
        .unwrap()
        .own_sessions()
        .await
        .unwrap();
    assert!(
        !session.end(&bobs[0].handle).await.unwrap(),
        "ada ended a session of bob's"
    );
    assert!(session.end(&own[0].handle).await.unwrap());
    assert!(!session.end(&own[0].handle).await.unwrap());
    assert!(
        site.stored(&keys[2]).await.is_none(),
        "the ended session lives"
    );
    assert_eq!(session.end_others().await.unwrap(), 1);
    assert_eq!(session.own_sessions().await.unwrap().len(), 1);
    assert_eq!(request.finish().await.word(), "accessed");

    let request = site.request(Some(&keys[1]));
    assert_eq!(request.session().await.end_all().await.unwrap(), 1);
    assert_eq!(request.finish().await.word(), "revoke");
    assert!(site.stored(&keys[1]).await.is_none());
    assert!(
        site.stored(&bob).await.is_some(),
        "bob's session was ended, too"
    );
    assert_eq!(site.manager.end_all(&Owner::from("bob")).await.unwrap(), 1);
    let anonymous = site.manager.start();
    assert!(matches!(
        anonymous.own_sessions().await,
        Err(SessionError::NoOwner)
    ));
}

#[tokio::test]
async fn ending_the_current_session_by_its_handle_is_a_log_out() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let request = site.request(Some(&key));
    let session = request.session().await;
    let own = session.own_sessions().await.unwrap();
    assert!(session.end(&own[0].handle).await.unwrap());
    assert_eq!(session.owner(), None);
    assert_eq!(request.finish().await.word(), "revoke");
}

#[tokio::test]
async fn fail_08_a_store_without_an_index_is_refused_in_time() {
    use session_core::conformance::FourMethodStore;
    let manager = session_core::SessionManager::new(FourMethodStore::new());
    assert!(matches!(
        manager.clone().require_owner_index(),
        Err(SessionError::Unsupported { .. })
    ));
    let session = manager.start();
    session.log_in(7).unwrap();
    assert!(matches!(
        session.end_others().await,
        Err(SessionError::Unsupported { .. })
    ));
    Site::new().manager.require_owner_index().unwrap();
}

#[tokio::test]
async fn end_02_deleted_within_a_bound_is_said_and_the_key_is_forgotten() {
    let (site, live) = site_with_visitor().await;
    site.store.refuse_with(Operation::Delete, || {
        StoreError::deleted_within("a cached store", Duration::from_secs(60))
    });
    let request = site.request(Some(&live));
    request.session().await.flush();
    let error = request.finish().await.0.unwrap_err();
    assert!(
        matches!(error, SessionError::Store(StoreError::DeletedWithin { .. })),
        "{error}"
    );
    assert!(error.is_unavailable());
}

#[tokio::test]
async fn all_sessions_deleted_within_a_bound_include_this_one() {
    // The rows were gone, this session's included, and its client kept the key.
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let request = site.request(Some(&key));
    site.store.refuse_with(Operation::End, || {
        StoreError::deleted_within("a cached store", Duration::from_secs(60))
    });
    let error = request.session().await.end_all().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(request.finish_with_5xx().await.word(), "revoke");
}

#[tokio::test]
async fn a_damaged_session_can_be_logged_out_of() {
    let (site, live) = site_with_visitor().await;
    site.store.refuse_with(Operation::Delete, || {
        StoreError::damaged("a store", "half a record")
    });
    let request = site.request(Some(&live));
    request.slot.log_out();
    assert_eq!(request.finish().await.word(), "revoke");
    assert!(site.store.clear_faults());
}

#[tokio::test]
async fn after_the_headers_only_what_needs_no_cookie_can_be_stored() {
    let (site, live) = site_with_visitor().await;
    let request = site.request(Some(&live));
    let session = request.session().await;
    request.finish().await.expect_done();
    session.set("late", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(
        site.stored(&live).await.unwrap().get("late").unwrap(),
        Some(1)
    );
    session.cycle_key();
    assert!(matches!(
        session.save().await,
        Err(SessionError::HeadersSent)
    ));
    assert!(site.stored(&live).await.is_some());

    let request = site.request(None);
    let session = request.session().await;
    request.finish().await.expect_done();
    session.set("late", &1).unwrap();
    assert!(matches!(
        session.save().await,
        Err(SessionError::HeadersSent)
    ));
}

#[tokio::test]
async fn race_10_what_an_await_has_acknowledged_stands_after_a_5xx() {
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    assert_eq!(
        session
            .modify_now("hits", |hits: &mut u32| {
                *hits += 1;
                *hits
            })
            .await
            .unwrap(),
        1
    );
    session.set("dropped", &1).unwrap();
    let key = request.finish_with_5xx().await.expect_issued();
    assert_eq!(site.stored(&key).await.unwrap().keys(), ["hits"]);

    let request = site.request(Some(&key));
    let session = request.session().await;
    assert_eq!(session.take::<u32>("hits").await.unwrap(), Some(1));
    assert_eq!(request.finish_with_5xx().await.word(), "accessed");
    assert!(site.stored(&key).await.unwrap().is_empty());
}

#[tokio::test]
async fn reload_keeps_what_is_pending() {
    let (site, live) = site_with_visitor().await;
    let (one, two) = (site.request(Some(&live)), site.request(Some(&live)));
    let (session, other) = (one.session().await, two.session().await);
    session.set("mine", &1).unwrap();
    other.set("theirs", &1).unwrap();
    two.finish().await.expect_done();
    assert!(!session.contains_key("theirs"));
    session.reload().await.unwrap();
    assert_eq!(session.keys(), ["n", "theirs", "mine"]);
}

async fn site_with_visitor() -> (Site, SessionKey) {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.calls();
    (site, key)
}

fn request(site: &Site, brings: Brings, live: &SessionKey) -> Request {
    match brings {
        Brings::Nothing => site.request(None),
        Brings::NoKey => {
            let slot = site.manager.slot();
            slot.present([b"\"\"".as_slice()]);
            Request { slot }
        }
        Brings::UnknownKey => site.request(Some(&SessionKey::generate().unwrap())),
        Brings::LiveKey => site.request(Some(live)),
    }
}
