//! `delete` is idempotent and final.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    NOW, at, change, data, dead, key, live, new, payload, together,
};
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::record::{Change, ExpiryChange, Saved};
use crate::store::SessionStore;

pub(in crate::conformance) async fn delete_is_final_and_can_be_repeated(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    ensure!(
        !store.delete(&key(1)).await?,
        "a delete of a session that was never there says that it ended one"
    );
    store.create(&key(1), new("old"), NOW).await?;
    store.create(&key(2), new("another's"), NOW).await?;
    // Whoever keeps copies has one now.
    live(&store, &key(1), NOW, "a created session is gone").await?;
    ensure!(
        store.delete(&key(1)).await?,
        "a logout says that there was no session"
    );
    for now in [NOW, at(-1_000), Timestamp::from_secs(0), at(500)] {
        dead(&store, &key(1), now, "a session is served after its logout").await?;
    }
    for _ in 0..2 {
        ensure!(
            !store.delete(&key(1)).await?,
            "a second logout says that it ended the session too"
        );
    }
    live(
        &store,
        &key(2),
        NOW,
        "a logout ended another visitor's session",
    )
    .await?;
    store.create(&key(1), new("new"), NOW).await?;
    let record = live(&store, &key(1), NOW, "a created session is gone").await?;
    ensure!(
        data(&record)? == "new",
        "a new session has the data of the one that was logged out"
    );
    Ok(())
}

pub(in crate::conformance) async fn of_twenty_deletes_one_gets_true(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..8 {
        store.create(&key(round), new("x"), NOW).await?;
        let deletes = (0..20).map(|_| {
            let store = Arc::clone(&store);
            async move { store.delete(&key(round)).await }
        });
        let mut told = 0;
        for deleted in together(deletes).await? {
            told += u32::from(deleted?);
        }
        ensure_eq!(
            told,
            1,
            "of 20 concurrent deletes of one session, one should be told that it ended it: what is taken at most once would be taken so often"
        );
        dead(
            &store,
            &key(round),
            NOW,
            "a session is served after its logout",
        )
        .await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn nothing_that_races_a_delete_brings_the_record_back(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..16 {
        let key = key(round);
        store.create(&key, new("x"), NOW).await?;
        let calls = (0..6).map(|n| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move {
                match n {
                    0 => end(&store, &key).await,
                    1 => touch_twice(&store, &key).await,
                    n => save_twice(&store, &key, n).await,
                }
            }
        });
        for answer in together(calls).await? {
            answer?;
        }
        dead(
            &store,
            &key,
            NOW,
            "a late save or touch brought back a session that was logged out",
        )
        .await?;
    }
    Ok(())
}

async fn end(store: &Store, key: &StoreKey) -> Result<(), Broken> {
    // Let the others get going.
    tokio::task::yield_now().await;
    ensure!(
        store.delete(key).await?,
        "a logout beside saves and touches says that there was no session"
    );
    dead(store, key, NOW, "a session is served after its logout").await
}

async fn touch_twice(store: &Store, key: &StoreKey) -> Result<(), Broken> {
    for n in 0..2 {
        store.touch(key, at(2_000 + n), NOW).await?;
    }
    Ok(())
}

async fn save_twice(store: &Store, key: &StoreKey, n: u32) -> Result<(), Broken> {
    for _ in 0..2 {
        let Some(record) = store.load(key, NOW).await? else {
            return Ok(());
        };
        tokio::task::yield_now().await;
        let late = Change::new(payload(format!("by {n}")), ExpiryChange::Set(at(2_000)));
        if let Saved::Gone = store.save(key, &record.version, late, NOW).await? {
            let saved = store
                .save(key, &record.version, change("later"), NOW)
                .await?;
            ensure_eq!(saved, Saved::Gone, "a session that was Gone came back");
        }
    }
    Ok(())
}
