//! What Django wrote is read, and what is written is what Django writes.

use std::collections::BTreeMap;

use session_core::SessionData;
use session_core::django::DjangoCodec;
use session_core::store::StoreError;

use crate::support::{
    VECTORS, any_place, cases, chain, clock_at, data, decode, encode, settings_of, sign, text,
};
use session_core::codec::Codec;

/// JSON for Python alone.
const ONLY_PYTHON: [&str; 2] = ["float NaN and infinities", "lone surrogates"];

#[test]
fn every_payload_of_django_is_read_as_django_reads_it() {
    for case in cases("/payload", 65) {
        let name = text(case, "name");
        let codec = DjangoCodec::new(&settings_of(case));
        let read = decode(&codec, text(case, "encoded"));
        if ONLY_PYTHON.contains(&name) {
            let error = read.expect_err(name);
            assert!(
                matches!(error, StoreError::Unrepresentable { .. }),
                "{name}: {error}"
            );
            continue;
        }
        let expected = case["decoded_json_text"].as_str();
        let expected = data(expected.unwrap_or(text(case, "json_text")));
        assert_eq!(read.expect(name).to_json(), expected.to_json(), "{name}");
    }
}

#[test]
fn what_is_written_is_byte_for_byte_what_django_writes_where_nothing_is_compressed() {
    for case in cases("/payload", 65) {
        let name = text(case, "name");
        // The members that collide are one here before anything is written.
        if case["compressed"] == true
            || name == "int key colliding with str key"
            || ONLY_PYTHON.contains(&name)
        {
            continue;
        }
        let mut settings = settings_of(case);
        if case["verify_secret_key"].is_string() {
            // It was written by the fallback when that was the key.
            settings = session_core::django::DjangoSettings::new(text(case, "secret_key"));
        }
        let codec = DjangoCodec::new(&settings).with_clock(clock_at(&case["timestamp"]));
        assert_eq!(
            encode(&codec, &data(text(case, "json_text"))),
            text(case, "encoded"),
            "{name}"
        );
    }
}

#[test]
fn what_django_compresses_is_compressed_and_nothing_else() {
    for case in cases("/payload", 65) {
        let name = text(case, "name");
        if ONLY_PYTHON.contains(&name) || name == "int key colliding with str key" {
            continue;
        }
        let codec = DjangoCodec::new(&settings_of(case));
        let data = data(text(case, "json_text"));
        let encoded = encode(&codec, &data);
        assert_eq!(
            encoded.starts_with('.'),
            case["compressed"] == true,
            "{name}: {encoded}"
        );
        assert_eq!(
            decode(&codec, &encoded).expect(name),
            data,
            "{name} does not survive its way"
        );
    }
}

/// Those that our deflate compresses to other bytes of about the same length.
const OTHER_BYTES: [&str; 1] = ["40 KB, 1300 keys"];

#[test]
fn even_what_is_compressed_is_what_django_writes_but_for_a_few() {
    for case in cases("/payload", 65) {
        let name = text(case, "name");
        if case["compressed"] == false || ONLY_PYTHON.contains(&name) {
            continue;
        }
        let codec = DjangoCodec::new(&settings_of(case)).with_clock(clock_at(&case["timestamp"]));
        let is_same = encode(&codec, &data(text(case, "json_text"))) == text(case, "encoded");
        assert_eq!(!is_same, OTHER_BYTES.contains(&name), "{name}");
    }
}

#[test]
fn what_a_fallback_signed_is_signed_with_the_main_key_at_the_next_save() {
    let mut seen = 0;
    for case in cases("/payload", 65)
        .iter()
        .filter(|case| case["verify_secret_key"].is_string())
    {
        let codec = DjangoCodec::new(&settings_of(case));
        let read = decode(&codec, text(case, "encoded")).unwrap();
        let only_main = session_core::django::DjangoSettings::new(text(case, "verify_secret_key"));
        let only_main = DjangoCodec::new(&only_main);
        decode(&only_main, text(case, "encoded")).unwrap_err();
        decode(&only_main, &encode(&codec, &read)).expect("it is signed with the main key");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_text_that_was_set_here_is_escaped_as_django_escapes_it() {
    for name in [
        "ascii text",
        "latin-1 range",
        "BMP text",
        "astral text becomes surrogate pairs",
        "escapes",
    ] {
        let case = cases("/payload", 65)
            .iter()
            .find(|case| text(case, "name") == name)
            .unwrap();
        let expected = data(text(case, "json_text"));
        let values: BTreeMap<String, String> =
            serde_json::from_str(text(case, "json_text")).unwrap();
        // From Rust strings, in Django's order.
        let mut data = SessionData::default();
        for (escaped_name, _) in expected.iter() {
            data.insert(escaped_name, &values[escaped_name]).unwrap();
        }
        let codec = DjangoCodec::new(&settings_of(case));
        let back = decode(&codec, &encode(&codec, &data)).unwrap();
        assert_eq!(
            back.to_json(),
            expected.to_json(),
            "{name}: Django would read another text"
        );
    }
}

#[test]
fn ten_round_trips_change_nothing() {
    let case = &cases("/payload", 65)[0];
    let codec = DjangoCodec::new(&settings_of(case)).with_clock(clock_at(&case["timestamp"]));
    let mut data = SessionData::default();
    data.insert("Zoë 😀", "naïve \u{7f}\u{80}\u{ff} 日本 🔑")
        .unwrap();
    data.insert("numbers", &(0.1, 1e16, -0.0, i64::MIN, u64::MAX))
        .unwrap();
    let first = encode(&codec, &data);
    assert!(first.is_ascii(), "Django reads each byte as a character");
    let mut encoded = first.clone();
    for _ in 0..10 {
        encoded = encode(&codec, &decode(&codec, &encoded).unwrap());
    }
    assert_eq!(encoded, first);
    let back = decode(&codec, &encoded).unwrap();
    assert_eq!(
        back.get::<String>("Zoë 😀").unwrap().as_deref(),
        Some("naïve \u{7f}\u{80}\u{ff} 日本 🔑")
    );
}

#[test]
fn floats_are_printed_as_python_prints_them() {
    for case in cases("/floats", 29) {
        let bits = u64::from_str_radix(text(case, "bits_hex"), 16).unwrap();
        let mut data = SessionData::default();
        data.insert("f", &f64::from_bits(bits)).unwrap();
        let json = session_core::django::DjangoCacheCodec::new(&settings_of(case))
            .encode(&any_place(), &data)
            .unwrap();
        let expected = format!("{{\"f\":{}}}", text(case, "python_json"));
        assert_eq!(json, expected, "{case}");
    }
}

#[test]
fn signatures_are_those_of_django() {
    for case in cases("/signature_steps", 3) {
        let settings = settings_of(case);
        let codec = DjangoCodec::new(&settings);
        let signed = format!("{}:{}", text(case, "value"), text(case, "signature"));
        assert_eq!(
            decode(&codec, &signed)
                .expect("the signature is good")
                .len(),
            0
        );
    }
    let case = &cases("/signature_steps", 3)[0];
    let signed = sign(text(case, "value"), text(case, "salt"));
    assert!(
        signed.ends_with(text(case, "signature")),
        "the tests sign as Django does"
    );
}

#[test]
fn times_in_signatures_are_spelled_as_django_spells_them() {
    for case in cases("/base62", 19) {
        let Ok(moment) = text(case, "n").parse::<i64>() else {
            continue;
        };
        let clock = session_core::ManualClock::at(std::time::UNIX_EPOCH);
        let moment_here = session_core::store::Timestamp::from_secs(moment);
        clock.set(moment_here);
        let codec = DjangoCodec::new(&settings_of(&VECTORS["constants"])).with_clock(clock);
        let encoded = encode(&codec, &SessionData::default());
        if moment_here.as_secs() == moment {
            let spelled = encoded.split(':').nth(1);
            assert_eq!(spelled, Some(text(case, "text")), "{moment}");
        }
    }
}

#[test]
fn a_value_that_django_could_not_read_is_refused_and_named() {
    let codec = DjangoCodec::new(&settings_of(&VECTORS["constants"]));
    let mut data = SessionData::default();
    data.insert_json("tall", &"1".repeat(4301)).unwrap();
    let error = codec.encode(&any_place(), &data).unwrap_err();
    assert!(
        matches!(error, StoreError::Unrepresentable { .. }),
        "{error}"
    );
    assert!(chain(&error).contains("\"tall\""), "{}", chain(&error));
}
