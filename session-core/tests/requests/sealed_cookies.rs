//! Sessions that live in their cookie, sealed: what is believed, how long, how much fits, and what is refused.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::{any, prop, proptest};
use session_core::adapter::{Completion, Outcome, SessionSlot};
use session_core::store::StoreError;
use session_core::{
    Expiry, KeyRing, ManualClock, Policy, Renewal, SealedIrrevocableCookies, SessionBase,
    SessionError, SessionManager,
};

use crate::support::told;

const IDLE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const START: Duration = Duration::from_secs(1_767_323_045);
const ROOM: usize = 3840;

fn key(seed: u8) -> Vec<u8> {
    (0..32_u8).map(|n| n.wrapping_mul(7) ^ seed).collect()
}

fn ring(seed: u8) -> KeyRing {
    KeyRing::from_bytes(&key(seed)).unwrap()
}

struct Site {
    manager: SessionManager,
    clock: Arc<ManualClock>,
}

impl Site {
    fn new() -> Self {
        Self::with(&ring(0), Policy::new())
    }

    fn with(ring: &KeyRing, policy: Policy) -> Self {
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + START));
        let manager = SealedIrrevocableCookies::new(ring).manager(policy).unwrap();
        let manager = manager.with_clock(Arc::clone(&clock));
        Self { manager, clock }
    }

    fn slot(&self, text: Option<&str>) -> SessionSlot {
        let slot = self.manager.slot();
        slot.present(text.map(str::as_bytes));
        slot
    }

    /// A request whose handler is `change`; what its client is told.
    async fn request(
        &self,
        text: Option<&str>,
        change: impl FnOnce(&SessionBase),
    ) -> Result<Outcome, SessionError> {
        let slot = self.slot(text);
        change(&slot.session().await?);
        slot.commit(Completion::Success).await
    }

    async fn issued(&self, text: Option<&str>, change: impl FnOnce(&SessionBase)) -> String {
        match self.request(text, change).await.unwrap() {
            Outcome::Issue { value, .. } => value.expose_secret().to_owned(),
            other => panic!("nothing is issued: {other:?}"),
        }
    }

    async fn opened(&self, text: &str) -> SessionBase {
        self.slot(Some(text)).session().await.unwrap()
    }

    async fn opens(&self, text: &str) -> bool {
        !self.opened(text).await.is_empty()
    }
}

#[tokio::test]
async fn everything_about_a_session_lasts_from_request_to_request() {
    let site = Site::new();
    let first = site
        .issued(None, |session| {
            session.set("cart", &[1, 2]).unwrap();
            session.log_in("ada").unwrap();
            session.set_label("Ada's phone").unwrap();
        })
        .await;
    site.clock.advance(Duration::from_secs(60));
    let second = site
        .issued(Some(&first), |session| {
            session
                .modify("cart", |cart: &mut Vec<u32>| cart.push(3))
                .unwrap();
        })
        .await;
    let session = site.opened(&second).await;
    assert_eq!(session.get("cart").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(session.owner().unwrap().as_str(), "ada");
    assert_eq!(session.label().as_deref(), Some("Ada's phone"));
    assert!(session.session_key().is_none(), "there is no key");
    // What the page says of it holds: nothing ends the older one.
    let session = site.opened(&first).await;
    assert_eq!(session.get("cart").unwrap(), Some(vec![1, 2]));
}

#[tokio::test]
async fn a_request_that_reads_is_answered_with_nothing_new() {
    let site = Site::new();
    let text = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    let read = |session: &SessionBase| assert_eq!(session.get("n").unwrap(), Some(1));
    let outcome = site.request(Some(&text), read).await;
    assert!(matches!(outcome, Ok(Outcome::Accessed)), "{outcome:?}");
    let outcome = site.request(None, |_| {}).await;
    assert!(
        matches!(outcome, Ok(Outcome::Accessed)),
        "an empty one is sent"
    );
    let outcome = site.request(Some(&text), SessionBase::log_out).await;
    assert!(matches!(outcome, Ok(Outcome::Revoke)));
}

#[test]
fn nothing_of_it_can_be_read_and_no_two_texts_are_alike() {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let issued = Arc::clone(&texts);
    let log = told(async move || {
        let site = Site::new();
        let fill = |session: &SessionBase| {
            session.set("cart-canary", "value-canary").unwrap();
            session.log_in("owner-canary").unwrap();
            session.set_label("label-canary").unwrap();
        };
        let one = site.issued(None, fill).await;
        let slot = site.slot(Some(&one[1..]));
        let session = slot.session().await.unwrap();
        assert!(session.is_empty());
        let shown = format!("{slot:?} {session:?} {:?}", site.manager);
        assert!(
            !shown.contains("canary") && !shown.contains(&one[..20]),
            "{shown}"
        );
        let other = site.issued(None, fill).await;
        issued.lock().unwrap().extend([one, other]);
    });
    let texts = texts.lock().unwrap();
    let [one, other] = &texts[..] else {
        panic!("nothing was issued")
    };
    assert_ne!(one, other);
    let sealed = URL_SAFE_NO_PAD.decode(one).expect("base64 for a cookie");
    let log = log.join("\n");
    for text in [one, &*String::from_utf8_lossy(&sealed), &log] {
        assert!(!text.contains("canary"), "{text}");
    }
    assert!(!log.contains(&one[1..20]), "{log}");
}

#[tokio::test]
async fn a_text_that_was_changed_anywhere_is_nobodys() {
    let site = Site::new();
    let text = site
        .issued(None, |session| session.log_in("ada").unwrap())
        .await;
    assert!(site.opened(&text).await.owner().is_some());
    let sealed = URL_SAFE_NO_PAD.decode(&text).unwrap();
    let mut forged: Vec<String> = (0..sealed.len())
        .map(|place| {
            let mut sealed = sealed.clone();
            sealed[place] ^= 1;
            URL_SAFE_NO_PAD.encode(sealed)
        })
        .collect();
    forged.extend((0..text.len()).map(|len| text[..len].to_owned()));
    forged.extend([format!("{text}A"), format!("{text}="), format!(" {text}")]);
    for forged in forged {
        let session = site.opened(&forged).await;
        assert!(session.owner().is_none() && session.is_empty(), "{forged}");
    }
    assert!(site.manager.unknown_keys() > 100, "nobody counts them");
}

#[tokio::test]
async fn it_opens_with_its_key_in_its_cookie_and_nowhere_else() {
    let in_cookie = |ring: &KeyRing, name: &str| {
        let Site { manager, clock } = Site::with(ring, Policy::new());
        let manager = manager.kept_by_clients_in(name, ROOM);
        Site { manager, clock }
    };
    let site = in_cookie(&ring(0), "shop");
    let text = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    for (site, is_open) in [
        (site, true),
        (in_cookie(&ring(0), "office"), false),
        (in_cookie(&ring(1), "shop"), false),
        (in_cookie(&ring(0).with_name("blog"), "shop"), false),
    ] {
        assert_eq!(site.opens(&text).await, is_open);
    }
}

#[tokio::test]
async fn a_new_key_seals_and_an_old_one_opens_until_it_is_taken_out() {
    let old = Site::new();
    let both = Site::with(&ring(1).with_older(&key(0)).unwrap(), Policy::new());
    let new = Site::with(&ring(1), Policy::new());
    let text = old
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    assert!(both.opens(&text).await && !new.opens(&text).await);
    let text = both
        .issued(Some(&text), |session| session.set("n", &2).unwrap())
        .await;
    assert!(new.opens(&text).await && !old.opens(&text).await);
}

#[tokio::test]
async fn its_times_are_inside_and_hold_for_copies() {
    let day = Duration::from_secs(24 * 60 * 60);
    let site = Site::with(&ring(0), Policy::new().with_absolute_timeout(30 * day));
    let first = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    site.clock.advance(IDLE - Duration::from_secs(1));
    let renewed = site.issued(Some(&first), |_| {}).await;
    site.clock.advance(Duration::from_secs(1));
    assert!(
        !site.opens(&first).await,
        "a copy outlives the idle timeout"
    );
    assert!(site.opens(&renewed).await);
    site.clock.advance(IDLE / 2);
    let renewed = site.issued(Some(&renewed), |_| {}).await;
    let early = site.request(Some(&renewed), |_| {}).await;
    assert!(
        matches!(early, Ok(Outcome::Accessed)),
        "renewed at every look"
    );
    site.clock.advance(IDLE / 2 - Duration::from_secs(1));
    // The thirty days are nearly over: not even a use goes beyond them.
    let last = site
        .issued(Some(&renewed), |session| session.set("n", &2).unwrap())
        .await;
    let left = site.opened(&last).await.time_left().unwrap();
    assert_eq!(left, 30 * day - (2 * IDLE - Duration::from_secs(1)));
    site.clock.advance(left - Duration::from_secs(1));
    assert!(site.opens(&last).await);
    site.clock.advance(Duration::from_secs(1));
    assert!(
        !site.opens(&last).await,
        "a copy outlives the absolute timeout"
    );
}

#[tokio::test]
async fn a_session_s_own_times_are_kept_and_a_change_does_not_prolong_them() {
    let site = Site::with(&ring(0), Policy::new().with_renewal(Renewal::OnSave));
    let minute = Duration::from_secs(60);
    let short = site
        .issued(None, |session| {
            session.set("n", &1).unwrap();
            session
                .set_expiry(Expiry::At(SystemTime::UNIX_EPOCH + START + minute))
                .unwrap();
        })
        .await;
    site.clock.advance(minute / 2);
    let changed = site
        .issued(Some(&short), |session| session.set("n", &2).unwrap())
        .await;
    site.clock.advance(minute / 2);
    assert!(!site.opens(&changed).await && !site.opens(&short).await);
}

#[tokio::test]
async fn all_that_began_before_a_moment_can_be_ended() {
    let before = Site::new();
    let text = before
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    let moment = SystemTime::UNIX_EPOCH + START + Duration::from_secs(1);
    let after = Site::with(&ring(0), Policy::new().with_not_before(moment));
    after.clock.advance(Duration::from_secs(2));
    assert!(!after.opens(&text).await, "a leaked cookie can't be ended");
    let text = after
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    assert!(after.opens(&text).await);
}

/// The longest text that `set` takes.
fn longest(session: &SessionBase) -> usize {
    let fits = |len: &usize| session.set("fill", &"a".repeat(*len)).is_ok();
    let longest = (1..ROOM).rev().find(fits).expect("something fits");
    session.remove("fill");
    longest
}

#[tokio::test]
async fn what_does_not_fit_is_refused_where_it_is_set_and_what_fits_is_sent() {
    let site = Site::new();
    let slot = site.slot(None);
    let session = slot.session().await.unwrap();
    let longest = longest(&session);
    assert!(longest > 2700, "only {longest} bytes fit");
    session.set("fill", &"a".repeat(longest)).unwrap();
    let before = session.snapshot();
    let too_large = |refused: Result<(), SessionError>| match refused {
        Err(SessionError::DataTooLarge {
            bytes, bytes_max, ..
        }) => {
            assert!(
                bytes > bytes_max && bytes_max == ROOM,
                "{bytes} {bytes_max}"
            );
        }
        other => panic!("it was taken: {other:?}"),
    };
    too_large(session.set("fill", &"a".repeat(longest + 1)));
    too_large(session.set("b", &1));
    too_large(
        session.set_all(
            &[("b", 1)]
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        ),
    );
    too_large(session.modify("b", |b: &mut u8| *b = 1));
    too_large(session.modify("fill", |fill: &mut String| fill.push('a')));
    too_large(session.get_or_insert_with("b", || 1).map(drop));
    too_large(session.set_label("a phone"));
    too_large(session.log_in("ada"));
    too_large(session.set_expiry(Expiry::AtBrowserClose));
    too_large(session.set_absolute_timeout(IDLE));
    too_large(session.set_test_cookie());
    assert_eq!(session.snapshot(), before);
    assert!(session.owner().is_none() && session.label().is_none());
    let Ok(Outcome::Issue { value, .. }) = slot.commit(Completion::Success).await else {
        panic!("what was taken is not sent")
    };
    let bytes = value.expose_secret().len();
    assert!((ROOM - 4..=ROOM).contains(&bytes), "{bytes} of {ROOM}");

    // Full, it can still become smaller.
    let text = value.expose_secret();
    site.issued(Some(text), |session| session.set("fill", "a").unwrap())
        .await;
    site.issued(Some(text), |session| assert!(session.remove("fill")))
        .await;
}

proptest! {
    #[test]
    fn whatever_is_taken_is_sent_and_comes_back(
        changes in prop::collection::vec((0..6_u8, ".{0,40}", 0..3000_usize), 1..12),
        room in 150..4000_usize,
        later in any::<bool>(),
    ) {
        let site = Site::new();
        let manager = site.manager.clone().kept_by_clients_in("a", room);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let slot = manager.slot();
            let session = slot.session().await.unwrap();
            for (kind, text, len) in changes {
                // Each may be refused, and then it leaves nothing behind.
                drop(match kind {
                    0 => session.set(text.as_str(), &"a".repeat(len)),
                    1 => session.set(text.as_str(), &text),
                    2 => session.log_in(text),
                    3 => session.set_label(text.as_str()),
                    4 => session.modify("list", move |list: &mut Vec<usize>| list.push(len)),
                    _ => session.set_expiry(Expiry::OnInactivity(Duration::from_secs(1 + len as u64))),
                });
            }
            let (data, owner) = (session.snapshot(), session.owner());
            if later {
                session.save().await.expect("what was taken can be sent");
            }
            let outcome = slot.commit(Completion::Success).await;
            match outcome.expect("what was taken is sent") {
                Outcome::Issue { value, .. } => {
                    let text = value.expose_secret();
                    assert!(text.len() <= room, "{} of {room}", text.len());
                    let slot = manager.slot();
                    slot.present([text.as_bytes()]);
                    let session = slot.session().await.unwrap();
                    assert_eq!((session.snapshot(), session.owner()), (data, owner));
                }
                _ => assert!(data.is_empty() && owner.is_none()),
            }
        });
    }

    #[test]
    fn no_text_makes_it_panic_or_is_believed(text: Vec<u8>, printable in "[A-Za-z0-9_-]{0,200}") {
        let site = Site::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let slot = site.manager.slot();
            slot.present([&text[..], printable.as_bytes()]);
            assert!(slot.session().await.unwrap().is_empty());
        });
    }
}

#[tokio::test]
async fn what_needs_a_store_is_refused_and_changes_nothing() {
    let site = Site::new();
    let text = site
        .issued(None, |session| {
            session.set("n", &1).unwrap();
            session.log_in("ada").unwrap();
        })
        .await;
    let slot = site.slot(Some(&text));
    let session = slot.session().await.unwrap();
    let unsupported = |error| assert!(matches!(error, SessionError::Unsupported { .. }), "{error}");
    unsupported(session.take::<u32>("n").await.unwrap_err());
    unsupported(
        session
            .modify_now("n", |n: &mut u32| *n += 1)
            .await
            .unwrap_err(),
    );
    let refuse = |_: &mut u32| Ok::<(), ()>(());
    unsupported(session.try_modify_now("n", refuse).await.unwrap_err());
    unsupported(session.own_sessions().await.unwrap_err());
    unsupported(session.end_others().await.unwrap_err());
    unsupported(session.end_all().await.unwrap_err());
    let handle = "0123456789abcdef01234567".parse().unwrap();
    unsupported(session.end(&handle).await.unwrap_err());
    unsupported(site.manager.end_all(&"ada".into()).await.unwrap_err());
    assert_eq!(session.get("n").unwrap(), Some(1));
    assert_eq!(session.owner().unwrap().as_str(), "ada");
    assert!(matches!(
        slot.commit(Completion::Success).await,
        Ok(Outcome::Accessed)
    ));
    unsupported(site.manager.clone().require_owner_index().unwrap_err());
}

#[test]
fn a_policy_that_can_not_be_kept_is_refused_before_anybody_relies_on_it() {
    let policy = Policy::new().with_sessions_per_owner_max(3.try_into().unwrap());
    let error = SealedIrrevocableCookies::new(&ring(0))
        .manager(policy)
        .unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured { .. }));
    assert!(error.to_string().contains("leave the limit out"), "{error}");
}

#[tokio::test]
async fn of_two_requests_at_once_the_later_response_wins_whole() {
    let site = Site::new();
    let text = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    let one = site
        .issued(Some(&text), |session| session.set("a", &1).unwrap())
        .await;
    let other = site
        .issued(Some(&text), |session| session.set("b", &1).unwrap())
        .await;
    for (text, kept, lost) in [(one, "a", "b"), (other, "b", "a")] {
        let session = site.opened(&text).await;
        assert!(session.contains_key(kept) && !session.contains_key(lost));
    }
}

#[tokio::test]
async fn after_the_headers_a_change_is_an_error() {
    let site = Site::new();
    let text = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    let slot = site.slot(Some(&text));
    let session = slot.session().await.unwrap();
    drop(slot.commit(Completion::Success).await.unwrap());
    session.set("n", &2).unwrap();
    let late = session.save().await;
    assert!(matches!(late, Err(SessionError::HeadersSent)), "{late:?}");
}

#[tokio::test]
async fn a_server_error_sends_nothing_of_what_was_changed() {
    let site = Site::new();
    let text = site
        .issued(None, |session| session.set("n", &1).unwrap())
        .await;
    let slot = site.slot(Some(&text));
    slot.session().await.unwrap().set("n", &2).unwrap();
    let outcome = slot.commit(Completion::ServerError).await;
    assert!(matches!(outcome, Ok(Outcome::Accessed)), "{outcome:?}");
}
