//! What is thrown at the codecs: one function for each, for the tests here and for cargo-fuzz, which includes this file.
//!
//! Each signs what it was given as well, since nothing behind a signature is reached otherwise. No input may make them panic.

use std::io::Write;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use session_core::ManualClock;
use session_core::codec::{Binding, Codec};
use session_core::django::{
    DjangoCacheCodec, DjangoCodec, DjangoSettings, DjangoUser, ReadableIrrevocableCookies,
};
use session_core::store::{StoreKey, Timestamp};
use sha2::{Digest, Sha256};

const SECRET: &str = "secret";
const SALT: &str = "django.contrib.sessions.SessionStore";
const COOKIE_SALT: &str = "django.contrib.sessions.backends.signed_cookies";

/// The codecs, made once.
pub(crate) struct Targets {
    settings: DjangoSettings,
    naive: DjangoCodec,
    codec: DjangoCodec,
    cache: DjangoCacheCodec,
    cookies: ReadableIrrevocableCookies,
    place: Binding,
}

impl Targets {
    pub(crate) fn new() -> Self {
        let settings = DjangoSettings::new(SECRET).with_fallbacks(["before"]);
        let naive = settings
            .clone()
            .with_naive_times("Europe/Berlin")
            .expect("the zone is known");
        let codec = |settings: &DjangoSettings| {
            DjangoCodec::new(settings).with_clock(ManualClock::at(UNIX_EPOCH))
        };
        Self {
            naive: codec(&naive),
            codec: codec(&settings),
            cache: DjangoCacheCodec::new(&settings),
            cookies: ReadableIrrevocableCookies::new(&settings),
            place: Binding::new(StoreKey::parse("fuzz").expect("a key")),
            settings,
        }
    }

    /// Whatever a row, a file or a cache may hold. What is read can be written, and is then read as the same.
    pub(crate) fn payload_decoder(&self, input: &[u8]) {
        let Some((how, input)) = input.split_first() else {
            return;
        };
        let bytes = dress(*how, input, SALT);
        let codec: &dyn Codec = match how / 8 % 4 {
            0 | 1 => &self.codec,
            2 => &self.naive,
            _ => &self.cache,
        };
        let Ok(data) = codec.decode(&self.place, &bytes.into()) else {
            return;
        };
        let written = codec.encode(&self.place, &data);
        let written = written.expect("what was read can be written");
        assert!(written.is_ascii(), "Django reads each byte as a character");
        let again = codec.decode(&self.place, &written);
        let again = again.expect("what was written can be read");
        let written_again = codec.encode(&self.place, &again);
        assert_eq!(
            written_again.ok(),
            Some(written),
            "a second round trip changes it"
        );
        assert_eq!(data.len(), again.len(), "a name is lost");
        let id = |data| DjangoUser::in_data(data).map(|user| user.id().clone());
        assert_eq!(id(&data), id(&again), "somebody else is logged in");
    }

    /// Whatever a browser may send as a cookie.
    pub(crate) fn cookie_codec(&self, input: &[u8]) {
        let Some((how, input)) = input.split_first() else {
            return;
        };
        let value = dress(*how, input, COOKIE_SALT);
        let policy = self.settings.policy();
        for now in [
            Timestamp::MIN,
            Timestamp::from_secs(1_767_323_045),
            Timestamp::MAX,
        ] {
            let Ok(Some(unsigned)) = self.cookies.unsign(&value, &policy, now) else {
                continue;
            };
            assert!(unsigned.expires_at > now, "an expired cookie is believed");
            let Ok(signed) = self.cookies.sign(&unsigned.data, now) else {
                continue;
            };
            let again = self
                .cookies
                .unsign(signed.expose_secret().as_bytes(), &policy, now);
            // One that has a moment of its own may be over by then; one without has just been given a new life.
            let again = again.expect("what was signed here is read");
            assert!(again.is_none_or(|again| again.signed_at == now));
        }
    }
}

/// The input as it is, or as the body, the JSON, the stream or the timestamp of something signed.
fn dress(how: u8, input: &[u8], salt: &str) -> Vec<u8> {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes).into_bytes();
    let join = |parts: &[&[u8]]| parts.concat();
    let value = match how % 8 {
        0 => return input.to_vec(),
        1 => return join(&[b"e30:1vbVSP:", input]),
        2 => join(&[input, b":1vbVSP"]),
        3 => join(&[b"e30:", input]),
        4 => join(&[b".", &encoded(input), b":1vbVSP"]),
        5 => join(&[b".", &encoded(&deflate(input)), b":1vbVSP"]),
        6 => input.to_vec(),
        _ => join(&[&encoded(input), b":1vbVSP"]),
    };
    let key = Sha256::new_with_prefix(salt)
        .chain_update("signer")
        .chain_update(SECRET)
        .finalize();
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes any key");
    let signature = mac.chain_update(&value).finalize().into_bytes();
    join(&[&value, b":", &encoded(&signature)])
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
