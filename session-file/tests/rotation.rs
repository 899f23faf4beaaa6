//! A rotation is one step: what each crash leaves between its writes, as `docs/format.md` says it.

#[cfg(test)]
mod support;

use session_core::Owner;
use session_core::store::{EndScope, Page, Saved, SessionStore, StoreError, Version};
use support::{
    LATER, NOW, change, change_of, crashed_rotation, key, load, new, new_of, path_of, store, text,
};

#[tokio::test]
async fn rot_04_a_crash_before_the_step_leaves_the_old_key_alone_alive() {
    let (store, folder, from, to, version) = crashed_rotation(false).await;
    assert!(load(&store, &from).await.is_some(), "the session was lost");
    assert!(load(&store, &to).await.is_none(), "two keys were alive");
    let touched = store.touch(&to, LATER, NOW).await.unwrap();
    assert!(!touched, "a key that nobody has was touched");
    let saved = store.save(&to, &version, change("x"), NOW).await.unwrap();
    assert_eq!(saved, Saved::Gone);
    let ada = Owner::from("ada");
    let listed = store.owner_index().unwrap();
    let listed = listed.sessions_of(&ada, Page::first(9), NOW).await.unwrap();
    assert_eq!(listed.len(), 1, "a list showed the session twice");

    // The session ends. What the crash left must not come to life by that.
    assert!(store.delete(&from).await.unwrap());
    assert!(
        load(&store, &to).await.is_none(),
        "ending a session brought back its unfinished rotation"
    );
    let removed = store.clear_expired(NOW, &mut |_| {}).await.unwrap();
    assert_eq!(removed, 0, "what was never a record was counted as one");
    assert!(!path_of(folder.path(), &to).exists(), "garbage was left");
}

#[tokio::test]
async fn a_crash_before_the_step_does_not_keep_the_rotation_from_being_done_again() {
    let (store, _folder, from, to, version) = crashed_rotation(false).await;
    let again = store.rotate(&from, &version, &to, change("again"), NOW);
    let Saved::Stored(_) = again.await.unwrap() else {
        panic!("the session was stuck at its old key");
    };
    assert!(load(&store, &from).await.is_none());
    assert_eq!(text(&load(&store, &to).await.unwrap()), "again");
}

#[tokio::test]
async fn rot_04_a_crash_after_the_step_leaves_the_new_key_alone_alive() {
    let (store, _folder, from, to, _) = crashed_rotation(true).await;
    assert!(load(&store, &from).await.is_none(), "two keys were alive");
    let record = load(&store, &to).await.expect("the session was lost");
    let saved = store.save(&to, &record.version, change("on"), NOW).await;
    assert!(matches!(saved.unwrap(), Saved::Stored(_)));
    assert_eq!(text(&load(&store, &to).await.unwrap()), "on");
}

#[tokio::test]
async fn clearing_the_old_place_does_not_end_a_session_that_a_crash_left_unsettled() {
    let (store, folder, from, to, _) = crashed_rotation(true).await;
    let record = load(&store, &to).await.unwrap();
    let far = session_core::store::Timestamp::from_secs(NOW.as_secs() + 7_200);
    assert!(record.is_live(far));
    let removed = store.clear_expired(far, &mut |_| {}).await.unwrap();
    assert_eq!(removed, 0, "a living session was cleared");
    assert!(!path_of(folder.path(), &from).exists(), "the note was kept");
    assert!(load(&store, &to).await.is_some(), "the session was lost");
}

#[tokio::test]
async fn a_new_record_at_the_old_place_does_not_end_a_session_that_a_crash_left_unsettled() {
    let (store, _folder, from, to, version) = crashed_rotation(true).await;
    let newer = store.create(&from, new("other"), NOW).await.unwrap();
    let (Version::Counter(old), Version::Counter(newer)) = (version, newer) else {
        panic!("this store counts");
    };
    assert!(newer > old + 1, "a version came twice under one key");
    assert!(load(&store, &to).await.is_some(), "the session was lost");
    assert_eq!(text(&load(&store, &from).await.unwrap()), "other");
}

#[tokio::test]
async fn a_session_may_rotate_there_and_back() {
    let (store, _folder) = store();
    let (here, there) = (key("90", 1), key("10", 1));
    let mut version = store.create(&here, new("0"), NOW).await.unwrap();
    for turn in 1..=4 {
        let (from, to) = if turn % 2 == 1 {
            (&here, &there)
        } else {
            (&there, &here)
        };
        let rotated = store.rotate(from, &version, to, change(&turn.to_string()), NOW);
        let Saved::Stored(next) = rotated.await.unwrap() else {
            panic!("rotation {turn} was refused");
        };
        let (Version::Counter(before), Version::Counter(after)) = (&version, &next) else {
            panic!("this store counts");
        };
        assert!(before < after, "versions went back at rotation {turn}");
        version = next;
        assert!(load(&store, from).await.is_none());
        assert_eq!(text(&load(&store, to).await.unwrap()), turn.to_string());
    }
}

#[tokio::test]
async fn a_taken_key_keeps_both_records_as_they_are() {
    let (store, _folder) = store();
    let (one, other) = (key("90", 1), key("10", 1));
    let version = store.create(&one, new("one"), NOW).await.unwrap();
    store.create(&other, new("other"), NOW).await.unwrap();
    for target in [&one, &other] {
        let refused = store.rotate(&one, &version, target, change("x"), NOW).await;
        assert!(
            matches!(refused, Err(StoreError::KeyTaken { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(text(&load(&store, &one).await.unwrap()), "one");
    assert_eq!(text(&load(&store, &other).await.unwrap()), "other");
}

#[tokio::test]
async fn ending_one_session_does_not_end_what_it_became_before() {
    let (store, _folder) = store();
    let (from, to) = (key("90", 1), key("10", 1));
    let version = store.create(&from, new_of("ada"), NOW).await.unwrap();
    let rotated = store.rotate(&from, &version, &to, change_of("ada"), NOW);
    assert!(matches!(rotated.await.unwrap(), Saved::Stored(_)));
    let index = store.owner_index().unwrap();
    let ended = index.end(&"ada".into(), EndScope::One(from)).await.unwrap();
    assert_eq!(ended, 0);
    assert!(load(&store, &to).await.is_some());
}
