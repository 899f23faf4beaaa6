//! When a record ends, and what moves that. Every case passes its own `now`.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, data, dead, key, live, new, payload, second, stored, together,
};
use crate::conformance::fixture::{Store, Stores};
use crate::record::{Change, ExpiryChange, Saved};
use crate::store::SessionStore;

use ExpiryChange::{AtLeast, Keep, Set};

pub(in crate::conformance) async fn a_record_ends_at_the_second_it_expires(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    store.create(&key(1), new("x"), NOW).await?;
    for now in [NOW, at(999)] {
        live(&store, &key(1), now, "a session ended before it expired").await?;
    }
    for now in [END, at(1_001), Timestamp::MAX] {
        dead(&store, &key(1), now, "a session is served after it expired").await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn save_keeps_extends_or_sets_the_expiry(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let table = [
        (Keep, END),
        (AtLeast(at(2_000)), at(2_000)),
        (AtLeast(at(500)), END),
        (AtLeast(at(-500)), END),
        (AtLeast(END), END),
        (Set(at(2_000)), at(2_000)),
        (Set(at(1)), at(1)),
        (Set(Timestamp::MAX), Timestamp::MAX),
    ];
    for (n, (expiry, expected)) in (0..).zip(table) {
        let version = store.create(&key(n), new("x"), NOW).await?;
        let change = Change::new(payload("y"), expiry);
        let saved = store.save(&key(n), &version, change, NOW).await?;
        stored(saved, "a save was refused")?;
        let last = expected.saturating_sub(second());
        let what = format!("a save with {expiry:?} ended the session too early");
        let record = live(&store, &key(n), last, what).await?;
        ensure_eq!(
            record.expires_at,
            expected,
            "a save with {expiry:?} moved the expiry of {END:?} wrongly"
        );
        dead(
            &store,
            &key(n),
            expected,
            "a session is served after it expired",
        )
        .await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn a_save_with_a_past_expiry_ends_the_record(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let moments = [NOW, at(-1), Timestamp::from_secs(0)];
    for (n, moment) in (0..).zip(moments) {
        let version = store.create(&key(n), new("x"), NOW).await?;
        let end = Change::new(payload("y"), Set(moment));
        let saved = store.save(&key(n), &version, end, NOW).await?;
        let version = stored(saved, "a save with an expiry in the past was refused")?;
        dead(
            &store,
            &key(n),
            NOW,
            "a session is alive after its expiry was set to the past",
        )
        .await?;
        let back = Change::new(payload("z"), Set(at(500)));
        let saved = store.save(&key(n), &version, back, NOW).await?;
        ensure_eq!(
            saved,
            Saved::Gone,
            "a save brought back a session whose expiry was set to the past"
        );
        ensure!(
            !store.touch(&key(n), at(500), NOW).await?,
            "a touch brought back a session whose expiry was set to the past"
        );
        dead(&store, &key(n), NOW, "an ended session came back").await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn a_touch_before_a_save_is_not_lost(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let table = [
        (Keep, at(5_000)),
        (AtLeast(at(2_000)), at(5_000)),
        (AtLeast(at(7_000)), at(7_000)),
        (Set(at(2_000)), at(2_000)),
    ];
    for (n, (expiry, expected)) in (0..).zip(table) {
        // The request has loaded; another one renews; then the request saves.
        let loaded = store.create(&key(n), new("x"), NOW).await?;
        ensure!(
            store.touch(&key(n), at(5_000), NOW).await?,
            "a touch of a live session was refused"
        );
        let change = || Change::new(payload("y"), expiry);
        if let Saved::Conflict = store.save(&key(n), &loaded, change(), NOW).await? {
            let what = "a touch ended the session";
            let record = live(&store, &key(n), NOW, what).await?;
            let saved = store.save(&key(n), &record.version, change(), NOW).await?;
            stored(saved, "a save at the newest version was refused")?;
        }
        let record = live(&store, &key(n), NOW, "a saved session is gone").await?;
        ensure!(data(&record)? == "y", "a touch lost an update");
        ensure_eq!(
            record.expires_at,
            expected,
            "a save with {expiry:?} after a renewal by another request left the wrong expiry"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn concurrent_touches_and_saves_lose_nothing(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..8 {
        for (n, expiry) in (0..).zip([Keep, AtLeast(at(2_000)), Set(at(3_000))]) {
            let key = key(3 * round + n);
            store.create(&key, new("x"), NOW).await?;
            let calls = (0..4).map(|n| {
                let (store, key) = (Arc::clone(&store), key.clone());
                async move {
                    if n == 0 {
                        save_until_stored(&store, &key, expiry).await
                    } else {
                        let touched = store.touch(&key, at(4_000 + n), NOW).await?;
                        ensure!(touched, "a touch of a live session was refused");
                        Ok(())
                    }
                }
            });
            for answer in together(calls).await? {
                answer?;
            }
            let record = live(&store, &key, NOW, "a saved session is gone").await?;
            ensure!(data(&record)? == "y", "a concurrent touch lost an update");
            // `Set` comes before, between or after the touches.
            let possible = match expiry {
                Set(moment) => vec![moment, at(4_001), at(4_002), at(4_003)],
                Keep | AtLeast(_) => vec![at(4_003)],
            };
            ensure!(
                possible.contains(&record.expires_at),
                "a save with {expiry:?} lost a concurrent touch: the session ends at {:?}, possible are {possible:?}",
                record.expires_at
            );
        }
    }
    Ok(())
}

async fn save_until_stored(
    store: &Store,
    key: &crate::key::StoreKey,
    expiry: ExpiryChange,
) -> Result<(), Broken> {
    const TRIES_MAX: u32 = 1_000;
    for _ in 0..TRIES_MAX {
        let record = live(store, key, NOW, "a touched session is gone").await?;
        let change = Change::new(payload("y"), expiry);
        match store.save(key, &record.version, change, NOW).await? {
            Saved::Stored(_) => return Ok(()),
            Saved::Conflict => {}
            Saved::Gone => return Err(Broken::new("a touched session is gone")),
        }
    }
    Err(Broken::new(format!(
        "a save did not get through beside three touches in {TRIES_MAX} tries"
    )))
}
