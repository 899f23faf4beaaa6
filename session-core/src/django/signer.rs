//! Who may write a payload: HMAC-SHA256 under the secret key or, to read, one of its predecessors.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ctutils::CtEq;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The text of a signature: 256 bits in base64, without padding.
const TEXT_LEN: usize = 43;
/// The block of SHA-256. HMAC fills a shorter key up with zeros.
const BLOCK_LEN: usize = 64;

/// `SECRET_KEY` and `SECRET_KEY_FALLBACKS`, as bytes. Wiped when dropped.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) main: Zeroizing<Vec<u8>>,
    pub(super) fallbacks: Vec<Zeroizing<Vec<u8>>>,
}

impl Secrets {
    /// Django's `salted_hmac` with SHA-256, keyed for one purpose: the main secret first.
    pub(super) fn keyed_for(&self, purpose: &str) -> impl Iterator<Item = Hmac<Sha256>> {
        std::iter::once(&self.main)
            .chain(&self.fallbacks)
            .map(move |secret| keyed(purpose, secret))
    }
}

/// The key is the digest of purpose and secret.
fn keyed(purpose: &str, secret: &[u8]) -> Hmac<Sha256> {
    let digest = Sha256::new_with_prefix(purpose)
        .chain_update(secret)
        .finalize();
    let mut key = Zeroizing::new([0; BLOCK_LEN]);
    for (place, byte) in key.iter_mut().zip(digest) {
        *place = byte;
    }
    Hmac::new((&*key).into())
}

/// Whether two secret texts are the same, in a time that tells nothing but their lengths.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).to_bool()
}

/// Signs with the main key, and believes the fallbacks as well.
#[derive(Clone)]
pub(super) struct Signer {
    main: Hmac<Sha256>,
    all: Vec<Hmac<Sha256>>,
}

impl Signer {
    pub(super) fn new(salt: &str, secrets: &Secrets) -> Self {
        let purpose = format!("{salt}signer");
        Self {
            main: keyed(&purpose, &secrets.main),
            all: secrets.keyed_for(&purpose).collect(),
        }
    }

    /// Appends a colon and the signature of what is there.
    pub(super) fn sign(&self, text: &mut String) {
        let signature = signature(&self.main, text.as_bytes());
        text.push(':');
        text.extend(signature.iter().map(|byte| char::from(*byte)));
    }

    /// Whether `given` is the signature of `value`. Compared as text, since 43 characters of base64 have two bits to spare:
    /// another spelling of the same bytes is not what was signed.
    pub(super) fn verifies(&self, value: &[u8], given: &[u8]) -> bool {
        self.all
            .iter()
            .any(|key| is_same(&signature(key, value), given))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

fn signature(key: &Hmac<Sha256>, value: &[u8]) -> [u8; TEXT_LEN] {
    let digest = key.clone().chain_update(value).finalize().into_bytes();
    let mut text = [0; TEXT_LEN];
    let written = URL_SAFE_NO_PAD.encode_slice(digest, &mut text);
    debug_assert_eq!(written, Ok(TEXT_LEN), "a digest fills the text");
    text
}
