//! What is not a payload is refused, in time, and with the right word.

use session_core::Limits;
use session_core::codec::Codec;
use session_core::django::DjangoCodec;
use session_core::store::StoreError;

use crate::support::{any_place, cases, chain, data, decode, encode, settings_of, sign, text};

/// Django reads these, and we don't.
const ONLY_DJANGO_READS: [(&str, &str); 6] = [
    (
        "signed: two leading dots",
        "nobody writes a stray dot, which Python's base64 skips",
    ),
    (
        "signed: standard base64 alphabet",
        "nobody writes it, and Python's reader is lenient by accident",
    ),
    (
        "signed: JSON list",
        "a session is an object; Django breaks on it later",
    ),
    (
        "signed: JSON string",
        "a session is an object; Django breaks on it later",
    ),
    (
        "signed: JSON null",
        "a session is an object; Django breaks on it later",
    ),
    (
        "signed: JSON number",
        "a session is an object; Django breaks on it later",
    ),
];
/// Valid, and not to be held: never damage, since Django may hold it dear.
const VALID_AND_TOO_MUCH: [&str; 2] = [
    "zlib bomb, valid signature (50 MiB)",
    // Newer Pythons read it.
    "signed: nesting 5000",
];

#[test]
fn every_text_gets_the_verdict_that_django_gives_or_a_stricter_one() {
    for case in cases("/payload_negative", 64) {
        let name = text(case, "name");
        let codec = DjangoCodec::new(&settings_of(case));
        let read = decode(&codec, text(case, "encoded"));
        let is_stricter = ONLY_DJANGO_READS
            .iter()
            .any(|(stricter, _)| *stricter == name);
        match text(case, "django_status") {
            _ if VALID_AND_TOO_MUCH.contains(&name) => {
                let error = read.expect_err(name);
                assert!(
                    matches!(error, StoreError::Unrepresentable { .. }),
                    "{name}: {error}"
                );
            }
            "ok" if !is_stricter => {
                let expected = data(text(case, "django_result_json_text"));
                // Spelled alike, since a value is kept as it was found.
                assert_eq!(
                    encode(&codec, &read.expect(name)).split(':').next(),
                    encode(&codec, &expected).split(':').next(),
                    "{name} is read as something else than Django reads"
                );
            }
            "ok" | "undecodable" => {
                let error = read.expect_err(name);
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "{name}: {error}"
                );
            }
            "bad_signature" => {
                let error = read.expect_err(name);
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "{name}: {error}"
                );
                assert!(
                    chain(&error).contains("not signed"),
                    "{name} was looked at before its signature: {}",
                    chain(&error)
                );
            }
            status => panic!("{name}: what is {status}?"),
        }
    }
}

#[test]
fn no_payload_and_no_secret_is_in_an_error() {
    let mut seen = 0;
    for case in cases("/payload_negative", 64) {
        let codec = DjangoCodec::new(&settings_of(case));
        let encoded = text(case, "encoded");
        let Err(error) = decode(&codec, encoded) else {
            continue;
        };
        let printed = format!("{} {error:?} {codec:?}", chain(&error));
        let parts = encoded.split(':').filter(|part| part.len() > 7);
        for part in parts.chain([text(case, "secret_key")]) {
            assert!(!printed.contains(part), "{printed}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");

    let codec = DjangoCodec::new(&settings_of(&cases("/payload", 65)[0]));
    let mut unwritable = session_core::SessionData::default();
    unwritable
        .insert_json("n", "[\"CANARY\",\"CANARY\\ud800\"]")
        .unwrap();
    let error = codec.encode(&any_place(), &unwritable).unwrap_err();
    let printed = format!("{} {error:?}", chain(&error));
    assert!(!printed.contains("CANARY"), "{printed}");
}

#[test]
fn rows_that_django_finds_damaged_are_damaged() {
    for case in cases("/db/damaged_rows", 4) {
        let codec = DjangoCodec::new(&settings_of(case));
        let read = decode(&codec, text(case, "session_data"));
        assert_eq!(
            read.map(|data| data.to_json()).ok().as_deref(),
            (case["loaded_json_text"] != "{}").then_some(text(case, "loaded_json_text").as_bytes()),
            "{case}"
        );
    }
}

#[test]
fn no_byte_of_a_payload_can_be_changed() {
    let codec = DjangoCodec::new(&settings_of(&cases("/payload", 65)[0]));
    for payload in [
        text(&cases("/payload", 65)[2], "encoded"),
        text(&cases("/payload", 65)[4], "encoded"),
    ] {
        for position in 0..payload.len() {
            for replacement in [0, b'A', b'a', b':', b'.', 0xff] {
                let mut bytes = payload.as_bytes().to_vec();
                if bytes[position] == replacement {
                    continue;
                }
                bytes[position] = replacement;
                assert!(
                    codec.decode(&any_place(), &bytes.into()).is_err(),
                    "a changed byte at {position} went unnoticed"
                );
            }
        }
    }
}

#[test]
fn data_05_what_is_inflated_is_bounded_by_the_limits_to_the_byte() {
    let salt = "django.contrib.sessions.SessionStore";
    let mut limits = Limits::default();
    limits.data_bytes_max = 100_000;
    let codec = DjangoCodec::new(&settings_of(&cases("/payload", 65)[0])).with_limits(&limits);
    // Six bytes for each byte of the data, and four around each of 16,384 names.
    let bytes_max = 6 * 100_000 + 4 * 16_384 + 2;
    let payload_of = |len: usize| {
        let json = format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
        assert_eq!(json.len(), len);
        let unbounded = DjangoCodec::new(&settings_of(&cases("/payload", 65)[0]));
        (encode(&unbounded, &data(&json)), json)
    };
    let (fits, _) = payload_of(bytes_max);
    assert!(
        decode(&codec, &fits).is_ok(),
        "what the limits allow has to be read"
    );
    let (exceeds, json) = payload_of(bytes_max + 1);
    let error = decode(&codec, &exceeds).unwrap_err();
    assert!(
        matches!(error, StoreError::Unrepresentable { .. }),
        "{error}"
    );
    assert!(
        codec.encode(&any_place(), &data(&json)).is_err(),
        "it could not be read back"
    );

    // The same without compression.
    use base64::Engine;
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let error = decode(
        &codec,
        &sign(&format!("{body}{}:1vbVSP", "A".repeat(8)), salt),
    )
    .unwrap_err();
    assert!(
        matches!(error, StoreError::Unrepresentable { .. }),
        "{error}"
    );
}
