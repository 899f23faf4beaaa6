//! What an attacker, a late request or a mistake must not get. The rows of the security requirements name these tests.
use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use session_core::conformance::{Call, FourMethodStore, Operation};
use session_core::store::{
    Change, ExpiryChange, NewRecord, Page, Payload, Saved, SessionStore, StoreKey, Timestamp,
};
use session_core::{
    Expiry, MemoryStore, Policy, SessionBase, SessionData, SessionError, SessionKey, SessionManager,
};

use crate::support::Site;

const HOUR: Duration = Duration::from_secs(60 * 60);

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

#[test]
fn id_01_no_key_is_drawn_twice() {
    let mut seen = HashSet::new();
    for _ in 0..100_000 {
        let key = SessionKey::generate().unwrap();
        assert!(
            seen.insert(key.expose_secret().to_owned()),
            "a key came twice"
        );
    }
}

#[test]
fn id_03_two_processes_draw_different_keys() {
    const CHILD: &str = "SESSION_CORE_TEST_DRAWS_A_KEY";
    if std::env::var_os(CHILD).is_some() {
        let key = SessionKey::generate().unwrap();
        writeln!(std::io::stdout(), "drawn {}", key.expose_secret()).unwrap();
        return;
    }
    let draw = || {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program)
            .args([
                "--exact",
                "security::id_03_two_processes_draw_different_keys",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let drawn = text.split("drawn ").nth(1).expect("the child draws a key");
        drawn.split_whitespace().next().unwrap().to_owned()
    };
    assert_ne!(draw(), draw());
}

#[tokio::test]
async fn id_05_a_key_says_nothing_of_its_session() {
    // Two users at one moment, one user at two moments: whatever is the same, no character of their keys is.
    let site = Site::new();
    let mut seen: Vec<BTreeSet<char>> = vec![BTreeSet::new(); SessionKey::LEN];
    for owner in [1, 1, 2, 2].repeat(16) {
        let key = log_in(&site, owner).await;
        for (place, character) in seen.iter_mut().zip(key.expose_secret().chars()) {
            place.insert(character);
        }
        site.clock.advance(Duration::from_secs(owner));
    }
    let fewest = seen.iter().map(BTreeSet::len).min().unwrap();
    assert!(
        fewest >= 12,
        "a place in the key holds only {fewest} characters"
    );
}

#[tokio::test]
async fn id_10_a_handle_opens_nothing_and_reaches_no_store() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    let session = site.stored(&key).await.unwrap();
    let handle = session.own_sessions().await.unwrap().remove(0).handle;
    site.calls();
    let slot = site.manager.slot();
    slot.present([handle.as_str().as_bytes()]);
    assert_eq!(slot.session().await.unwrap().owner(), None);
    assert_eq!(site.calls(), 0);
    assert!(!key.expose_secret().contains(handle.as_str()));
}

#[tokio::test]
async fn fix_02_nothing_is_made_by_changing_what_is_not_there() {
    let now = Timestamp::from_secs(1_900_000_000);
    let later = now.saturating_add(HOUR);
    let stores: [Box<dyn SessionStore>; 2] = [
        Box::new(MemoryStore::new()),
        Box::new(FourMethodStore::new()),
    ];
    for store in stores {
        let key = |n: u32| StoreKey::parse(&format!("{n:040}")).unwrap();
        let version = store
            .create(
                &key(9),
                NewRecord::new(Payload::from_bytes("{}"), later),
                now,
            )
            .await
            .unwrap();
        let change = || Change::new(Payload::from_bytes("{}"), ExpiryChange::Set(later));
        let saved = store.save(&key(1), &version, change(), now).await;
        assert!(matches!(saved, Ok(Saved::Gone)), "{store:?}: {saved:?}");
        let rotated = store
            .rotate(&key(1), &version, &key(2), change(), now)
            .await;
        assert!(matches!(rotated, Ok(Saved::Gone)), "{store:?}: {rotated:?}");
        assert!(
            !store.touch(&key(1), later, now).await.unwrap(),
            "{store:?}"
        );
        for n in 1..=2 {
            assert!(
                store.load(&key(n), now).await.unwrap().is_none(),
                "{store:?}"
            );
        }
    }
}

#[tokio::test]
async fn fix_03_end_01_a_key_works_while_its_record_lives_and_not_longer() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    assert!(is_alive(&site, &key).await);
    let log_out = site.request(Some(&key));
    log_out.session().await.log_out();
    assert_eq!(log_out.finish().await.word(), "revoke");
    let replayed = site.request(Some(&key));
    let session = replayed.session().await;
    assert_eq!(session.owner(), None);
    assert_eq!(replayed.finish().await.word(), "accessed");

    let key = log_in(&site, 7).await;
    let store_key = site.manager.policy().keys().store_key(&key);
    site.store.delete(&store_key).await.unwrap();
    assert!(
        !is_alive(&site, &key).await,
        "the row is gone, and the key works"
    );
}

#[tokio::test]
async fn fix_06_rot_01_a_planted_key_is_dead_after_the_victims_log_in_even_if_the_answer_is_lost() {
    let site = Site::new();
    let planted = site
        .visitor(|session| session.set("cart", &1).unwrap())
        .await;
    let victim = site.request(Some(&planted));
    victim.session().await.log_in(7).unwrap();
    let issued = victim.finish().await.expect_issued();
    assert_ne!(issued.expose_secret(), planted.expose_secret());
    // The browser never hears of the new key. The attacker has the old one.
    let attacker = site.request(Some(&planted));
    assert_eq!(
        attacker.session().await.owner(),
        None,
        "the attacker is logged in"
    );
    assert!(
        attacker.session().await.is_empty(),
        "the attacker reads the cart"
    );
    assert_eq!(records(&site).await, 1);

    // The same when the store's answer is lost.
    let planted = site
        .visitor(|session| session.set("cart", &1).unwrap())
        .await;
    let victim = site.request(Some(&planted));
    victim.session().await.log_in(8).unwrap();
    site.store.lose_answer(Operation::Rotate);
    assert_eq!(victim.finish().await.word(), "store error");
    assert!(
        !is_alive(&site, &planted).await,
        "the planted key is logged in"
    );
}

#[tokio::test]
async fn rot_01_rot_02_every_log_in_and_every_change_of_key_gives_another_one() {
    let site = Site::new();
    let mut keys = vec![log_in(&site, 7).await];
    let deeds: [fn(&SessionBase); 3] = [
        |session| session.log_in(7).unwrap(),
        |session| session.log_in(8).unwrap(),
        SessionBase::cycle_key,
    ];
    for deed in deeds {
        let request = site.request(keys.last());
        deed(&request.session().await);
        keys.push(request.finish().await.expect_issued());
    }
    let (last, before) = keys.split_last().unwrap();
    assert!(is_alive(&site, last).await);
    for key in before {
        assert!(
            !is_alive(&site, key).await,
            "an old key still opens the session"
        );
    }
}

#[tokio::test]
async fn rot_04_whichever_step_of_a_rotation_fails_one_key_lives() {
    for lost in [false, true] {
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let request = site.request(Some(&key));
        request.session().await.cycle_key();
        if lost {
            site.store.lose_answer(Operation::Rotate);
        } else {
            site.store.refuse(Operation::Rotate);
        }
        request.finish().await.0.unwrap_err();
        assert_eq!(records(&site).await, 1, "answer lost: {lost}");
        assert_eq!(is_alive(&site, &key).await, !lost, "answer lost: {lost}");
    }
}

#[tokio::test]
async fn rot_10_a_thousand_rotations_do_not_move_the_absolute_end() {
    let site = Site::with_policy(Policy::new().with_absolute_timeout(2 * HOUR));
    let mut key = log_in(&site, 7).await;
    for _ in 0..1_000 {
        site.clock.advance(Duration::from_secs(7));
        let request = site.request(Some(&key));
        request.session().await.cycle_key();
        key = request.finish().await.expect_issued();
    }
    site.clock.advance(Duration::from_secs(200 - 1));
    assert!(is_alive(&site, &key).await, "it ended early");
    site.clock.advance(Duration::from_secs(1));
    assert!(
        !is_alive(&site, &key).await,
        "rotating extends a session for ever"
    );
}

#[tokio::test]
async fn end_02_a_log_out_that_the_store_refuses_is_not_called_done() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    site.store.refuse(Call::of(Operation::Delete).nth(1));
    site.store.refuse(Call::of(Operation::Delete).nth(2));
    let request = site.request(Some(&key));
    request.session().await.log_out();
    let ended = request.finish().await;
    assert_eq!(
        ended.word(),
        "store error",
        "the visitor is told that it worked"
    );
    assert!(is_alive(&site, &key).await);
    assert!(site.store.clear_faults(), "the delete was not tried again");
}

#[tokio::test]
async fn end_03_of_fifty_log_outs_at_once_one_ended_the_session() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    let store_key = site.manager.policy().keys().store_key(&key);
    let mut deletes = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (store, store_key) = (Arc::clone(&site.store), store_key.clone());
        deletes.spawn(async move { store.delete(&store_key).await.unwrap() });
    }
    let ended = deletes.join_all().await.into_iter().filter(|ended| *ended);
    assert_eq!(ended.count(), 1);
    let request = site.request(Some(&key));
    request.session().await.log_out();
    assert_eq!(
        request.finish().await.word(),
        "revoke",
        "ending twice is an error"
    );
}

#[tokio::test]
async fn end_05_anothers_handle_is_as_good_as_an_unknown_one() {
    let site = Site::new();
    let (ada, bob) = (log_in(&site, 1).await, log_in(&site, 2).await);
    let handle = |sessions: Vec<session_core::SessionInfo>| sessions[0].handle.clone();
    let bobs = handle(
        site.stored(&bob)
            .await
            .unwrap()
            .own_sessions()
            .await
            .unwrap(),
    );
    let unknown = "0123456789abcdef01234567".parse().unwrap();
    let session = site.stored(&ada).await.unwrap();
    let answers = (session.end(&bobs).await, session.end(&unknown).await);
    assert!(matches!(answers, (Ok(false), Ok(false))), "{answers:?}");
    assert!(is_alive(&site, &bob).await);
}

#[tokio::test]
async fn end_06_ending_all_misses_nobody_who_is_logged_in_and_spares_who_comes_later() {
    let site = Site::new();
    let before = [log_in(&site, 7).await, log_in(&site, 7).await];
    let gate = site.store.hold_answer(Operation::End);
    let ending = tokio::spawn({
        let manager = site.manager.clone();
        async move { manager.end_all(&7.into()).await }
    });
    gate.reached().await;
    let mut later = Vec::new();
    for _ in 0..20 {
        later.push(log_in(&site, 7).await);
    }
    gate.release();
    assert_eq!(ending.await.unwrap().unwrap(), 2);
    for key in &before {
        assert!(!is_alive(&site, key).await, "a session survived");
    }
    for key in &later {
        assert!(is_alive(&site, key).await, "a later log-in was ended");
    }
}

#[tokio::test]
async fn race_09_what_nobody_will_store_is_an_error_or_told() {
    let site = Site::new();
    let request = site.request(None);
    let session = request.session().await;
    request.finish().await.expect_done();
    session.set("n", &1).unwrap();
    let saved = session.save().await;
    assert!(matches!(saved, Err(SessionError::HeadersSent)), "{saved:?}");
    assert_eq!(records(&site).await, 0);
}

#[tokio::test]
async fn race_12_only_who_created_rotated_or_ended_a_session_tells_the_client() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    for deed in [
        (|session: &SessionBase| drop(session.get::<u32>("n"))) as fn(&SessionBase),
        |session| session.set("n", &1).unwrap(),
        |session| assert!(!session.remove("other")),
        SessionBase::clear,
        |session| session.set_label("phone").unwrap(),
    ] {
        site.clock.advance(24 * HOUR);
        let request = site.request(Some(&key));
        deed(&request.session().await);
        assert_eq!(request.finish().await.word(), "accessed");
    }
}

#[tokio::test]
async fn dos_06_a_request_that_takes_its_time_holds_up_nobody() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    let slow = site.request(Some(&key));
    let session = slow.session().await;
    session.set("slow", &1).unwrap();
    for n in 0..20 {
        let other = site.request(Some(&key));
        other
            .session()
            .await
            .set(format!("n{n}").as_str(), &n)
            .unwrap();
        other.finish().await.expect_done();
    }
    slow.finish().await.expect_done();
    assert_eq!(site.stored(&key).await.unwrap().len(), 21);
}

#[tokio::test]
async fn dos_09_of_a_thousand_requests_at_once_one_renews() {
    let site = Site::new();
    let key = log_in(&site, 7).await;
    let store_key = site.manager.policy().keys().store_key(&key);
    site.clock.advance(48 * HOUR);
    let now = session_core::Clock::now(&site.clock);
    let before = site.store.load(&store_key, now).await.unwrap().unwrap();
    let mut requests = Vec::new();
    for _ in 0..1_000 {
        let request = site.request(Some(&key));
        drop(request.session().await.get::<u32>("n"));
        requests.push(request);
    }
    for request in requests {
        request.finish().await.expect_done();
    }
    let after = site.store.load(&store_key, now).await.unwrap().unwrap();
    assert_ne!(before.version, after.version, "nobody renewed");
    site.calls();
    for _ in 0..1_000 {
        let request = site.request(Some(&key));
        drop(request.session().await.get::<u32>("n"));
        request.finish().await.expect_done();
    }
    assert_eq!(site.calls(), 1_000, "reads within one window write");
    let later = site.store.load(&store_key, now).await.unwrap().unwrap();
    assert_eq!(after.version, later.version);
}

#[tokio::test]
async fn fail_02_a_session_that_was_not_stored_gets_no_key_to_its_client() {
    let site = Site::new();
    site.store.refuse(Operation::Create);
    let request = site.request(None);
    request.session().await.log_in(7).unwrap();
    let ended = request.finish().await;
    assert_eq!(ended.word(), "store error", "{ended:?}");
    assert_eq!(records(&site).await, 0);
}

#[tokio::test]
async fn in_12_reserved_names_are_not_an_applications() {
    let session = SessionManager::new(MemoryStore::new()).start();
    for name in [
        "_session_expiry",
        "_session_absolute",
        "_auth_user_id",
        "_",
        "__proto__",
    ] {
        let set = session.set(name, &1);
        assert!(
            matches!(set, Err(SessionError::ReservedName { .. })),
            "{name}: {set:?}"
        );
        let modified = session.modify(name, |n: &mut u32| *n = 1);
        assert!(
            matches!(modified, Err(SessionError::ReservedName { .. })),
            "{name}"
        );
    }
    assert!(session.is_empty());
}

#[test]
fn data_01_what_is_mutated_is_a_session_or_an_error() {
    const GOOD: &[u8] = br#"{"a":1,"b":"text \u00e9 \ud83d\ude00","c":[true,null,{"d":1.5e3}],"_session_expiry":300}"#;
    let executions: u32 = std::env::var("SESSION_TEST_FULL").map_or(100_000, |_| 1_000_000);
    // Numbers that look random and are the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let (mut read, mut refused) = (0_u32, 0_u32);
    for _ in 0..executions {
        let mut bytes = GOOD.to_vec();
        for _ in 0..1 + next() % 3 {
            let at = next() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = u8::try_from(next() % 256).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"{}[]\",:\\0"[next() % 9]),
            }
        }
        match SessionData::from_json(bytes) {
            Ok(data) => {
                // Each name and value can be looked at.
                drop(data.to_json());
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > executions / 100 && refused > executions / 100,
        "{read} {refused}"
    );
}

#[test]
fn data_03_json_is_one_object_with_its_names_in_the_order_in_which_they_were_set() {
    const STORED: &[u8] =
        br#"{"cart":[1,2],"text":"a \u00e9 \"quoted\"","none":null,"_session_expiry":300}"#;
    let data = SessionData::from_json(STORED.to_vec()).unwrap();
    assert_eq!(data.get::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
    assert_eq!(
        data.get::<String>("text").unwrap().as_deref(),
        Some("a \u{e9} \"quoted\"")
    );
    assert_eq!(
        data.to_json(),
        STORED,
        "what was stored once is written in another way"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exp_10_no_duration_and_no_moment_overflows(
        now in any::<i64>(),
        idle in any::<u64>(),
        absolute in prop::option::of(any::<u64>()),
        inactivity in any::<u64>(),
        at in any::<i64>(),
        pause in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let policy = Policy::new()
                .with_idle_timeout(Duration::from_secs(idle))
                .with_absolute_timeout(absolute.map(Duration::from_secs));
            for expiry in [
                Expiry::Default,
                Expiry::AtBrowserClose,
                Expiry::OnInactivity(Duration::from_secs(inactivity)),
                Expiry::At(SystemTime::from(Timestamp::from_secs(at))),
            ] {
                let site = Site::with_policy(policy.clone());
                site.clock.set(Timestamp::from_secs(now));
                let request = site.request(None);
                let session = request.session().await;
                session.set("n", &1).unwrap();
                session.set_expiry(expiry).unwrap();
                assert!(session.expires_at() >= SystemTime::from(Timestamp::MIN));
                assert!(session.expiry_age() <= Timestamp::MAX.saturating_since(Timestamp::MIN));
                let key = request.finish().await.expect_issued();
                let begun = session_core::Clock::now(&site.clock);
                site.clock.advance(Duration::from_secs(pause));
                let moved = session_core::Clock::now(&site.clock);
                prop_assert!(moved >= begun, "time went backwards");
                if let Some(session) = site.stored(&key).await {
                    assert!(session.expires_at() >= SystemTime::from(moved));
                }
            }
            Ok(())
        })?;
    }
}
