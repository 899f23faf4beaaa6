//! The one place where something is encrypted: under which key, bound to what, and in which format.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::key_ring::KeyRing;
use crate::random;
use crate::store::BoxError;

/// What something sealed begins with: its kind, and the version of its format.
pub(crate) type Magic = [u8; 4];

const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = size_of::<Magic>() + KEY_ID_LEN + NONCE_LEN;

/// By how much something grows that is sealed.
pub(crate) const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// Seals with the first key of a ring, and opens what was sealed with any of them.
#[derive(Clone)]
pub(crate) struct Seals {
    magic: Magic,
    first: Arc<SealingKey>,
    older: Arc<[SealingKey]>,
}

struct SealingKey {
    id: [u8; KEY_ID_LEN],
    cipher: XChaCha20Poly1305,
}

impl SealingKey {
    /// From a key for the cipher, and a name that says nothing about it.
    fn new(derived: &[u8; 32 + KEY_ID_LEN]) -> Self {
        let (mut key, mut id) = (Zeroizing::new([0; 32]), [0; KEY_ID_LEN]);
        for (to, from) in key.iter_mut().chain(&mut id).zip(derived) {
            *to = *from;
        }
        Self {
            id,
            cipher: XChaCha20Poly1305::new((&*key).into()),
        }
    }
}

/// Why something sealed is not believed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BrokenSeal {
    UnknownFormat,
    UnknownKey,
    NotAuthentic,
}

/// What something is sealed to. Every part has its length before it, so that no two lists of parts give the same bytes.
pub(crate) struct Bound(Vec<u8>);

impl Bound {
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}

impl Seals {
    /// With keys that are derived for `purpose` alone.
    pub(crate) fn new(ring: &KeyRing, purpose: &str, magic: Magic) -> Self {
        let (first, older) = ring.derive(purpose, SealingKey::new);
        Self {
            magic,
            first: Arc::new(first),
            older: older.into(),
        }
    }

    pub(crate) fn seal(&self, text: &[u8], bind: impl Fn(&mut Bound)) -> Result<Vec<u8>, BoxError> {
        let key = &*self.first;
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce)?;
        let mut sealed = Vec::with_capacity(text.len() + OVERHEAD);
        sealed.extend_from_slice(&self.magic);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (_header, body) = sealed
            .split_at_mut_checked(HEADER_LEN)
            .ok_or("there is no header")?;
        let tag = key
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &self.bound(key, bind), body.into())
            .map_err(|error| error.to_string())?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    pub(crate) fn open(
        &self,
        sealed: &[u8],
        bind: impl Fn(&mut Bound),
    ) -> Result<Vec<u8>, BrokenSeal> {
        let (magic, rest) = sealed
            .split_first_chunk()
            .ok_or(BrokenSeal::UnknownFormat)?;
        if *magic != self.magic {
            return Err(BrokenSeal::UnknownFormat);
        }
        let (id, rest) = rest.split_first_chunk().ok_or(BrokenSeal::NotAuthentic)?;
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(BrokenSeal::NotAuthentic)?;
        let (text, tag) = rest
            .split_last_chunk::<TAG_LEN>()
            .ok_or(BrokenSeal::NotAuthentic)?;
        let mut keys = std::iter::once(&*self.first).chain(&*self.older);
        let key = keys
            .find(|key| key.id == *id)
            .ok_or(BrokenSeal::UnknownKey)?;
        let mut text = text.to_vec();
        key.cipher
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &self.bound(key, bind),
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_says_nothing| BrokenSeal::NotAuthentic)?;
        Ok(text)
    }

    /// Whether the newest key has sealed this.
    pub(crate) fn are_current(&self, sealed: &[u8]) -> bool {
        let id = sealed
            .strip_prefix(&self.magic)
            .and_then(|rest| rest.first_chunk::<KEY_ID_LEN>());
        id == Some(&self.first.id)
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        1 + self.older.len()
    }

    fn bound(&self, key: &SealingKey, bind: impl Fn(&mut Bound)) -> Vec<u8> {
        let mut bound = Bound(Vec::with_capacity(128));
        bound.part(b"a session's data");
        bound.part(&self.magic);
        bound.part(&key.id);
        bind(&mut bound);
        bound.0
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals").field("keys", &self.keys()).finish()
    }
}
