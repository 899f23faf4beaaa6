//! Moves bytes into place so that a crash leaves the old record or the new one. The write protocol is decided here alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use session_core::store::StoreKey;

use crate::config::SyncPolicy;
use crate::format::{self, HEAD_LEN_MAX, Kind, STATE_AT, STATE_SETTLED};
use crate::layout::{self, Place};
use crate::swap::exchange;

/// Writes a temporary file and puts it in place. Every call needs the lock of the place's stripe, except
/// [`settle`](Self::settle).
#[derive(Debug)]
pub(crate) struct Publisher {
    sync: SyncPolicy,
    #[cfg(test)]
    steps: crate::crash_points::Steps,
}

/// What is done to a disk. A crash can come before and after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    MakeShard,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
    Remove,
    SetState,
}

impl Publisher {
    pub(crate) fn new(sync: SyncPolicy) -> Self {
        Self {
            sync,
            #[cfg(test)]
            steps: crate::crash_points::Steps::default(),
        }
    }

    /// One that does so many steps and then no more, as if the program had died.
    #[cfg(test)]
    pub(crate) const fn mortal(sync: SyncPolicy, steps: crate::crash_points::Steps) -> Self {
        Self { sync, steps }
    }

    /// Puts a file of these bytes at the place: all of them or nothing.
    pub(crate) fn replace(&self, place: &Place, bytes: &[u8]) -> io::Result<()> {
        self.make_shard(&place.shard)?;
        let temporary = layout::temporary(&place.shard);
        let published = self
            .write(&temporary, bytes)
            .and_then(|()| self.put_in_place(&temporary, &place.file));
        if let Err(error) = published {
            // What is left over would be swept by `clear_expired`.
            drop(self.discard(&temporary));
            return Err(error);
        }
        self.sync_folder(&place.shard)
    }

    /// Removes the file at the place, for good. `false` if there is none.
    pub(crate) fn remove(&self, place: &Place) -> io::Result<bool> {
        let removed = self.discard(&place.file)?;
        if removed {
            self.sync_folder(&place.shard)?;
        }
        Ok(removed)
    }

    /// Removes a file that may be back after a power loss: an expired record, a temporary file. `false` if there is none.
    pub(crate) fn discard(&self, path: &Path) -> io::Result<bool> {
        self.step(Step::Remove)?;
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
        match self.set_state(place, key, from)? {
            Some(file) => self.sync_file(&file),
            None => Ok(()),
        }
    }

    /// [`settle`](Self::settle) for the sake of speed: the file at `from` stays, so that a power loss may undo it.
    pub(crate) fn settle_for_now(
        &self,
        place: &Place,
        key: &StoreKey,
        from: &StoreKey,
    ) -> io::Result<()> {
        self.set_state(place, key, from).map(drop)
    }

    fn set_state(
        &self,
        place: &Place,
        key: &StoreKey,
        from: &StoreKey,
    ) -> io::Result<Option<File>> {
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
                self.step(Step::SetState)?;
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
                self.step(Step::MakeShard)?;
                layout::make_folder(shard)?;
                match shard.parent() {
                    Some(records) => self.sync_folder(records),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Write)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        self.sync_file(&file)
    }

    /// Has the temporary file take the record's name, in one step.
    ///
    /// Where nothing is synced the two files change places, and the old one is removed: some file systems write a file that is
    /// renamed over another at once, and let the rename wait for that. A file that was synced has been written.
    fn put_in_place(&self, temporary: &Path, file: &Path) -> io::Result<()> {
        self.step(Step::Rename)?;
        if self.sync == SyncPolicy::Never && exchange(temporary, file).is_ok() {
            // What is left over would be swept by `clear_expired`.
            drop(self.discard(temporary));
            return Ok(());
        }
        // There is no old file, or the file system can't exchange them, or this says what is wrong.
        rename(temporary, file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.sync == SyncPolicy::EveryWrite {
            self.step(Step::SyncFile)?;
        }
        self.sync.file(file)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.sync == SyncPolicy::EveryWrite {
            self.step(Step::SyncFolder)?;
        }
        self.sync.folder(path)
    }

    #[cfg(test)]
    fn step(&self, step: Step) -> io::Result<()> {
        self.steps.take(step)
    }

    #[cfg(not(test))]
    const fn step(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where files are published; its callers sync the folder"
)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}
