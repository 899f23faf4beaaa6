//! What the files are called, and what is in one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use session_core::Limits;
use session_core::django::DjangoSettings;
use session_core::store::{StoreKey, Timestamp};

use super::lifetime::LifetimeReader;
use super::publish::{Swap, probe};
use crate::config::SyncPolicy;
use crate::format::PAYLOAD_BYTES_MAX;
use crate::layout::{self, Folder};

/// How many characters the keys have that Django makes, and we with it.
const KEY_LEN: usize = 32;
/// What Django puts between a file's name and eight random characters of `[a-z0-9_]` while it writes.
const DJANGO_TEMPORARY: &str = "_out_";
const DJANGO_RANDOM_LEN: usize = 8;

/// The files of one project's sessions.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) path: PathBuf,
    cookie_name: String,
    pub(super) lifetimes: LifetimeReader,
    pub(super) sync: SyncPolicy,
    pub(super) swap: Swap,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) content: Bytes,
    /// When it was written, or is meant to have been.
    pub(super) modified: Timestamp,
    pub(super) file: File,
}

/// What a file is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A session's.
    Session(StoreKey),
    /// One of ours that is being written, or that a dead writer left.
    Temporary(StoreKey),
    /// One of Django's that is being written, or that a dead writer left.
    DjangoTemporary,
    /// Somebody else's.
    Foreign,
}

/// Why a file can't be read.
#[derive(Debug)]
pub(super) enum Refused {
    Io(io::Error),
    Damage(Damage),
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Damage {
    #[error("there is something at its place that is not a file")]
    NotAFile,
    #[error("it has more than {PAYLOAD_BYTES_MAX} bytes, and no session has")]
    TooLong,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Files {
    pub(super) fn new(
        folder: &Folder,
        settings: &DjangoSettings,
        sync: SyncPolicy,
    ) -> io::Result<Self> {
        Ok(Self {
            path: folder.path().to_owned(),
            cookie_name: settings.cookie_name().to_owned(),
            lifetimes: LifetimeReader::new(settings),
            sync,
            swap: probe(&folder.locks())?,
        })
    }

    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.lifetimes.set_limits(limits);
    }

    pub(super) fn can_exchange(&self) -> bool {
        self.swap == Swap::Exchange
    }

    /// Where the session's file is: its name is the cookie's, and the key right behind it.
    pub(super) fn place(&self, key: &StoreKey) -> PathBuf {
        self.path
            .join(format!("{}{}", self.cookie_name, key.as_str()))
    }

    /// A new name for a file that is being written. Django looks at no name that begins with a dot.
    pub(super) fn temporary(&self, key: &StoreKey) -> PathBuf {
        let (cookie_name, key, random) = (&self.cookie_name, key.as_str(), layout::random());
        self.path
            .join(format!(".{cookie_name}{key}.{random:016x}.tmp"))
    }

    /// What a file of this name is. A key has 32 characters, or, from a policy that hashes keys, 40 hexadecimal digits: no
    /// other length, since another application's cookie may be called as ours and a little more.
    pub(super) fn kind(&self, name: &str) -> Kind {
        let session = |name: &str| {
            let text = name.strip_prefix(&self.cookie_name)?;
            let is_key = text.len() == KEY_LEN || is_digest(text);
            StoreKey::parse(text).filter(|_parsed| is_key)
        };
        if let Some(key) = session(name) {
            return Kind::Session(key);
        }
        let temporary = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(".tmp"))
            .and_then(|name| name.rsplit_once('.'));
        if let Some((name, random)) = temporary
            && random.len() == 16
            && let Some(key) = session(name)
        {
            return Kind::Temporary(key);
        }
        match name.rsplit_once(DJANGO_TEMPORARY) {
            Some((name, random))
                if random.len() == DJANGO_RANDOM_LEN && session(name).is_some() =>
            {
                Kind::DjangoTemporary
            }
            _ => Kind::Foreign,
        }
    }

    /// What is at `key`.
    pub(super) fn read(&self, key: &StoreKey) -> Result<Stored, Refused> {
        let opened = OpenOptions::new()
            .read(true)
            // A link is not followed, and a pipe in a session's place does not keep us waiting.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.place(key));
        let file = match opened {
            // A link, and a socket.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
                return Err(Refused::Damage(Damage::NotAFile));
            }
            opened => opened?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Refused::Damage(Damage::NotAFile));
        }
        let mut content = Vec::with_capacity(
            usize::try_from(metadata.len())
                .unwrap_or(0)
                .min(PAYLOAD_BYTES_MAX),
        );
        let one_more = u64::try_from(PAYLOAD_BYTES_MAX)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        (&file).take(one_more).read_to_end(&mut content)?;
        if content.len() > PAYLOAD_BYTES_MAX {
            return Err(Refused::Damage(Damage::TooLong));
        }
        Ok(Stored {
            content: content.into(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).into(),
            file,
        })
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == StoreKey::LEN_MAX
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
