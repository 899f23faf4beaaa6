//! The store of a session folder that a running Django uses as well: what each operation does, under which locks.

mod clear;
mod desk;
mod files;
mod lifetime;
mod publish;

use std::sync::Arc;

use async_trait::async_trait;
use session_core::Limits;
use session_core::django::DjangoSettings;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version, VersionContent,
};

use crate::claim;
use crate::config::FileStoreConfig;
use crate::error::{Error, NAME};
use crate::hop::{Shared, Stripes};
use crate::layout::Stripe;
use crate::publish::Publisher;
use desk::Desk;
use files::Files;

#[doc = include_str!("../docs/django.md")]
#[derive(Debug, Clone)]
pub struct DjangoFileStore {
    shared: Arc<Shared>,
    files: Arc<Files>,
}

impl DjangoFileStore {
    /// Opens the project's `SESSION_FILE_PATH`, with the defaults of [`FileStoreConfig`]. Blocks for a few system calls: do it
    /// when the program starts.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder can't be used; its text says what to do.
    pub fn open(settings: &DjangoSettings) -> Result<Self, Error> {
        let folder = settings.file_path().ok_or(Error::NoFilePath {})?;
        FileStoreConfig::new(folder).open_beside_django(settings)
    }

    /// How large a session may be whose own expiry is looked for. Give it the limits of the policy, if those are not the
    /// default.
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        Arc::make_mut(&mut self.files).set_limits(limits);
        self
    }

    pub(crate) fn new(config: &FileStoreConfig, settings: &DjangoSettings) -> Result<Self, Error> {
        let (path, sync, timeout) = config.parts();
        let name = settings.cookie_name();
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(Error::CookieName {});
        }
        let folder = claim::open_beside_django(path, sync)?;
        let files = Files::new(&folder, settings, sync).map_err(|error| Error::io(path, error))?;
        tracing::info!(
            folder = %folder.path().display(),
            "sessions are shared with Django: the names of their files are their keys, and not hashes of these"
        );
        if !files.can_exchange() {
            tracing::warn!(
                folder = %folder.path().display(),
                "this file system can't exchange two files in one step: a save here can undo a log-out that Django makes at the same instant"
            );
        }
        let shared = Shared::new(folder, Publisher::new(sync), timeout);
        Ok(Self {
            shared: Arc::new(shared),
            files: Arc::new(files),
        })
    }

    /// Does `work` with the locks of the keys.
    async fn locked<T: Send + 'static>(
        &self,
        operation: &'static str,
        stripes: Stripes,
        work: impl FnOnce(Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = Arc::clone(&self.files);
        let work = move |shared: &Shared, _held| work(Desk::new(shared, &files, operation));
        self.shared
            .locked(operation, self.shared.deadline(), stripes, work)
            .await
    }
}

impl FileStoreConfig {
    /// Opens the folder as Django's: for the project with these settings, and beside it. Unlike [`open`](Self::open) it makes no
    /// folder. Blocks for a few system calls: do it when the program starts.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder can't be used; its text says what to do.
    pub fn open_beside_django(self, settings: &DjangoSettings) -> Result<DjangoFileStore, Error> {
        DjangoFileStore::new(&self, settings)
    }
}

#[async_trait]
impl SessionStore for DjangoFileStore {
    fn system_name(&self) -> &'static str {
        "file"
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "load";
        let (key, files) = (key.clone(), Arc::clone(&self.files));
        let deadline = Some(self.shared.deadline());
        self.shared
            .unlocked(OPERATION, deadline, move |shared| {
                let found = Desk::new(shared, &files, OPERATION).live(&key, now)?;
                Ok(found.map(desk::Live::into_record))
            })
            .await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let (key, payload) = (key.clone(), new.payload.to_bytes()?);
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.locked("create", stripes, move |desk| {
            desk.make_room(&key, now)?;
            if new.expires_at > now {
                let modified = desk.modified(&key, &payload, new.expires_at, now)?;
                desk.put_new(&key, &payload, modified)?;
            }
            Ok(version(payload))
        })
        .await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let payload = change.payload.to_bytes()?;
        let (key, expected) = (key.clone(), expected.clone());
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.locked("save", stripes, move |desk| {
            let old = match desk.expect(&key, &expected, now)? {
                Ok(old) => old,
                Err(refused) => return Ok(refused),
            };
            let expires_at = change.expiry.apply(old.expires_at);
            if expires_at <= now {
                // Django would keep a file alive whose session says that it lives for so many seconds.
                desk.remove(&key)?;
                return Ok(Saved::Stored(version(payload)));
            }
            let modified = desk.modified(&key, &payload, expires_at, now)?;
            desk.replace(&key, &old, &payload, modified)
        })
        .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let key = key.clone();
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.locked("delete", stripes, move |desk| desk.remove(&key))
            .await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = key.clone();
        let stripes = Stripes::one(Stripe::of_key(&key));
        self.locked("touch", stripes, move |desk| {
            let Some(old) = desk.live(&key, now)? else {
                return Ok(false);
            };
            if old.expires_at < expires_at {
                desk.touch(&old, expires_at, now)?;
            }
            Ok(true)
        })
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
        let payload = change.payload.to_bytes()?;
        let (from, expected, to) = (from.clone(), expected.clone(), to.clone());
        let stripes = Stripes::two(Stripe::of_key(&from), Stripe::of_key(&to));
        self.locked("rotate", stripes, move |desk| {
            let old = match desk.expect(&from, &expected, now)? {
                Ok(old) => old,
                Err(refused) => return Ok(refused),
            };
            desk.make_room(&to, now)?;
            let expires_at = change.expiry.apply(old.expires_at);
            if expires_at <= now {
                desk.remove(&from)?;
                return Ok(Saved::Stored(version(payload)));
            }
            let modified = desk.modified(&to, &payload, expires_at, now)?;
            desk.rename(&from, &old, &to, &payload, modified)
        })
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
        None
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        None
    }
}

/// There is no place for a number: the content is its own version.
fn version(content: bytes::Bytes) -> Version {
    Version::Content(VersionContent::new(content))
}

/// A live session is under a key that was to be new.
const fn key_taken() -> StoreError {
    StoreError::key_taken(NAME)
}

#[cfg(test)]
mod tests {
    //! The contract where a file system can't exchange two files.

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::SyncPolicy;
    use publish::Swap;

    fn store() -> (DjangoFileStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let mut store = FileStoreConfig::new(folder.path())
            .with_sync(SyncPolicy::Never)
            .open_beside_django(&DjangoSettings::new("a secret key"))
            .unwrap();
        assert!(store.files.can_exchange(), "the tests' file system should");
        Arc::make_mut(&mut store.files).swap = Swap::Rename;
        (store, folder)
    }

    session_core::conformance_suite!(
        || async { store() },
        except: [
            owner_index = "Django's files name no owner",
            scan = "Django offers none",
            owner_label_and_creation_time = "Django's files have no place for them",
            versions_are_unique = "no place for a version: the content itself is compared",
        ],
    );
}
