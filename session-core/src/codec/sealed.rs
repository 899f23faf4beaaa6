//! Payloads that nobody can read or change without the server's secret.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::{Binding, Codec};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::data::SessionData;
use crate::key_ring::KeyRing;
use crate::owner::Owner;
use crate::seal::{Bound, BrokenSeal, Seals};
use crate::store::StoreError;

const NAME: &str = "the sealed codec";

/// What a sealed payload begins with. The first byte begins no text in UTF-8, so that nothing plain is taken for one; the last
/// is the format's version.
const MAGIC: [u8; 4] = [0xf5, b'S', b'C', 1];

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
    seals: Seals,
    plain_until: Option<Timestamp>,
    clock: Arc<dyn Clock>,
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
        Self {
            inner,
            seals: Seals::new(ring, "sealing", MAGIC),
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
        let opened = self.seals.open(sealed, |bound| bind(bound, binding));
        opened.map_err(|broken| match broken {
            BrokenSeal::UnknownFormat => Flaw::UnknownFormat,
            BrokenSeal::UnknownKey => Flaw::UnknownKey,
            BrokenSeal::NotAuthentic => Flaw::NotAuthentic,
        })
    }

    fn seal(&self, binding: &Binding, text: &[u8]) -> Result<Bytes, StoreError> {
        let sealed = self.seals.seal(text, |bound| bind(bound, binding));
        sealed
            .map(Bytes::from)
            .map_err(|error| StoreError::failed(NAME, "seal a payload", error))
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
        self.seals.are_current(bytes)
    }
}

/// What a payload is sealed to.
fn bind(bound: &mut Bound, binding: &Binding) {
    let Binding {
        key,
        owner,
        created_at,
    } = binding;
    bound.part(key.as_str().as_bytes());
    match owner {
        Some(owner) => {
            bound.part(b"owner");
            bound.part(owner.as_str().as_bytes());
        }
        None => bound.part(b"nobody"),
    }
    match created_at {
        Some(moment) => bound.part(&moment.as_secs().to_be_bytes()),
        None => bound.part(b""),
    }
}

impl<C: fmt::Debug> fmt::Debug for SealedCodec<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedCodec")
            .field("inner", &self.inner)
            .field("keys", &self.seals.keys())
            .field("plain_until", &self.plain_until)
            .finish_non_exhaustive()
    }
}
