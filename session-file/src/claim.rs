//! Whether a folder may be used for sessions at all: it must be ours, closed to others, and empty or a session folder.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::config::SyncPolicy;
use crate::error::Error;
use crate::layout::{Folder, MARKER, is_temporary, temporary};

const MARKER_TEXT: &str = "session-file folder, layout 1\n";
const MARKER_START: &str = "session-file folder";
/// What other users may not do in a session folder, and what they could have done to an empty one.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    Empty,
    Ours,
    Newer,
    Foreign,
}

/// Opens the folder, or makes it.
pub(crate) fn open(path: &Path, sync: SyncPolicy) -> Result<Folder, Error> {
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
    check_owner(&path, sync)?;
    if contents == Contents::Empty {
        set_up(&path, sync).map_err(|source| Error::io(&path, source))?;
    }
    let folder = Folder::at(path);
    folder
        .furnish(sync)
        .map_err(|source| Error::io(folder.path(), source))?;
    Ok(folder)
}

/// Opens a folder that Django uses as well. It has to be there: Django makes none either, and one that is made here would hide
/// that the path is wrong or a disk is not mounted.
#[cfg(feature = "django")]
pub(crate) fn open_beside_django(path: &Path, sync: SyncPolicy) -> Result<Folder, Error> {
    let failed = |source| Error::io(path, source);
    let path = path.canonicalize().map_err(failed)?;
    let found = fs::metadata(&path).map_err(failed)?;
    if !found.is_dir() {
        return Err(Error::NotAFolder { path });
    }
    let mode = found.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(Error::KeysInTheOpen { path, mode });
    }
    check_owner(&path, sync)?;
    let folder = Folder::beside_django(path);
    folder
        .furnish_locks(sync)
        .map_err(|source| Error::io(folder.path(), source))?;
    Ok(folder)
}

/// Whether the folder can be used, before anything is written into it.
fn check(path: &Path) -> Result<Contents, Error> {
    let failed = |source| Error::io(path, source);
    let contents = contents(path);
    // Only now: whoever sees the marker of a process that sets the folder up sees the mode that it set before.
    let found = fs::metadata(path).map_err(failed)?;
    let path = path.to_owned();
    let mode = found.mode() & 0o777;
    match contents {
        Ok(Contents::Newer) => Err(Error::Newer { path }),
        Ok(Contents::Foreign) => Err(Error::NotASessionFolder { path }),
        Ok(Contents::Ours) if mode & OTHERS != 0 => Err(Error::TooOpen { path, mode }),
        // Others can have looked into an empty folder, which is nothing, unless they could also write to it.
        Ok(Contents::Empty) if mode & OTHERS_WRITE != 0 => Err(Error::TooOpen { path, mode }),
        Ok(contents @ (Contents::Ours | Contents::Empty)) => Ok(contents),
        // Its owner could read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && mode & 0o500 == 0o500 => {
            let owner = found.uid();
            Err(Error::NotOurs { path, owner })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Proves that the folder is ours and that we can write. A file that we make has our own id; asking the system for it would
/// take unsafe code or a further dependency.
fn check_owner(path: &Path, sync: SyncPolicy) -> Result<(), Error> {
    let failed = |source| Error::io(path, source);
    let probe = temporary(path);
    let us = write_new(&probe, "", sync).map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)?;
    let owner = fs::metadata(path).map_err(failed)?.uid();
    if us == owner {
        Ok(())
    } else {
        let path = path.to_owned();
        Err(Error::NotOurs { path, owner })
    }
}

/// Makes an empty folder a session folder: first closed, then marked, and all else after that.
fn set_up(path: &Path, sync: SyncPolicy) -> io::Result<()> {
    if fs::metadata(path)?.mode() & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    match write_new(&path.join(MARKER), MARKER_TEXT, sync) {
        // Another process is setting the same folder up.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map(drop),
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

fn is_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
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
        // It is just being written, or a power loss left it so.
        Ok(text) if MARKER_TEXT.as_bytes().starts_with(&text) => Ok(Some(Contents::Ours)),
        Ok(text) if text.starts_with(MARKER_START.as_bytes()) => Ok(Some(Contents::Newer)),
        Ok(_) => Ok(Some(Contents::Foreign)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(Some(Contents::Foreign)),
        Err(error) => Err(error),
    }
}
