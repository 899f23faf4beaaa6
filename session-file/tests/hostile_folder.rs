//! Disks and folders that are not as they should be: each gives an error that says what to do, and nothing is lost.

#[cfg(test)]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use session_core::Owner;
use session_core::store::{EndScope, Page, Saved, SessionStore, StoreError, StoreScan, Timestamp};
use session_file::{Error, FileStore, FileStoreConfig};
use support::spoil::{SECRET, SPOILERS, assert_damaged, fingerprint, flip};
use support::{
    LATER, NOW, assert_unavailable, block_on, cannot_run, change, everything, files_ending, hold,
    key, load, new, new_of, open, overwrite, path_of, rename, role, store, text, wrapped,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o777)
}

#[tokio::test]
async fn in_06_everything_in_the_folder_is_for_us_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/new/one");
    let store = FileStore::open(&folder).unwrap();
    store.create(&key("4a", 1), new("x"), NOW).await.unwrap();
    for path in files_ending(&folder, "") {
        assert_eq!(mode(&path), 0o600, "others may read {}", path.display());
    }
    for path in [&folder, &folder.join("records"), &folder.join("records/4a")] {
        assert_eq!(mode(path), 0o700, "others may enter {}", path.display());
    }
}

#[test]
fn an_empty_folder_is_closed_to_others_and_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    FileStore::open(folder.path()).unwrap();
    assert_eq!(mode(folder.path()), 0o700);
}

#[test]
fn in_06_a_folder_that_others_can_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).unwrap();
    let refused = FileStore::open(folder.path()).unwrap_err();
    assert!(
        matches!(refused, Error::TooOpen { mode: 0o770, .. }),
        "others can have put something there: {refused:?}"
    );
    assert!(refused.to_string().contains("chmod 700"), "{refused}");

    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    FileStore::open(folder.path()).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
    let refused = FileStore::open(folder.path()).unwrap_err();
    assert!(matches!(refused, Error::TooOpen { .. }), "{refused:?}");
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    overwrite(&folder.path().join("id_ed25519"), b"a key of another kind");
    let refused = FileStore::open(folder.path()).unwrap_err();
    assert!(
        matches!(refused, Error::NotASessionFolder { .. }),
        "{refused:?}"
    );
    assert_eq!(
        files_ending(folder.path(), "").len(),
        1,
        "it was written to"
    );

    let file = folder.path().join("id_ed25519");
    for path in [file.clone(), file.join("below")] {
        let refused = FileStore::open(path).unwrap_err();
        assert!(matches!(refused, Error::NotAFolder { .. }), "{refused:?}");
    }
}

#[test]
fn a_folder_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let marker = folder.path().join("session-file");
    overwrite(&marker, b"session-file folder, layout 2\n");
    let refused = FileStore::open(folder.path()).unwrap_err();
    assert!(matches!(refused, Error::Newer { .. }), "{refused:?}");
}

#[test]
fn two_processes_may_set_up_one_folder_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = folder.path().join(round.to_string());
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| FileStore::open(&path)))
                .collect();
            for opened in opening {
                let opened = opened.join().unwrap();
                assert!(opened.is_ok(), "a start beside another failed: {opened:?}");
            }
        });
    }
}

#[test]
fn in_06_a_folder_of_another_user_is_refused() {
    const TEST: &str = "in_06_a_folder_of_another_user_is_refused";
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let us = fs::metadata(folder.path()).unwrap().uid();
    let given_away = std::os::unix::fs::chown(folder.path(), Some(us + 1), None);
    let root = Path::new("/root");
    let path = if given_away.is_ok() {
        folder.path()
    } else if mode(root) == 0o700 {
        root
    } else {
        return cannot_run(TEST, "it needs root, or a folder /root of mode 700");
    };
    let refused = FileStore::open(path).unwrap_err();
    let Error::NotOurs { owner, .. } = refused else {
        panic!("somebody else could read all sessions: {refused:?}");
    };
    assert_eq!(owner, fs::metadata(path).unwrap().uid());
}

#[test]
fn a_folder_that_may_not_be_written_is_an_outage_and_loses_nothing() {
    const TEST: &str = "a_folder_that_may_not_be_written_is_an_outage_and_loses_nothing";
    let Some(_role) = role() else {
        // Root may write everywhere, unless it gives that up.
        let folder = tempfile::tempdir().unwrap();
        let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
        let wrapper: &[&str] = if is_root {
            &["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
        } else {
            &[]
        };
        return run_child(TEST, wrapper);
    };
    let (store, folder) = store();
    let one = key("4a", 1);
    let version = block_on(store.create(&one, new("kept"), NOW)).unwrap();
    let shard = folder.path().join("records/4a");
    for closed in [shard.as_path(), &folder.path().join("locks")] {
        let bits = if closed == shard { 0o500 } else { 0o000 };
        fs::set_permissions(closed, Permissions::from_mode(bits)).unwrap();
        let saved = block_on(store.save(&one, &version, change("x"), NOW));
        assert_unavailable(saved, "access was denied");
        assert_unavailable(block_on(store.delete(&one)), "access was denied");
        let record = block_on(load(&store, &one)).expect("reading needs no writing");
        assert_eq!(text(&record), "kept");
        fs::set_permissions(closed, Permissions::from_mode(0o700)).unwrap();
    }
    assert!(files_ending(folder.path(), ".tmp").is_empty());
    let saved = block_on(store.save(&one, &version, change("on"), NOW));
    assert!(matches!(saved.unwrap(), Saved::Stored(_)));

    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    let refused = FileStore::open(folder.path()).unwrap_err();
    assert!(everything(&refused).contains("access was denied"));
}

/// Runs this test again under `wrapper`, and fails as it fails.
fn run_child(test: &str, wrapper: &[&str]) {
    match wrapped(wrapper, test, "child").output() {
        Ok(child) => assert!(
            child.status.success(),
            "the child failed: {}{}",
            String::from_utf8_lossy(&child.stdout),
            String::from_utf8_lossy(&child.stderr)
        ),
        Err(error) => cannot_run(test, &format!("{wrapper:?} could not be started: {error}")),
    }
}

/// Whether a child can have mounts of its own, as root or in a user namespace.
const UNSHARE: [&str; 5] = ["unshare", "--map-root-user", "--user", "--mount", "--"];

fn can_mount() -> bool {
    let mut probe = Command::new(UNSHARE[0]);
    probe.args(&UNSHARE[1..]);
    probe.args(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]);
    let probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

fn mount(options: &str, folder: &Path) {
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(folder);
    assert!(
        mount.status().is_ok_and(|status| status.success()),
        "mount {options}"
    );
}

#[test]
fn fail_04_a_full_disk_is_an_outage_that_loses_nothing_and_still_lets_people_log_out() {
    const TEST: &str =
        "fail_04_a_full_disk_is_an_outage_that_loses_nothing_and_still_lets_people_log_out";
    let Some(_role) = role() else {
        if !can_mount() {
            return cannot_run(
                TEST,
                "this user may not mount a small disk, not even in a namespace",
            );
        }
        return run_child(TEST, &UNSHARE);
    };
    let disk = tempfile::tempdir().unwrap();
    mount("size=2m,mode=700", disk.path());
    let store = open(disk.path());
    let payload = "x".repeat(20_000);
    let mut kept = Vec::new();
    let refused = loop {
        let key = key("4a", kept.len().try_into().unwrap());
        match block_on(store.create(&key, new(&payload), NOW)) {
            Ok(version) => kept.push((key, version)),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "the disk never got full");
    };
    assert_unavailable::<()>(Err(refused), "its disk is full; free some space");
    let (one, version) = kept.first().unwrap();
    let larger = payload.repeat(2);
    let saved = block_on(store.save(one, version, change(&larger), NOW));
    assert_unavailable(saved, "its disk is full");
    let elsewhere = key("20", 1);
    let rotated = store.rotate(one, version, &elsewhere, change(&larger), NOW);
    assert_unavailable(block_on(rotated), "its disk is full");
    for (key, _) in &kept {
        let record = block_on(load(&store, key)).expect("a full disk lost a session");
        assert_eq!(text(&record), payload, "a full disk cut a session");
    }
    assert!(block_on(load(&store, &key("20", 1))).is_none());
    assert!(
        files_ending(disk.path(), ".tmp").is_empty(),
        "garbage was left"
    );

    for (key, _) in &kept[1..6] {
        assert!(
            block_on(store.delete(key)).unwrap(),
            "no log-out on a full disk"
        );
    }
    let saved = block_on(store.save(one, version, change(&larger), NOW)).unwrap();
    assert!(matches!(saved, Saved::Stored(_)), "the outage did not end");
}

#[test]
fn fail_04_a_read_only_disk_is_an_outage_for_writers_alone() {
    const TEST: &str = "fail_04_a_read_only_disk_is_an_outage_for_writers_alone";
    let Some(_role) = role() else {
        if !can_mount() {
            return cannot_run(
                TEST,
                "this user may not mount a disk, not even in a namespace",
            );
        }
        return run_child(TEST, &UNSHARE);
    };
    let disk = tempfile::tempdir().unwrap();
    mount("size=2m,mode=700", disk.path());
    let store = open(disk.path());
    let one = key("4a", 1);
    let version = block_on(store.create(&one, new("kept"), NOW)).unwrap();
    mount("remount,ro", disk.path());
    let saved = block_on(store.save(&one, &version, change("x"), NOW));
    assert_unavailable(saved, "its disk is read-only");
    assert_unavailable(block_on(store.delete(&one)), "its disk is read-only");
    assert_unavailable(
        block_on(store.touch(&one, LATER, NOW)),
        "its disk is read-only",
    );
    assert!(block_on(load(&store, &one)).is_some());
    let refused = FileStore::open(disk.path()).unwrap_err();
    assert!(
        everything(&refused).contains("its disk is read-only"),
        "{refused:?}"
    );
    mount("remount,rw", disk.path());
    let saved = block_on(store.save(&one, &version, change("x"), NOW));
    assert!(matches!(saved.unwrap(), Saved::Stored(_)));
}

#[tokio::test]
async fn fail_04_a_missing_folder_is_an_outage_and_not_an_empty_store() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("here"), parent.path().join("away"));
    let store = open(&folder);
    let one = key("4a", 1);
    let version = store.create(&one, new_of("ada"), NOW).await.unwrap();
    let ada = Owner::from("ada");
    for empty_mount_point in [false, true] {
        rename(&folder, &away);
        if empty_mount_point {
            fs::create_dir(&folder).unwrap();
        }
        let advice = "is missing";
        assert_unavailable(store.load(&one, NOW).await, advice);
        assert_unavailable(store.load(&key("ff", 9), NOW).await, advice);
        assert_unavailable(store.create(&key("4a", 2), new("x"), NOW).await, advice);
        assert_unavailable(store.save(&one, &version, change("x"), NOW).await, advice);
        assert_unavailable(store.touch(&one, LATER, NOW).await, advice);
        assert_unavailable(store.delete(&one).await, advice);
        let elsewhere = key("10", 1);
        let rotated = store.rotate(&one, &version, &elsewhere, change("x"), NOW);
        assert_unavailable(rotated.await, advice);
        assert_unavailable(store.clear_expired(NOW, &mut |_| {}).await, advice);
        assert_unavailable(store.page(Page::first(9)).await, advice);
        let index = store.owner_index().unwrap();
        let listed = index.sessions_of(&ada, Page::first(9), NOW);
        assert_unavailable(listed.await, advice);
        assert_unavailable(index.end(&ada, EndScope::All).await, advice);
        if empty_mount_point {
            let left = fs::read_dir(&folder).unwrap().count();
            assert_eq!(left, 0, "something was written where the folder was");
            fs::remove_dir(&folder).unwrap();
        }
        rename(&away, &folder);
        assert!(load(&store, &one).await.is_some(), "the outage did not end");
    }
}

#[tokio::test]
async fn dos_07_fail_04_a_lock_that_is_never_released_is_an_outage_for_its_stripe_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = FileStoreConfig::new(folder.path()).with_timeout(Duration::from_millis(200));
    let store = config.open().unwrap();
    let (locked, free) = (key("4a", 1), key("10", 1));
    let version = store.create(&locked, new("x"), NOW).await.unwrap();
    let other = store.create(&free, new("x"), NOW).await.unwrap();
    let held = hold(folder.path(), "4a");
    let advice = "other writers held the lock";
    let saved = store.save(&locked, &version, change("y"), NOW).await;
    assert_unavailable(saved, advice);
    assert_unavailable(store.delete(&locked).await, advice);
    for (from, version, to) in [
        (&locked, &version, &key("11", 1)),
        (&free, &other, &key("4a", 2)),
    ] {
        let rotated = store.rotate(from, version, to, change("y"), NOW).await;
        assert_unavailable(rotated, advice);
    }
    assert_eq!(text(&load(&store, &locked).await.unwrap()), "x");
    let saved = store.save(&free, &other, change("y"), NOW).await.unwrap();
    assert!(
        matches!(saved, Saved::Stored(_)),
        "another stripe was held up"
    );
    drop(held);
    let saved = store.save(&locked, &version, change("y"), NOW).await;
    assert!(matches!(saved.unwrap(), Saved::Stored(_)));
}

#[tokio::test]
async fn data_08_fail_05_what_is_damaged_is_reported_and_left_as_it_is() {
    for (spoiler, spoil) in SPOILERS {
        let (store, folder) = store();
        let (one, fine) = (key("4a", 0xabc), key("4a", 2));
        let mut record = new_of("ada");
        record.payload = session_core::store::Payload::from_bytes(SECRET);
        store.create(&one, record, NOW).await.unwrap();
        let version = store.create(&fine, new_of("ada"), NOW).await.unwrap();
        let path = path_of(folder.path(), &one);
        fs::copy(path_of(folder.path(), &fine), path.with_file_name("other")).unwrap();
        spoil(&path);
        let before = fingerprint(&path);

        assert_damaged(&store, &one, spoiler).await;
        let onto = store.rotate(&fine, &version, &one, change("x"), NOW).await;
        assert!(
            matches!(onto, Err(StoreError::Damaged { .. })),
            "{spoiler}: {onto:?}"
        );

        // Neighbours are none the worse.
        let ada = Owner::from("ada");
        let index = store.owner_index().unwrap();
        let listed = index.sessions_of(&ada, Page::first(9), NOW).await.unwrap();
        assert_eq!(listed.len(), 1, "{spoiler} spoiled a list");
        assert_eq!(store.page(Page::first(9)).await.unwrap().len(), 1);
        let ended = index.end(&ada, EndScope::All).await.unwrap();
        assert_eq!(ended, 1, "{spoiler} kept another session alive");
        let far = Timestamp::from_secs(LATER.as_secs() + 1);
        let removed = store.clear_expired(far, &mut |_| {}).await.unwrap();
        assert_eq!(removed, 0, "{spoiler} was counted");
        assert!(
            before == fingerprint(&path),
            "{spoiler} was overwritten or removed"
        );
    }
}

#[tokio::test]
async fn a_damaged_payload_is_left_as_it_is_until_its_owner_or_its_expiry_ends_it() {
    let (store, folder) = store();
    let spoil = |path: &Path| {
        // After the owner, "ada". The head is sound.
        flip(path, 99);
        fingerprint(path)
    };
    let (one, other) = (key("4a", 1), key("4a", 2));
    for key in [&one, &other] {
        store.create(key, new_of("ada"), NOW).await.unwrap();
        let path = path_of(folder.path(), key);
        let before = spoil(&path);
        assert_damaged(&store, key, "a flipped bit in the payload").await;
        assert!(before == fingerprint(&path), "it was overwritten");
    }
    let index = store.owner_index().unwrap();
    let ended = index.end(&"ada".into(), EndScope::One(one)).await.unwrap();
    assert_eq!(ended, 1, "a session escaped by being damaged");
    assert_eq!(store.clear_expired(LATER, &mut |_| {}).await.unwrap(), 1);
    assert!(files_ending(&folder.path().join("records"), "").is_empty());
}

#[tokio::test]
async fn a_record_under_another_key_is_not_believed() {
    let (store, folder) = store();
    let (mine, yours) = (key("4a", 1), key("4a", 2));
    store.create(&mine, new("mine"), NOW).await.unwrap();
    fs::copy(
        path_of(folder.path(), &mine),
        path_of(folder.path(), &yours),
    )
    .unwrap();
    assert_damaged(&store, &yours, "a copied file").await;
}

#[tokio::test]
async fn a_record_of_a_later_version_asks_for_that_version() {
    let (store, folder) = store();
    let one = key("4a", 1);
    store.create(&one, new_of("ada"), NOW).await.unwrap();
    let path = path_of(folder.path(), &one);
    let mut bytes = fs::read(&path).unwrap();
    (bytes[8], bytes[9]) = (2, !2);
    overwrite(&path, &bytes);
    let refused = store.load(&one, NOW).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Misconfigured { .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("run the later version"),
        "{refused}"
    );
    // It may be one of hers: better an error than a "done" that is not true.
    let index = store.owner_index().unwrap();
    let ended = index.end(&"ada".into(), EndScope::All).await;
    assert!(
        matches!(ended, Err(StoreError::Misconfigured { .. })),
        "{ended:?}"
    );
    assert_eq!(store.clear_expired(LATER, &mut |_| {}).await.unwrap(), 0);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn in_05_a_link_in_a_shards_place_is_not_written_through() {
    let (store, folder) = store();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), folder.path().join("records/4a")).unwrap();
    let refused = store.create(&key("4a", 1), new("x"), NOW).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    let written = fs::read_dir(elsewhere.path()).unwrap().count();
    assert_eq!(written, 0, "a session left the folder");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_anything_is_written() {
    let (store, folder) = store();
    let mut record = new("x");
    record.label = Some(session_core::store::Label::new(&"l".repeat(257)));
    let refused = store.create(&key("4a", 1), record, NOW).await;
    assert!(
        matches!(
            refused,
            Err(StoreError::TooLarge {
                bytes: 257,
                bytes_max: 256,
                ..
            })
        ),
        "{refused:?}"
    );
    let too_much = "x".repeat(64 * 1024 * 1024 + 1);
    let refused = store.create(&key("4a", 1), new(&too_much), NOW).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(files_ending(&folder.path().join("records"), "").is_empty());
}

#[test]
fn dos_07_a_disk_that_does_not_answer_is_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let config = FileStoreConfig::new(folder.path()).with_timeout(Duration::from_millis(50));
    let store = config.open().unwrap();
    let one = key("4a", 1);
    // As a disk that hangs, this keeps the only thread for blocking work until it is let go.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let hanging = runtime.spawn_blocking(move || hangs.recv());
    runtime.block_on(async {
        let advice = "the disk did not answer within the timeout";
        assert_unavailable(store.load(&one, NOW).await, advice);
        assert_unavailable(store.create(&one, new("late"), NOW).await, advice);
        drop(release);
        assert!(hanging.await.unwrap().is_err(), "it was let go");
        // The create was still under way, and what comes after it waits for its turn: with more time, since the disk is slow now.
        let patient = FileStoreConfig::new(folder.path()).open().unwrap();
        let again = patient.create(&one, new("again"), NOW).await;
        assert!(
            matches!(again, Err(StoreError::KeyTaken { .. })),
            "it was done in part, or out of turn: {again:?}"
        );
        assert_eq!(text(&load(&patient, &one).await.unwrap()), "late");
    });
}

#[test]
fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
    let (store, _folder) = store();
    let mut load = std::pin::pin!(async move { store.load(&key("4a", 1), NOW).await });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(answer) = load.as_mut().poll(&mut context) else {
        panic!("it waits for a runtime that is not there");
    };
    assert!(
        matches!(answer, Err(StoreError::Misconfigured { .. })),
        "{answer:?}"
    );
}
