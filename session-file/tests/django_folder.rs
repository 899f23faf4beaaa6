//! A folder that Django writes to as well, and that is not as it should be.
#![cfg(feature = "django")]

#[cfg(test)]
mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use session_core::store::{Saved, SessionStore, StoreError, StoreKey};
use session_file::{DjangoFileStore, Error, FileStoreConfig};
use support::django::{KEY, closed_folder, django_saves, files, open, pipe, settings, stored};
use support::{
    LATER, NOW, assert_unavailable, change, everything, key, new, overwrite, rename, text,
};

#[test]
fn a_folder_whose_files_others_can_list_is_refused() {
    let folder = closed_folder();
    for mode in [0o755, 0o701, 0o770, 0o777] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let settings = settings().with_file_path(folder.path().to_str().unwrap());
        let refused = DjangoFileStore::open(&settings).unwrap_err();
        assert!(
            matches!(refused, Error::KeysInTheOpen { mode: found, .. } if found == mode),
            "whoever lists it has every session: {refused:?}"
        );
        assert!(refused.to_string().contains("SESSION_FILE_PATH"));
        assert!(files(folder.path()).is_empty(), "it was written to");
    }
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = closed_folder();
    let path = folder.path().join("typing error");
    let refused = FileStoreConfig::new(&path).open_beside_django(&settings());
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(!path.exists());
    overwrite(&path, b"a file");
    let refused = FileStoreConfig::new(&path).open_beside_django(&settings());
    assert!(
        matches!(refused, Err(Error::NotAFolder { .. })),
        "{refused:?}"
    );
}

#[test]
fn settings_that_can_t_be_meant_are_refused() {
    let refused = DjangoFileStore::open(&settings()).unwrap_err();
    assert!(matches!(refused, Error::NoFilePath { .. }), "{refused:?}");

    let folder = closed_folder();
    for name in ["", "../sessionid", "session\0id"] {
        let settings = settings().with_cookie_name(name);
        let refused = FileStoreConfig::new(folder.path()).open_beside_django(&settings);
        assert!(
            matches!(refused, Err(Error::CookieName { .. })),
            "{name:?}: {refused:?}"
        );
    }
    assert!(files(folder.path()).is_empty(), "it was written to");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    const TEST: &str = "a_folder_of_another_user_is_refused";
    let folder = closed_folder();
    let us = fs::metadata(folder.path()).unwrap().uid();
    if std::os::unix::fs::chown(folder.path(), Some(us + 1), None).is_err() {
        return support::cannot_run(TEST, "only root can give a folder away");
    }
    let refused = FileStoreConfig::new(folder.path()).open_beside_django(&settings());
    assert!(
        matches!(refused, Err(Error::NotOurs { .. })),
        "Django's files could not be read: {refused:?}"
    );
}

#[tokio::test]
async fn a_session_is_a_file_for_us_alone_and_nothing_else_is_left() {
    let (store, folder, from, version, path) = stored().await;
    let to = key("10", 1);
    let Saved::Stored(version) = store
        .save(&from, &version, change("more"), NOW)
        .await
        .unwrap()
    else {
        panic!("a save was refused");
    };
    let rotated = store.rotate(&from, &version, &to, change("moved"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    let moved = format!("sessionid{}", to.as_str());
    assert_eq!(files(folder.path()), [".session-file-locks", &moved]);
    assert!(!path.exists());
    for (name, mode) in [(".session-file-locks", 0o700), (&*moved, 0o600)] {
        let found = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(found.mode() & 0o777, mode, "others may open {name}");
    }
}

#[tokio::test]
async fn what_django_wrote_since_the_load_is_a_conflict() {
    let (store, _folder, key, version, path) = stored().await;
    django_saves(&path, "django's");
    for saved in [
        store.save(&key, &version, change("late"), NOW).await,
        store
            .rotate(&key, &version, &support::key("10", 1), change("late"), NOW)
            .await,
    ] {
        assert_eq!(saved.unwrap(), Saved::Conflict, "Django's update is lost");
    }
    let record = store.load(&key, NOW).await.unwrap().unwrap();
    assert_eq!(text(&record), "django's");
    let saved = store.save(&key, &record.version, change("next"), NOW);
    assert!(matches!(saved.await.unwrap(), Saved::Stored(_)));
}

#[tokio::test]
async fn a_log_out_by_django_since_the_load_stands() {
    let (store, folder, key, version, path) = stored().await;
    fs::remove_file(&path).unwrap();
    for saved in [
        store.save(&key, &version, change("late"), NOW).await,
        store
            .rotate(&key, &version, &support::key("10", 1), change("late"), NOW)
            .await,
    ] {
        assert_eq!(saved.unwrap(), Saved::Gone, "an ended session came back");
    }
    assert!(!store.touch(&key, LATER, NOW).await.unwrap());
    assert!(!store.delete(&key).await.unwrap());
    assert_eq!(files(folder.path()), [".session-file-locks"]);
}

#[tokio::test]
async fn what_stands_in_a_session_s_place_is_damage_and_is_left() {
    let (store, folder, key, version, path) = stored().await;
    let elsewhere = folder.path().join("elsewhere");
    overwrite(&elsewhere, b"ours");
    let in_its_place: [&dyn Fn(); 3] = [
        &|| symlink(&elsewhere, &path).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| pipe(&path),
    ];
    for put in in_its_place {
        drop(fs::remove_file(&path));
        put();
        for answer in [
            store.load(&key, NOW).await.map(drop),
            store.save(&key, &version, change("x"), NOW).await.map(drop),
            store.create(&key, new("x"), NOW).await.map(drop),
            store.touch(&key, LATER, NOW).await.map(drop),
        ] {
            let error = answer.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
            assert!(!everything(&error).contains(KEY), "{error:?}");
        }
        assert_eq!(store.clear_expired(LATER, &mut |_| {}).await.unwrap(), 0);
        assert!(fs::symlink_metadata(&path).is_ok(), "it was removed");
        drop(fs::remove_dir(&path));
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"ours");
}

#[tokio::test]
async fn a_session_too_long_for_any_is_damage() {
    let (store, _folder, key, _version, path) = stored().await;
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(64 * 1024 * 1024 + 1).unwrap();
    let error = store.load(&key, NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");

    let large = "x".repeat(64 * 1024 * 1024 + 1);
    let refused = store.create(&support::key("10", 1), new(&large), NOW).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_is_taken_away_is_an_outage_and_no_empty_store() {
    let parent = closed_folder();
    let folder = parent.path().join("sessions");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let (store, key) = (open(&folder), StoreKey::parse(KEY).unwrap());
    let version = store.create(&key, new("ours"), NOW).await.unwrap();

    let away = parent.path().join("away");
    rename(&folder, &away);
    // As an unmounted disk leaves its place.
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&folder).unwrap();
        }
        let advice = "missing";
        assert_unavailable(store.load(&key, NOW).await, advice);
        assert_unavailable(store.create(&key, new("x"), NOW).await, advice);
        assert_unavailable(store.save(&key, &version, change("x"), NOW).await, advice);
        assert_unavailable(store.delete(&key).await, advice);
    }
    fs::remove_dir(&folder).unwrap();
    rename(&away, &folder);
    let record = store.load(&key, NOW).await.unwrap().unwrap();
    assert_eq!(text(&record), "ours");
}

#[tokio::test]
async fn clearing_removes_what_dead_writers_left_and_nothing_of_others() {
    let (store, folder, _key, _version, path) = stored().await;
    let old = NOW.saturating_sub(Duration::from_secs(100_000_000));
    let put = |name: &str| {
        let path = folder.path().join(name);
        overwrite(&path, b"partial");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(old.into()).unwrap();
    };
    for theirs in [
        "notes.txt",
        "sessionid",
        "sessionid_out_x1y2z3_4",
        "sessionidabc",
        &format!("sessionid2{}", "a".repeat(32)),
        &format!("sessionid{}", "A".repeat(32)),
        &format!("session{}", "a".repeat(32)),
        &format!(".session{}.0123456789abcdef.tmp", "a".repeat(32)),
        &format!(".sessionid{}.tmp", "a".repeat(32)),
    ] {
        put(theirs);
    }
    let before = files(folder.path());
    let left_over = [
        format!("sessionid{}_out_x1y2z3_4", "a".repeat(32)),
        format!(".sessionid{}.0123456789abcdef.tmp", "a".repeat(32)),
    ];
    for name in &left_over {
        put(name);
    }
    // Django is writing this one.
    let fresh = format!("sessionid{}_out_fresh___", "b".repeat(32));
    overwrite(&folder.path().join(&fresh), b"partial");
    let file = File::options().write(true).open(folder.path().join(&fresh));
    file.unwrap().set_modified(NOW.into()).unwrap();

    assert_eq!(store.clear_expired(NOW, &mut |_| {}).await.unwrap(), 0);
    assert!(folder.path().join(&fresh).exists(), "Django's save is lost");
    fs::remove_file(folder.path().join(&fresh)).unwrap();
    assert_eq!(files(folder.path()), before);
    assert!(path.exists(), "a live session was removed");
}

#[tokio::test]
async fn two_applications_with_similar_cookies_may_share_a_folder() {
    let folder = closed_folder();
    let ours = open(folder.path());
    let settings = settings().with_cookie_name("sessionid2");
    let theirs = FileStoreConfig::new(folder.path()).open_beside_django(&settings);
    let (theirs, key) = (theirs.unwrap(), StoreKey::parse(&"a".repeat(32)).unwrap());
    ours.create(&key, new("ours"), NOW).await.unwrap();
    theirs.create(&key, new("theirs"), NOW).await.unwrap();
    assert_eq!(ours.clear_expired(LATER, &mut |_| {}).await.unwrap(), 1);
    let record = theirs.load(&key, NOW).await.unwrap();
    assert_eq!(text(&record.expect("it is not ours")), "theirs");
    assert_eq!(theirs.clear_expired(LATER, &mut |_| {}).await.unwrap(), 1);
}

#[tokio::test]
async fn neither_errors_nor_debug_show_a_key_or_a_session() {
    let (store, _folder, key, _version, _path) = stored().await;
    let taken = store.create(&key, new("canary"), NOW).await.unwrap_err();
    let printed = format!("{store:?} {}", everything(&taken));
    for secret in [KEY, "canary", "the secret key of these tests"] {
        assert!(!printed.contains(secret), "{secret} is in {printed}");
    }
}
