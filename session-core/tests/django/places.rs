//! Rows, files and cache values, as far as the codecs see them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use session_core::codec::Codec;
use session_core::django::{DjangoCacheCodec, DjangoCodec};
use session_core::store::StoreError;

use crate::expiry::load;
use crate::support::{
    VECTORS, any_place, cases, chain, clock_at, data, seconds, settings_of, text, whole,
};

#[test]
fn every_row_is_read_and_expires_when_django_has_it_expire() {
    for case in cases("/db/rows", 12) {
        let name = text(case, "name");
        let mut settings = settings_of(case).with_cookie_age(seconds(&case["cookie_age"]));
        if case["use_tz"] == false {
            settings = settings.with_naive_times(text(case, "time_zone")).unwrap();
        }
        let codec = DjangoCodec::new(&settings).with_clock(clock_at(&case["now"]));
        let row = text(case, "session_data");
        let read = codec
            .decode(&any_place(), &row.to_owned().into())
            .expect(name);
        assert_eq!(read.to_json(), text(case, "json_text"), "{name}");
        assert_eq!(
            codec.encode(&any_place(), &read).unwrap(),
            row,
            "{name} is written differently"
        );

        let session = load(&settings, &read, clock_at(&case["now"]));
        let session = session.expect(name);
        // A negative age ends the session now, and not some time ago.
        let expected = whole(&case["expire_instant"]).max(whole(&case["now"]));
        assert_eq!(session.expires_at(), expected.into(), "{name}");
    }
}

#[test]
fn every_file_is_read_and_written_as_by_django() {
    for case in cases("/file/saved", 5) {
        let name = text(case, "name");
        let codec = DjangoCodec::new(&settings_of(case)).with_clock(clock_at(&case["now"]));
        let content = STANDARD.decode(text(case, "content_base64")).unwrap();
        let read = codec
            .decode(&any_place(), &content.clone().into())
            .expect(name);
        assert_eq!(read.to_json(), text(case, "json_text"), "{name}");
        if !content.starts_with(b".") {
            assert_eq!(
                codec.encode(&any_place(), &read).unwrap(),
                content,
                "{name}"
            );
        }
    }
    for case in cases("/file/load", 20) {
        let name = text(case, "name");
        let codec = DjangoCodec::new(&settings_of(&VECTORS["constants"]));
        let content = STANDARD.decode(text(case, "content_base64")).unwrap();
        let read = codec.decode(&any_place(), &content.into());
        match (case["loaded_json_text"].as_str(), name) {
            // Django starts an empty session over these; here the record is damaged, and left as it is. An empty file
            // is one that is being written: that is for the store to know.
            (
                Some("{}"),
                "empty placeholder file"
                | "empty placeholder file, old"
                | "garbage"
                | "garbage, old"
                | "trailing newline"
                | "wrong key",
            )
            | (None, "not ascii") => {
                let error = read.expect_err(name);
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "{name}: {error}"
                );
            }
            // Expired, which is for the store to say.
            (Some("{}"), _) => assert!(read.is_ok(), "{name}"),
            (Some(json), _) => assert_eq!(read.expect(name).to_json(), json, "{name}"),
            (None, _) => panic!("{name} is new"),
        }
    }
}

#[test]
fn a_pickle_is_an_error_that_names_the_setting_and_never_damage() {
    let codec = DjangoCacheCodec::new(&settings_of(&VECTORS["constants"]));
    for case in cases("/cache/pickles", 30) {
        let name = text(case, "name");
        let bytes = STANDARD.decode(text(case, "pickle_base64")).unwrap();
        let error = codec
            .decode(&any_place(), &bytes.clone().into())
            .expect_err(name);
        if bytes.first() == Some(&0x80) {
            assert!(
                matches!(error, StoreError::Misconfigured { .. }),
                "{name}: {error}"
            );
            assert!(
                chain(&error).contains("django.core.signing.JSONSerializer"),
                "{name}"
            );
        } else {
            assert!(
                matches!(error, StoreError::Damaged { .. }),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn a_cache_without_use_tz_keeps_times_of_the_clock_on_the_wall() {
    let settings = settings_of(&VECTORS["constants"]);
    let codec = DjangoCacheCodec::new(&settings.with_naive_times("Asia/Kolkata").unwrap());
    let json = text(&VECTORS["expiry"]["use_tz_false"], "stored_json_text");
    let read = codec.decode(&any_place(), &json.to_owned().into()).unwrap();
    assert_eq!(
        read.json("_session_expiry"),
        Some("\"2026-01-02T03:05:05.250000+00:00\"")
    );
    assert_eq!(codec.encode(&any_place(), &read).unwrap(), json);
}

#[test]
fn a_cache_that_serializes_to_json_is_read_and_written() {
    let codec = DjangoCacheCodec::new(&settings_of(&VECTORS["constants"]));
    for case in cases("/payload", 65) {
        let name = text(case, "name");
        let json = text(case, "json_text");
        let read = codec.decode(&any_place(), &json.to_owned().into());
        if name == "float NaN and infinities" || name == "lone surrogates" {
            assert!(
                matches!(read, Err(StoreError::Unrepresentable { .. })),
                "{name}"
            );
        } else {
            let expected = case["decoded_json_text"].as_str().unwrap_or(json);
            let read = read.expect(name);
            assert_eq!(read, data(expected), "{name}");
            assert_eq!(
                codec.encode(&any_place(), &read).unwrap(),
                expected,
                "{name}"
            );
        }
    }
}
