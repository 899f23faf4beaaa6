//! The folders that services run in: private, in the system's temporary folder, and gone afterwards.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::Result;

/// What the folders are called, before the service's name and xtask's process id.
const PREFIX: &str = "xtask-service-";

/// A folder that only this user can enter, removed when this is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new folder for `service`, emptied if this process had one before.
    pub(super) fn new(service: &str) -> Result<Self> {
        let name = format!("{PREFIX}{service}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes what was left by runs that were killed. Their processes are gone, since `process` sees to that.
    pub(super) fn sweep() {
        // Without /proc nobody knows who is alive.
        if !Path::new("/proc/self").exists() {
            return;
        }
        for entry in fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX))
                .and_then(|name| name.rsplit_once('-'))
                .and_then(|(_, id)| id.parse::<u32>().ok());
            if let Some(id) = id
                && !Path::new("/proc").join(id.to_string()).exists()
            {
                // Another user's folder stays, which is no concern of this run.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A file that a dying child still writes is swept by the next run.
        drop(fs::remove_dir_all(&self.0));
    }
}
