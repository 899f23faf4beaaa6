//! A folder that Django uses as well, and what Django does to it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use session_core::django::DjangoSettings;
use session_core::store::{SessionStore, StoreKey, Version};
use session_file::{DjangoFileStore, FileStoreConfig, SyncPolicy};

use super::{NOW, new, overwrite, rename};

/// Part of every key in these tests.
pub(crate) const KEY: &str = "4a00000000000000000000000000000000000001";

pub(crate) fn settings() -> DjangoSettings {
    DjangoSettings::new("the secret key of these tests")
}

pub(crate) fn closed_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("the folder is ours");
    folder
}

pub(crate) fn open(folder: &Path) -> DjangoFileStore {
    FileStoreConfig::new(folder)
        .with_sync(SyncPolicy::Never)
        .open_beside_django(&settings())
        .expect("the folder is ours")
}

/// A store with a session at [`KEY`], and where its file is.
pub(crate) async fn stored() -> (
    DjangoFileStore,
    tempfile::TempDir,
    StoreKey,
    Version,
    PathBuf,
) {
    let folder = closed_folder();
    let store = open(folder.path());
    let key = StoreKey::parse(KEY).expect("hexadecimal digits are a key");
    let version = store
        .create(&key, new("ours"), NOW)
        .await
        .expect("a session in a new folder");
    let path = folder.path().join(format!("sessionid{KEY}"));
    (store, folder, key, version, path)
}

/// As Django writes: a file of its own making, renamed over the one that is there.
pub(crate) fn django_saves(path: &Path, content: &str) {
    let temporary = path.with_file_name(format!("sessionid{KEY}_out_x1y2z3_4"));
    overwrite(&temporary, content.as_bytes());
    let file = File::options()
        .write(true)
        .open(&temporary)
        .expect("it was just written");
    file.set_modified(NOW.into()).expect("the file is ours");
    rename(&temporary, path);
}

pub(crate) fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name in UTF-8")
        })
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(
        made.expect("a program to run").success(),
        "mkfifo belongs to every Unix"
    );
}
