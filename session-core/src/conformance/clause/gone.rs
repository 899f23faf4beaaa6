//! What happens to a record that is missing, deleted or expired: nothing, and the caller learns it.

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{END, NOW, at, change, dead, key, new, payload, stored};
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::record::{Change, ExpiryChange, Saved, Version};
use crate::store::{Page, SessionStore};

/// A record that does not exist, and how it came to that.
struct Absent {
    how: &'static str,
    key: StoreKey,
    /// The last version that it had.
    version: Version,
    now: Timestamp,
}

/// Every way in which a record can be absent.
async fn absent(store: &Store) -> Result<Vec<Absent>, Broken> {
    let never = Absent {
        how: "that was never there",
        key: key(1),
        version: Version::Counter(1),
        now: NOW,
    };

    let version = store.create(&key(2), new("x"), NOW).await?;
    store.delete(&key(2)).await?;
    let deleted = Absent {
        how: "that was logged out",
        key: key(2),
        version,
        now: NOW,
    };

    let version = store.create(&key(3), new("x"), NOW).await?;
    let just_expired = Absent {
        how: "that expires at this second",
        key: key(3),
        version,
        now: END,
    };

    let version = store.create(&key(4), new("x"), NOW).await?;
    let saved = store.save(&key(4), &version, change("y"), NOW).await?;
    let long_expired = Absent {
        how: "that expired long ago",
        key: key(4),
        version: stored(saved, "a save was refused")?,
        now: at(1_000_000),
    };

    let version = store.create(&key(5), new("x"), NOW).await?;
    let saved = store
        .rotate(&key(5), &version, &key(6), change("x"), NOW)
        .await?;
    stored(saved, "a rotate was refused")?;
    store.delete(&key(6)).await?;
    let rotated_away = Absent {
        how: "whose key was changed by a login",
        key: key(5),
        version,
        now: NOW,
    };
    Ok(vec![
        never,
        deleted,
        just_expired,
        long_expired,
        rotated_away,
    ])
}

/// Nothing is under `key`: not now, not for a server whose clock lags, and no record is kept that expires later.
async fn no_trace(store: &Store, key: &StoreKey, now: Timestamp, what: &str) -> Result<(), Broken> {
    dead(store, key, now, what).await?;
    if let Some(scan) = store.scan() {
        let kept = scan.page(Page::first(100)).await?;
        let alive = kept
            .iter()
            .any(|(found, record)| found == key && record.is_live(now));
        ensure!(!alive, "{what}");
    }
    Ok(())
}

pub(in crate::conformance) async fn save_of_an_absent_record_is_gone_and_leaves_no_trace(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for Absent {
        how,
        key,
        version,
        now,
    } in absent(&store).await?
    {
        for expiry in [
            ExpiryChange::Keep,
            ExpiryChange::AtLeast(at(2_000_000)),
            ExpiryChange::Set(at(2_000_000)),
        ] {
            let late = Change::new(payload("late"), expiry);
            let saved = store.save(&key, &version, late, now).await?;
            ensure_eq!(
                saved,
                Saved::Gone,
                "a late save of a session {how} is not Gone"
            );
            let what = format!("a late save brought back a session {how}");
            no_trace(&store, &key, now, &what).await?;
        }
        let created = store.create(&key, new_after(now), now).await;
        ensure!(
            created.is_ok(),
            "a late save of a session {how} left something that keeps the key taken"
        );
    }
    Ok(())
}

fn new_after(now: Timestamp) -> crate::record::NewRecord {
    crate::record::NewRecord::new(payload("new"), now.saturating_add(super::setting::second()))
}

pub(in crate::conformance) async fn touch_of_an_absent_record_is_false_and_leaves_no_trace(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for Absent { how, key, now, .. } in absent(&store).await? {
        ensure!(
            !store.touch(&key, at(2_000_000), now).await?,
            "a touch of a session {how} says that it lives"
        );
        let what = format!("a touch brought back a session {how}");
        no_trace(&store, &key, now, &what).await?;
        let created = store.create(&key, new_after(now), now).await;
        ensure!(
            created.is_ok(),
            "a touch of a session {how} left something that keeps the key taken"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn rotate_of_an_absent_record_is_gone_and_leaves_no_trace(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let to = key(100);
    for Absent {
        how,
        key,
        version,
        now,
    } in absent(&store).await?
    {
        let late = Change::new(payload("late"), ExpiryChange::Set(at(2_000_000)));
        let saved = store.rotate(&key, &version, &to, late, now).await?;
        ensure_eq!(
            saved,
            Saved::Gone,
            "a rotate of a session {how} is not Gone"
        );
        let what = format!("a rotate brought back a session {how}");
        no_trace(&store, &key, now, &what).await?;
        let what = format!("a rotate of a session {how} made a new one");
        no_trace(&store, &to, now, &what).await?;
        for key in [&key, &to] {
            let created = store.create(key, new_after(now), now).await;
            ensure!(
                created.is_ok(),
                "a rotate of a session {how} left something that keeps a key taken"
            );
            store.delete(key).await?;
        }
    }
    Ok(())
}
