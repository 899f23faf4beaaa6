//! Everything that a store does, as a test of what a fault lets through.

use session_core::Owner;
use session_core::store::{EndScope, Page, Saved, SessionStore, StoreError};

use super::site::STALENESS_MAX;
use super::{NOW, at, change, key, new, new_of, shown};

/// Everything that a store does, on one that works as ever but for what it says of ends.
pub(crate) async fn does_everything(store: &dyn SessionStore, is_assured: bool) {
    let version = store.create(&key(1), new_of("ada"), NOW).await.unwrap();
    assert_eq!(
        shown(store, &key(1), NOW).await.as_deref(),
        Some("data"),
        "a session that was just made can't be read"
    );
    let mut saving = change("saved");
    saving.owner = Some(Owner::from("ada"));
    let saved = store
        .save(&key(1), &version, saving.clone(), NOW)
        .await
        .unwrap();
    let Saved::Stored(newer) = saved else {
        panic!("a save was refused: {saved:?}");
    };
    assert_eq!(
        shown(store, &key(1), NOW).await.as_deref(),
        Some("saved"),
        "what was saved is not read"
    );
    let late = store.save(&key(1), &version, saving.clone(), NOW).await;
    assert_eq!(
        late.unwrap(),
        Saved::Conflict,
        "an older save overwrote a newer one"
    );
    let later = at(200_000);
    assert!(store.touch(&key(1), later, NOW).await.unwrap());
    let record = store.load(&key(1), NOW).await.unwrap().unwrap();
    assert_eq!(record.expires_at, later, "a touch is not seen");

    let rotated = store
        .rotate(&key(1), &newer, &key(2), saving.clone(), NOW)
        .await;
    assert!(
        matches!(rotated, Ok(Saved::Stored(_))),
        "a log-in failed: {rotated:?}"
    );
    assert!(
        shown(store, &key(1), NOW).await.is_none(),
        "the key from before the log-in still works"
    );
    assert!(shown(store, &key(2), NOW).await.is_some());
    let index = store.owner_index().expect("the database has one");
    let listed = index
        .sessions_of(&Owner::from("ada"), Page::first(10), NOW)
        .await;
    assert_eq!(listed.unwrap().len(), 1);
    let pages = store.scan().expect("the database has one");
    assert_eq!(pages.page(Page::first(10)).await.unwrap().len(), 1);

    store.create(&key(3), new_of("ada"), NOW).await.unwrap();
    store.create(&key(4), new_of("ada"), NOW).await.unwrap();
    let deleted = store.delete(&key(2)).await;
    let ended = index.end(&Owner::from("ada"), EndScope::All).await;
    for number in 1..=4 {
        let kept = shown(store, &key(number), NOW).await;
        assert!(kept.is_none(), "a session is read after its end");
    }
    if is_assured {
        assert!(deleted.unwrap(), "a log-out says that there was no session");
        assert_eq!(ended.unwrap(), 2);
    } else {
        assert_within_the_bound(&deleted);
        assert_within_the_bound(&ended);
    }
    let gone = store.save(&key(2), &newer, saving, NOW).await;
    assert_eq!(
        gone.unwrap(),
        Saved::Gone,
        "a late save brought a session back"
    );
    store.create(&key(5), new("x"), NOW).await.unwrap();
    let cleared = store.clear_expired(at(300_000), &mut |_| {}).await;
    assert_eq!(cleared.unwrap(), 1, "what has expired is not cleared");
}

/// The answer that an end gives which could not be assured.
pub(crate) fn assert_within_the_bound<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::DeletedWithin { bound, .. }) if *bound == STALENESS_MAX),
        "an end that could not be assured says something else: {answer:?}"
    );
}
