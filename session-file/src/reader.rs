//! Finds out what is at a key: nothing, a record, or the traces of a rotation. Takes no lock.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use session_core::store::{Payload, Record, StoreError, StoreKey, Timestamp, Version};

use crate::error::{NAME, unavailable};
use crate::format::{self, Damage, FORMAT, Flaw, HEAD_LEN_MAX, Head, Kind, Stored};
use crate::layout::{Folder, Place};

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The head.
    Head,
    /// The head and the payload, checked.
    Whole,
}

/// What is at a key.
#[derive(Debug)]
pub(crate) enum Found {
    /// No file.
    Nothing,
    /// A record, live or expired.
    Record(Entry),
    /// No record: it was rotated away.
    Moved { entry: Entry, to: StoreKey },
    /// No record: a rotation to here was cut short before it took effect. Nobody was given the key.
    Orphan(Entry),
}

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: Head,
    /// Empty unless the whole file was asked for.
    payload: Bytes,
}

/// Reads for one operation, which its errors name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) operation: &'static str,
}

impl Entry {
    /// The record that the file holds.
    pub(crate) fn into_record(self) -> Record {
        let Self { head, payload } = self;
        let Head {
            kind: _,
            version,
            expires_at,
            created_at,
            owner,
            label,
        } = head;
        let version = Version::Counter(version);
        let mut record = Record::new(Payload::from_bytes(payload), expires_at, version);
        record.owner = owner;
        record.label = label;
        record.created_at = created_at;
        record
    }

    pub(crate) const fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl Found {
    /// The live record, if that is what was found.
    pub(crate) fn live(self, now: Timestamp) -> Option<Entry> {
        match self {
            Self::Record(entry) if entry.head.expires_at > now => Some(entry),
            _ => None,
        }
    }

    /// The version of whatever was found, so that what replaces it gets a later one.
    pub(crate) const fn version(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Record(entry) | Self::Moved { entry, .. } | Self::Orphan(entry) => {
                Some(entry.head.version)
            }
        }
    }
}

impl Reader<'_> {
    /// What is at `key`.
    pub(crate) fn find(self, key: &StoreKey, depth: Depth) -> Result<Found, StoreError> {
        // A second look suffices: see below. Rotating to one key again and again is nothing that happens.
        for _ in 0..2 {
            let Some(entry) = self.read(key, depth)? else {
                return Ok(Found::Nothing);
            };
            let from = match &entry.head.kind {
                Kind::Settled => return Ok(Found::Record(entry)),
                Kind::Moved { to } => {
                    let to = to.clone();
                    return Ok(Found::Moved { entry, to });
                }
                Kind::Arriving { from } => from,
            };
            if self.has_moved(from, key)? {
                return Ok(Found::Record(entry));
            }
            // Between our two reads the record may have settled here and the file at `from` may have been cleared. It is
            // only cleared once it has settled.
        }
        match self.read(key, depth)? {
            None => Ok(Found::Nothing),
            Some(entry) if entry.head.kind == Kind::Settled => Ok(Found::Record(entry)),
            Some(entry) => Ok(Found::Orphan(entry)),
        }
    }

    /// Whether the file at `from` says that its record has moved to `to`.
    fn has_moved(self, from: &StoreKey, to: &StoreKey) -> Result<bool, StoreError> {
        let entry = self.read(from, Depth::Head)?;
        Ok(entry.is_some_and(
            |entry| matches!(entry.head.kind, Kind::Moved { to: target } if target == *to),
        ))
    }

    /// The file of `key`, taken by itself.
    fn read(self, key: &StoreKey, depth: Depth) -> Result<Option<Entry>, StoreError> {
        let failed = |error| unavailable(self.folder.path(), self.operation, error);
        match read_file(&self.folder.place(key), key, depth) {
            Ok(entry) => Ok(Some(entry)),
            Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.folder.check_present().map_err(failed)?;
                Ok(None)
            }
            Err(Refused::Io(error)) => Err(failed(error)),
            Err(Refused::Flaw(Flaw::Damage(damage))) => Err(StoreError::damaged(NAME, damage)),
            Err(Refused::Flaw(Flaw::Newer { format })) => Err(StoreError::misconfigured(
                NAME,
                format!(
                    "{} holds sessions in format {format}, and this version of session-file knows {FORMAT}: run the later version",
                    self.folder.path().display()
                ),
                None,
            )),
        }
    }
}

enum Refused {
    Io(io::Error),
    Flaw(Flaw),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::Length.into(),
            _ => Self::Io(error),
        }
    }
}

impl From<Damage> for Refused {
    fn from(damage: Damage) -> Self {
        Self::Flaw(Flaw::Damage(damage))
    }
}

fn read_file(place: &Place, key: &StoreKey, depth: Depth) -> Result<Entry, Refused> {
    /// Most sessions fit into one read.
    const FIRST_READ: usize = 4096;
    const _: () = assert!(HEAD_LEN_MAX <= FIRST_READ, "the first read gets the head");

    let opened = OpenOptions::new()
        .read(true)
        // A link is not followed, and a pipe in a record's place does not keep us waiting.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&place.file);
    let mut file = match opened {
        // A link, and a socket.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Err(Damage::NotAFile.into());
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Damage::NotAFile.into());
    }
    let file_len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let first_read = match depth {
        Depth::Head => HEAD_LEN_MAX,
        Depth::Whole => FIRST_READ,
    };
    let mut bytes = vec![0; file_len.min(first_read)];
    file.read_exact(&mut bytes)?;
    let stored: Stored = format::decode(key, &bytes).map_err(Refused::Flaw)?;
    if stored.head_len.saturating_add(stored.payload_len) != file_len {
        return Err(Damage::Length.into());
    }
    let payload = match depth {
        Depth::Head => Bytes::new(),
        Depth::Whole => {
            let read = bytes.len();
            bytes.resize(file_len, 0);
            file.read_exact(bytes.get_mut(read..).unwrap_or_default())?;
            let payload = Bytes::from(bytes).split_off(stored.head_len);
            stored.check_payload(payload)?
        }
    };
    Ok(Entry {
        head: stored.head,
        payload,
    })
}
