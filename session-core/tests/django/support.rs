//! The vectors, and the settings, codecs and signatures that their cases ask for.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use session_core::codec::{Binding, Codec};
use session_core::django::{DjangoCodec, DjangoSettings};
use session_core::store::{StoreError, StoreKey, Timestamp};
use session_core::{ManualClock, SessionData};
use sha2::{Digest, Sha256};

pub(crate) static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/django-sessions.json"))
        .expect("the vectors are JSON")
});

/// The cases of a section, such as `/signed_cookies/load`, which has so many.
pub(crate) fn cases(section: &str, count: usize) -> &'static [Value] {
    let cases = VECTORS.pointer(section).and_then(Value::as_array);
    let cases = cases.unwrap_or_else(|| panic!("the vectors have no {section}"));
    assert_eq!(
        cases.len(),
        count,
        "{section} is not the one that was read when this was written"
    );
    cases
}

pub(crate) fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} is not a text in {case}"))
}

pub(crate) fn secret() -> &'static str {
    text(&VECTORS["constants"], "default_secret_key")
}

/// The settings in which a case was made.
pub(crate) fn settings_of(case: &Value) -> DjangoSettings {
    let settings = match (
        &case["verify_secret_key"],
        &case["secret_key"],
        &case["secret_key_hex"],
    ) {
        (Value::String(key), ..) | (_, Value::String(key), _) => DjangoSettings::new(key),
        (_, _, Value::String(hex)) => DjangoSettings::new(from_hex(hex)),
        _ => DjangoSettings::new(secret()),
    };
    let fallbacks = case["verify_fallbacks"]
        .as_array()
        .or_else(|| case["fallbacks"].as_array());
    let fallbacks = fallbacks.into_iter().flatten();
    let settings = settings.with_fallbacks(fallbacks.map(|key| key.as_str().unwrap()));
    match case["salt"].as_str() {
        Some(salt) => settings.with_salt(salt),
        None => settings,
    }
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap())
        .collect()
}

/// A clock at the case's moment, of which only the whole seconds count.
pub(crate) fn clock_at(seconds: &Value) -> ManualClock {
    let clock = ManualClock::at(UNIX_EPOCH);
    clock.set(whole(seconds));
    clock
}

/// The whole seconds of a moment in the vectors.
pub(crate) fn whole(seconds: &Value) -> Timestamp {
    let seconds = seconds.as_i64().unwrap_or_else(|| {
        let fractional = seconds.as_f64().expect("a moment is a number");
        format!("{:.0}", fractional.floor()).parse().unwrap()
    });
    Timestamp::from_secs(seconds)
}

pub(crate) fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().expect("an age is a number of seconds"))
}

/// A place to go with payloads, which are not bound to it.
pub(crate) fn any_place() -> Binding {
    Binding::new(StoreKey::parse("abcdefghijklmnopqrstuvwxyz012345").unwrap())
}

pub(crate) fn decode(codec: &DjangoCodec, text: &str) -> Result<SessionData, StoreError> {
    codec.decode(&any_place(), &text.to_owned().into())
}

pub(crate) fn encode(codec: &DjangoCodec, data: &SessionData) -> String {
    let bytes = codec.encode(&any_place(), data).unwrap();
    String::from_utf8(bytes.to_vec()).expect("what is written is ASCII")
}

pub(crate) fn data(json: &str) -> SessionData {
    SessionData::from_json(json.to_owned()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// What an error says with all its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A signature, computed here once more: a body that the codec would never write has to be signed by somebody.
pub(crate) fn sign(value: &str, salt: &str) -> String {
    sign_with(value, salt, secret())
}

/// As [`sign`], with another secret.
pub(crate) fn sign_with(value: &str, salt: &str, secret: &str) -> String {
    use base64::Engine;

    let key = Sha256::new_with_prefix(salt)
        .chain_update("signer")
        .chain_update(secret)
        .finalize();
    let signature = Hmac::<Sha256>::new_from_slice(&key)
        .unwrap()
        .chain_update(value)
        .finalize();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature.into_bytes());
    format!("{value}:{signature}")
}
