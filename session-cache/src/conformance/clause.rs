//! What several callers do at once, and what only time shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::Owner;
use session_core::store::{
    Change, ExpiryChange, Label, Payload, Record, Saved, StoreKey, Timestamp, Version,
    VersionContent,
};

use super::{BoxFuture, Broken, Shared, ensure};
use crate::cache::Cache;
use crate::slot::{Entry, Lease, Slot};

/// In the year 2100, so that no cache's own collector, which goes by the real time, finds anything expired.
pub(super) const NOW: Timestamp = Timestamp::from_secs(4_102_444_800);

/// How many callers meet.
const CALLERS: u64 = 20;

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[expect(
    clippy::expect_used,
    reason = "40 hexadecimal digits are a store key, whatever the number"
)]
pub(super) fn key(n: u64) -> StoreKey {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StoreKey::parse(&format!("{spread:016x}{n:024x}")).expect("40 characters of [a-z0-9]")
}

fn record(version: u64) -> Record {
    let payload = Payload::from_bytes(format!("version {version}"));
    Record::new(
        payload,
        NOW.saturating_add(minutes(60)),
        Version::Counter(version),
    )
}

fn copy(version: u64) -> Entry {
    Entry::copy(record(version), NOW.saturating_add(minutes(30)))
}

fn change(text: &str) -> Change {
    Change::new(Payload::from_bytes(text.to_owned()), ExpiryChange::Keep)
}

/// Runs the calls side by side, and gives their answers.
async fn together<T: Send + 'static>(
    calls: Vec<BoxFuture<Result<T, Broken>>>,
) -> Result<Vec<T>, Broken> {
    let started = Arc::new(tokio::sync::Barrier::new(calls.len()));
    let mut tasks = Vec::new();
    for call in calls {
        let started = Arc::clone(&started);
        tasks.push(tokio::spawn(async move {
            started.wait().await;
            call.await
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await??);
    }
    Ok(answers)
}

/// The entry in the slot, or what it holds instead.
async fn held(cache: &Shared, key: &StoreKey) -> Result<Result<Entry, Slot>, Broken> {
    match cache.get(key).await? {
        Slot::Entry(entry) => Ok(Ok(entry)),
        other => Ok(Err(other)),
    }
}

fn is_tombstone(slot: &Result<Entry, Slot>) -> bool {
    matches!(slot, Err(Slot::Tombstone { .. }))
}

/// How many of the answers are yes.
fn count(answers: &[bool]) -> usize {
    answers.iter().filter(|answer| **answer).count()
}

pub(super) async fn every_part_of_an_entry_comes_back(cache: Shared) -> Result<(), Broken> {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for (n, (data, version)) in (0..).zip([
        (Vec::new(), Version::Counter(0)),
        (all_bytes.repeat(4_096), Version::Counter(u64::MAX)),
        (
            vec![0, b'-', b'\n'],
            Version::Content(VersionContent::new(all_bytes.clone().into())),
        ),
    ]) {
        let (key, lease) = (key(n), Lease::from_number(n));
        let mut record = Record::new(
            Payload::from_bytes(data.clone()),
            NOW.saturating_add(minutes(60)),
            version.clone(),
        );
        record.owner = Some(Owner::from("ädà-\u{1f980}"));
        record.label = Some(Label::new(&"l".repeat(256)));
        record.created_at = Some(Timestamp::from_secs(-1));
        let entry = Entry::copy(record.clone(), NOW.saturating_add(minutes(30)));
        cache.lease(&key, lease, minutes(60)).await?;
        ensure!(
            cache.fill(&key, lease, entry, NOW).await?,
            "a slot was not filled by the holder of its lease"
        );
        let Ok(found) = held(&cache, &key).await? else {
            return Err(Broken::new("an entry that was put is not there"));
        };
        ensure!(
            found.record.payload.to_bytes()? == data,
            "an entry of {} bytes comes back with other data",
            data.len()
        );
        ensure!(
            found.record.version == version
                && found.record.expires_at == record.expires_at
                && found.stale_at == NOW.saturating_add(minutes(30)),
            "an entry comes back with another version or other times"
        );
        ensure!(
            found.record.owner == record.owner
                && found.record.label == record.label
                && found.record.created_at == record.created_at,
            "an entry comes back with another owner, label or creation time"
        );
    }
    Ok(())
}

pub(super) async fn of_concurrent_leases_one_is_held(cache: Shared) -> Result<(), Broken> {
    for round in 0..10 {
        let mut calls: Vec<BoxFuture<Result<bool, Broken>>> = Vec::new();
        for n in 0..CALLERS {
            let cache = Arc::clone(&cache);
            calls.push(Box::pin(async move {
                let lease = Lease::from_number(n);
                Ok(cache.lease(&key(round), lease, minutes(60)).await?)
            }));
        }
        let leases = count(&together(calls).await?);
        ensure!(leases == 1, "{leases} readers hold the lease of one slot");
    }
    Ok(())
}

pub(super) async fn of_concurrent_adds_one_wins(cache: Shared) -> Result<(), Broken> {
    for round in 0..10 {
        let mut calls: Vec<BoxFuture<Result<bool, Broken>>> = Vec::new();
        for n in 0..CALLERS {
            let cache = Arc::clone(&cache);
            calls.push(Box::pin(async move {
                Ok(cache.add(&key(round), record(n), NOW).await?)
            }));
        }
        let answers = together(calls).await?;
        ensure!(
            count(&answers) == 1,
            "{} new sessions were put under one key",
            count(&answers)
        );
        let winner = answers
            .iter()
            .position(|answer| *answer)
            .unwrap_or_default();
        let Ok(entry) = held(&cache, &key(round)).await? else {
            return Err(Broken::new("a session that was put is not there"));
        };
        ensure!(
            entry.record.version == Version::Counter(winner as u64),
            "another session is there than the one whose caller was told so"
        );
    }
    Ok(())
}

pub(super) async fn of_concurrent_swaps_at_one_version_one_wins(
    cache: Shared,
) -> Result<(), Broken> {
    for round in 0..10 {
        let key = key(round);
        cache.add(&key, record(7), NOW).await?;
        let mut calls: Vec<BoxFuture<Result<bool, Broken>>> = Vec::new();
        for n in 0..CALLERS {
            let (cache, key) = (Arc::clone(&cache), key.clone());
            calls.push(Box::pin(async move {
                let change = change(&format!("of caller {n}"));
                let saved = cache.compare_and_swap(&key, &Version::Counter(7), change, NOW);
                match saved.await? {
                    Saved::Stored(version) => {
                        ensure!(
                            version == Version::Counter(8),
                            "a save at version 7 gives {version:?}"
                        );
                        Ok(true)
                    }
                    Saved::Conflict => Ok(false),
                    other => Err(Broken::new(format!(
                        "a save to a live session is {other:?}"
                    ))),
                }
            }));
        }
        let answers = together(calls).await?;
        ensure!(
            count(&answers) == 1,
            "{} saves at one version succeeded: updates were lost",
            count(&answers)
        );
        let winner = answers
            .iter()
            .position(|answer| *answer)
            .unwrap_or_default();
        let Ok(entry) = held(&cache, &key).await? else {
            return Err(Broken::new("a session that was saved is not there"));
        };
        ensure!(
            entry.record.payload.to_bytes()? == format!("of caller {winner}"),
            "another save is there than the one whose caller was told so"
        );
    }
    Ok(())
}

pub(super) async fn of_concurrent_copies_the_newest_stays(cache: Shared) -> Result<(), Broken> {
    for round in 0..10 {
        let (key, lease) = (key(round), Lease::from_number(round));
        cache.lease(&key, lease, minutes(60)).await?;
        cache.fill(&key, lease, copy(0), NOW).await?;
        let mut calls: Vec<BoxFuture<Result<(), Broken>>> = Vec::new();
        for n in 1..=CALLERS {
            let (cache, key) = (Arc::clone(&cache), key.clone());
            calls.push(Box::pin(async move {
                cache.put_newer(&key, copy(n), NOW).await?;
                Ok(())
            }));
        }
        together(calls).await?;
        let Ok(entry) = held(&cache, &key).await? else {
            return Err(Broken::new("a copy was replaced by nothing"));
        };
        ensure!(
            entry.record.version == Version::Counter(CALLERS),
            "of copies that were put at once an older one stays: {:?} instead of {CALLERS}",
            entry.record.version
        );
    }
    Ok(())
}

pub(super) async fn a_reader_fills_nothing_once_somebody_has_saved_or_ended(
    cache: Shared,
) -> Result<(), Broken> {
    let lease = Lease::from_number(1);
    for (n, what) in (0..).zip(["a save", "an invalidation", "a burial"]) {
        let key = key(n);
        cache.lease(&key, lease, minutes(60)).await?;
        match n {
            0 => drop(cache.put_newer(&key, copy(2), NOW).await?),
            1 => drop(cache.invalidate(&key).await?),
            _ => cache.bury(&key, minutes(60)).await?,
        }
        ensure!(
            !cache.fill(&key, lease, copy(1), NOW).await?,
            "a reader whose lease was taken away by {what} is told that it filled the slot"
        );
        ensure!(
            held(&cache, &key).await?.is_err(),
            "a reader whose lease was taken away by {what} put an older record into the slot"
        );
    }
    Ok(())
}

pub(super) async fn of_concurrent_fills_only_the_holders_is_put(
    cache: Shared,
) -> Result<(), Broken> {
    for round in 0..10 {
        let (key, holder) = (key(round), round % CALLERS);
        cache
            .lease(&key, Lease::from_number(holder), minutes(60))
            .await?;
        let mut calls: Vec<BoxFuture<Result<bool, Broken>>> = Vec::new();
        for n in 0..CALLERS {
            let (cache, key) = (Arc::clone(&cache), key.clone());
            calls.push(Box::pin(async move {
                Ok(cache
                    .fill(&key, Lease::from_number(n), copy(n), NOW)
                    .await?)
            }));
        }
        together(calls).await?;
        let Ok(entry) = held(&cache, &key).await? else {
            return Err(Broken::new("the holder of a lease did not fill the slot"));
        };
        ensure!(
            entry.record.version == Version::Counter(holder),
            "a reader filled a slot that another had leased"
        );
    }
    Ok(())
}

pub(super) async fn nothing_is_put_over_a_tombstone(cache: Shared) -> Result<(), Broken> {
    let (key, lease) = (key(1), Lease::from_number(1));
    cache.add(&key, record(1), NOW).await?;
    cache.bury(&key, minutes(60)).await?;
    let expected = Version::Counter(1);
    ensure!(
        !cache.lease(&key, lease, minutes(60)).await?,
        "the slot of a session that has ended was leased"
    );
    ensure!(
        !cache.fill(&key, lease, copy(2), NOW).await?
            && !cache.put_newer(&key, copy(2), NOW).await?
            && !cache.add(&key, record(2), NOW).await?,
        "a session was put where one has ended"
    );
    ensure!(
        cache
            .compare_and_swap(&key, &expected, change("late"), NOW)
            .await?
            == Saved::Gone,
        "a save to a session that has ended is not Gone"
    );
    ensure!(
        !cache
            .expire(&key, NOW.saturating_add(minutes(90)), NOW)
            .await?,
        "a session that has ended was renewed"
    );
    ensure!(
        !cache.invalidate(&key).await?,
        "a tombstone was taken for an entry"
    );
    ensure!(
        is_tombstone(&held(&cache, &key).await?),
        "the tombstone of a session that has ended is gone before its time"
    );
    Ok(())
}

pub(super) async fn a_burial_wins_over_everything_that_races_it(
    cache: Shared,
) -> Result<(), Broken> {
    for round in 0..20 {
        let (key, lease) = (key(round), Lease::from_number(round));
        if round % 2 == 0 {
            cache.add(&key, record(1), NOW).await?;
        } else {
            cache.lease(&key, lease, minutes(60)).await?;
        }
        let mut calls: Vec<BoxFuture<Result<(), Broken>>> = Vec::new();
        for n in 0..6 {
            let (cache, key) = (Arc::clone(&cache), key.clone());
            calls.push(Box::pin(async move {
                match n {
                    0 => drop(cache.fill(&key, lease, copy(2), NOW).await?),
                    1 => drop(cache.put_newer(&key, copy(3), NOW).await?),
                    2 => drop(cache.invalidate(&key).await?),
                    3 => drop(cache.lease(&key, lease, minutes(60)).await?),
                    4 => drop(
                        cache
                            .compare_and_swap(&key, &Version::Counter(1), change("x"), NOW)
                            .await?,
                    ),
                    _ => cache.bury(&key, minutes(60)).await?,
                }
                Ok(())
            }));
        }
        together(calls).await?;
        ensure!(
            is_tombstone(&held(&cache, &key).await?),
            "a session that was ended is in the cache, or may come back"
        );
    }
    Ok(())
}

/// Long enough to be seen by a slow machine, short enough to be waited for.
const SOON: Duration = Duration::from_millis(1_500);

/// As long as a life that has ended may still be seen: caches that count whole seconds round up.
const LATE_MAX: Duration = Duration::from_secs(10);

pub(super) async fn a_tombstone_is_never_shortened(cache: Shared) -> Result<(), Broken> {
    let (shortened, sooner) = (key(1), key(2));
    cache.bury(&shortened, minutes(60)).await?;
    cache.bury(&shortened, SOON).await?;
    cache.bury(&sooner, SOON).await?;
    until_empty(&cache, &sooner).await?;
    ensure!(
        is_tombstone(&held(&cache, &shortened).await?),
        "a second burial made a tombstone end before the first one's time"
    );
    Ok(())
}

pub(super) async fn leases_and_tombstones_end_by_themselves(cache: Shared) -> Result<(), Broken> {
    let (leased, buried, both) = (key(1), key(2), key(3));
    let (one, other) = (Lease::from_number(1), Lease::from_number(2));
    cache.lease(&leased, one, SOON).await?;
    cache.bury(&buried, SOON).await?;
    cache.lease(&both, one, SOON).await?;
    until_empty(&cache, &leased).await?;
    until_empty(&cache, &buried).await?;
    until_empty(&cache, &both).await?;
    ensure!(
        !cache.fill(&leased, one, copy(1), NOW).await?,
        "a reader filled a slot after its lease had ended"
    );
    ensure!(
        cache.lease(&leased, other, minutes(60)).await?
            && cache.lease(&buried, other, minutes(60)).await?,
        "a slot can't be leased although the lease or tombstone in it has ended"
    );
    ensure!(
        !cache.fill(&leased, one, copy(1), NOW).await?,
        "a reader whose lease has ended filled the slot in another's place"
    );
    ensure!(
        cache.add(&both, record(1), NOW).await?,
        "nothing can be put although the lease has ended"
    );
    Ok(())
}

async fn until_empty(cache: &Shared, key: &StoreKey) -> Result<(), Broken> {
    let started = Instant::now();
    loop {
        if matches!(held(cache, key).await?, Err(Slot::Empty)) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < SOON + LATE_MAX,
            "a lease or tombstone of {SOON:?} is still there after {:?}",
            started.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
