//! What may stand in a record's place, and what every operation must then say.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use session_core::store::{SessionStore, StoreError, StoreKey, Version};
use session_file::FileStore;

use super::{LATER, NOW, change, everything, new, overwrite};

/// A session's data, which no error may show.
pub(crate) const SECRET: &str = "canary-in-the-payload";

/// What may stand in a record's place, and how it gets there.
pub(crate) type Spoiler = (&'static str, fn(&Path));

pub(crate) const SPOILERS: &[Spoiler] = &[
    ("an empty file", |path| overwrite(path, b"")),
    ("a cut head", |path| cut(path, 40)),
    ("a cut payload", |path| cut(path, usize::MAX)),
    ("a flipped bit in the expiry", |path| flip(path, 32)),
    ("a flipped bit in the owner", |path| flip(path, 96)),
    ("a flipped bit in the state", |path| flip(path, 11)),
    ("a longer file", |path| {
        let mut bytes = fs::read(path).unwrap_or_default();
        bytes.push(b'!');
        overwrite(path, &bytes);
    }),
    ("a foreign file", |path| {
        overwrite(path, b"#!/bin/sh\necho hello, I am no session\n");
    }),
    ("a folder", |path| {
        replace(path, |path| fs::create_dir(path));
    }),
    ("a link to another record", |path| {
        replace(path, |path| symlink(path.with_file_name("other"), path));
    }),
    ("a link to nowhere", |path| {
        replace(path, |path| symlink("/nowhere", path));
    }),
    ("a socket", |path| {
        replace(path, |path| {
            std::os::unix::net::UnixListener::bind(path).map(drop)
        });
    }),
];

pub(crate) fn cut(path: &Path, len: usize) {
    let bytes = fs::read(path).unwrap_or_default();
    let len = len.min(bytes.len().saturating_sub(1));
    overwrite(path, bytes.get(..len).unwrap_or_default());
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap_or_default();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x10;
    }
    overwrite(path, &bytes);
}

pub(crate) fn replace(path: &Path, make: impl Fn(&Path) -> std::io::Result<()>) {
    let made = fs::remove_file(path).and_then(|()| make(path));
    assert!(made.is_ok(), "the test could not spoil a record: {made:?}");
}

/// What is at a path, to see whether it was changed.
pub(crate) fn fingerprint(path: &Path) -> (u64, u32, Option<Vec<u8>>) {
    let metadata = fs::symlink_metadata(path).ok();
    let bytes = metadata.as_ref().filter(|found| found.is_file());
    let bytes = bytes.and_then(|_| fs::read(path).ok());
    metadata.map_or((0, 0, None), |found| (found.ino(), found.mode(), bytes))
}

pub(crate) async fn assert_damaged(store: &FileStore, key: &StoreKey, spoiler: &str) {
    let version = Version::Counter(1);
    let free = super::key("20", 1);
    let errors = [
        store.load(key, NOW).await.err(),
        store.create(key, new(SECRET), NOW).await.err(),
        store.save(key, &version, change(SECRET), NOW).await.err(),
        store.touch(key, LATER, NOW).await.err(),
        store.delete(key).await.err(),
        store
            .rotate(key, &version, &free, change(SECRET), NOW)
            .await
            .err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let Some(error @ StoreError::Damaged { .. }) = error else {
            panic!("{spoiler}, operation {number}: {error:?} instead of damage");
        };
        let text = everything(&error);
        assert!(!text.contains(SECRET), "an error shows data: {text}");
        assert!(!text.contains(key.as_str()), "an error shows a key: {text}");
    }
}
