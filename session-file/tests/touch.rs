//! A touch moves the expiry and disturbs nobody.

#[cfg(test)]
mod support;

use session_core::store::{Saved, SessionStore, Timestamp};
use support::{LATER, NOW, change, key, load, new_of, store, text};

#[tokio::test]
async fn a_touch_costs_no_writer_a_retry_and_is_not_lost_by_one() {
    let (store, _folder) = store();
    let one = key("4a", 1);
    let version = store.create(&one, new_of("ada"), NOW).await.unwrap();
    let far = Timestamp::from_secs(LATER.as_secs() + 1_000);
    assert!(store.touch(&one, far, NOW).await.unwrap());
    let touched = load(&store, &one).await.unwrap();
    assert_eq!(touched.version, version, "a touch got in a writer's way");
    assert_eq!(touched.expires_at, far);
    assert_eq!(touched.owner, Some("ada".into()), "a touch lost the owner");
    assert_eq!(text(&touched), "data");

    let saved = store.save(&one, &version, change("on"), NOW).await.unwrap();
    assert!(matches!(saved, Saved::Stored(_)));
    let record = load(&store, &one).await.unwrap();
    assert_eq!(record.expires_at, far, "a save undid a touch");
}

#[tokio::test]
async fn dos_09_a_touch_that_moves_nothing_writes_nothing() {
    let (store, folder) = store();
    let one = key("4a", 1);
    store.create(&one, new_of("ada"), NOW).await.unwrap();
    let path = support::path_of(folder.path(), &one);
    let before = support::spoil::fingerprint(&path);
    for earlier in [LATER, NOW, Timestamp::MIN] {
        assert!(store.touch(&one, earlier, NOW).await.unwrap());
    }
    assert!(
        support::spoil::fingerprint(&path) == before,
        "the file was written for nothing"
    );
}
