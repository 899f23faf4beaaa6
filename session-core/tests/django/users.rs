//! Who is logged in, and whether their password is still the one they logged in with.

use session_core::codec::Codec;
use session_core::django::{DjangoCodec, DjangoSettings, DjangoUser, HashMatch};
use session_core::{MemoryStore, Owner, SessionBase};

use crate::support::{VECTORS, cases, clock_at, data, decode, settings_of, text};

const BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

fn session(settings: &DjangoSettings) -> SessionBase {
    let manager = settings.manager(MemoryStore::new(), settings.policy());
    manager.unwrap().start()
}

#[test]
fn hashes_are_those_of_django() {
    for case in cases("/auth/hashes", 6) {
        let settings = settings_of(case);
        let session = session(&settings);
        DjangoUser::new(&settings, 42, BACKEND, text(case, "password_field"))
            .log_in(&session)
            .unwrap();
        assert_eq!(
            session.get::<String>("_auth_user_hash").unwrap().as_deref(),
            Some(text(case, "session_auth_hash")),
            "{case}"
        );
    }
}

#[test]
fn a_log_in_leaves_what_djangos_leaves() {
    let case = &VECTORS["auth"]["login"];
    let settings = settings_of(case);
    let password = text(&cases("/auth/hashes", 6)[0], "password_field");
    let codec = DjangoCodec::new(&settings).with_clock(clock_at(&case["now"]));

    let row = decode(&codec, text(&case["row_after_login"], "session_data")).unwrap();
    let user = DjangoUser::in_data(&row).unwrap();
    assert_eq!((user.id().as_str(), user.backend()), ("42", BACKEND));
    assert_eq!(user.verify(&settings, password), HashMatch::Current);
    assert_eq!(codec.owner(&row), Some(Owner::from(42)));

    let session = session(&settings);
    session.set("cart", &[1, 2]).unwrap();
    DjangoUser::new(&settings, 42, BACKEND, password)
        .log_in(&session)
        .unwrap();
    assert_eq!(session.snapshot().to_json(), text(case, "json_text"));
    assert_eq!(session.owner(), Some(Owner::from(42)));
}

#[test]
fn a_changed_password_ends_the_session_and_a_rotated_key_does_not() {
    let hashes = cases("/auth/hashes", 6);
    let password = text(&hashes[0], "password_field");
    let (new_key, old_key) = (
        text(&hashes[0], "secret_key"),
        text(&hashes[3], "secret_key"),
    );
    let before = DjangoSettings::new(old_key);
    let rotated = DjangoSettings::new(new_key).with_fallbacks([old_key]);
    let forgotten = DjangoSettings::new(new_key);
    let user = DjangoUser::new(&before, "42", BACKEND, password);

    assert_eq!(user.verify(&rotated, password), HashMatch::Fallback);
    assert_eq!(user.verify(&forgotten, password), HashMatch::Mismatch);
    assert_eq!(user.verify(&rotated, "!unusable"), HashMatch::Mismatch);

    let session = session(&rotated);
    user.log_in(&session).unwrap();
    session.set("cart", &1).unwrap();
    assert!(user.authenticate(&session, &rotated, password).unwrap());
    let renewed = DjangoUser::of(&session).unwrap();
    assert_eq!(
        renewed.verify(&forgotten, password),
        HashMatch::Current,
        "the hash is renewed"
    );
    assert!(session.contains_key("cart"));
    assert!(
        !renewed
            .authenticate(&session, &rotated, "!unusable")
            .unwrap()
    );
    assert!(
        session.is_empty(),
        "somebody with an old password is still in"
    );
}

#[test]
fn a_session_without_a_hash_lets_nobody_in() {
    let settings = settings_of(&VECTORS["constants"]);
    for json in [
        r#"{"_auth_user_id":"42","_auth_user_backend":"b"}"#,
        r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":""}"#,
        r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":7}"#,
    ] {
        let user = DjangoUser::in_data(&data(json)).unwrap();
        assert_eq!(user.verify(&settings, ""), HashMatch::Mismatch, "{json}");
    }
    for json in [
        "{}",
        r#"{"_auth_user_id":"42"}"#,
        r#"{"_auth_user_id":null,"_auth_user_backend":"b"}"#,
        r#"{"_auth_user_id":"","_auth_user_backend":"b"}"#,
    ] {
        assert!(DjangoUser::in_data(&data(json)).is_none(), "{json}");
    }
    let numeric = data(r#"{"_auth_user_id":42,"_auth_user_backend":"b"}"#);
    assert_eq!(
        DjangoUser::in_data(&numeric).unwrap().id(),
        &Owner::from(42)
    );
}

#[test]
fn what_somebody_else_left_in_the_session_does_not_outlive_a_log_in() {
    let settings = settings_of(&VECTORS["constants"]);
    let user = |id: u32, password: &str| DjangoUser::new(&settings, id, BACKEND, password);
    for (before, now, kept) in [
        (None, user(1, "p"), true),
        (Some(user(1, "p")), user(1, "p"), true),
        (Some(user(1, "p")), user(2, "p"), false),
        (Some(user(1, "old")), user(1, "p"), false),
    ] {
        let session = session(&settings);
        if let Some(before) = before {
            before.log_in(&session).unwrap();
        }
        session.set("cart", &1).unwrap();
        now.log_in(&session).unwrap();
        assert_eq!(session.contains_key("cart"), kept);
        assert_eq!(session.owner().as_ref(), Some(now.id()));
    }
}

#[test]
fn the_token_of_forms_is_drawn_anew_at_a_log_in() {
    let settings = settings_of(&VECTORS["constants"]);
    let session = crate::expiry::load(
        &settings,
        &data(r#"{"_csrftoken":"A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6","cart":1}"#),
        clock_at(&VECTORS["auth"]["login"]["now"]),
    )
    .unwrap();
    DjangoUser::new(&settings, 1, BACKEND, "p")
        .log_in(&session)
        .unwrap();
    assert!(
        !session.contains_key("_csrftoken"),
        "a token from before the log-in is still good"
    );
    assert!(session.contains_key("cart"));
}

#[test]
fn neither_user_nor_secret_is_printed() {
    let settings = settings_of(&VECTORS["constants"]);
    let user = DjangoUser::new(&settings, "CANARY", BACKEND, "p");
    let cookies = session_core::django::ReadableIrrevocableCookies::new(&settings);
    let printed = format!(
        "{user:?} {settings:?} {:?} {cookies:?}",
        DjangoCodec::new(&settings)
    );
    assert!(
        !printed.contains("CANARY") && !printed.contains("interop"),
        "{printed}"
    );
}
