//! `create` makes a record where none lives, and never overwrites one that does.

use std::collections::HashSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, chain, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, label, live, new, payload, second, stored, together,
};
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{NewRecord, Saved, Version};
use crate::store::{SessionStore, StoreError};

pub(in crate::conformance) async fn create_never_overwrites_a_live_record(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let version = store.create(&key(1), new("first"), NOW).await?;
    for now in [NOW, at(500), END.saturating_sub(second())] {
        let again = store.create(&key(1), new("second"), now).await;
        ensure_key_taken(again, "a create on top of a live session")?;
    }
    let record = live(&store, &key(1), NOW, "a refused create ended the session").await?;
    ensure!(
        data(&record)? == "first",
        "a refused create changed the session that was there"
    );
    let saved = store.save(&key(1), &version, change("third"), NOW).await?;
    stored(
        saved,
        "a refused create changed the version of the session that was there",
    )?;
    Ok(())
}

fn ensure_key_taken(answer: Result<Version, StoreError>, what: &str) -> Result<(), Broken> {
    match answer {
        Err(StoreError::KeyTaken { .. }) => Ok(()),
        Ok(_) => Err(Broken::new(format!(
            "{what} was accepted: one of two visitors lost the session"
        ))),
        Err(error) => Err(Broken::new(format!(
            "{what} is answered with KeyTaken, so that the caller learns that the generator is broken; found: {}",
            chain(&error)
        ))),
    }
}

pub(in crate::conformance) async fn create_replaces_an_expired_record(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    // At the very second at which the old one ends, and long after.
    for (key, now) in [(key(1), END), (key(2), at(5_000))] {
        let old = NewRecord {
            owner: Some(Owner::from("ada")),
            label: label("her phone"),
            created_at: Some(NOW),
            ..new("old")
        };
        store.create(&key, old, NOW).await?;
        let version = store
            .create(&key, NewRecord::new(payload("new"), at(9_000)), now)
            .await
            .map_err(|error| {
                Broken::new(format!(
                    "an expired session keeps its key taken: {}",
                    chain(&error)
                ))
            })?;
        let what = "a session that was created over an expired one is not there";
        let record = live(&store, &key, now, what).await?;
        ensure!(
            data(&record)? == "new",
            "a new session has the data of the expired one before it"
        );
        ensure_eq!(
            record.expires_at,
            at(9_000),
            "a new session has the expiry of the expired one before it"
        );
        ensure!(
            record.owner.is_none() && record.label.is_none() && record.created_at.is_none(),
            "a new session has owner, label or creation time of the expired one before it"
        );
        let saved = store.save(&key, &version, change("newer"), now).await?;
        stored(
            saved,
            "a session that was created over an expired one can't be saved",
        )?;
    }
    Ok(())
}

pub(in crate::conformance) async fn of_concurrent_creates_one_wins(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..5 {
        let key = key(round);
        // Where nothing is, and where an expired record is.
        let now = if round % 2 == 0 {
            NOW
        } else {
            store.create(&key, new("expired"), NOW).await?;
            END
        };
        race_to_create(&store, &key, now).await?;
    }
    Ok(())
}

async fn race_to_create(store: &Store, key: &StoreKey, now: Timestamp) -> Result<(), Broken> {
    let creates = (0..20).map(|n| {
        let (store, key) = (Arc::clone(store), key.clone());
        let record = NewRecord::new(payload(format!("of {n}")), at(2_000));
        async move { (n, store.create(&key, record, now).await) }
    });
    let mut won = Vec::new();
    for (n, answer) in together(creates).await? {
        match answer {
            Ok(version) => won.push((n, version)),
            refused => ensure_key_taken(refused, "a create that came second")?,
        }
    }
    let [(winner, version)] = won.as_slice() else {
        return Err(Broken::new(format!(
            "{} of 20 concurrent creates of one key were told that it is theirs; one should be",
            won.len()
        )));
    };
    let record = live(store, key, now, "a created session is not there").await?;
    ensure!(
        data(&record)? == format!("of {winner}").as_str(),
        "of concurrent creates one was told that it won, and another's data is there"
    );
    let saved = store.save(key, version, change("later"), now).await?;
    stored(
        saved,
        "the winner of concurrent creates can't save its session",
    )?;
    Ok(())
}

pub(in crate::conformance) async fn a_record_that_is_created_expired_does_not_exist(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let moments = [NOW, NOW.saturating_sub(second()), Timestamp::from_secs(0)];
    for (n, expires_at) in (0..).zip(moments) {
        let record = NewRecord::new(payload("x"), expires_at);
        let version = store.create(&key(n), record, NOW).await?;
        dead(
            &store,
            &key(n),
            NOW,
            "a session that was created with an expiry in the past is alive",
        )
        .await?;
        let saved = store.save(&key(n), &version, change("y"), NOW).await?;
        ensure_eq!(
            saved,
            Saved::Gone,
            "a session that was created with an expiry in the past can be saved"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn versions_are_never_issued_twice(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut issued: Vec<Version> = Vec::new();
    for round in 0..4 {
        // A new life of the same key, with the same data, after a logout and after an expiry.
        let now = at(2_000 * round);
        let record = NewRecord::new(payload("same"), now.saturating_add(2 * second()));
        let version = store.create(&key(1), record, now).await?;
        for old in &issued {
            let saved = store.save(&key(1), old, change("stale"), now).await?;
            ensure_eq!(
                saved,
                Saved::Conflict,
                "a request from before the session ended overwrites the new one under the same key"
            );
        }
        let saved = store.save(&key(1), &version, change("same"), now).await?;
        let next = stored(saved, "a save was refused")?;
        let saved = store.save(&key(1), &version, change("stale"), now).await?;
        ensure_eq!(
            saved,
            Saved::Conflict,
            "a save of equal data left the version as it was, so that a slower request does not notice it"
        );
        issued.extend([version, next]);
        if round % 2 == 0 {
            store.delete(&key(1)).await?;
        }
    }
    let distinct: HashSet<String> = issued
        .iter()
        .map(|version| format!("{version:?}"))
        .collect();
    ensure!(
        distinct.len() == issued.len()
            || issued
                .iter()
                .any(|version| matches!(version, Version::Content(_))),
        "a version was issued twice under one key"
    );
    Ok(())
}

pub(in crate::conformance) async fn errors_show_no_key_and_no_data(
    stores: Stores,
) -> Result<(), Broken> {
    const CANARY: &str = "canarycanarycanarycanarycanary";
    let store = stores.fresh().await;
    let Some(key) = StoreKey::parse(&format!("{CANARY}0")) else {
        return Err(Broken::new("the kit's own key"));
    };
    let Some(other) = StoreKey::parse(&format!("{CANARY}1")) else {
        return Err(Broken::new("the kit's own key"));
    };
    let record = || NewRecord {
        owner: Some(Owner::from(CANARY)),
        label: label(CANARY),
        ..new(CANARY)
    };
    let version = store.create(&key, record(), NOW).await?;
    store.create(&other, record(), NOW).await?;
    let errors = [
        store.create(&key, record(), NOW).await.map(drop),
        store
            .rotate(&key, &version, &other, change(CANARY), NOW)
            .await
            .map(drop),
    ];
    for answer in errors {
        let Err(error) = answer else {
            return Err(Broken::new("a taken key was given to a second session"));
        };
        let printed = format!("{error:?} {}", chain(&error));
        ensure!(
            !printed.contains(CANARY),
            "an error quotes a key, an owner or a session's data, which would end up in a log"
        );
    }
    let printed = format!("{store:?} {store:#?}");
    ensure!(
        !printed.contains(CANARY),
        "the store's Debug shows a key, an owner or a session's data, which would end up in a log"
    );
    Ok(())
}
