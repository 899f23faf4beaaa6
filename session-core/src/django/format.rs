//! A session as one signed text: what Django keeps in a row, a file or a cookie.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::flaw::Flaw;
use super::signer::{Secrets, Signer};
use super::wall_clock::{WallClock, globalize, localized};
use super::{base62, json, zlib};
use crate::clock::Timestamp;
use crate::data::SessionData;
use crate::policy::{Limits, NAMES_READ_MAX};
use crate::store::StoreError;

/// Writes without padding, and reads what Python reads, too: padding and spare bits that are not zero.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// A byte that is no printable ASCII takes up to six as an escape.
const ESCAPED_LEN_MAX: usize = 6;
/// Two quotes, a colon and a comma.
const AROUND_A_NAME: usize = 4;

/// `body:timestamp:signature`, where the body is JSON in base64, or, behind a dot, a zlib stream of it.
#[derive(Debug, Clone)]
pub(super) struct Format {
    signer: Signer,
    wall_clock: Option<WallClock>,
    json_bytes_max: usize,
}

impl Format {
    pub(super) fn new(salt: &str, secrets: &Secrets, wall_clock: Option<WallClock>) -> Self {
        Self {
            signer: Signer::new(salt, secrets),
            wall_clock,
            json_bytes_max: json_bytes_max(&Limits::default()),
        }
    }

    pub(super) fn with_limits(mut self, limits: &Limits) -> Self {
        self.json_bytes_max = json_bytes_max(limits);
        self
    }

    /// The text of `data`, signed at `now`.
    pub(super) fn encode(&self, data: &SessionData, now: Timestamp) -> Result<String, StoreError> {
        let json = json::write(&localized(self.wall_clock.as_ref(), data))?;
        let bytes_max = self.json_bytes_max;
        if json.len() > bytes_max {
            // It could not be read back.
            return Err(Flaw::TooLarge { bytes_max }.of_text());
        }
        let mut text = String::with_capacity(json.len() + json.len() / 3 + 64);
        match zlib::compress(&json) {
            Some(stream) => {
                text.push('.');
                BASE64.encode_string(stream, &mut text);
            }
            None => BASE64.encode_string(json, &mut text),
        }
        text.push(':');
        base62::write(now.as_secs(), &mut text);
        self.signer.sign(&mut text);
        Ok(text)
    }

    /// The data in `text`, and when it was signed. Nothing is looked at before the signature is verified.
    pub(super) fn decode(&self, text: &[u8]) -> Result<(SessionData, Timestamp), Flaw> {
        let (value, signature) = split_at_last_colon(text).ok_or(Flaw::Signature)?;
        if !self.signer.verifies(value, signature) {
            return Err(Flaw::Signature);
        }
        let (body, signed_at) = split_at_last_colon(value).ok_or(Flaw::Timestamp)?;
        let signed_at = base62::read(signed_at).ok_or(Flaw::Timestamp)?;
        let (is_compressed, body) = match body.strip_prefix(b".") {
            Some(body) => (true, body),
            None => (false, body),
        };
        let bytes_max = self.json_bytes_max;
        // A stream is hardly longer than what it holds, and so the limit is good for both.
        if body.len() / 4 * 3 > bytes_max {
            return Err(Flaw::TooLarge { bytes_max });
        }
        let body = BASE64.decode(body).map_err(|_not_base64| Flaw::Base64)?;
        let json = if is_compressed {
            zlib::inflate(&body, bytes_max)?
        } else {
            body
        };
        let mut data = json::read(json)?;
        globalize(self.wall_clock.as_ref(), &mut data);
        Ok((data, Timestamp::from_secs(signed_at)))
    }
}

/// The JSON of the largest session that the limits allow.
pub(super) fn json_bytes_max(limits: &Limits) -> usize {
    limits
        .data_bytes_max
        .saturating_mul(ESCAPED_LEN_MAX)
        .saturating_add(AROUND_A_NAME * NAMES_READ_MAX + 2)
}

fn split_at_last_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().rposition(|byte| *byte == b':')?;
    let (before, from) = text.split_at_checked(colon)?;
    Some((before, from.get(1..)?))
}
