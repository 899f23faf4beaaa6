//! The owner index: who is logged in where, and ending that.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, label, let_others_go, live, new, payload, stored,
    together,
};
use crate::conformance::fixture::{BoxFuture, Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, NewRecord, Record, Saved};
use crate::store::{EndScope, OwnerIndex, Page, SessionStore};

pub(super) fn index(store: &Store) -> Result<&dyn OwnerIndex, Broken> {
    store.owner_index().ok_or_else(|| {
        Broken::new("the store has no owner index; if that is meant, say why in `except`")
    })
}

fn of(owner: &Owner) -> NewRecord {
    NewRecord {
        owner: Some(owner.clone()),
        ..new("x")
    }
}

fn changed_to(owner: &Owner) -> Change {
    Change {
        owner: Some(owner.clone()),
        ..change("y")
    }
}

/// The keys of everything in the list, in the order of the pages.
async fn listed(store: &Store, owner: &Owner, limit: usize) -> Result<Vec<StoreKey>, Broken> {
    let sessions = sessions(store, owner, limit).await?;
    Ok(sessions.into_iter().map(|(key, _)| key).collect())
}

async fn sessions(
    store: &Store,
    owner: &Owner,
    limit: usize,
) -> Result<Vec<(StoreKey, Record)>, Broken> {
    const PAGES_MAX: usize = 200;
    let index = index(store)?;
    let mut all: Vec<(StoreKey, Record)> = Vec::new();
    let mut page = Page::first(limit);
    for _ in 0..PAGES_MAX {
        let found = index.sessions_of(owner, page, NOW).await?;
        ensure!(
            found.len() <= limit,
            "a page of {limit} sessions has {}",
            found.len()
        );
        let is_last = found.len() < limit;
        all.extend(found);
        let Some((last, _)) = all.last() else { break };
        if is_last {
            break;
        }
        page = Page::after(last.clone(), limit);
    }
    ensure!(
        all.is_sorted_by(|(one, _), (next, _)| one < next),
        "the list of an owner's sessions is not in the order of their keys, so that paging skips or repeats some"
    );
    Ok(all)
}

fn sorted(keys: impl IntoIterator<Item = StoreKey>) -> Vec<StoreKey> {
    keys.into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

pub(in crate::conformance) async fn the_index_lists_an_owners_live_sessions_in_pages(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    let mut living = Vec::new();
    for n in 0..11 {
        store.create(&key(n), of(&ada), NOW).await?;
        store.create(&key(100 + n), of(&bob), NOW).await?;
        store.create(&key(200 + n), new("nobody's"), NOW).await?;
        let expired = NewRecord {
            expires_at: at(-5),
            ..of(&ada)
        };
        store.create(&key(300 + n), expired, at(-10)).await?;
        let just_expired = NewRecord {
            expires_at: NOW,
            ..of(&ada)
        };
        store.create(&key(400 + n), just_expired, at(-10)).await?;
        living.push(key(n));
    }
    let living = sorted(living);
    for limit in [1, 3, 11, 12, 1_000] {
        let found = listed(&store, &ada, limit).await?;
        ensure!(
            found == living,
            "the list of an owner's sessions, in pages of {limit}, is not exactly the live ones: found {}, expected {}",
            found.len(),
            living.len()
        );
    }
    let nobody = listed(&store, &Owner::from("carol"), 10).await?;
    ensure!(
        nobody.is_empty(),
        "an owner without sessions is shown another's"
    );
    // A page may begin after a key that has no session, such as one that has ended since.
    for cut in [key(100), key(5_000)] {
        let rest = index(&store)?
            .sessions_of(&ada, Page::after(cut.clone(), 100), NOW)
            .await?;
        let expected: Vec<&StoreKey> = living.iter().filter(|key| **key > cut).collect();
        ensure!(
            rest.iter().map(|(key, _)| key).eq(expected),
            "a page that begins after a key without a session is wrong"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn the_index_shows_the_records_as_load_does(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let ada = Owner::from("ada");
    let record = NewRecord {
        label: label("her phone"),
        created_at: Some(at(-7)),
        expires_at: at(77),
        ..of(&ada)
    };
    store.create(&key(1), record, NOW).await?;
    store.touch(&key(1), at(88), NOW).await?;
    let found = sessions(&store, &ada, 10).await?;
    let [(_, found)] = found.as_slice() else {
        return Err(Broken::new("a session is missing from its owner's list"));
    };
    let loaded = live(&store, &key(1), NOW, "a created session is gone").await?;
    ensure!(
        data(found)? == data(&loaded)?,
        "the list shows other data than the session has"
    );
    ensure_eq!(
        found.expires_at,
        at(88),
        "the list shows another expiry than the session has"
    );
    ensure_eq!(
        found.version,
        loaded.version,
        "the list shows another version than the session has"
    );
    ensure!(
        found.owner.as_ref() == Some(&ada)
            && found.label == label("her phone")
            && found.created_at == Some(at(-7)),
        "the list shows another owner, label or creation time than the session has"
    );
    Ok(())
}

pub(in crate::conformance) async fn owners_are_told_apart_byte_by_byte(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let long = "o".repeat(255);
    let texts = [
        "ada".to_owned(),
        "Ada".to_owned(),
        "ADA".to_owned(),
        "adá".to_owned(),
        "ada\u{301}".to_owned(),
        "ada ".to_owned(),
        " ada".to_owned(),
        "ad".to_owned(),
        "adaa".to_owned(),
        "a_a".to_owned(),
        "a%".to_owned(),
        "*".to_owned(),
        "../ada".to_owned(),
        "1".to_owned(),
        "01".to_owned(),
        "1.0".to_owned(),
        format!("{long}1"),
        format!("{long}2"),
    ];
    let owners: Vec<Owner> = texts.iter().map(Owner::from).collect();
    for (n, owner) in (0..).zip(&owners) {
        store.create(&key(n), of(owner), NOW).await?;
    }
    for (n, owner) in (0..).zip(&owners) {
        let found = listed(&store, owner, 10).await?;
        ensure!(
            found == [key(n)],
            "{:?} is shown {} sessions instead of the one: names that differ are taken for the same",
            owner.as_str(),
            found.len()
        );
    }
    for (n, owner) in (0..).zip(&owners) {
        let ended = index(&store)?.end(owner, EndScope::All).await?;
        ensure_eq!(
            ended,
            1,
            "logging {:?} out everywhere ended others' sessions",
            owner.as_str()
        );
        dead(
            &store,
            &key(n),
            NOW,
            "a session was not ended with its owner's others",
        )
        .await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn the_index_follows_every_change_of_owner(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    let version = store.create(&key(1), new("nobody's"), NOW).await?;

    let saved = store.save(&key(1), &version, changed_to(&ada), NOW).await?;
    let version = stored(saved, "a save was refused")?;
    expect_lists(&store, "a save that sets the owner", &[key(1)], &[]).await?;

    let saved = store.save(&key(1), &version, changed_to(&bob), NOW).await?;
    let version = stored(saved, "a save was refused")?;
    expect_lists(&store, "a save that changes the owner", &[], &[key(1)]).await?;

    let rotated = store
        .rotate(&key(1), &version, &key(2), changed_to(&ada), NOW)
        .await?;
    let version = stored(rotated, "a rotate was refused")?;
    expect_lists(&store, "a rotate that changes the owner", &[key(2)], &[]).await?;

    let rotated = store
        .rotate(&key(2), &version, &key(3), changed_to(&ada), NOW)
        .await?;
    stored(rotated, "a rotate was refused")?;
    expect_lists(&store, "a rotate that keeps the owner", &[key(3)], &[]).await?;

    store.touch(&key(3), at(5_000), NOW).await?;
    expect_lists(&store, "a touch", &[key(3)], &[]).await?;

    let current = live(&store, &key(3), NOW, "a touched session is gone").await?;
    let saved = store
        .save(&key(3), &current.version, change("nobody's"), NOW)
        .await?;
    let version = stored(saved, "a save was refused")?;
    expect_lists(&store, "a save that clears the owner", &[], &[]).await?;

    let old = version;
    let saved = store.save(&key(3), &old, changed_to(&ada), NOW).await?;
    let version = stored(saved, "a save was refused")?;
    let stale = store.save(&key(3), &old, changed_to(&bob), NOW).await?;
    ensure_eq!(
        stale,
        Saved::Conflict,
        "a save at an old version did not conflict"
    );
    expect_lists(&store, "a refused save to another owner", &[key(3)], &[]).await?;

    let ending = Change {
        expiry: ExpiryChange::Set(at(-1)),
        ..changed_to(&ada)
    };
    let saved = store.save(&key(3), &version, ending, NOW).await?;
    stored(saved, "a save was refused")?;
    expect_lists(&store, "a save with an expiry in the past", &[], &[]).await?;

    store.create(&key(3), of(&bob), NOW).await?;
    expect_lists(
        &store,
        "a create over another owner's expired session",
        &[],
        &[key(3)],
    )
    .await?;

    store.delete(&key(3)).await?;
    expect_lists(&store, "a delete", &[], &[]).await
}

async fn expect_lists(
    store: &Store,
    after: &str,
    adas: &[StoreKey],
    bobs: &[StoreKey],
) -> Result<(), Broken> {
    for (owner, expected) in [("ada", adas), ("bob", bobs)] {
        let found = listed(store, &Owner::from(owner), 10).await?;
        ensure!(
            found == expected,
            "after {after} the list of {owner}'s sessions has {} entries, or others, instead of {}",
            found.len(),
            expected.len()
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn ending_one_session_spares_the_others(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    let version = store.create(&key(1), of(&ada), NOW).await?;
    store.create(&key(2), of(&ada), NOW).await?;
    store.create(&key(3), of(&bob), NOW).await?;
    store.create(&key(4), new("nobody's"), NOW).await?;
    let index = index(&store)?;

    for (foreign, whose) in [(3, "another owner's"), (4, "nobody's"), (5, "a missing")] {
        let ended = index.end(&ada, EndScope::One(key(foreign))).await?;
        ensure_eq!(ended, 0, "an owner ended {whose} session");
    }
    for n in 1..=4 {
        live(
            &store,
            &key(n),
            NOW,
            "an owner ended a session of somebody else",
        )
        .await?;
    }

    let ended = index.end(&ada, EndScope::One(key(1))).await?;
    ensure_eq!(ended, 1, "ending one session reports another number");
    dead(&store, &key(1), NOW, "an ended session is served").await?;
    let late = Change {
        expiry: ExpiryChange::Set(at(9_000)),
        ..changed_to(&ada)
    };
    let saved = store.save(&key(1), &version, late, NOW).await?;
    ensure_eq!(saved, Saved::Gone, "a late save after `end` is not Gone");
    dead(
        &store,
        &key(1),
        NOW,
        "a late save brought back an ended session",
    )
    .await?;
    let again = index.end(&ada, EndScope::One(key(1))).await?;
    ensure_eq!(again, 0, "an ended session was ended again");
    for n in 2..=4 {
        live(&store, &key(n), NOW, "ending one session ended another").await?;
    }
    ensure!(
        listed(&store, &ada, 10).await? == [key(2)],
        "an ended session is still in the list, or another is missing from it"
    );
    Ok(())
}

pub(in crate::conformance) async fn ending_the_others_spares_this_one(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    for n in 0..7 {
        store.create(&key(n), of(&ada), NOW).await?;
        store.create(&key(100 + n), of(&bob), NOW).await?;
    }
    let index = index(&store)?;
    let ended = index.end(&ada, EndScope::AllExcept(key(3))).await?;
    ensure_eq!(ended, 6, "ending the other sessions reports another number");
    for n in 0..7 {
        if n == 3 {
            live(
                &store,
                &key(n),
                NOW,
                "ending the other sessions ended this one",
            )
            .await?;
        } else {
            dead(&store, &key(n), NOW, "one of the others was not ended").await?;
        }
        live(
            &store,
            &key(100 + n),
            NOW,
            "an owner ended another's sessions",
        )
        .await?;
    }
    ensure!(
        listed(&store, &ada, 10).await? == [key(3)],
        "after ending the others the list is not this one session"
    );
    let again = index.end(&ada, EndScope::AllExcept(key(3))).await?;
    ensure_eq!(again, 0, "ending the others again found some");
    Ok(())
}

pub(in crate::conformance) async fn ending_all_ends_all_and_nobody_elses(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    for n in 0..30 {
        store.create(&key(n), of(&ada), NOW).await?;
    }
    store.create(&key(100), of(&bob), NOW).await?;
    store.create(&key(101), new("nobody's"), NOW).await?;
    let index = index(&store)?;
    let ended = index.end(&ada, EndScope::All).await?;
    ensure_eq!(ended, 30, "logging out everywhere reports another number");
    for n in 0..30 {
        dead(
            &store,
            &key(n),
            NOW,
            "logging out everywhere left a session",
        )
        .await?;
        ensure!(
            !store.touch(&key(n), at(9_000), NOW).await?,
            "a touch says that an ended session lives"
        );
        dead(
            &store,
            &key(n),
            NOW,
            "a touch brought back an ended session",
        )
        .await?;
    }
    ensure!(
        listed(&store, &ada, 10).await?.is_empty(),
        "after logging out everywhere the list is not empty"
    );
    for n in [100, 101] {
        live(
            &store,
            &key(n),
            NOW,
            "an owner ended a session of somebody else",
        )
        .await?;
    }
    let again = index.end(&ada, EndScope::All).await?;
    ensure_eq!(again, 0, "logging out everywhere again found sessions");
    store.create(&key(1), of(&ada), NOW).await?;
    ensure!(
        listed(&store, &ada, 10).await? == [key(1)],
        "a login after logging out everywhere is not in the list"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_misses_nobody_who_logged_in_before_it_began(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let ada = Owner::from("ada");
    for round in 0..10 {
        let logged_in: Arc<Mutex<Vec<StoreKey>>> = Arc::default();
        let mut calls: Vec<BoxFuture<Result<(), Broken>>> = Vec::new();
        for n in 0..20 {
            let (from, to) = (key(100 * round + 2 * n), key(100 * round + 2 * n + 1));
            calls.push(Box::pin(log_in(
                Arc::clone(&store),
                ada.clone(),
                from,
                to,
                n % 2 == 0,
                Arc::clone(&logged_in),
            )));
        }
        calls.push(Box::pin({
            let (store, ada) = (Arc::clone(&store), ada.clone());
            async move {
                let_others_go(round).await;
                let before = logged_in
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                index(&store)?.end(&ada, EndScope::All).await?;
                for key in &before {
                    let what =
                        "a session that had logged in before `end` began survived it, or came back";
                    dead(&store, key, NOW, what).await?;
                }
                Ok(())
            }
        }));
        for answer in together(calls).await? {
            answer?;
        }
        for key in listed(&store, &ada, 100).await? {
            live(&store, &key, NOW, "an ended session is still in the list").await?;
        }
        index(&store)?.end(&ada, EndScope::All).await?;
        for n in 0..40 {
            let what =
                "after the race a session is missing from the index, so that it can't be ended";
            dead(&store, &key(100 * round + n), NOW, what).await?;
        }
    }
    Ok(())
}

/// A login, by a new session or by a rotate of an anonymous one, and a save after it.
async fn log_in(
    store: Store,
    owner: Owner,
    from: StoreKey,
    to: StoreKey,
    rotating: bool,
    logged_in: Arc<Mutex<Vec<StoreKey>>>,
) -> Result<(), Broken> {
    let version = if rotating {
        let version = store.create(&from, new("nobody's"), NOW).await?;
        let rotated = store
            .rotate(&from, &version, &to, changed_to(&owner), NOW)
            .await?;
        match rotated {
            Saved::Stored(version) => version,
            // It was the owner's already for a moment, in the default body's second step.
            Saved::Gone => return Ok(()),
            Saved::Conflict => {
                return Err(Broken::new("a rotate that nobody disturbed is a Conflict"));
            }
        }
    } else {
        store.create(&to, of(&owner), NOW).await?
    };
    logged_in
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(to.clone());
    let saved = store.save(&to, &version, changed_to(&owner), NOW).await?;
    ensure!(
        saved != Saved::Conflict,
        "a save that nobody disturbed is a Conflict"
    );
    Ok(())
}

pub(in crate::conformance) async fn nobody_escapes_end_by_rotating(
    stores: Stores,
) -> Result<(), Broken> {
    const SESSIONS: u64 = 20;
    let store = stores.fresh().await;
    let ada = Owner::from("ada");
    for round in 0..10 {
        let base = 1_000 * round;
        let (mine, spared) = (key(base), EndScope::AllExcept(key(base)));
        let mut calls: Vec<BoxFuture<Result<(), Broken>>> = Vec::new();
        store.create(&mine, of(&ada), NOW).await?;
        for n in 1..=SESSIONS {
            let (from, to) = (key(base + n), key(base + 100 + n));
            let version = store.create(&from, of(&ada), NOW).await?;
            let (store, ada) = (Arc::clone(&store), ada.clone());
            calls.push(Box::pin(async move {
                let change = Change::new(payload("rotated"), ExpiryChange::AtLeast(at(2_000)));
                let change = Change {
                    owner: Some(ada),
                    ..change
                };
                // Faster than `end` or not: either is fine.
                drop(store.rotate(&from, &version, &to, change, NOW).await?);
                Ok(())
            }));
        }
        calls.push(Box::pin({
            let (store, ada) = (Arc::clone(&store), ada.clone());
            async move {
                let_others_go(round).await;
                index(&store)?.end(&ada, spared).await?;
                Ok(())
            }
        }));
        for answer in together(calls).await? {
            answer?;
        }
        for n in 1..=SESSIONS {
            for key in [key(base + n), key(base + 100 + n)] {
                let what = "a session that was logged in before `end` began escaped it by changing its key";
                dead(&store, &key, NOW, what).await?;
            }
        }
        live(
            &store,
            &mine,
            NOW,
            "ending the other sessions ended this one",
        )
        .await?;
        ensure!(
            listed(&store, &ada, 100).await? == [mine.clone()],
            "after ending the others the list is not this one session"
        );
        index(&store)?.end(&ada, EndScope::All).await?;
        dead(
            &store,
            &mine,
            END.saturating_sub(super::setting::second()),
            "logging out everywhere left a session",
        )
        .await?;
    }
    Ok(())
}
