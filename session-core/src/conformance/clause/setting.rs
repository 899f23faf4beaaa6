//! What the clauses' tests begin with: moments, keys, records, and the questions that are asked most.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Barrier;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure};
use crate::conformance::fixture::Store;
use crate::key::{KeyPolicy, SessionKey, StoreKey};
use crate::payload::Payload;
use crate::record::{Change, ExpiryChange, Label, NewRecord, Record, Saved, Version};
use crate::store::SessionStore;

/// When the clauses begin: 2100-01-01, so that no store's own garbage collector, which goes by the real time, finds
/// anything expired.
pub(in crate::conformance) const NOW: Timestamp = Timestamp::from_secs(4_102_444_800);

/// When a record ends unless the clause says otherwise.
pub(in crate::conformance) const END: Timestamp = at(1_000);

/// So many seconds after [`NOW`], or before it.
pub(super) const fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs() + secs)
}

pub(super) fn second() -> Duration {
    Duration::from_secs(1)
}

/// The `n`-th key, as the manager would hand it down.
#[expect(
    clippy::expect_used,
    reason = "32 digits are a session key, whatever the number"
)]
pub(in crate::conformance) fn key(n: u64) -> StoreKey {
    let key = SessionKey::parse(format!("{n:0>32}").as_bytes()).expect("32 characters of [a-z0-9]");
    KeyPolicy::Hashed.store_key(&key)
}

pub(super) fn payload(data: impl Into<Bytes>) -> Payload {
    Payload::from_bytes(data)
}

/// A new record with this data that lives until [`END`].
pub(in crate::conformance) fn new(data: impl Into<Bytes>) -> NewRecord {
    NewRecord::new(payload(data), END)
}

/// A change to this data that keeps the expiry.
pub(super) fn change(data: impl Into<Bytes>) -> Change {
    Change::new(payload(data), ExpiryChange::Keep)
}

pub(super) fn label(text: &str) -> Option<Label> {
    Some(Label::new(text))
}

/// The bytes of a payload, for comparisons and messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Data(pub(super) Bytes);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..80) {
            Some(start) => write!(f, "{} bytes that begin with {start:?}", self.0.len()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl PartialEq<&str> for Data {
    fn eq(&self, text: &&str) -> bool {
        self.0.as_ref() == text.as_bytes()
    }
}

pub(super) fn data(record: &Record) -> Result<Data, Broken> {
    Ok(Data(record.payload.to_bytes()?))
}

/// The live record at `key`, or `what` is broken.
pub(super) async fn live(
    store: &Store,
    key: &StoreKey,
    now: Timestamp,
    what: impl fmt::Display,
) -> Result<Record, Broken> {
    let found = store.load(key, now).await?;
    found.ok_or_else(|| Broken::new(what.to_string()))
}

/// Nothing is at `key`, or `what` is broken.
pub(super) async fn dead(
    store: &Store,
    key: &StoreKey,
    now: Timestamp,
    what: impl fmt::Display,
) -> Result<(), Broken> {
    ensure!(store.load(key, now).await?.is_none(), "{what}");
    Ok(())
}

/// The version that a save gave, or `what` is broken.
pub(super) fn stored(saved: Saved, what: impl fmt::Display) -> Result<Version, Broken> {
    match saved {
        Saved::Stored(version) => Ok(version),
        refused => Err(Broken::new(format!("{what}; found {refused:?}"))),
    }
}

/// Runs all at once, each on a task of its own that waits for the others, and gives the answers in order.
pub(in crate::conformance) async fn together<F>(
    calls: impl IntoIterator<Item = F>,
) -> Result<Vec<F::Output>, Broken>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let calls: Vec<F> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await?);
    }
    Ok(answers)
}

/// Lets others go first, so that races over many rounds meet at different moments.
pub(super) async fn let_others_go(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// The store still works: for somebody else, whatever became of the record in question.
pub(super) async fn serves(store: &Store, n: u64, after: impl fmt::Display) -> Result<(), Broken> {
    let key = key(n);
    let version = store.create(&key, new("first"), NOW).await?;
    let saved = store.save(&key, &version, change("second"), NOW).await?;
    let broken = format!("after {after} the store no longer serves other visitors");
    stored(saved, &broken)?;
    let record = live(store, &key, NOW, &broken).await?;
    ensure!(data(&record)? == "second", "{broken}");
    ensure!(store.delete(&key).await?, "{broken}");
    Ok(())
}
