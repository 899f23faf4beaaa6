//! The steps of which the operations are made, for one operation, which its errors name.

use bytes::Bytes;
use session_core::store::{
    Payload, Record, Saved, StoreError, StoreKey, Timestamp, Version, VersionContent,
};

use super::files::{Files, Refused, Stored};
use super::lifetime::Lifetime;
use super::publish::{self, Replaced};
use super::{key_taken, version};
use crate::error::NAME;
use crate::format::PAYLOAD_BYTES_MAX;
use crate::hop::Shared;

#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a> {
    shared: &'a Shared,
    files: &'a Files,
    operation: &'static str,
}

/// A live session, as it was read.
#[derive(Debug)]
pub(super) struct Live {
    stored: Stored,
    lifetime: Lifetime,
    pub(super) expires_at: Timestamp,
}

impl Live {
    pub(super) fn into_record(self) -> Record {
        let content = self.stored.content;
        let version = Version::Content(VersionContent::new(content.clone()));
        Record::new(Payload::from_bytes(content), self.expires_at, version)
    }
}

impl<'a> Desk<'a> {
    pub(super) const fn new(shared: &'a Shared, files: &'a Files, operation: &'static str) -> Self {
        Self {
            shared,
            files,
            operation,
        }
    }

    /// The session at `key`, live or expired.
    pub(super) fn find(self, key: &StoreKey) -> Result<Option<Live>, StoreError> {
        let stored = match self.files.read(key) {
            Ok(stored) => stored,
            Err(Refused::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let present = self.shared.folder.check_present();
                return present.map(|()| None).map_err(|error| self.failed(error));
            }
            Err(Refused::Io(error)) => return Err(self.failed(error)),
            Err(Refused::Damage(damage)) => return Err(StoreError::damaged(NAME, damage)),
        };
        let lifetime = self.files.lifetimes.read(key, &stored.content)?;
        let expires_at = lifetime.expires_at(stored.modified);
        Ok(Some(Live {
            stored,
            lifetime,
            expires_at,
        }))
    }

    /// The live session at `key`.
    pub(super) fn live(self, key: &StoreKey, now: Timestamp) -> Result<Option<Live>, StoreError> {
        let found = self.find(key)?;
        Ok(found.filter(|found| found.expires_at > now))
    }

    /// The live session at `key`, if it is what was `expected`. Needs the lock.
    pub(super) fn expect(
        self,
        key: &StoreKey,
        expected: &Version,
        now: Timestamp,
    ) -> Result<Result<Live, Saved>, StoreError> {
        Ok(match self.live(key, now)? {
            None => Err(Saved::Gone),
            Some(found) if version(found.stored.content.clone()) != *expected => {
                Err(Saved::Conflict)
            }
            Some(found) => Ok(found),
        })
    }

    /// Makes sure that a new session may be put at `key`. Needs the lock.
    pub(super) fn make_room(self, key: &StoreKey, now: Timestamp) -> Result<(), StoreError> {
        match self.find(key)? {
            None => Ok(()),
            Some(found) if found.expires_at > now => Err(key_taken()),
            Some(_) => self.remove(key).map(drop),
        }
    }

    /// When a file with this payload is to be said to be written.
    pub(super) fn modified(
        self,
        key: &StoreKey,
        payload: &Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(StoreError::too_large(
                NAME,
                payload.len(),
                PAYLOAD_BYTES_MAX,
            ));
        }
        let lifetime = self.files.lifetimes.read(key, payload)?;
        Ok(lifetime.modified(expires_at, now))
    }

    /// Puts a session at a key where none is. Needs the lock, which is enough: Django draws keys as we do, and never the same.
    pub(super) fn put_new(
        self,
        key: &StoreKey,
        payload: &Bytes,
        modified: Timestamp,
    ) -> Result<(), StoreError> {
        let temporary = self.files.temporary(key);
        publish::write(&temporary, payload, Some(modified), self.files.sync)
            .and_then(|()| {
                publish::rename(&temporary, &self.files.place(key))
                    .inspect_err(|_error| self.discard(&temporary))
            })
            .and_then(|()| self.files.sync.folder(&self.files.path))
            .map_err(|error| self.failed(error))
    }

    /// Puts another payload in the place of a session that was just read. Needs the lock.
    pub(super) fn replace(
        self,
        key: &StoreKey,
        old: &Live,
        payload: &Bytes,
        modified: Timestamp,
    ) -> Result<Saved, StoreError> {
        let (temporary, place) = (self.files.temporary(key), self.files.place(key));
        let expected = &old.stored.content;
        let replaced = publish::write(&temporary, payload, Some(modified), self.files.sync)
            .and_then(|()| {
                let swap = self.files.swap;
                let replaced = publish::replace(swap, &temporary, payload, &place, expected);
                // The new one that was refused, or the old one that was replaced.
                self.discard(&temporary);
                replaced
            })
            .map_err(|error| self.failed(error))?;
        self.saved(replaced, payload)
    }

    /// Moves a session that was just read to a key where none is, and changes it. Needs both locks.
    ///
    /// It leaves its old key in one step, for a name that Django and [`find`](Self::find) don't look at, and what is put under
    /// the new key is the changed session: whatever happens on the way, there is never a second session, never the change under
    /// the old key, and never what it was under the new one.
    pub(super) fn rename(
        self,
        from: &StoreKey,
        old: &Live,
        to: &StoreKey,
        payload: &Bytes,
        modified: Timestamp,
    ) -> Result<Saved, StoreError> {
        let (changed, left) = (self.files.temporary(to), self.files.temporary(from));
        let (from, to) = (self.files.place(from), self.files.place(to));
        let moved =
            publish::write(&changed, payload, Some(modified), self.files.sync).and_then(|()| {
                let taken = publish::take(&from, &left, &old.stored.content)?;
                if taken == Replaced::Yes {
                    if let Err(error) = publish::rename(&changed, &to) {
                        // If that fails as well, the visitor has to log in again.
                        drop(publish::give_back(&left, &from));
                        return Err(error);
                    }
                    self.discard(&left);
                }
                Ok(taken)
            });
        if !matches!(moved, Ok(Replaced::Yes)) {
            self.discard(&changed);
        }
        let moved = moved.map_err(|error| self.failed(error))?;
        self.saved(moved, payload)
    }

    /// Lets a session that was just read end at `expires_at`, unless it says itself when it ends. Needs the lock. What Django
    /// wrote meanwhile is another file by the same name, and is not met.
    pub(super) fn touch(
        self,
        old: &Live,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Lifetime::AfterModification(_) = old.lifetime else {
            return Ok(());
        };
        let modified = old.lifetime.modified(expires_at, now);
        publish::set_modified(&old.stored.file, modified, self.files.sync)
            .map_err(|error| self.failed(error))
    }

    /// Removes what is at `key`. `false` if there is nothing. Needs the lock.
    pub(super) fn remove(self, key: &StoreKey) -> Result<bool, StoreError> {
        let removed = match std::fs::remove_file(self.files.place(key)) {
            Ok(()) => self.files.sync.folder(&self.files.path).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.shared.folder.check_present().map(|()| false)
            }
            Err(error) => Err(error),
        };
        removed.map_err(|error| self.failed(error))
    }

    pub(super) fn failed(self, error: std::io::Error) -> StoreError {
        self.shared.failed(self.operation, error)
    }

    fn saved(self, replaced: Replaced, payload: &Bytes) -> Result<Saved, StoreError> {
        match replaced {
            Replaced::Changed => Ok(Saved::Conflict),
            Replaced::Gone => Ok(Saved::Gone),
            Replaced::Yes => {
                let synced = self.files.sync.folder(&self.files.path);
                synced.map_err(|error| self.failed(error))?;
                Ok(Saved::Stored(version(payload.clone())))
            }
        }
    }

    /// What can't be removed now is swept by `clear_expired`.
    fn discard(self, path: &std::path::Path) {
        drop(std::fs::remove_file(path));
    }
}
