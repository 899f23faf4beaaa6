//! Moves a session into place beside Django, which takes no lock: what it did meanwhile is seen, and not undone.
//!
//! Two files change places in one step, so that a file is only ever put where one is, and what was there is at hand
//! afterwards: a session that Django ended stays ended, and what it wrote is put back. Where a file system can't do that
//! there is a last look, and then a rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use session_core::store::Timestamp;

use crate::config::SyncPolicy;
use crate::layout;
use crate::swap::exchange;

/// How a file takes another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    /// The two change places in one step.
    Exchange,
    /// The one is renamed over the other.
    Rename,
}

/// What came of replacing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    Yes,
    /// Something else is there.
    Changed,
    /// Nothing is there.
    Gone,
}

/// How often Django may come between in one save.
const TRIES_MAX: u32 = 16;

/// What the file system of `folder` can do.
pub(super) fn probe(folder: &Path) -> io::Result<Swap> {
    let (one, other) = (layout::temporary(folder), layout::temporary(folder));
    let exchanged = write(&one, b"", None, SyncPolicy::Never)
        .and_then(|()| write(&other, b"", None, SyncPolicy::Never))
        .and_then(|()| match exchange(&one, &other) {
            Ok(()) => Ok(Swap::Exchange),
            // What a file system, a kernel or a filter of system calls says that knows nothing of it.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP | libc::EPERM)
                ) || error.kind() == io::ErrorKind::Unsupported =>
            {
                Ok(Swap::Rename)
            }
            Err(error) => Err(error),
        });
    for path in [one, other] {
        drop(fs::remove_file(path));
    }
    exchanged
}

/// Writes a file for us alone, which is said to have been modified at that time.
pub(super) fn write(
    path: &Path,
    content: &[u8],
    modified: Option<Timestamp>,
    sync: SyncPolicy,
) -> io::Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            match modified {
                Some(modified) => set_modified(&file, modified, sync),
                None => Ok(()),
            }
        });
    if written.is_err() {
        // What is left over would be swept by `clear_expired`.
        drop(fs::remove_file(path));
    }
    written
}

/// Sets when the file says that it was modified, which is a part of what it holds.
pub(super) fn set_modified(file: &File, modified: Timestamp, sync: SyncPolicy) -> io::Result<()> {
    file.set_modified(modified.into())?;
    match sync {
        SyncPolicy::EveryWrite => file.sync_all(),
        SyncPolicy::Never => Ok(()),
    }
}

/// Puts what is at `new`, which is `content`, in the place of what is at `place`, if that is `expected`. Whatever comes of it,
/// nothing at `new` is needed any more.
pub(super) fn replace(
    swap: Swap,
    new: &Path,
    content: &[u8],
    place: &Path,
    expected: &[u8],
) -> io::Result<Replaced> {
    match read(place)? {
        None => return Ok(Replaced::Gone),
        Some(found) if found != expected => return Ok(Replaced::Changed),
        Some(_) => {}
    }
    match swap {
        Swap::Rename => rename(new, place).map(|()| Replaced::Yes),
        Swap::Exchange => exchange_if(&mut exchange, new, content, place, expected),
    }
}

fn exchange_if(
    exchange: &mut dyn FnMut(&Path, &Path) -> io::Result<()>,
    new: &Path,
    content: &[u8],
    place: &Path,
    expected: &[u8],
) -> io::Result<Replaced> {
    let mut step = || match exchange(new, place) {
        Ok(()) => read(new),
        // Ours is there, and so the other is not.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let Some(mut taken) = step()? else {
        return Ok(Replaced::Gone);
    };
    if taken == expected {
        return Ok(Replaced::Yes);
    }
    // It was written since the look. It goes back, and if something else than ours comes out, that is later still.
    let mut put = content.to_vec();
    for _ in 0..TRIES_MAX {
        let Some(found) = step()? else {
            return Ok(Replaced::Gone);
        };
        if found == put {
            break;
        }
        put = std::mem::replace(&mut taken, found);
    }
    Ok(Replaced::Changed)
}

/// Moves what is at `from`, if that is `expected`, to `to`, where nothing is.
pub(super) fn take(from: &Path, to: &Path, expected: &[u8]) -> io::Result<Replaced> {
    match rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Replaced::Gone),
        renamed => renamed?,
    }
    match read(to)? {
        None => Ok(Replaced::Gone),
        Some(found) if found == expected => Ok(Replaced::Yes),
        Some(_) => {
            give_back(to, from)?;
            Ok(Replaced::Changed)
        }
    }
}

/// Moves what is at `to` back to `from`, unless something is there again, which is later then.
pub(super) fn give_back(to: &Path, from: &Path) -> io::Result<()> {
    match fs::hard_link(to, from) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    fs::remove_file(to)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where files are published in Django's folder; its callers sync the folder"
)]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        new: PathBuf,
        place: PathBuf,
    }

    impl Folder {
        /// `ours` is about to take the place of `theirs`.
        fn of(theirs: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (new, place) = (folder.path().join("new"), folder.path().join("place"));
            let folder = Self { folder, new, place };
            write(&folder.new, b"ours", None, SyncPolicy::Never).unwrap();
            folder.django_saves(theirs);
            folder
        }

        /// As Django does: another file, renamed over the old one.
        fn django_saves(&self, content: &str) {
            let temporary = self.folder.path().join("django");
            write(&temporary, content.as_bytes(), None, SyncPolicy::Never).unwrap();
            rename(&temporary, &self.place).unwrap();
        }

        fn django_deletes(&self) {
            fs::remove_file(&self.place).unwrap();
        }

        fn content(&self) -> Option<String> {
            let content = read(&self.place).unwrap()?;
            Some(String::from_utf8(content).unwrap())
        }

        /// Puts `ours` in the place of what is `expected` to be there, while `django` acts before each exchange.
        fn exchange_if(&self, expected: &str, django: impl Fn(u32)) -> Replaced {
            let mut exchanges = 0;
            let mut between = |one: &Path, other: &Path| {
                exchanges += 1;
                django(exchanges);
                exchange(one, other)
            };
            let (new, place) = (&self.new, &self.place);
            exchange_if(&mut between, new, b"ours", place, expected.as_bytes()).unwrap()
        }
    }

    #[test]
    fn what_was_expected_is_replaced() {
        for swap in [Swap::Exchange, Swap::Rename] {
            let folder = Folder::of("old");
            let replaced = replace(swap, &folder.new, b"ours", &folder.place, b"old");
            assert_eq!(replaced.unwrap(), Replaced::Yes, "{swap:?}");
            assert_eq!(folder.content().as_deref(), Some("ours"), "{swap:?}");
        }
    }

    #[test]
    fn what_django_wrote_before_the_look_stays() {
        for swap in [Swap::Exchange, Swap::Rename] {
            let folder = Folder::of("django's");
            let replaced = replace(swap, &folder.new, b"ours", &folder.place, b"old");
            assert_eq!(replaced.unwrap(), Replaced::Changed, "{swap:?}");
            assert_eq!(folder.content().as_deref(), Some("django's"), "{swap:?}");
            folder.django_deletes();
            let replaced = replace(swap, &folder.new, b"ours", &folder.place, b"old");
            assert_eq!(replaced.unwrap(), Replaced::Gone, "{swap:?}");
            assert_eq!(folder.content(), None, "{swap:?}: it came back");
        }
    }

    #[test]
    fn what_django_wrote_after_the_look_is_put_back() {
        let folder = Folder::of("old");
        let replaced = folder.exchange_if("old", |n| {
            if n == 1 {
                folder.django_saves("django's");
            }
        });
        assert_eq!(replaced, Replaced::Changed);
        assert_eq!(folder.content().as_deref(), Some("django's"));
    }

    #[test]
    fn a_log_out_by_django_after_the_look_stands() {
        let folder = Folder::of("old");
        let replaced = folder.exchange_if("old", |_| folder.django_deletes());
        assert_eq!(replaced, Replaced::Gone);
        assert_eq!(folder.content(), None, "an ended session came back");
    }

    #[test]
    fn a_log_out_by_django_while_its_data_are_put_back_stands() {
        let folder = Folder::of("old");
        let replaced = folder.exchange_if("old", |n| match n {
            1 => folder.django_saves("django's"),
            _ => folder.django_deletes(),
        });
        assert_eq!(replaced, Replaced::Gone);
        assert_eq!(folder.content(), None, "an ended session came back");
    }

    #[test]
    fn of_all_that_django_wrote_the_last_is_put_back() {
        for last in 2..8 {
            let folder = Folder::of("old");
            let replaced = folder.exchange_if("old", |n| {
                if n <= last {
                    folder.django_saves(&format!("django's {n}"));
                }
            });
            assert_eq!(replaced, Replaced::Changed);
            let content = folder.content().unwrap();
            assert_eq!(content, format!("django's {last}"), "an update was lost");
        }
    }

    #[test]
    fn a_session_is_taken_to_its_new_key_only_as_it_was_read() {
        let folder = Folder::of("old");
        let to = folder.folder.path().join("to");
        let taken = take(&folder.place, &to, b"another").unwrap();
        assert_eq!(taken, Replaced::Changed);
        assert_eq!(folder.content().as_deref(), Some("old"));
        assert!(!to.exists(), "there is a second session");

        let taken = take(&folder.place, &to, b"old").unwrap();
        assert_eq!(taken, Replaced::Yes);
        assert_eq!(folder.content(), None);
        assert_eq!(read(&to).unwrap().unwrap(), b"old");

        let taken = take(&folder.place, &to, b"old").unwrap();
        assert_eq!(taken, Replaced::Gone);
    }

    #[test]
    fn what_django_wrote_meanwhile_is_not_undone_by_giving_back() {
        let folder = Folder::of("django's");
        give_back(&folder.new, &folder.place).unwrap();
        assert_eq!(folder.content().as_deref(), Some("django's"));
        assert!(!folder.new.exists(), "there is a second session");
    }
}
