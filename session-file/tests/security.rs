//! What whoever has the folder, or can put something into it, does not get.

#[cfg(test)]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use session_core::conformance::live_with_secrets;
use session_core::store::{SessionStore, StoreKey};
use session_file::FileStore;
use support::{LATER, NOW, block_on, change, files_ending, key, new, open, path_of};

session_core::security_suite!(|| async { support::store() });

#[tokio::test]
async fn rest_01_no_file_and_no_name_of_one_tells_a_key_a_name_or_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(folder.path()).unwrap());
    let canaries = live_with_secrets(Arc::clone(&store) as _).await.unwrap();
    let look = |when: &str| {
        let files = files_ending(folder.path(), "");
        for path in &files {
            for held in [
                path.as_os_str().as_encoded_bytes(),
                &fs::read(path).unwrap(),
            ] {
                let found = canaries.found_in(held);
                assert_eq!(found, None, "{when}, in {}", path.display());
            }
        }
        files_ending(&folder.path().join("records"), "").len()
    };
    assert!(
        look("in use") >= 2,
        "nothing was kept, so that nothing was looked at"
    );
    drop(store);
    look("when the server has stopped");
}

#[tokio::test]
async fn in_05_every_file_is_within_the_folder_whatever_its_key() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sessions");
    let store = open(&folder);
    // All that a store key can be: everything else is no store key.
    for text in [
        "../../etc/passwd",
        "a/b",
        ".",
        "..",
        "a\0b",
        "A",
        "é",
        "",
        " a",
    ] {
        assert!(StoreKey::parse(text).is_none(), "{text:?} names a file");
    }
    for text in [
        "0",
        "a",
        "con",
        "nul",
        "zz",
        &"z".repeat(40),
        &"0".repeat(39),
    ] {
        let key = StoreKey::parse(text).unwrap();
        let version = store.create(&key, new("x"), NOW).await.unwrap();
        drop(store.save(&key, &version, change("y"), NOW).await.unwrap());
        assert!(path_of(&folder, &key).is_file(), "{text:?}");
    }
    let beside: Vec<_> = fs::read_dir(parent.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(beside, ["sessions"], "something was written outside");
}

#[tokio::test]
async fn in_05_a_link_in_a_sessions_place_is_neither_read_nor_written_through() {
    let (store, folder) = support::store();
    let (planted, real) = (key("4a", 1), key("4a", 2));
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    // The record of another key, and a file of somebody else.
    store.create(&real, new("x"), NOW).await.unwrap();
    fs::copy(path_of(folder.path(), &real), &target).unwrap();
    symlink(&target, path_of(folder.path(), &planted)).unwrap();
    let before = fs::read(&target).unwrap();
    let loaded = store.load(&planted, NOW).await;
    assert!(
        !matches!(loaded, Ok(Some(_))),
        "a link was followed: {loaded:?}"
    );
    let touched = store.touch(&planted, LATER, NOW).await;
    assert!(!matches!(touched, Ok(true)), "{touched:?}");
    drop(store.create(&planted, new("y"), NOW).await);
    drop(store.delete(&planted).await);
    assert_eq!(
        fs::read(&target).unwrap(),
        before,
        "a link was written through"
    );
}

#[test]
fn in_06_a_umask_that_forbids_nothing_opens_nothing() {
    const TEST: &str = "in_06_a_umask_that_forbids_nothing_opens_nothing";
    if let Some(folder) = support::role() {
        let store = FileStore::open(&folder).unwrap();
        block_on(async {
            let version = store.create(&key("4a", 1), new("x"), NOW).await.unwrap();
            let saved = store.save(&key("4a", 1), &version, change("y"), NOW).await;
            drop(saved.unwrap());
        });
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sessions");
    let wrapper = ["sh", "-c", "umask 000; exec \"$0\" \"$@\""];
    let status = support::wrapped(&wrapper, TEST, folder.to_str().unwrap()).status();
    assert!(status.unwrap().success(), "see above");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = files_ending(&folder, "");
    assert!(
        files.len() > 1,
        "nothing was written, so that nothing was looked at"
    );
    for path in files {
        assert_eq!(mode(&path), 0o600, "others may read {}", path.display());
    }
    let folders: [PathBuf; 3] = [
        folder.clone(),
        folder.join("records"),
        folder.join("records/4a"),
    ];
    for path in folders {
        assert_eq!(mode(&path), 0o700, "others may enter {}", path.display());
    }
}
