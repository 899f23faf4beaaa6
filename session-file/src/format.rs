//! The bytes of a record's file: a head that can be read alone, and the payload. `docs/format.md` is the specification.

use bytes::Bytes;
use session_core::Owner;
use session_core::store::{Label, StoreError, StoreKey, Timestamp};

use crate::error::NAME;

/// The only format so far. A file of a later one is refused with advice, never guessed at.
pub(crate) const FORMAT: u8 = 1;
/// Where the state byte stands, for the one write that is made in place.
pub(crate) const STATE_AT: u64 = 11;
pub(crate) const STATE_SETTLED: u8 = 0x73;
/// The complement, so that no few flipped bits turn one into the other: the checksum does not cover this byte.
const STATE_ARRIVING: u8 = !STATE_SETTLED;

const MAGIC: &[u8; 8] = b"\x93session";
const KIND_RECORD: u8 = b'R';
const KIND_FORWARD: u8 = b'F';
/// The part of the head that every file has.
const FIXED_LEN: usize = 96;
/// How long an owner or a label may be. The session API never sends more.
pub(crate) const TEXT_BYTES_MAX: usize = 256;
/// The longest head: one read of so many bytes always gets it whole.
pub(crate) const HEAD_LEN_MAX: usize = FIXED_LEN + 2 * TEXT_BYTES_MAX;
/// The largest payload. Far above the policy's 1 MiB: it only keeps a length that went wrong from filling the memory.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;
const NO_TEXT: u16 = u16::MAX;
const NO_TIME: i64 = i64::MIN;

const _: () = assert!(StoreKey::LEN_MAX == 40, "the head has 40 bytes for a key");
const _: () = assert!(
    STATE_AT < FIXED_LEN as u64,
    "the state is in every file's head"
);

/// What a file is about, apart from the payload.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) version: u64,
    pub(crate) expires_at: Timestamp,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) owner: Option<Owner>,
    pub(crate) label: Option<Label>,
}

/// What a file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record.
    Settled,
    /// A record that a rotation brings here. It exists once the file of this other key says that it has moved here.
    Arriving { from: StoreKey },
    /// No record: it was rotated away, to this key.
    Moved { to: StoreKey },
}

/// A head as it was read, and what it says of the rest of the file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: Head,
    pub(crate) head_len: usize,
    pub(crate) payload_len: usize,
    payload_checksum: u32,
}

/// Why a file can't be read as what was once written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("a record's file is empty, as a power loss leaves one that was never synced")]
    Empty,
    #[error("a record's file is cut short or has grown")]
    Length,
    #[error("a file in a record's place was not written by this store")]
    Foreign,
    #[error("the head of a record's file does not match its checksum")]
    HeadChecksum,
    #[error("the head of a record's file makes no sense")]
    Head,
    #[error("the payload of a record's file does not match its checksum")]
    PayloadChecksum,
    #[error("something that is not a plain file is in a record's place")]
    NotAFile,
}

/// Why a head could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Damage(Damage),
    /// Written by a later version of this crate.
    Newer {
        format: u8,
    },
}

impl From<Damage> for Flaw {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// The bytes of the file of `key`.
pub(crate) fn encode(key: &StoreKey, head: &Head, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    let too_large = |len, max| StoreError::too_large(NAME, len, max);
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(too_large(payload.len(), PAYLOAD_BYTES_MAX));
    }
    let payload_len = u32::try_from(payload.len())
        .map_err(|_too_long| too_large(payload.len(), PAYLOAD_BYTES_MAX))?;
    let owner = head.owner.as_ref().map(Owner::as_str);
    let label = head.label.as_ref().map(Label::as_str);
    let (kind, state, other) = match &head.kind {
        Kind::Settled => (KIND_RECORD, STATE_SETTLED, None),
        Kind::Arriving { from } => (KIND_RECORD, STATE_ARRIVING, Some(from)),
        Kind::Moved { to } => (KIND_FORWARD, STATE_SETTLED, Some(to)),
    };
    let other = other.map(StoreKey::as_str).unwrap_or_default();
    let mut other_padded = [0; StoreKey::LEN_MAX];
    for (place, byte) in other_padded.iter_mut().zip(other.bytes()) {
        *place = byte;
    }

    let mut rest = Vec::with_capacity(HEAD_LEN_MAX);
    rest.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    rest.extend_from_slice(&payload_len.to_le_bytes());
    rest.extend_from_slice(&head.version.to_le_bytes());
    rest.extend_from_slice(&head.expires_at.as_secs().to_le_bytes());
    let created_at = head.created_at.map_or(NO_TIME, Timestamp::as_secs);
    rest.extend_from_slice(&created_at.to_le_bytes());
    rest.extend_from_slice(&text_len(owner)?.to_le_bytes());
    rest.extend_from_slice(&text_len(label)?.to_le_bytes());
    rest.push(u8::try_from(other.len()).unwrap_or_default());
    rest.extend_from_slice(&[0; 3]);
    rest.extend_from_slice(&other_padded);
    rest.extend_from_slice(owner.unwrap_or_default().as_bytes());
    rest.extend_from_slice(label.unwrap_or_default().as_bytes());

    let start = [FORMAT, !FORMAT, kind];
    let mut file = Vec::with_capacity(16 + rest.len() + payload.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&start);
    file.push(state);
    file.extend_from_slice(&head_checksum(key, start, &rest).to_le_bytes());
    file.extend_from_slice(&rest);
    file.extend_from_slice(payload);
    Ok(file)
}

/// The head of the file of `key`, from its first bytes: at least [`HEAD_LEN_MAX`], or the whole file.
pub(crate) fn decode(key: &StoreKey, bytes: &[u8]) -> Result<Stored, Flaw> {
    if bytes.is_empty() {
        return Err(Damage::Empty.into());
    }
    let mut fields = Fields(bytes);
    if fields.array()? != *MAGIC {
        return Err(Damage::Foreign.into());
    }
    let [format, complement] = fields.array()?;
    if complement != !format {
        return Err(Damage::HeadChecksum.into());
    }
    if format != FORMAT {
        return Err(Flaw::Newer { format });
    }
    let [kind, state] = fields.array()?;
    let checksum = u32::from_le_bytes(fields.array()?);
    let checked = fields.0;
    let payload_checksum = u32::from_le_bytes(fields.array()?);
    let payload_len = u32::from_le_bytes(fields.array()?);
    let version = u64::from_le_bytes(fields.array()?);
    let expires_at = i64::from_le_bytes(fields.array()?);
    let created_at = i64::from_le_bytes(fields.array()?);
    let owner_len = u16::from_le_bytes(fields.array()?);
    let label_len = u16::from_le_bytes(fields.array()?);
    let [other_len, _, _, _] = fields.array()?;
    let other: [u8; StoreKey::LEN_MAX] = fields.array()?;
    let owner = fields.text(owner_len)?;
    let label = fields.text(label_len)?;

    let checked_len = checked.len() - fields.0.len();
    let checked = checked.get(..checked_len).unwrap_or_default();
    if head_checksum(key, [format, complement, kind], checked) != checksum {
        return Err(Damage::HeadChecksum.into());
    }

    // From here on the bytes are what was written: what follows can only be wrong if the writer was.
    let other = other.get(..usize::from(other_len)).unwrap_or_default();
    let other = || {
        str::from_utf8(other)
            .ok()
            .and_then(StoreKey::parse)
            .ok_or(Damage::Head)
    };
    let kind = match (kind, state) {
        (KIND_RECORD, STATE_SETTLED) => Kind::Settled,
        (KIND_RECORD, STATE_ARRIVING) => Kind::Arriving { from: other()? },
        (KIND_FORWARD, STATE_SETTLED) => Kind::Moved { to: other()? },
        _ => return Err(Damage::HeadChecksum.into()),
    };
    let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
    if payload_len > PAYLOAD_BYTES_MAX {
        return Err(Damage::Head.into());
    }
    Ok(Stored {
        head: Head {
            kind,
            version,
            expires_at: Timestamp::from_secs(expires_at),
            created_at: (created_at != NO_TIME).then(|| Timestamp::from_secs(created_at)),
            owner: owner.map(Owner::from),
            label: label.map(Label::new),
        },
        head_len: bytes.len() - fields.0.len(),
        payload_len,
        payload_checksum,
    })
}

impl Stored {
    /// The payload, if it is the one that was written with this head.
    pub(crate) fn check_payload(&self, payload: Bytes) -> Result<Bytes, Damage> {
        if payload.len() != self.payload_len {
            Err(Damage::Length)
        } else if crc32fast::hash(&payload) != self.payload_checksum {
            Err(Damage::PayloadChecksum)
        } else {
            Ok(payload)
        }
    }
}

/// Covers the key, so that a file under another key's name is found out, and all of the head but magic and state.
fn head_checksum(key: &StoreKey, start: [u8; 3], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_str().as_bytes());
    hasher.update(&start);
    hasher.update(rest);
    hasher.finalize()
}

fn text_len(text: Option<&str>) -> Result<u16, StoreError> {
    let Some(text) = text else {
        return Ok(NO_TEXT);
    };
    u16::try_from(text.len())
        .ok()
        .filter(|len| usize::from(*len) <= TEXT_BYTES_MAX)
        .ok_or_else(|| StoreError::too_large(NAME, text.len(), TEXT_BYTES_MAX))
}

/// The bytes that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damage::Length)?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self, len: u16) -> Result<Option<&'a str>, Damage> {
        if len == NO_TEXT {
            return Ok(None);
        }
        if usize::from(len) > TEXT_BYTES_MAX {
            return Err(Damage::HeadChecksum);
        }
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(len))
            .ok_or(Damage::Length)?;
        self.0 = rest;
        str::from_utf8(text)
            .map(Some)
            .map_err(|_not_text| Damage::HeadChecksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> StoreKey {
        StoreKey::parse(text).unwrap()
    }

    fn head(kind: Kind) -> Head {
        Head {
            kind,
            version: u64::MAX - 1,
            expires_at: Timestamp::from_secs(1_900_000_000),
            created_at: Some(Timestamp::from_secs(-5)),
            owner: Some(Owner::from("ada")),
            label: Some(Label::new("Ada's télephone")),
        }
    }

    #[test]
    fn every_kind_survives_the_way_through_the_file() {
        let kinds = [
            Kind::Settled,
            Kind::Arriving { from: key("b") },
            Kind::Moved {
                to: key(&"z9".repeat(20)),
            },
        ];
        for kind in kinds {
            for payload in ["", "x", "some payload"] {
                let mut head = head(kind.clone());
                if payload.is_empty() {
                    (head.owner, head.label, head.created_at) = (None, None, None);
                }
                let file = encode(&key("a"), &head, payload.as_bytes()).unwrap();
                let stored = decode(&key("a"), &file).unwrap();
                assert_eq!(stored.head.kind, kind);
                assert_eq!(stored.head.version, head.version);
                assert_eq!(stored.head.expires_at, head.expires_at);
                assert_eq!(stored.head.created_at, head.created_at);
                assert_eq!(stored.head.owner, head.owner);
                assert_eq!(stored.head.label, head.label);
                let rest = Bytes::copy_from_slice(&file[stored.head_len..]);
                assert_eq!(stored.check_payload(rest).unwrap(), payload.as_bytes());
            }
        }
    }

    #[test]
    fn data_03_format_1_has_these_bytes_forever() {
        let mut head = head(Kind::Arriving { from: key("f0") });
        head.version = 0x0102_0304_0506_0708;
        let file = encode(&key("a1"), &head, b"payload").unwrap();
        let fixture = include_bytes!("../tests/fixtures/format-1-arriving.session");
        assert_eq!(
            file, fixture,
            "files of earlier releases would not be read any more"
        );
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let file = encode(&key("a"), &head(Kind::Settled), b"payload").unwrap();
        for at in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let read = decode(&key("a"), &flipped).and_then(|stored| {
                let rest = Bytes::copy_from_slice(&flipped[stored.head_len..]);
                Ok(stored.check_payload(rest)?)
            });
            assert!(
                matches!(read, Err(Flaw::Damage(_))),
                "bit {at} was flipped, and the file was read as {read:?}"
            );
        }
    }

    #[test]
    fn any_cut_is_noticed() {
        let file = encode(&key("a"), &head(Kind::Settled), b"payload").unwrap();
        for len in 0..file.len() {
            let cut = &file[..len];
            let read = decode(&key("a"), cut).and_then(|stored| {
                let rest = Bytes::copy_from_slice(&cut[stored.head_len..]);
                Ok(stored.check_payload(rest)?)
            });
            assert!(
                matches!(read, Err(Flaw::Damage(_))),
                "a file cut at {len} was read as {read:?}"
            );
        }
    }

    #[test]
    fn a_file_under_another_name_is_not_believed() {
        let file = encode(&key("a"), &head(Kind::Settled), b"payload").unwrap();
        let read = decode(&key("b"), &file).map(|_| ());
        assert_eq!(read, Err(Flaw::Damage(Damage::HeadChecksum)));
    }

    #[test]
    fn data_03_a_later_format_is_told_from_damage() {
        let mut file = encode(&key("a"), &head(Kind::Settled), b"").unwrap();
        (file[8], file[9]) = (2, !2);
        let read = decode(&key("a"), &file).map(|_| ());
        assert_eq!(read, Err(Flaw::Newer { format: 2 }));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut large = head(Kind::Settled);
        large.owner = Some(Owner::from("o".repeat(TEXT_BYTES_MAX)));
        large.label = Some(Label::new(&"l".repeat(TEXT_BYTES_MAX)));
        let file = encode(&key("a"), &large, b"").unwrap();
        assert_eq!(file.len(), HEAD_LEN_MAX);
        large.owner = Some(Owner::from("o".repeat(TEXT_BYTES_MAX + 1)));
        let refused = encode(&key("a"), &large, b"").unwrap_err();
        assert!(
            matches!(refused, StoreError::TooLarge { .. }),
            "{refused:?}"
        );
    }
}
