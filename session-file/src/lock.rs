//! Lets one writer at a time at a stripe of the folder, across threads and processes. The only module that names fs2.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How often a lock file that was removed under our hands is made anew.
const TRIES_MAX: u32 = 16;

/// A lock on a lock file, until it is dropped or the process dies: the kernel drops a dead process's locks.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// The lock, or `None` if another thread or process has it. Does not wait.
    pub(crate) fn try_new(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..TRIES_MAX {
            // Opened anew each time: flock excludes open files from each other, so that a shared one would not exclude
            // our own threads.
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path)?;
            // In full: `File` has methods of the same names since Rust 1.89, which would win silently.
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // Somebody may clean up lock files, though nobody should. A lock on a removed file excludes nobody.
            if file.metadata()?.nlink() > 0 {
                return Ok(Some(Self(file)));
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do, unless a fork has copied it. An error leaves what closing does.
        drop(fs2::FileExt::unlock(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::try_new(&path).unwrap();
        assert!(first.is_some());
        assert!(
            Lock::try_new(&path).unwrap().is_none(),
            "two threads of one process held a lock"
        );
        drop(first);
        assert!(Lock::try_new(&path).unwrap().is_some());
    }

    #[test]
    fn a_lock_file_that_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(Lock::try_new(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let lock = Lock::try_new(&path).unwrap();
        assert!(lock.is_some());
        assert!(Lock::try_new(&path).unwrap().is_none());
    }
}
