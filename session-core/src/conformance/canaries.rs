//! Finds secrets in what is not to hold any, however they are spelled there.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Fewer bytes are found by chance, in hexadecimal as little as in base64.
const BYTES_MIN: usize = 8;

/// How many bytes the search looks up at each place.
const PREFIX: usize = 4;

/// Secrets that were written somewhere, to be searched for where they must not be: in a dump, a log, an answer.
///
/// Each is found as it is and in hexadecimal, base64 of both alphabets wherever it begins, and percent-encoded. `Debug` shows how
/// many there are.
///
/// ```
/// use session_core::conformance::Canaries;
///
/// let mut canaries = Canaries::new();
/// canaries.add("the password", "correct horse battery");
/// assert_eq!(canaries.found_in(b"nothing of the kind"), None);
/// assert_eq!(canaries.found_in(b"user=7&password=correct%20horse"), None, "half of it is not it");
/// assert_eq!(canaries.found_in(b"key 636f727265637420686f7273652062617474657279"), Some("the password"));
/// ```
#[derive(Default)]
pub struct Canaries {
    whats: Vec<String>,
    /// What a spelling begins with, the spelling, and the number of its secret.
    spellings: HashMap<[u8; PREFIX], Vec<(Vec<u8>, usize)>>,
}

impl Canaries {
    /// Without any secret.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Searches for `secret` too, and calls it `what` when it is found.
    ///
    /// # Panics
    ///
    /// When it has fewer than 8 bytes: it would be found by chance.
    pub fn add(&mut self, what: impl Into<String>, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= BYTES_MIN, "a canary has 8 bytes or more");
        let number = self.whats.len();
        self.whats.push(what.into());
        for spelling in spellings(secret) {
            if let Some(prefix) = spelling.first_chunk() {
                let known = self.spellings.entry(*prefix).or_default();
                known.push((spelling, number));
            }
        }
    }

    /// Which secret is in `bytes`, if any is: the first one's name.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        for (at, prefix) in bytes.windows(PREFIX).enumerate() {
            let Some(known) = <[u8; PREFIX]>::try_from(prefix)
                .ok()
                .and_then(|prefix| self.spellings.get(&prefix))
            else {
                continue;
            };
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some((_, number)) = known.iter().find(|(text, _)| rest.starts_with(text)) {
                return self.whats.get(*number).map(String::as_str);
            }
        }
        None
    }
}

impl fmt::Debug for Canaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canaries")
            .field("secrets", &self.whats.len())
            .finish_non_exhaustive()
    }
}

fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut spellings = vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        percent.to_lowercase().into_bytes(),
        percent.into_bytes(),
    ];
    // Where a text begins in the middle of three bytes, the characters that it shares with its neighbours are left out.
    for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
        let padded: Vec<u8> = std::iter::repeat_n(0, before)
            .chain(secret.iter().copied())
            .collect();
        let whole = padded.len() / 3 * 4;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            if let Some(own) = text.get(shared..whole) {
                spellings.push(own.to_vec());
            }
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_spelled() {
        let secret = b"canary/of?the~test";
        let mut canaries = Canaries::new();
        canaries.add("other", "somebody else's");
        canaries.add("it", secret);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
        let mut places = vec![
            secret.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            percent.to_lowercase().into_bytes(),
            percent.into_bytes(),
        ];
        for before in 0..6 {
            for after in 0..6 {
                let text = [&vec![0xfe; before][..], secret, &vec![0xfd; after]].concat();
                places.push(STANDARD_NO_PAD.encode(&text).into_bytes());
                places.push(URL_SAFE_NO_PAD.encode(&text).into_bytes());
            }
        }
        for place in &places {
            let text = [b"before ", &place[..], b" after"].concat();
            assert_eq!(
                canaries.found_in(&text),
                Some("it"),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
        assert_eq!(canaries.found_in(&secret[1..]), None);
        assert_eq!(format!("{canaries:?}"), "Canaries { secrets: 2, .. }");
    }
}
