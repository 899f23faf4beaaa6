//! A future that is dropped at any of its awaits has happened or not, never half, and the store goes on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::conformance::broken::{Broken, ensure};
use crate::conformance::clause::setting::{
    Data, END, NOW, at, change, data, dead, key, label, live, new, payload, serves,
};
use crate::conformance::fixture::{BoxFuture, Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, Label, NewRecord, Record, Saved};
use crate::store::{EndScope, Page, SessionStore, StoreError};

/// More awaits than an operation has, over a slow network too.
const POLLS_MAX: usize = 64;

/// Polls a future so often, then gives up on it.
struct Polled<T> {
    future: BoxFuture<T>,
    left: usize,
}

impl<T> Future for Polled<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Lets `call` begin, drops it after `polls` polls, and says whether it had completed by then.
async fn drop_after<T>(
    polls: usize,
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<bool, Broken> {
    let polled = Polled {
        future: Box::pin(call),
        left: polls,
    };
    Ok(polled.await.transpose()?.is_some())
}

/// One operation that is dropped after 0, 1, 2... polls, until it completes.
struct Drops {
    store: Store,
    operation: &'static str,
}

impl Drops {
    async fn of(stores: &Stores, operation: &'static str) -> Self {
        Self {
            store: stores.fresh().await,
            operation,
        }
    }

    fn broken(&self, polls: usize, what: impl fmt::Display) -> Broken {
        let operation = self.operation;
        Broken::new(format!(
            "a {operation} that was dropped after {polls} polls {what}"
        ))
    }

    async fn still_serves(&self, polls: usize) -> Result<(), Broken> {
        let after = format!("a {} that was dropped after {polls} polls", self.operation);
        serves(&self.store, u64::MAX, after).await
    }

    /// Saves at whatever version is newest: what was dropped may still be under way and come first.
    async fn save(&self, key: &StoreKey, polls: usize) -> Result<(), Broken> {
        const TRIES_MAX: usize = 100;
        for _ in 0..TRIES_MAX {
            let what = || self.broken(polls, "ended the session");
            let record = self.store.load(key, NOW).await?.ok_or_else(what)?;
            let saved = self
                .store
                .save(key, &record.version, change("later"), NOW)
                .await?;
            match saved {
                Saved::Stored(_) => {
                    let record = self.store.load(key, NOW).await?.ok_or_else(what)?;
                    ensure!(
                        data(&record)? == "later",
                        "{}",
                        self.broken(polls, "undid a later save")
                    );
                    return Ok(());
                }
                Saved::Conflict => tokio::task::yield_now().await,
                Saved::Gone => return Err(what()),
            }
        }
        Err(self.broken(polls, "left a session that can't be saved any more"))
    }
}

/// All that a record holds but its version.
type Contents = (Data, crate::clock::Timestamp, Option<Owner>, Option<Label>);

fn contents(record: &Record) -> Result<Contents, Broken> {
    let Record {
        expires_at,
        owner,
        label,
        ..
    } = record;
    Ok((data(record)?, *expires_at, owner.clone(), label.clone()))
}

/// The record that exists before, with everything in it.
fn before() -> NewRecord {
    NewRecord {
        owner: Some(Owner::from("before")),
        label: label("before"),
        created_at: Some(NOW),
        ..new("before".repeat(1_000))
    }
}

/// The change of everything in it.
fn after() -> Change {
    Change {
        owner: Some(Owner::from("after")),
        label: label("after"),
        created_at: Some(at(1)),
        ..Change::new(payload("after".repeat(2_000)), ExpiryChange::Set(at(2_000)))
    }
}

pub(in crate::conformance) async fn a_dropped_create_has_happened_or_not(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "create").await;
    let whole = {
        let store = &drops.store;
        store.create(&key(1_000), before(), NOW).await?;
        contents(&live(store, &key(1_000), NOW, "a created session is gone").await?)?
    };
    for polls in 0..POLLS_MAX {
        let key = key(polls as u64);
        let completed = drop_after(polls, {
            let (store, key) = (Arc::clone(&drops.store), key.clone());
            async move { store.create(&key, before(), NOW).await }
        })
        .await?;
        if let Some(record) = drops.store.load(&key, NOW).await? {
            ensure!(
                contents(&record)? == whole,
                "{}",
                drops.broken(polls, "left half a session")
            );
        }
        match drops.store.create(&key, before(), NOW).await {
            Ok(_) if completed => {
                return Err(drops.broken(polls, "had completed, and its session is gone"));
            }
            Ok(_) | Err(StoreError::KeyTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let record = drops.store.load(&key, NOW).await?;
        let Some(record) = record else {
            return Err(drops.broken(polls, "leaves a key that is taken and opens nothing"));
        };
        ensure!(
            contents(&record)? == whole,
            "{}",
            drops.broken(polls, "left half a session")
        );
        drops.save(&key, polls).await?;
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_dropped_save_has_happened_or_not(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "save").await;
    for polls in 0..POLLS_MAX {
        let key = key(polls as u64);
        let store = &drops.store;
        let version = store.create(&key, before(), NOW).await?;
        let old = contents(&live(store, &key, NOW, "a created session is gone").await?)?;
        let completed = drop_after(polls, {
            let (store, key) = (Arc::clone(store), key.clone());
            async move { store.save(&key, &version, after(), NOW).await }
        })
        .await?;
        let Some(record) = store.load(&key, NOW).await? else {
            return Err(drops.broken(polls, "ended the session"));
        };
        let found = contents(&record)?;
        let happened = is_after(&found, &old);
        ensure!(
            (found == old && !completed) || happened,
            "{}",
            drops.broken(
                polls,
                "left a session that is half the old one and half the new one"
            )
        );
        drops.save(&key, polls).await?;
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

/// Whether this is the record that [`after`] makes. A store without owners and labels has them as little as before.
fn is_after(found: &Contents, old: &Contents) -> bool {
    let (_, _, owner, label) = old;
    let Change {
        owner: new_owner,
        label: new_label,
        ..
    } = after();
    let expected = (
        Data("after".repeat(2_000).into()),
        at(2_000),
        owner.as_ref().and(new_owner),
        label.as_ref().and(new_label),
    );
    *found == expected
}

pub(in crate::conformance) async fn a_dropped_touch_has_happened_or_not(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "touch").await;
    for polls in 0..POLLS_MAX {
        let key = key(polls as u64);
        let store = &drops.store;
        store.create(&key, before(), NOW).await?;
        let old = contents(&live(store, &key, NOW, "a created session is gone").await?)?;
        let completed = drop_after(polls, {
            let (store, key) = (Arc::clone(store), key.clone());
            async move { store.touch(&key, at(2_000), NOW).await }
        })
        .await?;
        let Some(record) = store.load(&key, NOW).await? else {
            return Err(drops.broken(polls, "ended the session"));
        };
        let (found, expires_at, owner, label) = contents(&record)?;
        ensure!(
            (found, END, owner, label) == old,
            "{}",
            drops.broken(polls, "changed more than the expiry")
        );
        ensure!(
            (expires_at == END && !completed) || expires_at == at(2_000),
            "{}",
            drops.broken(polls, "left an expiry that nobody asked for")
        );
        drops.save(&key, polls).await?;
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_dropped_delete_has_happened_or_not(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "delete").await;
    for polls in 0..POLLS_MAX {
        let key = key(polls as u64);
        let store = &drops.store;
        store.create(&key, before(), NOW).await?;
        let old = contents(&live(store, &key, NOW, "a created session is gone").await?)?;
        let completed = drop_after(polls, {
            let (store, key) = (Arc::clone(store), key.clone());
            async move { store.delete(&key).await }
        })
        .await?;
        if let Some(record) = store.load(&key, NOW).await? {
            ensure!(
                contents(&record)? == old && !completed,
                "{}",
                drops.broken(polls, "left the session, or half of it")
            );
        }
        store.delete(&key).await?;
        let what = drops.broken(polls, "keeps the session from being ended");
        dead(store, &key, NOW, what).await?;
        store.create(&key, new("new"), NOW).await?;
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_dropped_rotate_leaves_no_second_session(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "rotate").await;
    for polls in 0..POLLS_MAX {
        let (from, to) = (key(2 * polls as u64), key(2 * polls as u64 + 1));
        let store = &drops.store;
        let version = store.create(&from, before(), NOW).await?;
        let old = contents(&live(store, &from, NOW, "a created session is gone").await?)?;
        let completed = drop_after(polls, {
            let (store, from, to) = (Arc::clone(store), from.clone(), to.clone());
            async move { store.rotate(&from, &version, &to, after(), NOW).await }
        })
        .await?;
        // The new key is asked first: what was dropped may still be under way, and come between the two questions. A
        // minute later, since the default body's orphan lives that long.
        let later = at(60);
        if let Some(record) = store.load(&to, later).await? {
            ensure!(
                is_after(&contents(&record)?, &old),
                "{}",
                drops.broken(polls, "left half a session under the new key")
            );
            let what = drops.broken(polls, "left two sessions");
            dead(store, &from, later, what).await?;
        } else {
            ensure!(
                !completed,
                "{}",
                drops.broken(polls, "had completed, and its session is gone")
            );
            if let Some(record) = store.load(&from, later).await? {
                ensure!(
                    contents(&record)? == old,
                    "{}",
                    drops.broken(polls, "left half a session under the old key")
                );
            }
        }
        store.delete(&from).await?;
        store.delete(&to).await?;
        for key in [&from, &to] {
            let what = drops.broken(polls, "keeps the session from being ended");
            dead(store, key, later, what).await?;
        }
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_dropped_load_changes_nothing(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "load").await;
    let store = &drops.store;
    store.create(&key(1), before(), NOW).await?;
    let old = contents(&live(store, &key(1), NOW, "a created session is gone").await?)?;
    for polls in 0..POLLS_MAX {
        let completed = drop_after(polls, {
            let store = Arc::clone(store);
            async move { store.load(&key(1), NOW).await }
        })
        .await?;
        let Some(record) = store.load(&key(1), NOW).await? else {
            return Err(drops.broken(polls, "ended the session"));
        };
        ensure!(
            contents(&record)? == old,
            "{}",
            drops.broken(polls, "changed the session")
        );
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    drops.save(&key(1), POLLS_MAX).await
}

pub(in crate::conformance) async fn a_dropped_clear_expired_can_be_run_again(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "clear_expired").await;
    let store = &drops.store;
    store
        .create(&key(0), NewRecord::new(payload("living"), at(9_000)), NOW)
        .await?;
    for polls in 0..POLLS_MAX {
        for n in 1..=10 {
            store
                .create(&key(n), before(), NOW)
                .await
                .map(drop)
                .or_else(|error| match error {
                    StoreError::KeyTaken { .. } => Ok(()),
                    error => Err(error),
                })?;
        }
        let completed = drop_after(polls, {
            let store = Arc::clone(store);
            async move { store.clear_expired(END, &mut |_| {}).await }
        })
        .await?;
        let what = drops.broken(polls, "ended a live session");
        live(store, &key(0), END, what).await?;
        // What is still under way may hold some of them for a moment.
        let mut runs_left = 100;
        while store.clear_expired(END, &mut |_| {}).await? > 0 {
            runs_left -= 1;
            ensure!(
                runs_left > 0,
                "{}",
                drops.broken(polls, "keeps the next runs from finishing the work")
            );
        }
        for n in 1..=10 {
            store
                .create(&key(n), before(), NOW)
                .await
                .map_err(|_taken| {
                    drops.broken(polls, "keeps the next runs from finding what has expired")
                })?;
        }
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn a_dropped_end_can_be_run_again(
    stores: Stores,
) -> Result<(), Broken> {
    let drops = Drops::of(&stores, "end").await;
    let store = &drops.store;
    let (ada, bob) = (Owner::from("ada"), Owner::from("bob"));
    let of = |owner: &Owner| NewRecord {
        owner: Some(owner.clone()),
        ..new("x")
    };
    store.create(&key(0), of(&bob), NOW).await?;
    for polls in 0..POLLS_MAX {
        let index = super::owner_index::index(store)?;
        let mut keys = Vec::new();
        for n in 1..=5 {
            let key = key(10 * polls as u64 + n);
            store.create(&key, of(&ada), NOW).await?;
            keys.push(key);
        }
        let completed = drop_after(polls, {
            let (store, ada) = (Arc::clone(store), ada.clone());
            async move {
                match store.owner_index() {
                    Some(index) => index.end(&ada, EndScope::All).await,
                    None => Ok(0),
                }
            }
        })
        .await?;
        index.end(&ada, EndScope::All).await?;
        for key in &keys {
            let what = drops.broken(polls, "keeps the next one from ending a session");
            dead(store, key, NOW, what).await?;
        }
        let listed = index.sessions_of(&ada, Page::first(100), NOW).await?;
        ensure!(
            listed.is_empty(),
            "{}",
            drops.broken(polls, "left ended sessions in the list")
        );
        let what = drops.broken(polls, "ended another owner's session");
        live(store, &key(0), NOW, what).await?;
        drops.still_serves(polls).await?;
        if completed {
            break;
        }
    }
    Ok(())
}
