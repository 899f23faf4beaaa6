//! Where things are in the folder.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use session_core::store::StoreKey;

use crate::config::SyncPolicy;
use crate::lock::Lock;

/// Says that a folder is ours. Without it a folder is somebody else's, or its disk is not mounted.
pub(crate) const MARKER: &str = "session-file";
const RECORDS: &str = "records";
const LOCKS: &str = "locks";
/// The locks in a folder of Django's, which has no other place for them, and no marker. Django looks at nothing whose name
/// does not begin with its cookie's.
#[cfg(feature = "django")]
const LOCKS_BESIDE_DJANGO: &str = ".session-file-locks";
/// What a temporary file's name ends with. A dot is in no store key.
const TEMPORARY: &str = ".tmp";

/// How many locks share the keys. Two writers to different sessions meet in one in 256 cases.
pub(crate) const STRIPES: usize = 256;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    locks: &'static str,
    /// Is there as long as the folder is.
    marker: &'static str,
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
    /// The folder at `path`, which is there and ours.
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self {
            path,
            locks: LOCKS,
            marker: MARKER,
        }
    }

    /// The folder at `path`, which is Django's, too.
    #[cfg(feature = "django")]
    pub(crate) const fn beside_django(path: PathBuf) -> Self {
        Self {
            path,
            locks: LOCKS_BESIDE_DJANGO,
            marker: LOCKS_BESIDE_DJANGO,
        }
    }

    /// Makes what belongs into the folder, unless it is there.
    pub(crate) fn furnish(&self, sync: SyncPolicy) -> io::Result<()> {
        make_folder(&self.path.join(RECORDS))?;
        self.furnish_locks(sync)
    }

    /// Makes the locks, unless they are there.
    pub(crate) fn furnish_locks(&self, sync: SyncPolicy) -> io::Result<()> {
        make_folder(&self.path.join(self.locks))?;
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

    /// The folder of the locks.
    #[cfg(feature = "django")]
    pub(crate) fn locks(&self) -> PathBuf {
        self.path.join(self.locks)
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
        let mut path = self.path.join(self.locks);
        path.push(format!("{number:02x}"));
        Lock::try_new(&path)
    }

    /// An error unless the folder is still there: an unmounted disk must not look like a folder without sessions.
    pub(crate) fn check_present(&self) -> io::Result<()> {
        fs::symlink_metadata(self.path.join(self.marker)).map(drop)
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
    fn in_05_no_temporary_name_is_a_shard_or_a_key() {
        let path = temporary(Path::new("x"));
        let name = path.file_name().unwrap();
        assert!(is_temporary(name));
        assert!(StoreKey::parse(name.to_str().unwrap()).is_none());
        assert_eq!(Shard::parse(OsStr::new("abc")), None);
        assert_eq!(Shard::parse(OsStr::new("ab")), Some(shard("abc")));
    }
}
