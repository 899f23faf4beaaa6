//! The secret in the cookie, and what a store sees in its place.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::digest::Output;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::SessionError;

#[cfg(feature = "sealed")]
mod keyed;

#[cfg(feature = "sealed")]
pub use keyed::DigestKeys;

/// The secret that a client holds: 32 characters of `[a-z0-9]` from the operating system's generator (165 bits).
///
/// Whoever has it has the session, so it has no `Display` and no `Serialize`, its `Debug` shows nothing, and it is wiped
/// from memory when dropped. It can't be compared with `==`, which would leak timing; stores look up a [`StoreKey`].
///
/// ```
/// use session_core::SessionKey;
///
/// let key = SessionKey::generate()?;
/// assert_eq!(key.expose_secret().len(), SessionKey::LEN);
/// assert_eq!(format!("{key:?}"), "SessionKey(…)");
/// assert!(SessionKey::parse(b"../../etc/passwd").is_none());
/// # Ok::<(), session_core::SessionError>(())
/// ```
///
/// ```compile_fail
/// let (one, other) = (session_core::SessionKey::generate().unwrap(), session_core::SessionKey::generate().unwrap());
/// assert!(one == other); // there is no `==` on a key
/// ```
///
/// ```compile_fail
/// println!("{}", session_core::SessionKey::generate().unwrap()); // nor a `Display`
/// ```
// Behind a pointer, since what is moved leaves a copy behind, which nobody wipes. Shared by those who need the same one.
pub struct SessionKey(triomphe::Arc<Zeroizing<[u8; Self::LEN]>>);

impl SessionKey {
    /// How many characters a key has, as in Django.
    pub const LEN: usize = 32;

    /// A new key from the operating system's generator, without modulo bias.
    ///
    /// # Errors
    ///
    /// [`SessionError::Randomness`] when the operating system has no randomness to give.
    pub fn generate() -> Result<Self, SessionError> {
        let mut key = triomphe::Arc::new(Zeroizing::new([0; Self::LEN]));
        let mut random = Zeroizing::new([0; Self::LEN / CHARACTERS_DRAWN * 8]);
        let (places, _) = triomphe::Arc::make_mut(&mut key).as_chunks_mut();
        let mut places = places.iter_mut();
        let mut place = places.next();
        while place.is_some() {
            crate::random::fill(random.as_mut_slice()).map_err(SessionError::randomness)?;
            let (numbers, _) = random.as_chunks();
            for number in numbers {
                let Some(characters) = &mut place else { break };
                if draw(u64::from_ne_bytes(*number), characters) {
                    place = places.next();
                }
            }
        }
        Ok(Self(key))
    }

    /// The key in a cookie's value, or `None` if that is not exactly 32 characters of `[a-z0-9]`. Anything else never
    /// reaches a store.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value: &[u8; Self::LEN] = value.try_into().ok()?;
        // Without a way out at the first wrong character, which would keep the compiler from looking at many at once.
        let is_key = value
            .iter()
            .fold(true, |is_key, byte| is_key & is_key_character(byte));
        if !is_key {
            return None;
        }
        // Written where it stays: an array that is moved there leaves a copy on the stack.
        let mut key = triomphe::Arc::new(Zeroizing::new([0; Self::LEN]));
        triomphe::Arc::get_mut(&mut key)?.copy_from_slice(value);
        Some(Self(key))
    }

    /// The key's text, for the one who hands it to the client. Never log it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self(triomphe::Arc::clone(&self.0))
    }

    /// Whether a client sent the same key twice. Both are the client's own: there is no secret to leak by timing.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        **self.0 == **other.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// What a store sees of a [`SessionKey`] and keeps: 1 to 40 characters of `[a-z0-9]`, made one way from the key.
///
/// A stolen database, backup or file listing lets nobody in, and a look-up by hash leaks no timing. It is safe in a file
/// name, an SQL literal, a Redis key and a case-insensitive collation. Its `Debug` shows nothing all the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

impl StoreKey {
    /// The most characters that a store key has.
    pub const LEN_MAX: usize = 40;

    /// A store key that a backend reads back from where it keeps it, or `None` if the text can't be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; Self::LEN_MAX];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        (len > 0 && text.bytes().all(|byte| is_key_character(&byte))).then_some(Self { bytes, len })
    }

    /// The text under which a store keeps the record.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        str::from_utf8(used).unwrap_or_default()
    }

    /// The first 160 bits of a digest in lower-case hexadecimal.
    fn from_digest(digest: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        write_hex(digest, &mut bytes);
        Self { bytes, len: 40 }
    }
}

const _: () = assert!(
    SessionKey::LEN.is_multiple_of(CHARACTERS_DRAWN),
    "every character is drawn"
);
const _: () = assert!(StoreKey::LEN_MAX == 40, "160 bits in hexadecimal");
const _: () = assert!(
    SessionKey::LEN <= StoreKey::LEN_MAX,
    "an unhashed key must fit"
);

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// How a [`SessionKey`] becomes the [`StoreKey`] that a store sees.
// Without `==`, which would leak by its timing a secret that a variant may hold one day.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum KeyPolicy {
    /// The first 160 bits of SHA-256 of the key, so that reading the store does not let anybody in.
    #[default]
    Hashed,
    /// As [`Hashed`](Self::Hashed), with a name mixed in, so that no key of one kind of sessions is one of another kind in the same
    /// store. Made by [`hashed_for`](Self::hashed_for).
    HashedFor(Arc<str>),
    /// The first 160 bits of HMAC-SHA256 of the key, under a secret of the server: who can write the store, and does not have
    /// that secret, can't make a session either.
    #[cfg(feature = "sealed")]
    Keyed(DigestKeys),
    /// The key itself. Whoever reads the store can take over every session in it; it exists only because Django looks
    /// its sessions up by the plain key, and is for stores that are shared with a running Django.
    UnhashedSharedWithDjango,
}

impl KeyPolicy {
    /// Hashes for one kind of sessions among several in one store, such as those of a back office beside those of the shop: a key that
    /// was issued for one is unknown to the other. With a secret, `KeyRing::with_name` does the same for `DigestKeys`.
    ///
    /// ```
    /// use session_core::{KeyPolicy, SessionKey};
    ///
    /// let key = SessionKey::generate()?;
    /// let office = KeyPolicy::hashed_for("back office");
    /// assert_ne!(office.store_key(&key), KeyPolicy::Hashed.store_key(&key));
    /// # Ok::<(), session_core::SessionError>(())
    /// ```
    #[must_use]
    pub fn hashed_for(name: &str) -> Self {
        Self::HashedFor(Arc::from(name))
    }

    /// What a store sees in place of `key`.
    #[must_use]
    pub fn store_key(&self, key: &SessionKey) -> StoreKey {
        match self {
            Self::Hashed => {
                // Where it is, and wiped there: what is moved, as by `digest`, leaves a copy of the key behind.
                let mut hasher = Sha256::new();
                hasher.update(key.0.as_slice());
                let mut digest = Output::<Sha256>::default();
                hasher.finalize_into_reset(&mut digest);
                StoreKey::from_digest(&digest)
            }
            Self::HashedFor(name) => {
                let mut hasher = Sha256::new();
                // Longer than a key by itself, so that nothing is digested here that `Hashed` digests.
                hasher.update(b"session-core 1: a key's digest for sessions named: ");
                hasher.update(name.as_bytes());
                // A key has always the same length, so that the name ends where it does.
                hasher.update(key.0.as_slice());
                let mut digest = Output::<Sha256>::default();
                hasher.finalize_into_reset(&mut digest);
                StoreKey::from_digest(&digest)
            }
            #[cfg(feature = "sealed")]
            Self::Keyed(keys) => keys.current(key),
            Self::UnhashedSharedWithDjango => {
                let mut bytes = [0; StoreKey::LEN_MAX];
                for (to, from) in bytes.iter_mut().zip(key.0.iter()) {
                    *to = *from;
                }
                StoreKey { bytes, len: 32 }
            }
        }
    }
}

impl KeyPolicy {
    /// Where the session of `key` may be as well, if it was last written before the server's secret was changed. The newest
    /// place first.
    pub(crate) fn older_store_keys(&self, key: &SessionKey) -> Vec<StoreKey> {
        match self {
            #[cfg(feature = "sealed")]
            Self::Keyed(keys) => keys.older(key),
            _ => {
                let _has_no_secret = key;
                Vec::new()
            }
        }
    }

    /// Everywhere the session of `key` may be, in the order in which to delete it. The place to which it moves comes after those
    /// from which it moves; then these come once more, since a server that still has the secrets in their former order moves
    /// it back. So none that is moved meanwhile is missed.
    pub(crate) fn all_store_keys(&self, key: &SessionKey) -> Vec<StoreKey> {
        let older = self.older_store_keys(key);
        let mut places = Vec::with_capacity(2 * older.len() + 1);
        places.extend(older.iter().rev().cloned());
        places.push(self.store_key(key));
        places.extend(older);
        places
    }

    /// Whether a session that is gone from its place may be at another.
    pub(crate) fn has_several_places(&self) -> bool {
        match self {
            #[cfg(feature = "sealed")]
            Self::Keyed(keys) => keys.has_older(),
            _ => false,
        }
    }
}

/// The public name of a session, for lists ("my devices") and the forms that end one. Made one way from the store key
/// and resolved only together with the session's owner: worthless as a cookie. A session whose key is changed, or that moves to
/// the place of a newer digest key, has another one from then on.
///
/// ```
/// use session_core::SessionHandle;
///
/// let handle: SessionHandle = "0123456789abcdef01234567".parse()?;
/// assert_eq!(handle.to_string(), "0123456789abcdef01234567");
/// assert!("not a handle".parse::<SessionHandle>().is_err());
/// # Ok::<(), session_core::SessionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionHandle([u8; Self::LEN]);

impl SessionHandle {
    /// How many characters a handle has. Fewer than a key, so that it can't be taken for one.
    pub const LEN: usize = 24;

    pub(crate) fn of(key: &StoreKey) -> Self {
        let digest = Sha256::new_with_prefix(b"session-handle:")
            .chain_update(key.as_str())
            .finalize();
        let mut text = [0; Self::LEN];
        write_hex(&digest, &mut text);
        Self(text)
    }

    /// The handle's text, for a form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

const _: () = assert!(
    SessionHandle::LEN != SessionKey::LEN,
    "a handle must never parse as a key"
);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionHandle {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let bytes: [u8; Self::LEN] = text
            .as_bytes()
            .try_into()
            .map_err(|_wrong_length| SessionError::InvalidHandle)?;
        let is_hex = bytes
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex
            .then_some(Self(bytes))
            .ok_or(SessionError::InvalidHandle)
    }
}

/// So many characters are made of one random number.
const CHARACTERS_DRAWN: usize = 8;

/// Makes characters of a random number, its part of all such numbers as a fraction to the base 36. `false` for the few numbers
/// that would make some characters likelier than others: another one is to be drawn in their place.
fn draw(number: u64, characters: &mut [u8; CHARACTERS_DRAWN]) -> bool {
    // Lemire, "Fast random integer generation in an interval": what is left behind the last character is below this for as
    // many numbers as are too many to be shared out evenly.
    const WAYS: u64 = 36_u64.pow(8);
    const UNEVEN_BELOW: u64 = WAYS.wrapping_neg() % WAYS;
    let mut rest = number;
    let (pairs, _) = characters.as_chunks_mut();
    for pair in pairs {
        let at;
        (rest, at) = rest.carrying_mul(36 * 36, 0);
        let at = usize::try_from(at).unwrap_or_default();
        *pair = PAIRS.get(at).copied().unwrap_or_default();
    }
    rest >= UNEVEN_BELOW
}

/// Every two characters, so that half as many steps do.
#[expect(
    clippy::indexing_slicing,
    reason = "what is out of bounds here does not compile"
)]
static PAIRS: [[u8; 2]; 36 * 36] = {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut pairs = [[0; 2]; 36 * 36];
    let mut at = 0;
    while at < pairs.len() {
        pairs[at] = [ALPHABET[at / 36], ALPHABET[at % 36]];
        at += 1;
    }
    pairs
};

fn is_key_character(byte: &u8) -> bool {
    byte.is_ascii_lowercase() | byte.is_ascii_digit()
}

/// Fills `text` with as many hexadecimal digits of `bytes` as it has room for.
fn write_hex(bytes: &[u8], text: &mut [u8]) {
    // Eight digits at a time, each in a byte of one number.
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (places, _) = text.as_chunks_mut();
    let (words, _) = bytes.as_chunks();
    for (place, word) in places.iter_mut().zip(words) {
        let mut digits = u64::from(u32::from_be_bytes(*word));
        digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF;
        digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF;
        digits = (digits | digits << 4) & (EACH * 0x0F);
        let are_letters = ((digits + EACH * 6) >> 4) & EACH;
        let letters_from = u64::from(b'a' - b'0' - 10);
        *place = (digits + EACH * u64::from(b'0') + are_letters * letters_from).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_key_is_the_start_of_the_known_sha_256() {
        // printf %s abcdefghijklmnopqrstuvwxyz012345 | sha256sum
        let key = SessionKey::parse(b"abcdefghijklmnopqrstuvwxyz012345").unwrap();
        assert_eq!(
            KeyPolicy::Hashed.store_key(&key).as_str(),
            "653bb1245e828fcda4fa53fcd5a3def5bd7654e6"
        );
        assert_eq!(
            KeyPolicy::UnhashedSharedWithDjango.store_key(&key).as_str(),
            key.expose_secret()
        );
    }

    #[test]
    fn id_06_in_01_only_exact_keys_parse() {
        let good = "abcdefghijklmnopqrstuvwxyz012345";
        assert!(SessionKey::parse(good.as_bytes()).is_some());
        for bad in [
            "",
            "a",
            &good[1..],
            &format!("{good}a"),
            &good.to_uppercase(),
            &good.replace('c', "_"),
            &good.replace('c', "\0"),
        ] {
            assert!(
                SessionKey::parse(bad.as_bytes()).is_none(),
                "{bad:?} was taken for a key"
            );
        }
        for bad in ["", "A", "a-b", "a b", "é", &"a".repeat(41)] {
            assert!(
                StoreKey::parse(bad).is_none(),
                "{bad:?} was taken for a store key"
            );
        }
        assert_eq!(StoreKey::parse(&"a".repeat(40)).unwrap().as_str().len(), 40);
    }

    #[test]
    fn id_01_new_keys_use_the_whole_alphabet_evenly() {
        let mut counts = std::collections::BTreeMap::new();
        let keys = 4_000;
        for _ in 0..keys {
            for character in SessionKey::generate().unwrap().expose_secret().chars() {
                *counts.entry(character).or_insert(0_u32) += 1;
            }
        }
        assert_eq!(counts.len(), 36);
        // 3,556 of each expected, standard deviation 59: a bias of modulo 256 would be seen as 3,500 and 4,000.
        assert!(
            counts.values().all(|count| (3_150..3_960).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn id_01_any_eight_characters_are_drawn_by_as_many_numbers_as_any_others() {
        let drawn = |number| {
            let mut characters = [0; CHARACTERS_DRAWN];
            draw(number, &mut characters).then(|| String::from_utf8(characters.to_vec()).unwrap())
        };
        let ways = 36_u64.pow(8);
        let share = u64::MAX / ways;
        // A multiple of it short of all numbers: the first number is one of those that are left over.
        assert_eq!(drawn(0), None);
        assert_eq!(drawn(1).as_deref(), Some("aaaaaaaa"));
        assert_eq!(drawn(share).as_deref(), Some("aaaaaaaa"));
        let next = (share + 1..).find_map(drawn);
        assert_eq!(next.as_deref(), Some("aaaaaaab"));
        assert_eq!(drawn(u64::MAX).as_deref(), Some("99999999"));
        assert_eq!(drawn(u64::MAX - share + 1).as_deref(), Some("99999999"));
        let before = (1..)
            .map(|back| u64::MAX - share + 1 - back)
            .find_map(drawn);
        assert_eq!(before.as_deref(), Some("99999998"));
        // The middle, where the upper half of the numbers begins.
        assert_eq!(drawn((1 << 63) + 1).as_deref(), Some("saaaaaaa"));
        assert_eq!(drawn((1 << 63) - 1).as_deref(), Some("r9999999"));
    }
}
