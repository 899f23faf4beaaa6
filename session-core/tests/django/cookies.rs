//! Sessions in signed cookies, as Django writes and reads them.

use session_core::SessionData;
use session_core::django::{COOKIE_BYTES_MAX, ReadableIrrevocableCookies};
use session_core::store::{StoreError, Timestamp};

use crate::support::{VECTORS, cases, data, seconds, settings_of, text, whole};

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
    let longest = (0..COOKIE_BYTES_MAX)
        .map(|len| cookies.sign(&of_len(len), now))
        .take_while(Result::is_ok)
        .last();
    let longest = longest.unwrap().unwrap().expose_secret().len() + settings.cookie_name().len();
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
