//! `touch` moves the expiry forward, and nothing else.

use std::sync::Arc;

use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, label, live, new, second, stored, together,
};
use crate::conformance::fixture::Stores;
use crate::owner::Owner;
use crate::record::NewRecord;
use crate::store::SessionStore;

pub(in crate::conformance) async fn touch_moves_the_expiry_and_nothing_else(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let record = NewRecord {
        owner: Some(Owner::from("ada")),
        label: label("her phone"),
        created_at: Some(NOW),
        ..new("data")
    };
    store.create(&key(1), record, NOW).await?;
    let before = live(&store, &key(1), NOW, "a created session is gone").await?;
    let last = END.saturating_sub(second());
    ensure!(
        store.touch(&key(1), at(5_000), last).await?,
        "a touch in the last second of a session was refused"
    );
    let record = live(
        &store,
        &key(1),
        at(4_999),
        "a touched session ended at its old expiry",
    )
    .await?;
    ensure_eq!(
        record.expires_at,
        at(5_000),
        "a touch moved the expiry wrongly"
    );
    ensure!(data(&record)? == "data", "a touch changed the data");
    ensure!(
        (&record.owner, &record.label, record.created_at)
            == (&before.owner, &before.label, before.created_at),
        "a touch changed owner, label or creation time"
    );
    dead(
        &store,
        &key(1),
        at(5_000),
        "a session is served after it expired",
    )
    .await?;
    let saved = store
        .save(&key(1), &record.version, change("more"), at(4_999))
        .await?;
    stored(saved, "a session can't be saved after a touch")?;
    Ok(())
}

pub(in crate::conformance) async fn touch_never_shortens(stores: Stores) -> Result<(), Broken> {
    let store = stores.fresh().await;
    store.create(&key(1), new("data"), NOW).await?;
    for earlier in [at(999), at(1), NOW, at(-1)] {
        ensure!(
            store.touch(&key(1), earlier, NOW).await?,
            "a touch that has nothing to move says that the session has ended"
        );
        let record = live(
            &store,
            &key(1),
            NOW,
            "a touch with an earlier moment ended the session",
        )
        .await?;
        ensure_eq!(record.expires_at, END, "a touch shortened the session");
    }
    Ok(())
}

pub(in crate::conformance) async fn concurrent_touches_end_at_the_latest(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..5 {
        store.create(&key(round), new("data"), NOW).await?;
        let touches = (0..10).map(|n| {
            let store = Arc::clone(&store);
            // Neither in order nor in reverse.
            let expires_at = at(2_000 + (n * 7) % 10);
            async move { store.touch(&key(round), expires_at, NOW).await }
        });
        for touched in together(touches).await? {
            ensure!(touched?, "a touch of a live session was refused");
        }
        let record = live(&store, &key(round), NOW, "a touched session is gone").await?;
        ensure_eq!(
            record.expires_at,
            at(2_009),
            "of concurrent touches the latest moment was lost"
        );
        ensure!(data(&record)? == "data", "a touch changed the data");
    }
    Ok(())
}
