//! The server's own secrets: how they are given, and what is derived from them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::SessionError;
use crate::store::BoxError;

/// With padding or without, as `openssl rand -base64 32` and most secret stores print it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What all keys are derived under, so that a secret that serves another program as well gives other keys there.
const CONTEXT: &[u8] = b"session-core 1";

/// A random key of 32 bytes that consists of so few different ones comes up less than once in 10^25: it is a placeholder.
const DIFFERENT_BYTES_MIN: usize = 8;

/// One or several secret keys of the server: the first is written with, all are read with.
///
/// What encrypts and what hashes is derived from them, one way and under its own label, and nothing else is ever made of them.
/// They are wiped from memory when the last ring that holds them is dropped; `Debug` shows how many there are.
///
/// A key has 32 bytes or more from a generator: `openssl rand -base64 32`. In an environment variable or a file it is written in
/// base64, the newest first, separated by white space; the rest of a line behind a `#` is a comment.
///
/// ```
/// # use session_core::{KeyRing, SessionError};
/// # fn new_key() -> String { let key: Vec<u8> = (0..32).map(|n| n * 7).collect(); base64(&key) }
/// # fn base64(bytes: &[u8]) -> String { use base64::Engine; base64::engine::general_purpose::STANDARD.encode(bytes) }
/// # let printed_by_openssl = new_key();
/// let ring = KeyRing::parse(&printed_by_openssl)?;
/// assert_eq!(format!("{ring:?}"), "KeyRing { keys: 1 }");
/// assert!(KeyRing::parse("c2VjcmV0").is_err(), "six bytes are too few");
/// assert!(KeyRing::from_bytes(&[0; 32]).is_err(), "that is nobody's secret");
/// # Ok::<(), SessionError>(())
/// ```
///
/// # Changing a key
///
/// While several servers run, a new key has to be known to all before the first one writes with it:
///
/// 1. Put the new key behind the old one, everywhere.
/// 2. Move it to the front, everywhere.
/// 3. When nothing is left that needs the old key, take it out. For sealing, that is when
///    [`SessionManager::reseal`](crate::SessionManager::reseal) has ended without finding any; for hashing keys, when the sessions
///    that were neither written nor renewed since may end.
#[derive(Clone)]
pub struct KeyRing {
    first: Secret,
    older: Vec<Secret>,
    name: Arc<str>,
}

type Secret = Arc<Zeroizing<Vec<u8>>>;

impl KeyRing {
    /// The fewest bytes that a key may have.
    pub const KEY_BYTES_MIN: usize = 32;

    /// A ring with one key.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidKey`] when it has fewer than 32 bytes, or is no random key for all to see.
    pub fn from_bytes(key: &[u8]) -> Result<Self, SessionError> {
        Ok(Self {
            first: check(Zeroizing::new(key.to_vec()))?,
            older: Vec::new(),
            name: Arc::from(""),
        })
    }

    /// The ring with one more key, to read with.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidKey`] as for [`from_bytes`](Self::from_bytes), and when the ring has this key already.
    pub fn with_older(self, key: &[u8]) -> Result<Self, SessionError> {
        self.and_older(Zeroizing::new(key.to_vec()))
    }

    /// The keys in a text, in base64, the newest first.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidKey`] when a word in it is no such key, or there is none.
    pub fn parse(text: &str) -> Result<Self, SessionError> {
        let words = text
            .lines()
            .map(|line| line.split_once('#').map_or(line, |(keys, _comment)| keys))
            .flat_map(str::split_whitespace);
        let mut ring: Option<Self> = None;
        for word in words {
            // What is URL-safe is read as well.
            // With room for all of it from the start: what a string leaves behind when it grows is not wiped.
            let mut standard = Zeroizing::new(String::with_capacity(word.len()));
            standard.extend(word.chars().map(|character| match character {
                '-' => '+',
                '_' => '/',
                other => other,
            }));
            // Its own error quotes a byte of the key.
            let key = BASE64
                .decode(standard.as_bytes())
                .map_err(|_quotes_the_key| {
                    invalid("a key is not written in base64; `openssl rand -base64 32` makes one")
                })?;
            let key = Zeroizing::new(key);
            ring = Some(match ring {
                None => Self::from_bytes(&key)?,
                Some(ring) => ring.and_older(key)?,
            });
        }
        ring.ok_or_else(|| invalid("there is no key; `openssl rand -base64 32` makes one"))
    }

    /// The keys in an environment variable, as [`parse`](Self::parse) reads them.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidKey`] when it is not set, or its keys are none.
    pub fn from_env(variable: &str) -> Result<Self, SessionError> {
        let text = std::env::var(variable)
            .map(Zeroizing::new)
            .map_err(|error| {
                // An error about text that is not Unicode holds that text.
                let problem = match error {
                    std::env::VarError::NotPresent => "is not set",
                    std::env::VarError::NotUnicode(_) => "is not text",
                };
                invalid(format!(
                    "the environment variable {variable} {problem}; it is to hold a key in base64"
                ))
            })?;
        Self::parse(&text)
    }

    /// The keys in a file, as [`parse`](Self::parse) reads them. Blocks for a few system calls.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidKey`] when it can't be read, or its keys are none.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SessionError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| SessionError::InvalidKey {
                advice: format!("the key file {} can't be read", path.display()),
                source: Some(Box::new(error)),
            })?;
        Self::parse(&text)
    }

    /// The same keys for another application, cookie or store: what is derived under one name says nothing about what is derived
    /// under another. Without a name by default. Another name ends all sessions.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Arc::from(name);
        self
    }

    fn and_older(mut self, key: Zeroizing<Vec<u8>>) -> Result<Self, SessionError> {
        let key = check(key)?;
        // Both are the server's own, and this is said to whoever starts it.
        let mut known = std::iter::once(&self.first).chain(&self.older);
        if known.any(|known| **known == *key) {
            return Err(invalid("the ring has the same key twice; take one out"));
        }
        self.older.push(key);
        Ok(self)
    }

    /// What is made of each secret for one purpose, of the one to write with first.
    pub(crate) fn derive<const N: usize, T>(
        &self,
        purpose: &str,
        make: impl Fn(&[u8; N]) -> T,
    ) -> (T, Vec<T>) {
        let derived = |secret: &Secret| make(&expand(secret, purpose, &self.name));
        (
            derived(&self.first),
            self.older.iter().map(derived).collect(),
        )
    }

    fn len(&self) -> usize {
        1 + self.older.len()
    }
}

fn expand<const N: usize>(secret: &Secret, purpose: &str, name: &str) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF gives at most 255 blocks") };
    let info = [CONTEXT, b"\0", purpose.as_bytes(), b"\0", name.as_bytes()];
    let mut derived = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "checked when this is compiled")]
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&info, derived.as_mut_slice())
        .expect("not more than 255 blocks");
    derived
}

fn check(key: Zeroizing<Vec<u8>>) -> Result<Secret, SessionError> {
    if key.len() < KeyRing::KEY_BYTES_MIN {
        return Err(invalid(format!(
            "a key has {} bytes, and needs {} or more; `openssl rand -base64 32` makes one",
            key.len(),
            KeyRing::KEY_BYTES_MIN
        )));
    }
    // Not collected, which would leave them in memory that nobody wipes.
    let different = (0..=u8::MAX).filter(|byte| key.contains(byte)).count();
    if different < DIFFERENT_BYTES_MIN {
        return Err(invalid(
            "a key is a placeholder and not random; `openssl rand -base64 32` makes one",
        ));
    }
    Ok(Arc::new(key))
}

fn invalid(advice: impl Into<String>) -> SessionError {
    SessionError::InvalidKey {
        advice: advice.into(),
        source: None::<BoxError>,
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.len())
            .finish()
    }
}
