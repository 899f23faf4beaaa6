//! What a session holds, in sixteen bytes, and what it is called in a journal: worthless without the store.

use session_core::store::{Record, StoreError, StoreKey};
use sha2::{Digest as _, Sha256};

/// The start of a hash over everything that a record holds, but for its version, and over its key, so that nobody can tell from it
/// what a session with simple data holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(super) fn of(key: &StoreKey, record: &Record) -> Result<Self, StoreError> {
        let payload = record.payload.to_bytes()?;
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            // With its length before it, so that no two records give the same bytes.
            let len = bytes.and_then(|bytes| i64::try_from(bytes.len()).ok());
            hash.update(len.unwrap_or(-1).to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(Some(b"a session that was copied"));
        part(Some(key.as_str().as_bytes()));
        part(Some(&payload));
        part(record.owner.as_ref().map(|owner| owner.as_str().as_bytes()));
        part(record.label.as_ref().map(|label| label.as_str().as_bytes()));
        let began = record.created_at.map(|began| began.as_secs().to_be_bytes());
        part(began.as_ref().map(<[u8; 8]>::as_slice));
        part(Some(&record.expires_at.as_secs().to_be_bytes()));
        Ok(Self(start_of(&hash.finalize())))
    }

    /// What stands for a key.
    pub(super) fn of_key(key: &StoreKey) -> Self {
        let hash = Sha256::new_with_prefix(b"a copied session's key:").chain_update(key.as_str());
        Self(start_of(&hash.finalize()))
    }

    pub(super) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(number.to_be_bytes()))
    }
}

fn start_of(digest: &[u8]) -> [u8; 16] {
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use session_core::Owner;
    use session_core::store::{Label, NewRecord, Payload, Timestamp, Version};

    use super::*;

    #[test]
    fn whatever_changes_in_a_record_changes_its_fingerprint() {
        let key = StoreKey::parse("abc").unwrap();
        let record = || {
            let new = NewRecord::new(Payload::from_bytes("ab"), Timestamp::from_secs(1_000));
            Record::created(new, Version::Counter(1))
        };
        let with = |change: fn(&mut Record)| {
            let mut record = record();
            change(&mut record);
            Fingerprint::of(&key, &record).unwrap()
        };
        let all = [
            with(|_| {}),
            with(|record| record.payload = Payload::from_bytes("a")),
            with(|record| record.expires_at = Timestamp::from_secs(1_001)),
            with(|record| record.owner = Some(Owner::from("b"))),
            with(|record| record.owner = Some(Owner::from(""))),
            with(|record| record.label = Some(Label::new("b"))),
            with(|record| record.created_at = Some(Timestamp::from_secs(1_000))),
            Fingerprint::of(&StoreKey::parse("abd").unwrap(), &record()).unwrap(),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "change {n} would not be copied");
            assert_eq!(Fingerprint::from_hex(&one.to_hex()), Some(*one));
        }
        assert_eq!(
            with(|record| record.version = Version::Counter(7)),
            all[0],
            "a version means something to its own store alone"
        );
    }
}
