//! Sessions in signed cookies, as Django writes and reads them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use session_core::adapter::{Completion, Outcome};
use session_core::django::{COOKIE_BYTES_MAX, DjangoUser, ReadableIrrevocableCookies};
use session_core::store::{StoreError, Timestamp};
use session_core::{
    Expiry, ManualClock, Owner, SessionBase, SessionData, SessionError, SessionManager,
};

use crate::support::{VECTORS, cases, clock_at, data, seconds, settings_of, text, whole};

/// Django loads these, and we don't.
const EXPIRED_HERE: [(&str, &str); 3] = [
    (
        "age exactly max_age",
        "a session's last second is over when it has passed, as in every store",
    ),
    (
        "cookie_age 0, same second",
        "a session's last second is over when it has passed, as in every store",
    ),
    (
        "own expiry 10 s is NOT enforced on load",
        "set_expiry is a promise",
    ),
];

#[test]
fn every_cookie_is_written_and_read_as_by_django() {
    for case in cases("/signed_cookies/encoded", 6) {
        let name = text(case, "name");
        let settings = settings_of(case);
        let cookies = ReadableIrrevocableCookies::new(&settings);
        let now = whole(&case["timestamp"]);
        let expected = data(text(case, "json_text"));
        let read = cookies.unsign(text(case, "encoded").as_bytes(), &settings.policy(), now);
        let read = read.unwrap().expect(name);
        assert_eq!(read.data.to_json(), expected.to_json(), "{name}");
        assert_eq!(read.signed_at, now, "{name}");
        let written = cookies.sign(&expected, now).unwrap();
        if case["compressed"] == false {
            assert_eq!(written.expose_secret(), text(case, "encoded"), "{name}");
        }
        let back = cookies.unsign(written.expose_secret().as_bytes(), &settings.policy(), now);
        assert_eq!(back.unwrap().expect(name).data, expected, "{name}");
    }
}

#[test]
fn every_cookie_is_believed_as_long_as_django_believes_it_or_shorter() {
    for case in cases("/signed_cookies/load", 14) {
        let name = text(case, "name");
        let settings = settings_of(case).with_cookie_age(seconds(&case["cookie_age"]));
        let cookies = ReadableIrrevocableCookies::new(&settings);
        let read = cookies.unsign(
            text(case, "cookie").as_bytes(),
            &settings.policy(),
            whole(&case["now"]),
        );
        let read = read.ok().flatten().map(|read| read.data.to_json());
        let expires_here = EXPIRED_HERE.iter().any(|(expired, _)| *expired == name);
        if case["accepted"] == true && !expires_here {
            assert_eq!(read.expect(name), text(case, "loaded_json_text"), "{name}");
        } else {
            assert_eq!(read, None, "{name} is believed");
        }
    }
}

#[test]
fn a_cookie_that_a_browser_would_drop_is_an_error_at_one_byte_too_many() {
    let settings = settings_of(&VECTORS["constants"]);
    let cookies = ReadableIrrevocableCookies::new(&settings);
    let now = Timestamp::from_secs(1_767_323_045);
    // What does not compress: pseudo-random digits.
    let of_len = |len: usize| {
        let mut state = 1_u32;
        let noise: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + u8::try_from(state >> 24).unwrap() % 94)
                .to_string()
                .replace(['"', '\\'], "x")
        })
        .take(len)
        .collect();
        let mut data = SessionData::default();
        data.insert("noise", &noise).unwrap();
        data
    };
    let signed = |len: &usize| cookies.sign(&of_len(*len), now);
    let lens: Vec<usize> = (0..COOKIE_BYTES_MAX).collect();
    let fitting = lens.partition_point(|len| signed(len).is_ok());
    let longest = signed(&(fitting - 1)).unwrap();
    let longest = longest.expose_secret().len() + settings.cookie_name().len();
    // The next one has one or two characters more.
    assert!(
        (COOKIE_BYTES_MAX - 2..=COOKIE_BYTES_MAX).contains(&longest),
        "{longest}"
    );
    let error = cookies.sign(&of_len(COOKIE_BYTES_MAX), now).unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { bytes_max, .. } if bytes_max == COOKIE_BYTES_MAX - 9),
        "{error}"
    );
}

#[test]
fn a_payload_of_the_database_is_no_cookie() {
    let settings = settings_of(&VECTORS["constants"]);
    let row = text(&cases("/payload", 65)[1], "encoded");
    let read = ReadableIrrevocableCookies::new(&settings).unsign(
        row.as_bytes(),
        &settings.policy(),
        Timestamp::from_secs(1_767_323_045),
    );
    assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
}

/// What a client is told, in Django's words: the cookie's value and its age, or nothing, or to forget it.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Keep(String, Option<u64>),
    Forget,
}

impl Told {
    fn by_django(case: &Value) -> Self {
        let Some(cookie) = case["set_cookie"][0].as_str() else {
            return Self::Nothing;
        };
        let mut parts = cookie.split("; ");
        let value = parts.next().unwrap().strip_prefix("sessionid=").unwrap();
        if value == "\"\"" {
            return Self::Forget;
        }
        let age = parts.find_map(|part| part.strip_prefix("Max-Age="));
        Self::Keep(value.to_owned(), age.map(|age| age.parse().unwrap()))
    }

    fn here(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Issue { value, max_age, .. } => Self::Keep(
                value.expose_secret().to_owned(),
                max_age.map(|age| age.as_secs()),
            ),
            Outcome::Revoke => Self::Forget,
            _ => Self::Nothing,
        }
    }
}

/// In these Django sends a cookie, and we don't: nobody is sent an empty session, and nobody is told to forget a cookie of which
/// we know nothing.
const ONLY_DJANGO_SENDS: [&str; 9] = [
    "no cookie, cycle_key",
    "tampered cookie, read",
    "tampered cookie, clear",
    "tampered cookie, cycle_key",
    "tampered cookie, untouched, save_every",
    "short cookie, untouched",
    "short cookie, read",
    "short cookie, clear",
    "short cookie, cycle_key",
];

#[tokio::test]
async fn clients_are_told_what_djangos_middleware_tells_them() {
    for case in cases("/middleware_signed_cookies", 31) {
        let name = text(case, "name");
        let settings = settings_of(case)
            .with_save_every_request(case["settings"]["SESSION_SAVE_EVERY_REQUEST"] == true);
        let manager = ReadableIrrevocableCookies::new(&settings).manager(settings.policy());
        let manager = manager.unwrap().with_clock(clock_at(&case["now"]));
        let slot = manager.slot();
        slot.present(case["request_cookie"].as_str().map(str::as_bytes));
        for operation in case["ops"].as_array().unwrap() {
            let session = slot.session().await.unwrap();
            match operation[0].as_str().unwrap() {
                "get" => drop(
                    session
                        .get::<Value>(operation[1].as_str().unwrap())
                        .unwrap(),
                ),
                "set" => session
                    .set(operation[1].as_str().unwrap(), &operation[2])
                    .unwrap(),
                "flush" => session.flush(),
                "clear" => session.clear(),
                "cycle_key" => session.cycle_key(),
                "set_expiry" => {
                    let age = Duration::from_secs(operation[1].as_u64().unwrap());
                    session.set_expiry(Expiry::OnInactivity(age)).unwrap();
                }
                other => panic!("{name}: what is {other}?"),
            }
        }
        let completion = if case["status"] == 500 {
            Completion::ServerError
        } else {
            Completion::Success
        };
        let outcome = slot.commit(completion).await.unwrap();
        let told = Told::here(&outcome);
        if ONLY_DJANGO_SENDS.contains(&name) {
            assert_eq!(told, Told::Nothing, "{name}");
            assert_ne!(
                Told::by_django(case),
                Told::Nothing,
                "{name} is no difference any more"
            );
        } else {
            assert_eq!(told, Told::by_django(case), "{name}");
            let is_untouched = matches!(outcome, Outcome::Untouched);
            // A cookie that is sent is always announced to caches.
            if told == Told::Nothing {
                assert_eq!(is_untouched, case["vary"].is_null(), "{name}");
            }
        }
    }
}

fn manager() -> (SessionManager, Arc<ManualClock>) {
    let settings = settings_of(&VECTORS["constants"]);
    let clock = Arc::new(clock_at(&1_767_323_045.into()));
    let manager = ReadableIrrevocableCookies::new(&settings).manager(settings.policy());
    (manager.unwrap().with_clock(Arc::clone(&clock)), clock)
}

async fn issued(
    manager: &SessionManager,
    cookie: Option<&str>,
    change: impl FnOnce(&SessionBase),
) -> String {
    let slot = manager.slot();
    slot.present(cookie.map(str::as_bytes));
    change(&slot.session().await.unwrap());
    match slot.commit(Completion::Success).await.unwrap() {
        Outcome::Issue { value, .. } => value.expose_secret().to_owned(),
        other => panic!("nothing is issued: {other:?}"),
    }
}

async fn read(manager: &SessionManager, cookies: &[&str]) -> SessionData {
    let slot = manager.slot();
    slot.present(cookies.iter().map(|cookie| cookie.as_bytes()));
    slot.session().await.unwrap().snapshot()
}

#[tokio::test]
async fn a_session_in_a_cookie_lasts_from_request_to_request_and_not_longer_than_it_may() {
    let (manager, clock) = manager();
    let first = issued(&manager, None, |session| session.set("cart", &1).unwrap()).await;
    let second = issued(&manager, Some(&first), |session| {
        session.modify("cart", |cart: &mut u32| *cart += 1).unwrap();
        assert!(
            session.session_key().is_none(),
            "there is no key to give away"
        );
    })
    .await;
    assert_eq!(read(&manager, &[&second]).await, data(r#"{"cart":2}"#));
    // What Django says of it holds here: nothing ends the older one.
    assert_eq!(read(&manager, &[&first]).await, data(r#"{"cart":1}"#));
    assert!(
        read(&manager, &[&first, &second]).await.is_empty(),
        "which of the two is the visitor's?"
    );
    assert_eq!(
        read(&manager, &["abc", &second, "x"]).await,
        data(r#"{"cart":2}"#)
    );
    assert!(
        read(&manager, &["a", "b", "c", "d", &second])
            .await
            .is_empty(),
        "there are too many"
    );

    let short = issued(&manager, Some(&second), |session| {
        session
            .set_expiry(Expiry::OnInactivity(Duration::from_secs(60)))
            .unwrap();
    })
    .await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(read(&manager, &[&short]).await.len(), 2);
    clock.advance(Duration::from_secs(1));
    assert!(
        read(&manager, &[&short]).await.is_empty(),
        "set_expiry is not kept"
    );
}

#[tokio::test]
async fn who_is_logged_in_is_in_the_cookie() {
    let (manager, _) = manager();
    let settings = settings_of(&VECTORS["constants"]);
    let user = DjangoUser::new(
        &settings,
        42,
        "django.contrib.auth.backends.ModelBackend",
        "p",
    );
    let cookie = issued(&manager, None, |session| user.log_in(session).unwrap()).await;
    let slot = manager.slot();
    slot.present([cookie.as_bytes()]);
    let session = slot.session().await.unwrap();
    assert_eq!(session.owner(), Some(Owner::from(42)));
    session.log_out();
    assert!(matches!(
        slot.commit(Completion::Success).await,
        Ok(Outcome::Revoke)
    ));
}

#[tokio::test]
async fn what_needs_a_store_is_refused_and_changes_nothing() {
    let (manager, _) = manager();
    let cookie = issued(&manager, None, |session| session.set("cart", &1).unwrap()).await;
    let slot = manager.slot();
    slot.present([cookie.as_bytes()]);
    let session = slot.session().await.unwrap();
    let unsupported = |error| assert!(matches!(error, SessionError::Unsupported { .. }), "{error}");
    unsupported(session.take::<u32>("cart").await.unwrap_err());
    unsupported(
        session
            .modify_now("cart", |cart: &mut u32| *cart += 1)
            .await
            .unwrap_err(),
    );
    unsupported(session.log_in(7).unwrap_err());
    assert_eq!(session.snapshot(), data(r#"{"cart":1}"#));
    assert!(matches!(
        slot.commit(Completion::Success).await,
        Ok(Outcome::Accessed)
    ));
    manager.require_owner_index().unwrap_err();
}

#[tokio::test]
async fn a_session_that_no_cookie_can_hold_fails_where_it_is_saved_and_at_the_commit() {
    let (manager, _) = manager();
    let slot = manager.slot();
    let session = slot.session().await.unwrap();
    let noise: Vec<u64> = (1..400_u64)
        .map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .collect();
    session.set("noise", &noise).unwrap();
    let too_large =
        |error: &SessionError| matches!(error, SessionError::Store(StoreError::TooLarge { .. }));
    assert!(too_large(&session.save().await.unwrap_err()));
    assert!(too_large(
        &slot.commit(Completion::Success).await.unwrap_err()
    ));
}

#[tokio::test]
async fn after_the_headers_a_change_is_an_error_and_a_look_is_not() {
    let (manager, clock) = manager();
    let cookie = issued(&manager, None, |session| session.set("cart", &1).unwrap()).await;
    let slot = manager.slot();
    slot.present([cookie.as_bytes()]);
    let session = slot.session().await.unwrap();
    let committed = slot.commit(Completion::Success).await;
    assert!(matches!(committed, Ok(Outcome::Accessed)));
    clock.advance(Duration::from_secs(100_000));
    session.save().await.expect("there is nothing to save");
    session.reload().await.expect("there is nothing newer");
    session.set("cart", &2).unwrap();
    assert!(matches!(
        session.save().await,
        Err(SessionError::HeadersSent)
    ));
}

#[test]
fn an_absolute_timeout_is_refused() {
    let settings = settings_of(&VECTORS["constants"]);
    let policy = settings
        .policy()
        .with_absolute_timeout(Duration::from_secs(60));
    let error = ReadableIrrevocableCookies::new(&settings)
        .manager(policy)
        .unwrap_err();
    assert!(error.to_string().contains("absolute timeout"), "{error}");
}
