//! Files that real Django wrote, and what it does with them: read as it reads them, or otherwise on purpose.
#![cfg(feature = "django")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use session_core::SessionKey;
use session_core::codec::{Binding, Codec};
use session_core::django::{DjangoCodec, DjangoSettings};
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, Saved, SessionStore, StoreError, StoreKey,
    Timestamp,
};
use session_file::{DjangoFileStore, FileStoreConfig, SyncPolicy};
use support::{
    case_key, cases, closed_folder, content, data, mtime, now, open, settings, text, written,
};

#[tokio::test]
async fn what_django_saved_is_read_and_written_in_the_same_way() {
    for case in cases("/file/saved", 5) {
        let name = text(case, "name");
        let (settings, now) = (settings(case), now(case));
        let key = StoreKey::parse(text(case, "session_key")).unwrap();
        let (content, file_name) = (content(case), text(case, "file_name"));

        // Django's file, read.
        let folder = closed_folder();
        let path = folder.path().join(file_name);
        written(&path, &content, now);
        let store = open(folder.path(), &settings);
        let record = store.load(&key, now).await.unwrap().expect(name);
        let end = now.saturating_add(settings.cookie_age());
        assert_eq!(record.expires_at, end, "{name} ends at another time");
        assert_eq!(data(&settings, &key, &record), text(case, "json_text"));

        // The same session, written.
        let folder = closed_folder();
        let path = folder.path().join(file_name);
        let store = open(folder.path(), &settings);
        let new = NewRecord::new(Payload::from_bytes(content.clone()), end);
        store.create(&key, new, now).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), content, "{name}");
        let found = fs::metadata(&path).unwrap();
        let mode = u32::from_str_radix(text(case, "mode_octal"), 8).unwrap();
        assert_eq!(found.mode() & 0o777, mode, "{name}");
        assert_eq!(found.mtime(), now.as_secs(), "Django reads the age from it");
    }
}

#[tokio::test]
async fn what_django_loads_is_loaded_and_what_has_ended_for_it_has_ended() {
    let key = StoreKey::parse("filekey0000000000000000000000000").unwrap();
    for case in cases("/file/load", 20) {
        let name = text(case, "name");
        let now = now(case);
        let settings = settings(case);
        let folder = closed_folder();
        let path = folder.path().join(format!("sessionid{}", key.as_str()));
        written(&path, &content(case), mtime(case));
        let before = fs::read(&path).unwrap();

        let store = open(folder.path(), &settings);
        let record = store.load(&key, now).await.unwrap();
        let decoded = record.as_ref().map(|record| {
            let bytes = record.payload.to_bytes().unwrap();
            DjangoCodec::new(&settings).decode(&Binding::new(key.clone()), &bytes)
        });
        match (name, decoded) {
            // For Django they never end. Here a number of seconds is a number of seconds.
            (
                "int expiry 60, file one day old: still loads"
                | "int expiry 60, file ten years old: still loads",
                found,
            ) => assert!(found.is_none(), "{name}"),
            // Nobody was given the key of a file that is being written, and Django does not look at its age.
            ("empty placeholder file, old", found) => assert!(found.is_none(), "{name}"),
            // Django begins an empty session under the same key, and overwrites them. Here they stay, and the visitor gets
            // a new key.
            (
                "empty placeholder file"
                | "garbage"
                | "not ascii"
                | "trailing newline"
                | "wrong key",
                found,
            ) => {
                let error = found.expect(name).expect_err(name);
                assert!(matches!(error, StoreError::Damaged { .. }), "{name}");
            }
            (_, Some(found)) => {
                assert_eq!(found.expect(name).to_json(), text(case, "loaded_json_text"));
                assert_eq!(
                    case["key_after"],
                    key.as_str(),
                    "{name} has ended for Django"
                );
            }
            // Django replaces the file by an empty one under a new key, that nobody asked for.
            (_, None) => {
                assert_eq!(case["loaded_json_text"], "{}", "{name}");
                assert_ne!(case["key_after"], key.as_str(), "{name} lives for Django");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{name} was touched");
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "the file and the locks: {name}");
    }
}

#[test]
fn no_key_that_django_refuses_is_one() {
    for case in cases("/file/bad_keys", 7) {
        let key = text(case, "key");
        assert!(SessionKey::parse(key.as_bytes()).is_none(), "{key}");
    }
}

#[tokio::test]
async fn what_django_clears_is_cleared_and_what_is_not_ours_is_not() {
    for case in cases("/file/clear_expired", 10) {
        let name = text(case, "name");
        let folder = closed_folder();
        let path = folder.path().join(text(case, "file_name"));
        written(&path, &content(case), mtime(case));
        let store = open(folder.path(), &settings(case));
        let removed = store.clear_expired(now(case), &mut |_| {}).await.unwrap();
        let (expected, counted) = match name {
            // Django keeps them for ever.
            "int expiry never expires" | "empty placeholder, old: kept" => (true, 1),
            "left-over temp file, old: kept" => (true, 0),
            // Django ends the sessions of the other application.
            "another app's longer cookie name that shares the prefix" => (false, 0),
            _ => {
                let removed = case["removed"].as_bool().unwrap();
                (removed, u64::from(removed))
            }
        };
        assert_eq!(!path.exists(), expected, "{name}");
        assert_eq!(removed, counted, "{name}");
    }
}

#[tokio::test]
async fn an_expiry_of_either_kind_is_the_same_for_django() {
    let case = &cases("/file/saved", 5)[0];
    let (settings, now) = (settings(case), now(case));
    let folder = closed_folder();
    let store = open(folder.path(), &settings);
    let hour = Duration::from_secs(3600);

    // With an expiry of its own a file is written when it is written: Django adds the seconds.
    for (key, expiry, ends) in [
        (case_key(1), "3600", now.saturating_add(hour)),
        (
            case_key(2),
            "\"2026-01-02T04:04:05+00:00\"",
            Timestamp::from_secs(1_767_326_645),
        ),
        (case_key(3), "0", now.saturating_add(settings.cookie_age())),
    ] {
        let mut session = session_core::SessionData::default();
        session.insert_json("_session_expiry", expiry).unwrap();
        let bytes = DjangoCodec::new(&settings)
            .encode(&Binding::new(key.clone()), &session)
            .unwrap();
        let new = NewRecord::new(Payload::from_bytes(bytes), ends);
        store.create(&key, new, now).await.unwrap();
        let path = folder.path().join(format!("sessionid{}", key.as_str()));
        assert_eq!(fs::metadata(&path).unwrap().mtime(), now.as_secs());
        let record = store.load(&key, now).await.unwrap().expect(expiry);
        assert_eq!(record.expires_at, ends, "{expiry}");
    }

    // Without one the file's time says it: what ends in an hour was written so long ago that Django ends it then.
    let key = case_key(4);
    let payload = Payload::from_bytes(content(case));
    let new = NewRecord::new(payload, now.saturating_add(hour));
    store.create(&key, new, now).await.unwrap();
    let path = folder.path().join(format!("sessionid{}", key.as_str()));
    let age = settings.cookie_age().as_secs().cast_signed();
    assert_eq!(
        fs::metadata(&path).unwrap().mtime(),
        now.as_secs() + 3600 - age
    );
}

#[tokio::test]
async fn a_date_of_the_session_s_own_is_not_moved_by_a_touch() {
    let case = &cases("/file/saved", 5)[0];
    let (settings, now, key) = (settings(case), now(case), case_key(1));
    let folder = closed_folder();
    let store = open(folder.path(), &settings);
    let mut session = session_core::SessionData::default();
    session
        .insert_json("_session_expiry", "\"2026-01-02T04:04:05+00:00\"")
        .unwrap();
    let bytes = DjangoCodec::new(&settings)
        .encode(&Binding::new(key.clone()), &session)
        .unwrap();
    let end = Timestamp::from_secs(1_767_326_645);
    let new = NewRecord::new(Payload::from_bytes(bytes.clone()), end);
    let version = store.create(&key, new, now).await.unwrap();
    assert!(store.touch(&key, Timestamp::MAX, now).await.unwrap());
    let record = store.load(&key, now).await.unwrap().unwrap();
    assert_eq!(record.expires_at, end);

    // What is to end at once ends, whatever its data say, for Django as well.
    let change = Change::new(Payload::from_bytes(bytes), ExpiryChange::Set(now));
    let saved = store.save(&key, &version, change, now).await.unwrap();
    assert!(matches!(saved, Saved::Stored(_)));
    let path = folder.path().join(format!("sessionid{}", key.as_str()));
    assert!(!path.exists(), "Django would go on with the session");
}

#[cfg(test)]
mod support {
    use super::*;

    static VECTORS: LazyLock<Value> = LazyLock::new(|| {
        let vectors = include_str!("../../session-core/tests/data/django-sessions.json");
        serde_json::from_str(vectors).expect("the vectors are JSON")
    });

    /// The cases of a section, of which there are so many.
    pub(crate) fn cases(section: &str, count: usize) -> &'static [Value] {
        let cases = VECTORS.pointer(section).and_then(Value::as_array);
        let cases = cases.unwrap_or_else(|| panic!("the vectors have no {section}"));
        assert_eq!(cases.len(), count, "{section} has changed");
        cases
    }

    pub(crate) fn text<'a>(case: &'a Value, name: &str) -> &'a str {
        case[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is not a text in {case}"))
    }

    pub(crate) fn case_key(n: u32) -> StoreKey {
        StoreKey::parse(&format!("{n:0>32}")).expect("32 digits")
    }

    /// When the case was made; those that do not say were made when the others were.
    pub(crate) fn now(case: &Value) -> Timestamp {
        Timestamp::from_secs(case["now"].as_i64().unwrap_or(1_767_323_045))
    }

    /// `mtime_age` seconds before the case's now.
    pub(crate) fn mtime(case: &Value) -> Timestamp {
        let age = case["mtime_age"].as_u64().expect("an age in seconds");
        now(case).saturating_sub(Duration::from_secs(age))
    }

    pub(crate) fn settings(case: &Value) -> DjangoSettings {
        let secret = case["secret_key"].as_str();
        let secret = secret.unwrap_or_else(|| text(&VECTORS["constants"], "default_secret_key"));
        let settings = DjangoSettings::new(secret);
        match case["cookie_name"].as_str() {
            Some(name) => settings.with_cookie_name(name),
            None => settings,
        }
    }

    pub(crate) fn content(case: &Value) -> Vec<u8> {
        let content = STANDARD.decode(text(case, "content_base64"));
        content.expect("the vectors hold base64")
    }

    pub(crate) fn closed_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let closed = Permissions::from_mode(0o700);
        fs::set_permissions(folder.path(), closed).expect("the folder is ours");
        folder
    }

    pub(crate) fn open(folder: &Path, settings: &DjangoSettings) -> DjangoFileStore {
        FileStoreConfig::new(folder)
            .with_sync(SyncPolicy::Never)
            .open_beside_django(settings)
            .expect("the folder is ours")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a file as another program wrote it"
    )]
    pub(crate) fn overwrite(path: &Path, content: &[u8]) {
        fs::write(path, content).expect("the folder is ours");
    }

    pub(crate) fn written(path: &Path, content: &[u8], at: Timestamp) {
        overwrite(path, content);
        let file = File::options().write(true).open(path);
        let modified = file.and_then(|file| file.set_modified(at.into()));
        modified.expect("the file is ours");
    }

    pub(crate) fn data(settings: &DjangoSettings, key: &StoreKey, record: &Record) -> String {
        let bytes = record.payload.to_bytes().expect("bytes are bytes");
        let data = DjangoCodec::new(settings).decode(&Binding::new(key.clone()), &bytes);
        let json = data.expect("Django signed it").to_json();
        String::from_utf8(json.to_vec()).expect("JSON is text")
    }
}
