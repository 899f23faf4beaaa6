//! The store: what each operation does to the files, under which locks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_core::store::{
    Change, ExpiryChange, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey,
    StoreScan, Timestamp, Version,
};

use crate::config::FileStoreConfig;
use crate::error::{Error, NAME, unavailable};
use crate::format::{self, Head, Kind};
use crate::hop::{Shared, Stripes};
use crate::layout::{self, Folder, Stripe};
use crate::publish::Publisher;
use crate::reader::{Depth, Entry, Found, Reader};

/// How long the file of a rotated record says where it went: for as long as a walk through the folder may take that is to
/// end it, and that has passed the new place already.
const FORWARD_LIFE: Duration = Duration::from_secs(60 * 60);

/// Keeps sessions in files, one per session, in a folder that is this application's alone.
///
/// Several processes may use one folder at once. Cheap to clone; clones share their queues.
///
/// ```
/// use session_core::store::{NewRecord, Payload, SessionStore, StoreKey, Timestamp};
/// use session_file::FileStore;
///
/// # let parent = tempfile::tempdir()?;
/// # let folder = parent.path().join("sessions");
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let store = FileStore::open(&folder)?;
/// let (now, later) = (Timestamp::from_secs(1_000), Timestamp::from_secs(2_000));
/// let key = StoreKey::parse("abc").ok_or("no store key")?;
///
/// store.create(&key, NewRecord::new(Payload::from_bytes("data"), later), now).await?;
/// let record = store.load(&key, now).await?.ok_or("it was just created")?;
/// assert_eq!(record.payload.to_bytes()?, "data");
/// assert!(store.load(&key, later).await?.is_none(), "it has expired");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileStore {
    pub(crate) shared: Arc<Shared>,
}

impl FileStore {
    /// Opens the folder with the defaults of [`FileStoreConfig`], and makes it if it is missing. Blocks for a few system
    /// calls: do it when the program starts.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder can't be used; its text says what to do.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        FileStoreConfig::new(folder.as_ref()).open()
    }

    pub(crate) fn new(folder: Folder, publisher: Publisher, timeout: Duration) -> Self {
        let shared = Shared::new(folder, publisher, timeout);
        Self {
            shared: Arc::new(shared),
        }
    }
}

#[async_trait]
impl SessionStore for FileStore {
    fn system_name(&self) -> &'static str {
        "file"
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "load";
        let key = key.clone();
        let deadline = Some(self.shared.deadline());
        self.shared
            .unlocked(OPERATION, deadline, move |shared| {
                let found = shared.reader(OPERATION).find(&key, Depth::Whole)?;
                Ok(found.live(now).map(Entry::into_record))
            })
            .await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        const OPERATION: &str = "create";
        let record = Record::created(new, Version::Counter(0));
        let payload = record.payload.to_bytes()?;
        let key = key.clone();
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.shared
            .locked(
                OPERATION,
                self.shared.deadline(),
                stripes,
                move |shared, _held| {
                    let version = shared.make_room(OPERATION, &key, now)?;
                    let head = head(Kind::Settled, &record, version);
                    shared.put(OPERATION, &key, &head, &payload)?;
                    Ok(Version::Counter(version))
                },
            )
            .await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "save";
        let payload = change.payload.to_bytes()?;
        let (key, expected) = (key.clone(), expected.clone());
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.shared
            .locked(
                OPERATION,
                self.shared.deadline(),
                stripes,
                move |shared, _held| {
                    let old = match shared.expect(OPERATION, &key, &expected, now)? {
                        Ok(old) => old,
                        Err(refused) => return Ok(refused),
                    };
                    let head = changed(&old, change, Kind::Settled);
                    shared.put(OPERATION, &key, &head, &payload)?;
                    Ok(Saved::Stored(Version::Counter(head.version)))
                },
            )
            .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        const OPERATION: &str = "delete";
        let key = key.clone();
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.shared
            .locked(
                OPERATION,
                self.shared.deadline(),
                stripes,
                move |shared, _held| match shared.reader(OPERATION).find(&key, Depth::Whole)? {
                    Found::Nothing | Found::Moved { .. } => Ok(false),
                    Found::Record(_) => shared.remove(OPERATION, &key),
                    Found::Orphan(_) => shared.remove(OPERATION, &key).map(|_was_none| false),
                },
            )
            .await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let key = key.clone();
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.shared
            .locked(
                OPERATION,
                self.shared.deadline(),
                stripes,
                move |shared, _held| {
                    let found = shared.reader(OPERATION).find(&key, Depth::Whole)?;
                    let Some(old) = found.live(now) else {
                        return Ok(false);
                    };
                    if old.head.expires_at < expires_at {
                        let head = Head {
                            kind: Kind::Settled,
                            expires_at,
                            ..old.head.clone()
                        };
                        shared.put(OPERATION, &key, &head, old.payload())?;
                    }
                    Ok(true)
                },
            )
            .await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "rotate";
        let payload = change.payload.to_bytes()?;
        let (from, expected, to) = (from.clone(), expected.clone(), to.clone());
        let stripes = Stripes::two(Stripe::of_key(&from), Stripe::of_key(&to));
        self.shared
            .locked(
                OPERATION,
                self.shared.deadline(),
                stripes,
                move |shared, _held| {
                    let old = match shared.expect(OPERATION, &from, &expected, now)? {
                        Ok(old) => old,
                        Err(refused) => return Ok(refused),
                    };
                    let start = shared.make_room(OPERATION, &to, now)?;
                    let mut head = changed(&old, change, Kind::Arriving { from: from.clone() });
                    head.version = head.version.max(start);
                    // This file takes the old record's place in one step: until then the old key is the session's, from then on
                    // the new one.
                    let forward = Head {
                        kind: Kind::Moved { to: to.clone() },
                        version: old.version.saturating_add(1),
                        expires_at: now.saturating_add(FORWARD_LIFE),
                        created_at: None,
                        owner: None,
                        label: None,
                    };
                    let moved = shared
                        .put(OPERATION, &to, &head, &payload)
                        .and_then(|()| shared.put(OPERATION, &from, &forward, &[]));
                    if let Err(error) = moved {
                        shared.undo_arrival(&from, &to);
                        return Err(error);
                    }
                    // Readers look at the old place until this is done, so that it may fail.
                    let place = shared.folder.place(&to);
                    drop(shared.publisher.settle_for_now(&place, &to, &from));
                    Ok(Saved::Stored(Version::Counter(head.version)))
                },
            )
            .await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.clear(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        Some(self)
    }
}

impl Shared {
    pub(crate) const fn reader(&self, operation: &'static str) -> Reader<'_> {
        Reader {
            folder: &self.folder,
            operation,
        }
    }

    /// The head of the live record at `key`, if it has the version `expected`. Needs the lock. Reads the payload, too: what
    /// is damaged must not be overwritten.
    fn expect(
        &self,
        operation: &'static str,
        key: &StoreKey,
        expected: &Version,
        now: Timestamp,
    ) -> Result<Result<Head, Saved>, StoreError> {
        let found = self.reader(operation).find(key, Depth::Whole)?;
        Ok(match found.live(now) {
            None => Err(Saved::Gone),
            Some(entry) if Version::Counter(entry.head.version) != *expected => {
                Err(Saved::Conflict)
            }
            Some(entry) => Ok(entry.head),
        })
    }

    /// Makes sure that a new record may be put at `key`, and says which version it gets. Needs the lock.
    fn make_room(
        &self,
        operation: &'static str,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let found = self.reader(operation).find(key, Depth::Whole)?;
        let after = found.version().map_or(0, |last| last.saturating_add(1));
        if let Found::Moved { to, .. } = &found {
            self.settle(operation, key, to)?;
        }
        if found.live(now).is_some() {
            return Err(StoreError::key_taken(NAME));
        }
        Ok(after.max(first_version(now)))
    }

    /// Makes the record at `to` independent of the file at `from`, which says that it went there.
    pub(crate) fn settle(
        &self,
        operation: &'static str,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<(), StoreError> {
        self.publisher
            .settle(&self.folder.place(to), to, from)
            .map_err(|error| self.failed(operation, error))
    }

    /// Publishes a file. Needs the lock.
    fn put(
        &self,
        operation: &'static str,
        key: &StoreKey,
        head: &Head,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let bytes = format::encode(key, head, payload)?;
        self.publisher
            .replace(&self.folder.place(key), &bytes)
            .map_err(|error| self.failed(operation, error))
    }

    /// Removes a file. Needs the lock.
    pub(crate) fn remove(
        &self,
        operation: &'static str,
        key: &StoreKey,
    ) -> Result<bool, StoreError> {
        self.publisher
            .remove(&self.folder.place(key))
            .map_err(|error| self.failed(operation, error))
    }

    /// Takes back what a rotation has put at `to`, unless it took effect at the last moment: a folder that could not be
    /// synced has its new file all the same.
    fn undo_arrival(&self, from: &StoreKey, to: &StoreKey) {
        let found = self.reader("rotate").find(to, Depth::Head);
        match found {
            Ok(Found::Orphan(_)) => drop(self.publisher.discard(&self.folder.place(to).file)),
            Ok(Found::Record(_)) => {
                drop(self.settle("rotate", from, to));
            }
            // If it can't be told, the new record stays what it is: an orphan under a key that nobody was given.
            _ => {}
        }
    }

    pub(crate) fn failed(&self, operation: &'static str, error: std::io::Error) -> StoreError {
        unavailable(self.folder.path(), operation, error)
    }
}

fn head(kind: Kind, record: &Record, version: u64) -> Head {
    Head {
        kind,
        version,
        expires_at: record.expires_at,
        created_at: record.created_at,
        owner: record.owner.clone(),
        label: record.label.clone(),
    }
}

fn changed(old: &Head, change: Change, kind: Kind) -> Head {
    let Change {
        payload: _,
        expiry,
        owner,
        label,
        created_at,
        ..
    } = change;
    Head {
        kind,
        version: old.version.saturating_add(1),
        expires_at: ExpiryChange::apply(expiry, old.expires_at),
        created_at,
        owner,
        label,
    }
}

/// Where a new key's versions start: later than those of an earlier record under the same key, of which nothing is left.
/// Seconds, and below them room for 16 million writes per second and a random part, for keys that come back within one.
fn first_version(now: Timestamp) -> u64 {
    const ROOM_BITS: u32 = 24;
    const _: () = assert!(
        Timestamp::MAX.as_secs() < 1 << 38,
        "seconds and room fit into 62 bits"
    );
    let secs = u64::try_from(now.as_secs()).unwrap_or_default();
    (secs << ROOM_BITS) | (layout::random() >> (u64::BITS - ROOM_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_back_gets_later_versions() {
        let at = |secs| first_version(Timestamp::from_secs(secs));
        assert!(at(1_000) < at(1_001));
        assert!(at(Timestamp::MAX.as_secs()) < u64::MAX / 2);
        assert_ne!(
            at(1_000),
            at(1_000),
            "within one second it should differ as well"
        );
        assert!(
            at(-5) < at(1),
            "a clock before 1970 must not break anything"
        );
    }
}
