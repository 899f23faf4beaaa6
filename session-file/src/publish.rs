//! Moves bytes into place so that a crash leaves the old record or the new one. The write protocol is decided here alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use session_core::store::StoreKey;

use crate::config::SyncPolicy;
use crate::format::{self, HEAD_LEN_MAX, Kind, STATE_AT, STATE_SETTLED};
use crate::layout::{self, Place};

/// Writes a temporary file and renames it. Every call needs the lock of the place's stripe, except [`settle`](Self::settle).
#[derive(Debug)]
pub(crate) struct Publisher {
    sync: SyncPolicy,
}

impl Publisher {
    pub(crate) const fn new(sync: SyncPolicy) -> Self {
        Self { sync }
    }

    /// Puts a file of these bytes at the place: all of them or nothing.
    pub(crate) fn replace(&self, place: &Place, bytes: &[u8]) -> io::Result<()> {
        self.make_shard(&place.shard)?;
        let temporary = layout::temporary(&place.shard);
        let published = self
            .write(&temporary, bytes)
            .and_then(|()| rename(&temporary, &place.file));
        if let Err(error) = published {
            // What is left over would be swept by `clear_expired`.
            drop(fs::remove_file(&temporary));
            return Err(error);
        }
        self.sync.folder(&place.shard)
    }

    /// Removes the file at the place. `false` if there is none.
    pub(crate) fn remove(&self, place: &Place) -> io::Result<bool> {
        match fs::remove_file(&place.file) {
            Ok(()) => self.sync.folder(&place.shard).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what need not be gone after a power loss: expired records and temporary files. `false` if there is none.
    pub(crate) fn discard(path: &Path) -> io::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks the record at `key`, which arrived from `from`, as settled, so that the file at `from` is not needed any more.
    /// The caller knows that it has moved.
    ///
    /// The one write in place: a single byte, in a file that never changes otherwise, and the same byte whoever writes it.
    /// So it needs no lock, and a file that took this one's place meanwhile is not met.
    pub(crate) fn settle(&self, place: &Place, key: &StoreKey, from: &StoreKey) -> io::Result<()> {
        if let Some(file) = Self::set_state(place, key, from)? {
            self.sync.file(&file)?;
        }
        Ok(())
    }

    /// [`settle`](Self::settle) for the sake of speed: the file at `from` stays, so that a power loss may undo it.
    pub(crate) fn settle_for_now(place: &Place, key: &StoreKey, from: &StoreKey) -> io::Result<()> {
        Self::set_state(place, key, from).map(drop)
    }

    fn set_state(place: &Place, key: &StoreKey, from: &StoreKey) -> io::Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&place.file);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut head = Vec::with_capacity(HEAD_LEN_MAX);
        let head_len_max = u64::try_from(HEAD_LEN_MAX).unwrap_or(u64::MAX);
        (&file).take(head_len_max).read_to_end(&mut head)?;
        match format::decode(key, &head) {
            Ok(stored) if stored.head.kind == (Kind::Arriving { from: from.clone() }) => {
                file.write_all_at(&[STATE_SETTLED], STATE_AT)?;
                Ok(Some(file))
            }
            // Settled, ended, replaced or damaged since.
            _ => Ok(None),
        }
    }

    fn make_shard(&self, shard: &Path) -> io::Result<()> {
        match fs::symlink_metadata(shard) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                layout::make_folder(shard)?;
                shard
                    .parent()
                    .map_or(Ok(()), |records| self.sync.folder(records))
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        self.sync.file(&file)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where files are published; its callers sync the folder"
)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}
