//! What goes through the whole folder, beside everything that may happen meanwhile.

#[cfg(test)]
#[path = "../../session-cache/tests/support/numbers.rs"]
mod numbers;
#[cfg(test)]
mod support;

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;

use session_core::Owner;
use session_core::store::{
    EndScope, OwnerIndex as _, Page, Saved, SessionStore, StoreKey, StoreScan, Timestamp,
};
use session_file::FileStore;
use support::{
    LATER, NOW, change, change_of, files_ending, gone, hold, key, load, new, new_of, path_of,
    store, text,
};

/// The folder was written by release 0.1. Processes of two releases may have it open at once.
#[tokio::test]
async fn a_folder_of_release_0_1_is_used_as_it_is() {
    let files: [(&str, &[u8]); 3] = [
        ("session-file", include_bytes!("fixtures/0.1/session-file")),
        (
            "records/4a/4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff",
            include_bytes!("fixtures/0.1/records/4a/4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff"),
        ),
        (
            "records/4a/4a09",
            include_bytes!("fixtures/0.1/records/4a/4a09"),
        ),
    ];
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("sessions");
    let mut folders = std::fs::DirBuilder::new();
    let own = folders.recursive(true).mode(0o700);
    own.create(folder.join("records/4a")).unwrap();
    for (name, bytes) in files {
        let mut file = std::fs::File::create_new(folder.join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }
    let store = FileStore::open(folder).expect("a folder of 0.1 is refused");
    let full = StoreKey::parse("4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff").unwrap();
    let bare = StoreKey::parse("4a09").unwrap();
    let page = store.page(Page::first(10)).await.unwrap();
    let keys: Vec<&StoreKey> = page.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&bare, &full], "sessions of 0.1 are gone");

    let now = Timestamp::from_secs(1_800_000_010);
    let record = store.load(&full, now).await.unwrap().expect("it lives");
    assert!(text(&record).contains(r#""cart":[1,2]"#));
    assert_eq!(record.expires_at, Timestamp::from_secs(1_801_209_600));
    assert_eq!(record.created_at, Some(Timestamp::from_secs(1_800_000_000)));
    assert_eq!(record.owner, Some("ada".into()));
    let label = record.label.as_ref().map(|label| label.as_str());
    assert_eq!(label, Some("Ada's téléphone"));
    let poor = store.load(&bare, now).await.unwrap().expect("it lives");
    assert_eq!(text(&poor), "{}");
    assert!(poor.owner.is_none() && poor.label.is_none() && poor.created_at.is_none());

    let saved = store
        .save(&full, &record.version, change_of("ada"), now)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    let ended = store.end(&Owner::from("ada"), EndScope::All).await;
    assert_eq!(ended.unwrap(), 1, "the owner of a session of 0.1 is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn end_06_a_session_does_not_escape_its_end_by_rotating_to_where_the_walk_has_been() {
    let (store, folder) = store();
    let ada = Owner::from("ada");
    let seen_first = key("10", 1);
    store.create(&seen_first, new_of("ada"), NOW).await.unwrap();
    // The walk stops at this shard, since the test has its lock.
    let barrier = key("80", 1);
    store
        .create(&barrier, new("a stranger's"), NOW)
        .await
        .unwrap();
    let (from, through, to) = (key("90", 1), key("a0", 1), key("10", 2));
    let version = store.create(&from, new_of("ada"), NOW).await.unwrap();

    let held = hold(folder.path(), "80");
    let ending = tokio::spawn({
        let (store, ada) = (store.clone(), ada.clone());
        async move { store.owner_index().unwrap().end(&ada, EndScope::All).await }
    });
    gone(&store, &seen_first).await;
    let rotated = store.rotate(&from, &version, &through, change_of("ada"), NOW);
    let Saved::Stored(version) = rotated.await.unwrap() else {
        panic!("the session was still alive");
    };
    let rotated = store.rotate(&through, &version, &to, change_of("ada"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    assert!(load(&store, &to).await.is_some());
    drop(held);

    let ended = ending.await.unwrap().unwrap();
    assert!(
        load(&store, &to).await.is_none(),
        "a session escaped the end of all its owner's sessions"
    );
    assert_eq!(ended, 2);
    assert!(load(&store, &barrier).await.is_some(), "a stranger was hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spared_session_is_spared_after_it_rotated() {
    let (store, _folder) = store();
    let ada = Owner::from("ada");
    let (from, to, other) = (key("90", 1), key("10", 1), key("50", 1));
    let version = store.create(&from, new_of("ada"), NOW).await.unwrap();
    store.create(&other, new_of("ada"), NOW).await.unwrap();
    let rotated = store.rotate(&from, &version, &to, change_of("ada"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    let index = store.owner_index().unwrap();
    let ended = index.end(&ada, EndScope::AllExcept(to.clone())).await;
    assert_eq!(ended.unwrap(), 1);
    assert!(
        load(&store, &to).await.is_some(),
        "the visitor was logged out"
    );
    assert!(load(&store, &other).await.is_none());
}

#[tokio::test]
async fn an_end_whose_caller_left_goes_on() {
    let (store, folder) = store();
    let (first, last) = (key("10", 1), key("f0", 1));
    for key in [&first, &last] {
        store.create(key, new_of("ada"), NOW).await.unwrap();
    }
    store.create(&key("80", 1), new("x"), NOW).await.unwrap();
    let held = hold(folder.path(), "80");
    {
        let ada = Owner::from("ada");
        let index = store.owner_index().unwrap();
        let ending = index.end(&ada, EndScope::All);
        tokio::select! {
            _ = ending => panic!("the walk passed a lock that is held"),
            () = gone(&store, &first) => {}
        }
    }
    drop(held);
    gone(&store, &last).await;
}

#[tokio::test]
async fn dos_08_lists_and_scans_are_in_the_order_of_the_keys_and_in_pages() {
    let (store, _folder) = store();
    let mut keys: Vec<StoreKey> = ["a", "a0", "a00", "b", "00", "zz9", "z"]
        .iter()
        .map(|text| StoreKey::parse(text).unwrap())
        .collect();
    keys.extend((0..40).map(|number| key("7f", number)));
    for key in &keys {
        store.create(key, new_of("ada"), NOW).await.unwrap();
    }
    // Expired ones are scanned and not listed.
    let expired = key("10", 1);
    let mut record = new_of("ada");
    record.expires_at = NOW;
    store.create(&expired, record, NOW).await.unwrap();
    // What was rotated is where it went, once.
    let (from, to) = (key("20", 1), key("30", 1));
    let version = store.create(&from, new_of("ada"), NOW).await.unwrap();
    let rotated = store.rotate(&from, &version, &to, change_of("ada"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    keys.push(to);
    keys.sort_unstable();

    let ada = Owner::from("ada");
    for limit in [1, 3, 1000] {
        let (mut listed, mut scanned) = (Vec::new(), Vec::new());
        let mut page = Page::first(limit);
        loop {
            let index = store.owner_index().unwrap();
            let found = index.sessions_of(&ada, page, NOW).await.unwrap();
            listed.extend(found.iter().map(|(key, _)| key.clone()));
            match found.last() {
                Some((last, _)) if found.len() == limit => page = Page::after(last.clone(), limit),
                _ => break,
            }
        }
        let mut page = Page::first(limit);
        while let Some((last, _)) = {
            let found = StoreScan::page(&store, page.clone()).await.unwrap();
            scanned.extend(found.iter().map(|(key, _)| key.clone()));
            found.last().cloned()
        } {
            page = Page::after(last, limit);
        }
        assert_eq!(listed.len(), keys.len(), "with pages of {limit}");
        assert!(listed == keys, "the list is out of order");
        let without_expired: Vec<_> = scanned.iter().filter(|key| **key != expired).collect();
        assert!(scanned.contains(&expired), "a scan left out an expired one");
        assert!(
            without_expired.into_iter().eq(&keys),
            "with pages of {limit}"
        );
    }
}

#[tokio::test]
async fn clear_expired_counts_records_and_nothing_else() {
    let (store, folder) = store();
    for number in 0..150 {
        let mut record = new("x");
        record.expires_at = if number < 100 { NOW } else { LATER };
        store.create(&key("4a", number), record, NOW).await.unwrap();
    }
    let (from, to) = (key("20", 1), key("30", 1));
    let version = store.create(&from, new("x"), NOW).await.unwrap();
    let rotated = store.rotate(&from, &version, &to, change("x"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    let left_over = folder.path().join("records/4a/.0123456789abcdef.tmp");
    support::overwrite(&left_over, b"what a dead writer left");
    // A stranger's file is none of ours, wherever it is.
    let strange = folder.path().join("records/4a/README");
    support::overwrite(&strange, b"hands off");

    let mut seen = Vec::new();
    let removed = store
        .clear_expired(NOW, &mut |count| seen.push(count))
        .await;
    assert_eq!(removed.unwrap(), 100);
    assert!(
        seen.is_sorted() && seen.len() > 1 && seen.last() == Some(&100),
        "{seen:?}"
    );
    assert!(!left_over.exists(), "a stale temporary file was left");
    assert!(strange.exists(), "a file that is not ours was removed");
    let left = StoreScan::page(&store, Page::first(1000)).await.unwrap();
    assert_eq!(left.len(), 51, "a living session was removed");
    assert!(
        path_of(folder.path(), &from).exists(),
        "the note is still needed"
    );

    let removed = store.clear_expired(LATER, &mut |_| {}).await.unwrap();
    assert_eq!(removed, 51);
    let files = files_ending(&folder.path().join("records"), "");
    assert_eq!(files, [strange], "files were left");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cleaners_count_each_record_once() {
    let (store, folder) = store();
    let other = support::open(folder.path());
    for number in 0..400 {
        let mut record = new("x");
        record.expires_at = NOW;
        let key = key(&format!("{:02x}", number % 8), number);
        store.create(&key, record, NOW).await.unwrap();
    }
    let mut ignore = (|_| {}, |_| {});
    let (one, two) = tokio::join!(
        store.clear_expired(NOW, &mut ignore.0),
        other.clear_expired(NOW, &mut ignore.1)
    );
    assert_eq!(one.unwrap() + two.unwrap(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_file_in_use_is_not_removed() {
    let (store, folder) = store();
    let key = key("4a", 1);
    store.create(&key, new("x"), NOW).await.unwrap();
    // Another process is writing: it holds the lock, and its file is not in place yet.
    let in_use = folder.path().join("records/4a/.0123456789abcdef.tmp");
    support::overwrite(&in_use, b"half a rec");
    let held = hold(folder.path(), "4a");
    let patient = session_file::FileStoreConfig::new(folder.path())
        .with_timeout(std::time::Duration::from_millis(200));
    let patient = patient.open().unwrap();
    let refused = patient.clear_expired(NOW, &mut |_| {}).await;
    support::assert_unavailable(refused, "other writers held the lock");
    assert!(
        in_use.exists(),
        "a file was removed while it was being written"
    );
    drop(held);
    store.clear_expired(NOW, &mut |_| {}).await.unwrap();
    assert!(!in_use.exists());
}

#[test]
fn an_operator_can_count_the_removed_records_and_no_others() {
    let numbers = numbers::Numbers::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    metrics::with_local_recorder(&numbers, || {
        runtime.expect("a runtime").block_on(async {
            let (store, _folder) = store();
            for number in 0..30 {
                let shard = format!("{:02x}", number * 8);
                let new = new("expires");
                store.create(&key(&shard, number), new, NOW).await.unwrap();
            }
            let cleared = store.clear_expired(NOW, &mut |_| {}).await.unwrap();
            assert_eq!((cleared, numbers.of("session.purged")), (0, 0));
            let after = Timestamp::from_secs(LATER.as_secs() + 1);
            let cleared = store.clear_expired(after, &mut |_| {}).await.unwrap();
            assert_eq!(cleared, 30, "what has expired stays");
            assert_eq!(numbers.of("session.purged"), 30, "removed and not counted");
        });
    });
}
