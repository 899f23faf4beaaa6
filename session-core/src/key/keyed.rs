//! Store keys that can't be made without the server's secret.

use std::fmt;
use std::sync::Arc;

use hmac::{HmacReset, KeyInit, Mac};
use sha2::Sha256;
use sha2::digest::{FixedOutputReset, Output};

use super::{SessionKey, StoreKey};
use crate::key_ring::KeyRing;

/// The secrets under which [`KeyPolicy::Keyed`](super::KeyPolicy::Keyed) hashes keys. `Debug` shows how many there are.
///
/// A session that is not found under the first is looked for under the others, with one more trip to the store for each and
/// a last one to the first place, to which another request may be moving it (and a log-out deletes it at each); it moves to its new place, under the same key, when
/// it is next written or renewed. A secret that is taken out ends the sessions that were neither written nor renewed
/// since it was replaced.
#[derive(Clone)]
pub struct DigestKeys {
    first: Keyed,
    older: Arc<[Keyed]>,
}

type Keyed = HmacReset<Sha256>;

impl DigestKeys {
    /// The secrets for hashing keys that are derived from those of `ring`.
    #[must_use]
    pub fn new(ring: &KeyRing) -> Self {
        let (first, older) = ring.derive("store keys", |key: &[u8; 64]| Keyed::new(key.into()));
        Self {
            first,
            older: older.into(),
        }
    }

    pub(super) fn current(&self, key: &SessionKey) -> StoreKey {
        digest(&self.first, key)
    }

    pub(super) fn has_older(&self) -> bool {
        !self.older.is_empty()
    }

    pub(super) fn older(&self, key: &SessionKey) -> Vec<StoreKey> {
        self.older.iter().map(|keyed| digest(keyed, key)).collect()
    }
}

fn digest(keyed: &Keyed, key: &SessionKey) -> StoreKey {
    let mut mac = keyed.clone();
    mac.update(key.0.as_slice());
    // Where it is, and wiped there: `finalize` takes it by value, and what is moved leaves a copy of the key behind.
    let mut digest = Output::<Sha256>::default();
    mac.finalize_into_reset(&mut digest);
    StoreKey::from_digest(&digest)
}

impl fmt::Debug for DigestKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestKeys")
            .field("keys", &(1 + self.older.len()))
            .finish()
    }
}
