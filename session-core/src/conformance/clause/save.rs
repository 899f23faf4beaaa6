//! `save` is compare-and-swap: no update is lost, and nothing is created.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::conformance::ability;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, key, label, live, new, payload, stored, together,
};
use crate::conformance::fixture::{Store, Stores};
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, Saved, Version};
use crate::store::SessionStore;

pub(in crate::conformance) async fn every_save_gives_a_newer_version(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut version = store.create(&key(1), new("0"), NOW).await?;
    for n in 1..20 {
        let saved = store
            .save(&key(1), &version, change(n.to_string()), NOW)
            .await?;
        let next = stored(saved, "a save at the newest version was refused")?;
        ensure!(
            next != version,
            "a save left the version as it was, so that a slower request does not notice it"
        );
        if let (Version::Counter(before), Version::Counter(after)) = (&version, &next) {
            ensure!(
                before < after,
                "a newer state has a smaller version, so that a cache takes the older one for the newer"
            );
        }
        let record = live(&store, &key(1), NOW, "a saved session is gone").await?;
        ensure_eq!(
            record.version,
            next,
            "load and save disagree about the version"
        );
        version = next;
    }
    Ok(())
}

pub(in crate::conformance) async fn a_save_at_an_old_version_conflicts_and_changes_nothing(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let first = store.create(&key(1), new("first"), NOW).await?;
    let with_all = Change {
        owner: Some(Owner::from("ada")),
        label: label("her phone"),
        created_at: Some(NOW),
        ..change("second")
    };
    let saved = store.save(&key(1), &first, with_all, NOW).await?;
    let version = stored(saved, "a save was refused")?;
    let before = live(&store, &key(1), NOW, "a saved session is gone").await?;

    let late = Change::new(payload("late"), ExpiryChange::Set(at(5)));
    let saved = store.save(&key(1), &first, late, NOW).await?;
    ensure_eq!(
        saved,
        Saved::Conflict,
        "a save at an old version did not conflict: an update would be lost"
    );
    let record = live(&store, &key(1), NOW, "a refused save ended the session").await?;
    ensure!(
        data(&record)? == "second",
        "a refused save changed the data: an update is lost"
    );
    ensure_eq!(record.expires_at, END, "a refused save changed the expiry");
    ensure!(
        (&record.owner, &record.label, record.created_at)
            == (&before.owner, &before.label, before.created_at),
        "a refused save changed owner, label or creation time"
    );
    let saved = store.save(&key(1), &version, change("third"), NOW).await?;
    stored(
        saved,
        "a refused save changed the version, so that the next one is refused too",
    )?;
    Ok(())
}

pub(in crate::conformance) async fn of_fifty_saves_at_one_version_one_wins(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut version = store.create(&key(1), new("nobody"), NOW).await?;
    for round in 0..4 {
        let saves = (0..50).map(|n| {
            let (store, version) = (Arc::clone(&store), version.clone());
            async move {
                let change = change(format!("round {round}, writer {n}"));
                (n, store.save(&key(1), &version, change, NOW).await)
            }
        });
        let mut won = Vec::new();
        for (n, saved) in together(saves).await? {
            match saved? {
                Saved::Stored(next) => won.push((n, next)),
                Saved::Conflict => {}
                Saved::Gone => {
                    return Err(Broken::new(
                        "a save in competition was told that the session has ended: the visitor gets an error",
                    ));
                }
            }
        }
        let [(winner, next)] = won.as_slice() else {
            return Err(Broken::new(format!(
                "{} of 50 saves at one version were told that they are stored; one should be",
                won.len()
            )));
        };
        let record = live(&store, &key(1), NOW, "a saved session is gone").await?;
        ensure!(
            data(&record)? == format!("round {round}, writer {winner}").as_str(),
            "of 50 concurrent saves one was told that it is stored, and another's data is there"
        );
        version = next.clone();
    }
    Ok(())
}

pub(in crate::conformance) async fn fifty_writers_who_try_again_lose_no_update(
    stores: Stores,
) -> Result<(), Broken> {
    const WRITERS: u32 = 50;
    let store = stores.fresh().await;
    store.create(&key(1), new(""), NOW).await?;
    let writers = (0..WRITERS).map(|n| append(Arc::clone(&store), n));
    let mut replaced = Vec::new();
    for version in together(writers).await? {
        replaced.push(version?);
    }

    let record = live(&store, &key(1), NOW, "the session is gone").await?;
    let text = data(&record)?.0;
    let kept: BTreeSet<&[u8]> = text
        .split(|byte| *byte == b' ')
        .filter(|name| !name.is_empty())
        .collect();
    ensure_eq!(
        kept.len(),
        WRITERS as usize,
        "of 50 writers who were all told that their update is stored, some lost it"
    );
    if stores.offer(ability::versions_are_unique) {
        let distinct: HashSet<String> = replaced.iter().map(|one| format!("{one:?}")).collect();
        let contents = replaced
            .iter()
            .any(|one| matches!(one, Version::Content(_)));
        ensure!(
            contents || distinct.len() == replaced.len(),
            "one version was replaced by two writers"
        );
    }
    Ok(())
}

/// Adds `n` to the list that the session holds, and gives the version that was replaced.
async fn append(store: Store, n: u32) -> Result<Version, Broken> {
    const TRIES_MAX: u32 = 10_000;
    for _ in 0..TRIES_MAX {
        let record = live(&store, &key(1), NOW, "the session is gone").await?;
        let mut text = data(&record)?.0.to_vec();
        text.extend_from_slice(format!("{n} ").as_bytes());
        match store
            .save(&key(1), &record.version, change(text), NOW)
            .await?
        {
            Saved::Stored(_) => return Ok(record.version),
            Saved::Conflict => tokio::task::yield_now().await,
            Saved::Gone => {
                return Err(Broken::new(
                    "a save in competition was told that the session has ended: the visitor gets an error",
                ));
            }
        }
    }
    Err(Broken::new(format!(
        "a writer did not get through in {TRIES_MAX} tries"
    )))
}
