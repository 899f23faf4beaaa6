//! What the tests of this crate share: keys, records, the layout of `docs/format.md`, and children that are this test again.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

pub(crate) mod children;
#[cfg(feature = "django")]
pub(crate) mod django;
pub(crate) mod spoil;
pub(crate) mod writers;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, Saved, SessionStore, StoreError, StoreKey,
    Timestamp, Version,
};
use session_file::{FileStore, FileStoreConfig, SyncPolicy};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
pub(crate) const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// A new folder with a store in it.
pub(crate) fn store() -> (FileStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (open(folder.path()), folder)
}

/// The store in `folder`, which forces nothing onto the disk: the tests cut no power.
pub(crate) fn open(folder: &Path) -> FileStore {
    FileStoreConfig::new(folder)
        .with_sync(SyncPolicy::Never)
        .open()
        .expect("the folder is ours")
}

/// A key as a hash makes it: its shard is its first two digits, so that `start` chooses shard and lock.
pub(crate) fn key(start: &str, number: u64) -> StoreKey {
    let key = format!("{start}{number:0width$x}", width = 40 - start.len());
    StoreKey::parse(&key).expect("hexadecimal digits are a key")
}

pub(crate) fn new(payload: &str) -> NewRecord {
    NewRecord::new(Payload::from_bytes(payload.to_owned()), LATER)
}

pub(crate) fn new_of(owner: &str) -> NewRecord {
    let mut record = new("data");
    record.owner = Some(owner.into());
    record
}

pub(crate) fn change(payload: &str) -> Change {
    Change::new(Payload::from_bytes(payload.to_owned()), ExpiryChange::Keep)
}

pub(crate) fn change_of(owner: &str) -> Change {
    let mut change = change("data");
    change.owner = Some(owner.into());
    change
}

pub(crate) fn text(record: &Record) -> String {
    let bytes = record.payload.to_bytes().expect("bytes are bytes");
    String::from_utf8(bytes.to_vec()).expect("the tests write text")
}

pub(crate) async fn load(store: &FileStore, key: &StoreKey) -> Option<Record> {
    store
        .load(key, NOW)
        .await
        .expect("a record that can be read")
}

/// Waits until the store has no live record at `key`.
pub(crate) async fn gone(store: &FileStore, key: &StoreKey) {
    let gone = async {
        while load(store, key).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    let gone = tokio::time::timeout(patience, gone).await;
    gone.expect("a session should have ended by now");
}

pub(crate) fn path_of(folder: &Path, key: &StoreKey) -> PathBuf {
    let key = key.as_str();
    let shard = &key[..key.len().min(2)];
    folder.join("records").join(shard).join(key)
}

/// The lock of the shard `name`, held as another process would hold it.
pub(crate) fn hold(folder: &Path, name: &str) -> File {
    let path = folder.join("locks").join(name);
    let file = OpenOptions::new().write(true).open(path);
    let file = file.expect("the lock files are made when the store is opened");
    file.lock().expect("nobody else has the lock");
    file
}

/// Replaces a file's bytes, as no program should.
#[expect(
    clippy::disallowed_methods,
    reason = "the files are being damaged on purpose"
)]
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the file can be written");
}

/// Takes a folder away, or brings it back, as a mount does.
#[expect(clippy::disallowed_methods, reason = "nothing is published by this")]
pub(crate) fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("both are in one temporary folder");
}

/// All files below `folder` whose names end with `end`.
pub(crate) fn files_ending(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_ending(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// Everything that a log may get to see of an error.
pub(crate) fn everything(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, " {error} {error:?}").expect("strings take text");
        source = error.source();
    }
    text
}

pub(crate) fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, advice: &str) {
    match result {
        Err(error @ StoreError::Unavailable { .. }) => {
            let text = everything(&error);
            assert!(text.contains(advice), "no {advice:?} in: {text}");
            // The keys of these tests are mostly zeros.
            assert!(!text.contains("00000000"), "a key is in: {text}");
        }
        other => panic!("should be unavailable ({advice}), was {other:?}"),
    }
}

/// This test again, as another program: `test` is its full name, and `role` what it finds in `SESSION_FILE_TEST_ROLE`.
pub(crate) fn this_test_as(test: &str, role: &str) -> Command {
    wrapped(&[], test, role)
}

/// As [`this_test_as`], started by another program.
pub(crate) fn wrapped(wrapper: &[&str], test: &str, role: &str) -> Command {
    let exe = std::env::current_exe().expect("a test knows its program");
    let mut command = match wrapper {
        [] => Command::new(exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    };
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("SESSION_FILE_TEST_ROLE", role);
    command
}

/// What the parent wants this process to do, if this process is a child.
pub(crate) fn role() -> Option<String> {
    std::env::var("SESSION_FILE_TEST_ROLE").ok()
}

/// Says aloud that a test could not run here. In CI that is a failure.
pub(crate) fn cannot_run(test: &str, why: &str) {
    assert!(
        std::env::var("CI").is_err(),
        "{test} did not run, and in CI it must: {why}"
    );
    writeln!(std::io::stderr(), "\n*** SKIPPED {test}: {why} ***\n").expect("stderr takes text");
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Where the state byte is, and what it is while a record arrives.
const STATE_AT: usize = 11;
const ARRIVING: u8 = 0x8c;

/// Rotates `from` to `to`, and then makes the files what a crash before the step leaves, or one right after it.
pub(crate) async fn crashed_rotation(
    took_effect: bool,
) -> (FileStore, tempfile::TempDir, StoreKey, StoreKey, Version) {
    let (store, folder) = store();
    let (from, to) = (key("90", 1), key("10", 1));
    let version = store.create(&from, new_of("ada"), NOW).await.unwrap();
    let before = fs::read(path_of(folder.path(), &from)).unwrap();
    let rotated = store.rotate(&from, &version, &to, change_of("ada"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));

    let arrived = path_of(folder.path(), &to);
    let mut bytes = fs::read(&arrived).unwrap();
    bytes[STATE_AT] = ARRIVING;
    overwrite(&arrived, &bytes);
    if !took_effect {
        overwrite(&path_of(folder.path(), &from), &before);
    }
    (store, folder, from, to, version)
}
