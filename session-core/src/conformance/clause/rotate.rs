//! `rotate` moves a session to a new key, and never leaves two.

use std::sync::Arc;

use crate::conformance::broken::{Broken, chain, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, label, let_others_go, live, new, payload, second,
    stored, together,
};
use crate::conformance::fixture::{BoxFuture, Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, NewRecord, Saved};
use crate::store::{SessionStore, StoreError};

pub(in crate::conformance) async fn rotate_moves_the_session_with_its_changes(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let table = [
        (ExpiryChange::Keep, END),
        (ExpiryChange::AtLeast(at(2_000)), at(2_000)),
        (ExpiryChange::AtLeast(at(500)), END),
        (ExpiryChange::Set(at(2_000)), at(2_000)),
        // Longer and shorter than the minute that the default body's first step gives.
        (ExpiryChange::Set(at(61)), at(61)),
        (ExpiryChange::Set(at(10)), at(10)),
    ];
    for (n, (expiry, expected)) in (0..).zip(table) {
        let (from, to) = (key(2 * n), key(2 * n + 1));
        let version = store.create(&from, new("before"), NOW).await?;
        let change_to_after = Change::new(payload("after"), expiry);
        let rotated = store
            .rotate(&from, &version, &to, change_to_after, NOW)
            .await?;
        let version = stored(rotated, "a rotate of a live session was refused")?;
        let last = expected.saturating_sub(second());
        let what = format!(
            "after a rotate with {expiry:?} the session is not under its new key, or ended too early"
        );
        let record = live(&store, &to, last, what).await?;
        ensure!(
            data(&record)? == "after",
            "a rotate does not carry the changes of its request"
        );
        ensure_eq!(
            record.expires_at,
            expected,
            "a rotate with {expiry:?} moved the expiry of {END:?} wrongly"
        );
        dead(
            &store,
            &to,
            expected,
            "a session is served after it expired",
        )
        .await?;
        let saved = store.save(&to, &version, change("more"), NOW).await?;
        stored(
            saved,
            "a session can't be saved at the version that rotate gave",
        )?;
    }
    Ok(())
}

pub(in crate::conformance) async fn rotate_leaves_exactly_one_key_alive(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (from, to) = (key(1), key(2));
    let record = NewRecord {
        owner: Some(Owner::from("ada")),
        label: label("her phone"),
        created_at: Some(NOW),
        ..new("before")
    };
    let old = store.create(&from, record, NOW).await?;
    // Whoever keeps copies has one now.
    live(&store, &from, NOW, "a created session is gone").await?;
    let rotated = store.rotate(&from, &old, &to, change("after"), NOW).await?;
    stored(rotated, "a rotate of a live session was refused")?;

    live(
        &store,
        &to,
        NOW,
        "after a rotate the session is not under its new key",
    )
    .await?;
    // Also for a server whose clock lags by up to a day.
    for now in [NOW, at(-1), at(-60), at(-86_400)] {
        let what = "after a rotate the old key still opens a session: whoever knew it before the login is in";
        dead(&store, &from, now, what).await?;
    }
    let revive = || Change::new(payload("late"), ExpiryChange::Set(at(5_000)));
    let saved = store.save(&from, &old, revive(), NOW).await?;
    ensure_eq!(
        saved,
        Saved::Gone,
        "a late save under the old key is not Gone after a rotate"
    );
    ensure!(
        !store.touch(&from, at(5_000), NOW).await?,
        "a touch of the old key says that it lives after a rotate"
    );
    let rotated = store.rotate(&from, &old, &key(3), revive(), NOW).await?;
    ensure_eq!(
        rotated,
        Saved::Gone,
        "a second rotate of the old key is not Gone"
    );
    dead(&store, &from, NOW, "the old key came back after a rotate").await?;
    dead(
        &store,
        &key(3),
        NOW,
        "a second rotate of the old key made a second session",
    )
    .await?;
    let record = live(
        &store,
        &to,
        NOW,
        "a late write under the old key ended the new one",
    )
    .await?;
    ensure!(
        data(&record)? == "after",
        "a late write under the old key changed the new session"
    );
    Ok(())
}

pub(in crate::conformance) async fn a_rotate_at_an_old_version_conflicts_and_changes_nothing(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (from, to) = (key(1), key(2));
    let old = store.create(&from, new("first"), NOW).await?;
    let saved = store.save(&from, &old, change("second"), NOW).await?;
    let version = stored(saved, "a save was refused")?;
    let late = Change::new(payload("late"), ExpiryChange::Set(at(5_000)));
    let rotated = store.rotate(&from, &old, &to, late, NOW).await?;
    ensure_eq!(
        rotated,
        Saved::Conflict,
        "a rotate at an old version did not conflict: an update would be lost"
    );
    dead(
        &store,
        &to,
        NOW,
        "a refused rotate left a session under the new key",
    )
    .await?;
    let record = live(&store, &from, NOW, "a refused rotate ended the session").await?;
    ensure!(
        data(&record)? == "second",
        "a refused rotate changed the data: an update is lost"
    );
    ensure_eq!(
        record.expires_at,
        END,
        "a refused rotate changed the expiry"
    );
    let rotated = store
        .rotate(&from, &version, &to, change("third"), NOW)
        .await?;
    stored(
        rotated,
        "a refused rotate stands in the way of the next one",
    )?;
    live(
        &store,
        &to,
        NOW,
        "after a rotate the session is not under its new key",
    )
    .await?;
    Ok(())
}

pub(in crate::conformance) async fn rotate_onto_a_live_record_is_refused_and_both_stay(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (from, to) = (key(1), key(2));
    let version = store.create(&from, new("mine"), NOW).await?;
    let taken = store.create(&to, new("another's"), NOW).await?;
    for now in [NOW, at(999)] {
        match store
            .rotate(&from, &version, &to, change("late"), now)
            .await
        {
            Err(StoreError::KeyTaken { .. }) => {}
            Ok(_) => {
                return Err(Broken::new(
                    "a rotate took a key that is another visitor's session",
                ));
            }
            Err(error) => {
                return Err(Broken::new(format!(
                    "a rotate onto a taken key is answered with KeyTaken; found: {}",
                    chain(&error)
                )));
            }
        }
    }
    let record = live(&store, &from, NOW, "a refused rotate ended the session").await?;
    ensure!(
        data(&record)? == "mine",
        "a refused rotate changed the data"
    );
    ensure_eq!(
        record.expires_at,
        END,
        "a refused rotate changed the expiry"
    );
    let record = live(
        &store,
        &to,
        NOW,
        "a refused rotate ended another visitor's session",
    )
    .await?;
    ensure!(
        data(&record)? == "another's",
        "a refused rotate changed another visitor's session"
    );
    let saved = store.save(&from, &version, change("more"), NOW).await?;
    stored(saved, "a refused rotate changed the version of the session")?;
    let saved = store.save(&to, &taken, change("more"), NOW).await?;
    stored(
        saved,
        "a refused rotate changed the version of another visitor's session",
    )?;
    Ok(())
}

pub(in crate::conformance) async fn rotate_onto_an_expired_record_replaces_it(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let (from, to) = (key(1), key(2));
    let expired = NewRecord {
        owner: Some(Owner::from("ada")),
        label: label("her phone"),
        created_at: Some(NOW),
        ..new("expired")
    };
    store.create(&to, expired, NOW).await?;
    let record = NewRecord::new(payload("before"), at(5_000));
    let version = store.create(&from, record, NOW).await?;
    let rotated = store
        .rotate(&from, &version, &to, change("after"), END)
        .await?;
    stored(
        rotated,
        "an expired session under the new key stands in the way of a rotate",
    )?;
    let what = "after a rotate the session is not under its new key";
    let record = live(&store, &to, END, what).await?;
    ensure!(
        data(&record)? == "after",
        "a rotated session has the data of an expired one"
    );
    ensure_eq!(
        record.expires_at,
        at(5_000),
        "a rotated session has the expiry of an expired one"
    );
    ensure!(
        record.owner.is_none() && record.label.is_none() && record.created_at.is_none(),
        "a rotated session has owner, label or creation time of an expired one"
    );
    dead(
        &store,
        &from,
        END,
        "after a rotate the old key still opens a session",
    )
    .await
}

pub(in crate::conformance) async fn of_concurrent_rotates_one_wins(
    stores: Stores,
) -> Result<(), Broken> {
    const ROTATES: u64 = 20;
    let store = stores.fresh().await;
    for round in 0..4 {
        let from = key(100 * round);
        let to = move |n| key(100 * round + 1 + n);
        let version = store.create(&from, new("before"), NOW).await?;
        let rotates = (0..ROTATES).map(|n| {
            let (store, from, version) = (Arc::clone(&store), from.clone(), version.clone());
            async move {
                let change = change(format!("by {n}"));
                store.rotate(&from, &version, &to(n), change, NOW).await
            }
        });
        let mut won = Vec::new();
        for (n, rotated) in (0..).zip(together(rotates).await?) {
            if let Saved::Stored(_) = rotated? {
                won.push(n);
            }
        }
        let [winner] = won.as_slice() else {
            return Err(Broken::new(format!(
                "{} of 20 concurrent rotates of one session were told that they are stored; one should be",
                won.len()
            )));
        };
        dead(
            &store,
            &from,
            NOW,
            "after a rotate the old key still opens a session",
        )
        .await?;
        for n in 0..ROTATES {
            if n == *winner {
                let what = "of concurrent rotates the one that won has no session";
                let record = live(&store, &to(n), NOW, what).await?;
                ensure!(
                    data(&record)? == format!("by {n}").as_str(),
                    "of concurrent rotates the one that won has another's data"
                );
                ensure_eq!(
                    record.expires_at,
                    END,
                    "a rotate in competition lost the expiry"
                );
            } else {
                let what = "a rotate that was refused left a session under its new key";
                dead(&store, &to(n), NOW, what).await?;
            }
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn of_a_rotate_and_a_save_one_wins(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..16 {
        let (from, to) = (key(2 * round), key(2 * round + 1));
        let version = store.create(&from, new("before"), NOW).await?;
        let calls = (0..2).map(|n| {
            let (store, from, to) = (Arc::clone(&store), from.clone(), to.clone());
            let version = version.clone();
            async move {
                // Now the one, now the other is a little later.
                let_others_go(if round % 2 == n { round } else { 0 }).await;
                if n == 0 {
                    store
                        .rotate(&from, &version, &to, change("rotated"), NOW)
                        .await
                } else {
                    store.save(&from, &version, change("saved"), NOW).await
                }
            }
        });
        let answers: Result<Vec<Saved>, StoreError> = together(calls).await?.into_iter().collect();
        let answers = answers?;
        match answers.as_slice() {
            [Saved::Stored(_), Saved::Conflict | Saved::Gone] => {
                let what = "a rotate that won against a save has no session";
                let record = live(&store, &to, NOW, what).await?;
                ensure!(
                    data(&record)? == "rotated",
                    "a rotate that won against a save has other data"
                );
                dead(
                    &store,
                    &from,
                    NOW,
                    "after a rotate the old key still opens a session",
                )
                .await?;
            }
            [Saved::Conflict, Saved::Stored(_)] => {
                let what = "a save that won against a rotate has no session";
                let record = live(&store, &from, NOW, what).await?;
                ensure!(data(&record)? == "saved", "a rotate lost a save's update");
                dead(
                    &store,
                    &to,
                    NOW,
                    "a refused rotate left a session under the new key",
                )
                .await?;
            }
            other => {
                return Err(Broken::new(format!(
                    "of a rotate and a save at one version exactly one is stored; found {other:?}"
                )));
            }
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_rotate_against_a_delete_leaves_no_second_session(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for round in 0..16 {
        let (from, to) = (key(2 * round), key(2 * round + 1));
        let version = store.create(&from, new("before"), NOW).await?;
        let rotate = {
            let (store, from, to) = (Arc::clone(&store), from.clone(), to.clone());
            async move {
                let change = change("after");
                let rotated = store.rotate(&from, &version, &to, change, NOW).await?;
                Ok::<_, Broken>(Answer::Rotated(rotated))
            }
        };
        let delete = {
            let (store, from, to) = (Arc::clone(&store), from.clone(), to.clone());
            async move {
                let_others_go(round).await;
                store.delete(&from).await?;
                let moved = store.load(&to, NOW).await?.is_some();
                Ok(Answer::Deleted { moved })
            }
        };
        let calls: [BoxFuture<_>; 2] = [Box::pin(rotate), Box::pin(delete)];
        let answers: Result<Vec<Answer>, Broken> = together(calls).await?.into_iter().collect();
        judge_rotate_against_delete(&store, &from, &to, &answers?).await?;
    }
    Ok(())
}

/// How a call in the race ended.
enum Answer {
    Rotated(Saved),
    /// Whether the session was under its new key when the delete had returned.
    Deleted {
        moved: bool,
    },
}

async fn judge_rotate_against_delete(
    store: &Store,
    from: &StoreKey,
    to: &StoreKey,
    answers: &[Answer],
) -> Result<(), Broken> {
    let what = "a session is served under the key that was logged out";
    dead(store, from, NOW, what).await?;
    match answers {
        [Answer::Rotated(Saved::Stored(_)), Answer::Deleted { moved }] => {
            ensure!(
                *moved,
                "a logout had ended the session, and a slower rotate made a new one of it"
            );
            let what = "a rotate that was faster than a delete has no session";
            live(store, to, NOW, what).await?;
        }
        [Answer::Rotated(Saved::Gone), Answer::Deleted { .. }] => {
            let what =
                "a logout was faster than a rotate, and the session lives on under the new key";
            dead(store, to, NOW, what).await?;
        }
        _others => {
            return Err(Broken::new(
                "a rotate against a delete is a Conflict: it is stored, or the session is Gone",
            ));
        }
    }
    Ok(())
}
