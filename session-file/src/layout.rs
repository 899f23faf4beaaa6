//! Where things are in the folder, and whether the folder may be used at all.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use session_core::store::StoreKey;

use crate::config::SyncPolicy;
use crate::error::Error;
use crate::lock::Lock;

/// Says that a folder is ours. Without it a folder is somebody else's, or its disk is not mounted.
const MARKER: &str = "session-file";
const MARKER_TEXT: &str = "session-file folder, layout 1\n";
const RECORDS: &str = "records";
const LOCKS: &str = "locks";
/// What a temporary file's name ends with. A dot is in no store key.
const TEMPORARY: &str = ".tmp";

/// How many locks share the keys. Two writers to different sessions meet in one in 256 cases.
pub(crate) const STRIPES: usize = 256;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Which lock guards a key: all keys of a shard have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stripe(u8);

/// The sub-folder of a record: named by the first two characters of its key, so that the shards in order hold the keys in
/// order. Hashed keys are hexadecimal, which makes 256 shards; the plain keys of Django have 36 characters, and make 1296.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shard(String);

/// Where the file of a key is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) shard: PathBuf,
    pub(crate) file: PathBuf,
}

impl Folder {
    /// Opens or makes the folder, and checks that it is ours alone.
    pub(crate) fn open(path: &Path, sync: SyncPolicy) -> Result<Self, Error> {
        let failed = |source| Error::io(path, source);
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if is_in_the_way(&error) => {
                let path = path.to_owned();
                return Err(Error::NotAFolder { path });
            }
            Err(error) => return Err(failed(error)),
        }
        // From here on the folder stays the same one, whatever becomes of the working directory.
        let path = path.canonicalize().map_err(failed)?;
        let contents = check(&path)?;
        claim(&path, contents, sync)?;
        let folder = Self { path };
        folder
            .furnish(sync)
            .map_err(|source| Error::io(&folder.path, source))?;
        Ok(folder)
    }

    /// Makes what belongs into the folder, unless it is there.
    fn furnish(&self, sync: SyncPolicy) -> io::Result<()> {
        for name in [LOCKS, RECORDS] {
            make_folder(&self.path.join(name))?;
        }
        // All locks at once, so that ending a session works on a full disk, too.
        for number in 0..=u8::MAX {
            drop(self.try_lock(Stripe(number))?);
        }
        sync.folder(&self.path)
    }

    /// The folder's path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of all shards.
    pub(crate) fn records(&self) -> PathBuf {
        self.path.join(RECORDS)
    }

    /// Where the file of `key` is.
    pub(crate) fn place(&self, key: &StoreKey) -> Place {
        let shard = self.shard(&Shard::of(key));
        let file = shard.join(key.as_str());
        Place { shard, file }
    }

    /// Where `shard` is.
    pub(crate) fn shard(&self, shard: &Shard) -> PathBuf {
        let mut path = self.records();
        path.push(&shard.0);
        path
    }

    /// All shards, in order.
    pub(crate) fn shards(&self) -> io::Result<Vec<Shard>> {
        let mut shards = Vec::new();
        for entry in fs::read_dir(self.records())? {
            let entry = entry?;
            if let Some(shard) = Shard::parse(&entry.file_name())
                && entry.file_type()?.is_dir()
            {
                shards.push(shard);
            }
        }
        shards.sort_unstable();
        Ok(shards)
    }

    /// The lock of `stripe`, if nobody has it.
    pub(crate) fn try_lock(&self, stripe: Stripe) -> io::Result<Option<Lock>> {
        let Stripe(number) = stripe;
        let mut path = self.path.join(LOCKS);
        path.push(format!("{number:02x}"));
        Lock::try_new(&path)
    }

    /// An error unless the folder is still there: an unmounted disk must not look like a folder without sessions.
    pub(crate) fn check_present(&self) -> io::Result<()> {
        fs::symlink_metadata(self.path.join(MARKER)).map(drop)
    }
}

impl Stripe {
    /// The lock that guards `shard`.
    pub(crate) fn of(shard: &Shard) -> Self {
        // Two hexadecimal digits give each of the 256 stripes once.
        let number = shard.0.chars().fold(0_u32, |number, character| {
            number * 16 + character.to_digit(36).unwrap_or_default()
        });
        let [number, ..] = number.to_le_bytes();
        Self(number)
    }

    /// The lock that guards the file of `key`.
    pub(crate) fn of_key(key: &StoreKey) -> Self {
        Self::of(&Shard::of(key))
    }

    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }
}

impl Shard {
    const LEN_MAX: usize = 2;

    /// The shard of `key`.
    pub(crate) fn of(key: &StoreKey) -> Self {
        Self(key.as_str().chars().take(Self::LEN_MAX).collect())
    }

    fn parse(name: &OsStr) -> Option<Self> {
        let shard = Self::of(&StoreKey::parse(name.to_str()?)?);
        (shard.0.len() == name.len()).then_some(shard)
    }
}

/// A new name for a temporary file in `folder`, which no other writer has.
pub(crate) fn temporary(folder: &Path) -> PathBuf {
    folder.join(format!(".{:016x}{TEMPORARY}", random()))
}

/// Whether a file of this name is a temporary one.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.first() == Some(&b'.') && name.ends_with(TEMPORARY.as_bytes())
}

/// A number that does not come twice, from the seed of the standard library's hasher.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Makes a folder for us alone, unless there is one.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link would lead out of the folder that was checked.
            let found = fs::symlink_metadata(path)?;
            if found.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }
        made => made,
    }
}

fn is_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

/// Whether the folder can be ours, before anything is written into it.
fn check(path: &Path) -> Result<Contents, Error> {
    let failed = |source| Error::io(path, source);
    let path = path.to_owned();
    let found = fs::metadata(&path).map_err(failed)?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path, mode });
    }
    match contents(&path) {
        Ok(Contents::Newer) => Err(Error::Newer { path }),
        Ok(Contents::Foreign) => Err(Error::NotASessionFolder { path }),
        Ok(contents) => Ok(contents),
        // Its owner could read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && mode == 0o700 => {
            let owner = found.uid();
            Err(Error::NotOurs { path, owner })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Proves that we can write and that the folder belongs to us: a file that we make has our own id, without a system call
/// for which this crate would need unsafe code. In a new folder that file is the marker, which comes before all else.
fn claim(path: &Path, contents: Contents, sync: SyncPolicy) -> Result<(), Error> {
    let failed = |source| Error::io(path, source);
    let new = contents == Contents::Empty;
    let probe = if new {
        path.join(MARKER)
    } else {
        temporary(path)
    };
    let us = match write_new(&probe, MARKER_TEXT, sync) {
        Ok(us) => us,
        // Another process is setting the same folder up.
        Err(error) if new && error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let owner = fs::metadata(path).map_err(failed)?.uid();
    if us != owner || !new {
        fs::remove_file(&probe).map_err(failed)?;
    }
    if us == owner {
        Ok(())
    } else {
        let path = path.to_owned();
        Err(Error::NotOurs { path, owner })
    }
}

/// Writes a new file for us alone, and says whose it is.
fn write_new(path: &Path, text: &str, sync: SyncPolicy) -> io::Result<u32> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| sync.file(&file))
        .and_then(|()| file.metadata());
    if written.is_err() {
        // The first error says what is wrong; a second one would say the same.
        drop(fs::remove_file(path));
    }
    Ok(written?.uid())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    Empty,
    Ours,
    Newer,
    Foreign,
}

fn contents(path: &Path) -> io::Result<Contents> {
    if let Some(ours) = marked(path)? {
        return Ok(ours);
    }
    for entry in fs::read_dir(path)? {
        if !is_temporary(&entry?.file_name()) {
            // Another process may have set the folder up since we looked for the marker, and that comes first.
            return Ok(marked(path)?.unwrap_or(Contents::Foreign));
        }
    }
    Ok(Contents::Empty)
}

fn marked(path: &Path) -> io::Result<Option<Contents>> {
    match fs::read(path.join(MARKER)) {
        Ok(text) if text == MARKER_TEXT.as_bytes() => Ok(Some(Contents::Ours)),
        // An empty marker is one that is just being written, or what a power loss left of it.
        Ok(text) if text.is_empty() => Ok(Some(Contents::Ours)),
        Ok(text) if text.starts_with(b"session-file folder") => Ok(Some(Contents::Newer)),
        Ok(_) => Ok(Some(Contents::Foreign)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(Some(Contents::Foreign)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shard(key: &str) -> Shard {
        Shard::of(&StoreKey::parse(key).unwrap())
    }

    #[test]
    fn hashed_keys_use_every_stripe_once() {
        let stripes: BTreeSet<Stripe> = (0..=255_u8)
            .map(|byte| Stripe::of(&shard(&format!("{byte:02x}aa"))))
            .collect();
        assert_eq!(stripes.len(), STRIPES);
    }

    #[test]
    fn shards_in_order_hold_keys_in_order() {
        let keys = ["0", "00", "0z9", "a", "a0", "ab", "abc", "b", "z", "zz9"];
        assert!(keys.is_sorted());
        assert!(
            keys.iter().map(|key| shard(key)).is_sorted(),
            "a scan by shards would not be in the order of the keys"
        );
    }

    #[test]
    fn no_temporary_name_is_a_shard_or_a_key() {
        let path = temporary(Path::new("x"));
        let name = path.file_name().unwrap();
        assert!(is_temporary(name));
        assert!(StoreKey::parse(name.to_str().unwrap()).is_none());
        assert_eq!(Shard::parse(OsStr::new("abc")), None);
        assert_eq!(Shard::parse(OsStr::new("ab")), Some(shard("abc")));
    }
}
