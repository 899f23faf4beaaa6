//! Payloads that nobody can read or change without the server's secret.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::{Binding, Codec};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::data::SessionData;
use crate::key_ring::KeyRing;
use crate::owner::Owner;
use crate::random;
use crate::store::StoreError;

const NAME: &str = "the sealed codec";

/// What a sealed payload begins with. The first byte begins no text in UTF-8, so that nothing plain is taken for one; the last
/// is the format's version.
const MAGIC: [u8; 4] = [0xf5, b'S', b'C', 1];
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = MAGIC.len() + KEY_ID_LEN + NONCE_LEN;

/// Encrypts what another codec writes, and binds it to its record: with a key that only the server has, it can't be read,
/// changed, or put into another session's place.
///
/// XChaCha20-Poly1305: its nonces of 192 bits can be drawn at random by any number of processes, also by one that was restored
/// from a backup, without ever meeting; and it is constant in time without help from the processor. (AES-256-GCM-SIV would
/// survive a nonce that came twice, and is slower where there is no AES in hardware; with nonces of 96 bits its keys would have
/// to be changed by count.) There is no other cipher to choose, and no mode without authentication.
///
/// Bound are: the key under which the record is kept, its owner, its time of creation, the purpose and the format's version; its
/// expiry and its label are not. A
/// payload that was copied to another record, a record whose owner was changed in the database, a payload under a key that is
/// not in the ring, one with a flipped bit, and one that is not sealed at all are [`StoreError::Damaged`]: reported, never
/// overwritten, and their visitor starts afresh. No other key or codec is tried on them. An older payload of the same record,
/// put back by somebody who can write the store, is not noticed.
///
/// The store must keep owner and time of creation, as all of this project's own formats do; Django's have no place for them.
/// Nothing is compressed. A payload grows by 48 bytes.
///
/// ```
/// use session_core::codec::{JsonCodec, SealedCodec};
/// use session_core::{DigestKeys, KeyPolicy, KeyRing, MemoryStore, Policy, SessionManager};
///
/// # fn main() -> Result<(), session_core::SessionError> {
/// # let key: Vec<u8> = (0..32).collect();
/// # let sealing = KeyRing::from_bytes(&key)?;
/// # let hashing = sealing.clone();
/// // let sealing = KeyRing::from_env("SESSION_SEALING_KEYS")?;
/// // let hashing = KeyRing::from_env("SESSION_DIGEST_KEYS")?;
/// let manager = SessionManager::new(MemoryStore::new())
///     .with_codec(SealedCodec::new(JsonCodec::default(), &sealing))
///     .with_policy(Policy::new().with_keys(KeyPolicy::Keyed(DigestKeys::new(&hashing))));
/// # drop(manager);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SealedCodec<C> {
    inner: C,
    first: Arc<SealingKey>,
    older: Arc<[SealingKey]>,
    plain_until: Option<Timestamp>,
    clock: Arc<dyn Clock>,
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

/// Why a payload is not believed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Flaw {
    #[error("it is not sealed, and the codec takes nothing else")]
    NotSealed,
    #[error("it is sealed in a format that this version does not know")]
    UnknownFormat,
    #[error("it is sealed with a key that is not in the ring")]
    UnknownKey,
    #[error(
        "it was changed, or belongs to another record, or its record's owner or time of creation was changed"
    )]
    NotAuthentic,
}

impl From<Flaw> for StoreError {
    fn from(flaw: Flaw) -> Self {
        Self::damaged(NAME, flaw)
    }
}

impl<C: Codec> SealedCodec<C> {
    /// Seals what `inner` writes with the first key of `ring`, and opens what was sealed with any of them.
    #[must_use]
    pub fn new(inner: C, ring: &KeyRing) -> Self {
        let (first, older) = ring.derive("sealing", SealingKey::new);
        Self {
            inner,
            first: Arc::new(first),
            older: older.into(),
            plain_until: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Until this moment a payload that is not sealed is read all the same: for the time in which sessions that were stored
    /// before are sealed, by their next write or by [`SessionManager::reseal`](crate::SessionManager::reseal). Whoever can write
    /// the store can make sessions until then.
    #[must_use]
    pub fn accepting_plain_until(mut self, end: SystemTime) -> Self {
        self.plain_until = Some(end.into());
        self
    }

    /// Where the time comes from that ends the acceptance of plain payloads. The system's clock by default.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn open(&self, binding: &Binding, sealed: &[u8]) -> Result<Vec<u8>, Flaw> {
        let (magic, rest) = sealed.split_first_chunk().ok_or(Flaw::UnknownFormat)?;
        if *magic != MAGIC {
            return Err(Flaw::UnknownFormat);
        }
        let (id, rest) = rest.split_first_chunk().ok_or(Flaw::NotAuthentic)?;
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(Flaw::NotAuthentic)?;
        let (text, tag) = rest
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Flaw::NotAuthentic)?;
        let mut keys = std::iter::once(&*self.first).chain(&*self.older);
        let key = keys.find(|key| key.id == *id).ok_or(Flaw::UnknownKey)?;
        let mut text = text.to_vec();
        key.cipher
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &bound(binding, key.id),
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_says_nothing| Flaw::NotAuthentic)?;
        Ok(text)
    }

    fn seal(&self, binding: &Binding, text: &[u8]) -> Result<Bytes, StoreError> {
        const OPERATION: &str = "seal a payload";
        let key = &*self.first;
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce).map_err(|error| StoreError::failed(NAME, OPERATION, error))?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + text.len() + TAG_LEN);
        sealed.extend_from_slice(&MAGIC);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (_header, body) = sealed
            .split_at_mut_checked(HEADER_LEN)
            .ok_or_else(|| StoreError::failed(NAME, OPERATION, "there is no header"))?;
        let tag = key
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &bound(binding, key.id), body.into())
            .map_err(|error| StoreError::failed(NAME, OPERATION, error.to_string()))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed.into())
    }

    fn takes_plain(&self) -> bool {
        self.plain_until.is_some_and(|end| self.clock.now() < end)
    }
}

impl<C: Codec> Codec for SealedCodec<C> {
    fn encode(&self, binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        self.seal(binding, &self.inner.encode(binding, data)?)
    }

    fn decode(&self, binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        if bytes.first() == MAGIC.first() {
            return self
                .inner
                .decode(binding, &self.open(binding, bytes)?.into());
        }
        if self.takes_plain() {
            return self.inner.decode(binding, bytes);
        }
        Err(Flaw::NotSealed.into())
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn owner(&self, data: &SessionData) -> Option<Owner> {
        self.inner.owner(data)
    }

    fn is_current(&self, bytes: &Bytes) -> bool {
        let id = bytes
            .strip_prefix(MAGIC.as_slice())
            .and_then(|rest| rest.first_chunk::<KEY_ID_LEN>());
        id == Some(&self.first.id)
    }
}

/// What a payload is sealed to. Every part has its length before it, so that no two places give the same bytes.
fn bound(binding: &Binding, key_id: [u8; KEY_ID_LEN]) -> Vec<u8> {
    let Binding {
        key,
        owner,
        created_at,
    } = binding;
    let mut bound = Vec::with_capacity(128);
    let mut part = |bytes: &[u8]| {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        bound.extend_from_slice(&len.to_be_bytes());
        bound.extend_from_slice(bytes);
    };
    part(b"a session's data");
    part(&MAGIC);
    part(&key_id);
    part(key.as_str().as_bytes());
    match owner {
        Some(owner) => {
            part(b"owner");
            part(owner.as_str().as_bytes());
        }
        None => part(b"nobody"),
    }
    match created_at {
        Some(moment) => part(&moment.as_secs().to_be_bytes()),
        None => part(b""),
    }
    bound
}

impl<C: fmt::Debug> fmt::Debug for SealedCodec<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedCodec")
            .field("inner", &self.inner)
            .field("keys", &(1 + self.older.len()))
            .field("plain_until", &self.plain_until)
            .finish_non_exhaustive()
    }
}
