//! Why a folder can't be opened, and what an operator should do about trouble with one that is open.

use std::io;
use std::path::{Path, PathBuf};

use session_core::store::StoreError;

/// What the store is called in its errors.
pub(crate) const NAME: &str = "the file store";

/// Why [`FileStore::open`](crate::FileStore::open) could not open a folder. Nothing in the folder was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is something at the path that is not a folder.
    #[error("{} is not a folder: choose another path", path.display())]
    #[non_exhaustive]
    NotAFolder {
        /// The folder's path.
        path: PathBuf,
    },
    /// Other users may enter a session folder, or write to an empty one. Sessions are nobody else's business. (An empty folder
    /// that others may only read is closed and used.)
    #[error(
        "{} is open to other users (its mode is {mode:03o}): run `chmod 700` on it",
        path.display()
    )]
    #[non_exhaustive]
    TooOpen {
        /// The folder's path.
        path: PathBuf,
        /// The folder's permission bits.
        mode: u32,
    },
    /// The folder belongs to another user, who could read and change every session.
    #[error(
        "{} belongs to another user (id {owner}): run the program as that user, or `chown` the folder",
        path.display()
    )]
    #[non_exhaustive]
    NotOurs {
        /// The folder's path.
        path: PathBuf,
        /// The id of the user that it belongs to.
        owner: u32,
    },
    /// The folder is used for something else.
    #[error(
        "{} holds files that are no sessions: choose an empty folder, or one that does not exist yet",
        path.display()
    )]
    #[non_exhaustive]
    NotASessionFolder {
        /// The folder's path.
        path: PathBuf,
    },
    /// The folder was set up by a later version of this crate.
    #[error(
        "{} was set up by a later version of session-file: run that version, or choose another folder",
        path.display()
    )]
    #[non_exhaustive]
    Newer {
        /// The folder's path.
        path: PathBuf,
    },
    /// Other users may look into a folder that is shared with Django, where the names of the files are the keys themselves:
    /// who can list them has every session.
    #[cfg(feature = "django")]
    #[error(
        "{} is open to other users (its mode is {mode:03o}), and the names of the files in it are keys to sessions: give the project a folder of its own with mode 700, and name it in SESSION_FILE_PATH",
        path.display()
    )]
    #[non_exhaustive]
    KeysInTheOpen {
        /// The folder's path.
        path: PathBuf,
        /// The folder's permission bits.
        mode: u32,
    },
    /// The project does not say where its sessions are.
    #[cfg(feature = "django")]
    #[error(
        "the project has no SESSION_FILE_PATH, and without one Django uses whatever is the folder for temporary files of its process: set it, in the project and here"
    )]
    #[non_exhaustive]
    NoFilePath {},
    /// `SESSION_COOKIE_NAME`, which Django begins the names of its files with, can't be a part of one.
    #[cfg(feature = "django")]
    #[error(
        "SESSION_COOKIE_NAME is empty, or holds a character that no file's name can: correct it, in the project and here"
    )]
    #[non_exhaustive]
    CookieName {},
    /// The operating system refused.
    #[error("{} can't be used for sessions: {advice}", path.display())]
    #[non_exhaustive]
    Io {
        /// The folder's path.
        path: PathBuf,
        /// What to do about it.
        advice: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            advice: advice(&source),
            source,
        }
    }
}

/// Trouble with an open folder, as the source of a [`StoreError`]. Names the folder and nothing in it: below it, names are
/// store keys.
#[derive(Debug, thiserror::Error)]
#[error("{}: {advice}", folder.display())]
pub(crate) struct Trouble {
    folder: PathBuf,
    advice: &'static str,
    source: io::Error,
}

/// The call took longer than the store's timeout.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Late {
    #[error(
        "{}: other writers held the lock for the whole timeout; is one of them stopped?",
        .0.display()
    )]
    Locked(PathBuf),
    #[error("{}: the disk did not answer within the timeout", .0.display())]
    Disk(PathBuf),
    #[error(
        "{}: too many sessions to look through within the timeout; the rest is being ended in the background",
        .0.display()
    )]
    Walk(PathBuf),
}

/// Nothing of what a disk does to us says anything about the session: all of it is "unavailable".
pub(crate) fn unavailable(folder: &Path, operation: &'static str, source: io::Error) -> StoreError {
    let trouble = Trouble {
        folder: folder.to_owned(),
        advice: advice(&source),
        source,
    };
    StoreError::unavailable(NAME, operation, trouble)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "the folder, or a part of it, is missing; was it removed, or its disk unmounted? Its sessions work again once it is back"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "its disk is full; free some space. No session was lost"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "its disk is read-only; mount it writable. No session was lost"
        }
        io::ErrorKind::PermissionDenied => {
            "access was denied; the folder and all in it must belong to the user that runs the program, who may read and write it"
        }
        _ => "the operating system refused; the cause follows",
    }
}
