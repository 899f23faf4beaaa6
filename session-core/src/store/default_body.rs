//! `touch` and `rotate` out of the four required methods: what a first backend gets for free.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::payload::Payload;
use crate::policy::TOUCH_TRIES_MAX;
use crate::record::{Change, ExpiryChange, NewRecord, Saved, Version};
use crate::store::{SessionStore, StoreError};

/// How long a record lives that nobody was given the key of yet.
const ORPHAN_LIFE: Duration = Duration::from_secs(60);

pub(super) async fn touch<S: SessionStore + ?Sized>(
    store: &S,
    key: &StoreKey,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    for _ in 0..TOUCH_TRIES_MAX {
        let Some(record) = store.load(key, now).await? else {
            return Ok(false);
        };
        if record.expires_at >= expires_at {
            return Ok(true);
        }
        let change = Change::of(
            &record,
            record.payload.clone(),
            ExpiryChange::AtLeast(expires_at),
        );
        match store.save(key, &record.version, change, now).await? {
            Saved::Stored(_) => return Ok(true),
            Saved::Gone => return Ok(false),
            Saved::Conflict => {}
        }
    }
    Err(StoreError::unavailable(
        "this store",
        "touch",
        "other writers were faster at every try",
    ))
}

pub(super) async fn rotate<S: SessionStore + ?Sized>(
    store: &S,
    from: &StoreKey,
    expected: &Version,
    to: &StoreKey,
    change: Change,
    now: Timestamp,
) -> Result<Saved, StoreError> {
    let Some(old) = store.load(from, now).await? else {
        return Ok(Saved::Gone);
    };
    if old.version != *expected {
        return Ok(Saved::Conflict);
    }
    let full_life = change.expiry.apply(old.expires_at);
    let Change {
        payload,
        owner,
        label,
        created_at,
        ..
    } = change.clone();
    let expires_at = full_life.min(now.saturating_add(ORPHAN_LIFE));
    let version = store
        .create(
            to,
            NewRecord {
                payload,
                expires_at,
                owner,
                label,
                created_at,
            },
            now,
        )
        .await?;

    // The old record ends before the new one gets its life: a crash here costs the session, never leaves two. The
    // compare-and-swap also sees a writer or a logout that came in since the load. It ends long ago, so that a server
    // whose clock lags does not serve the old key any more either.
    let past = Timestamp::from_secs(0).min(now.saturating_sub(Duration::from_secs(1)));
    let nothing = Change::new(Payload::from_bytes(""), ExpiryChange::Set(past));
    match store.save(from, expected, nothing, now).await? {
        Saved::Stored(_) => {}
        refused => {
            store.delete(to).await?;
            return Ok(refused);
        }
    }
    if expires_at == full_life {
        return Ok(Saved::Stored(version));
    }
    let change = Change {
        expiry: ExpiryChange::Set(full_life),
        ..change
    };
    match store.save(to, &version, change, now).await? {
        Saved::Conflict => prolong(store, to, expires_at, full_life, now)
            .await
            // At the version that the caller's change has: its next write meets the other's.
            .map(|lives| {
                if lives {
                    Saved::Stored(version)
                } else {
                    Saved::Gone
                }
            }),
        saved => Ok(saved),
    }
}

/// Gives the record at `key` its full life although somebody has written it. Only a session that keeps its key while its
/// place changes can be found so early. Whoever has moved its expiry meant it. `false` if the record is gone.
async fn prolong<S: SessionStore + ?Sized>(
    store: &S,
    key: &StoreKey,
    orphans_end: Timestamp,
    full_life: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    for _ in 0..TOUCH_TRIES_MAX {
        let Some(record) = store.load(key, now).await? else {
            return Ok(false);
        };
        if record.expires_at != orphans_end {
            return Ok(true);
        }
        let expiry = ExpiryChange::Set(full_life);
        let change = Change::of(&record, record.payload.clone(), expiry);
        match store.save(key, &record.version, change, now).await? {
            Saved::Stored(_) => return Ok(true),
            Saved::Gone => return Ok(false),
            Saved::Conflict => {}
        }
    }
    Err(StoreError::unavailable(
        "this store",
        "rotate",
        "other writers were faster at every try",
    ))
}
