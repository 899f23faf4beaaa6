//! How a store is opened: where, how durable, and how patient.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::claim;
use crate::error::Error;
use crate::publish::Publisher;
use crate::store::FileStore;

/// When what was written is forced onto the disk.
///
/// A crash of the program costs nothing under either: what the operating system was given, it keeps. This is about a power
/// loss, or a crash of the operating system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// With every write, file and folder, before the call returns: an acknowledged write survives a power loss, and an
    /// ended session stays ended. Each write then waits for the disk, which takes a fraction of a millisecond on a good
    /// SSD and about ten on a spinning disk.
    ///
    /// The default, since "log out" is a promise.
    #[default]
    EveryWrite,
    /// Never: the operating system writes when it likes. A power loss may cost the writes of the last half minute or so,
    /// log-outs included: a session that ended in that time may be back, and a key that was replaced at a log-in may work
    /// again. A record that was written in that time may be damaged (empty, mostly), which is noticed: its visitor starts afresh.
    /// Writes are several times as fast.
    Never,
}

impl SyncPolicy {
    pub(crate) fn file(self, file: &File) -> io::Result<()> {
        match self {
            // The data and the length are all that matters; times are not.
            Self::EveryWrite => file.sync_data(),
            Self::Never => Ok(()),
        }
    }

    pub(crate) fn folder(self, path: &Path) -> io::Result<()> {
        match self {
            Self::EveryWrite => File::open(path)?.sync_all(),
            Self::Never => Ok(()),
        }
    }
}

/// How to open a [`FileStore`]: the folder, and what differs from the defaults.
///
/// ```
/// use std::time::Duration;
/// use session_file::{FileStoreConfig, SyncPolicy};
///
/// # let parent = tempfile::tempdir()?;
/// # let folder = parent.path().join("sessions");
/// let store = FileStoreConfig::new(&folder)
///     .with_sync(SyncPolicy::Never)
///     .with_timeout(Duration::from_secs(2))
///     .open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileStoreConfig {
    path: PathBuf,
    sync: SyncPolicy,
    timeout: Duration,
}

impl FileStoreConfig {
    /// A store in this folder, which is made, together with its parents, if it is missing.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            path: folder.into(),
            sync: SyncPolicy::default(),
            timeout: Duration::from_secs(5),
        }
    }

    /// When what was written is forced onto the disk. [`SyncPolicy::EveryWrite`] by default.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// How long a call may take, waiting for other writers included, before it is answered with
    /// [`StoreError::Unavailable`](session_core::store::StoreError::Unavailable). 5 seconds by default, as the manager's own
    /// bound. `clear_expired` may take as long as it needs, and only each of its waits is bounded.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[cfg(feature = "django")]
    pub(crate) fn parts(&self) -> (&Path, SyncPolicy, Duration) {
        (&self.path, self.sync, self.timeout)
    }

    /// Opens the folder, and makes it if it is missing. Blocks for a few system calls: do it when the program starts.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder can't be used; its text says what to do.
    pub fn open(self) -> Result<FileStore, Error> {
        let Self {
            path,
            sync,
            timeout,
        } = self;
        let folder = claim::open(&path, sync)?;
        Ok(FileStore::new(folder, Publisher::new(sync), timeout))
    }
}
