//! The contract of every store, on a standalone Redis.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use session_cache::CacheStore;
use session_core::Owner;
use session_core::store::{
    Change, ExpiryChange, Payload, Saved, SessionStore as _, StoreError, StoreKey, Timestamp,
    Version,
};
use support::{LATER, NOW, Server, change, connected, key, load, new, new_prefix, text};

session_core::conformance_suite!(
    || async { Server::Standalone.store_or_standin().await },
    except: [
        keeps_expired_records = "Redis forgets by itself",
    ],
);

/// What a save gave, if it was stored.
#[cfg(test)]
fn stored(saved: Result<Saved, StoreError>) -> Version {
    match saved {
        Ok(Saved::Stored(version)) => version,
        other => panic!("it was not saved: {other:?}"),
    }
}

/// The scripts look at the first 4,096 bytes of a slot, and write a longer one in two steps. The lengths are around that, with
/// the head of 81 bytes and an owner of 3.
#[tokio::test]
async fn a_session_of_any_length_is_saved_renewed_and_rotated_alike() {
    let prefix = new_prefix();
    let Some(config) = Server::Standalone.config_with_prefix(&prefix) else {
        return;
    };
    let store = CacheStore::new(connected(config).await);
    let node = Server::Standalone.node().expect("it was there");
    let after = |secs: i64| Timestamp::from_secs(LATER.as_secs() + secs);
    let millis_left = async |key: &StoreKey| {
        let left: i64 = node
            .ask(&["PTTL", &format!("{prefix}{}", key.as_str())])
            .await;
        left
    };
    for (number, length) in (0..).zip([10, 4_011, 4_012, 4_013, 70_000]) {
        let (here, there) = (key(2 * number), key(2 * number + 1));
        let of_ada = |letter: &str, expiry| {
            let payload = Payload::from_bytes(letter.repeat(length));
            let mut change = Change::new(payload, expiry);
            change.owner = Some(Owner::from("ada"));
            change
        };
        let holds = async |key: &StoreKey, letter: &str, expires_at| {
            let record = load(&store, key).await.expect("the session was lost");
            assert!(
                text(&record) == letter.repeat(length),
                "{length}: other data"
            );
            assert_eq!(record.expires_at, expires_at, "{length}: another expiry");
            assert!(record.owner == Some(Owner::from("ada")), "another owner");
            let garbage_at = expires_at.as_secs() - NOW.as_secs() + 60;
            let left = millis_left(key).await;
            assert!(
                (garbage_at * 1_000 - 60_000..=garbage_at * 1_000).contains(&left),
                "{length}: the server forgets it after {left} ms"
            );
        };
        let mut record = new(&"a".repeat(length));
        record.owner = Some(Owner::from("ada"));
        let version = store.create(&here, record, NOW).await.unwrap();
        holds(&here, "a", LATER).await;

        let keep = of_ada("b", ExpiryChange::Keep);
        let version = stored(store.save(&here, &version, keep, NOW).await);
        holds(&here, "b", LATER).await;

        assert!(store.touch(&here, after(1), NOW).await.unwrap());
        holds(&here, "b", after(1)).await;

        let renew = of_ada("c", ExpiryChange::AtLeast(after(2)));
        let version = stored(store.save(&here, &version, renew, NOW).await);
        holds(&here, "c", after(2)).await;

        let moved = of_ada("d", ExpiryChange::Keep);
        let rotated = store.rotate(&here, &version, &there, moved, NOW).await;
        let version = stored(rotated);
        holds(&there, "d", after(2)).await;
        assert!(load(&store, &here).await.is_none(), "the old key lives");

        // A byte too many is damage, which is never overwritten.
        let name = format!("{prefix}{}", there.as_str());
        let longer: i64 = node.ask(&["APPEND", &name, "x"]).await;
        let saved = store.save(&there, &version, change("e"), NOW).await;
        assert!(
            matches!(saved, Err(StoreError::Damaged { .. })),
            "{length}: what is damaged was overwritten: {saved:?}"
        );
        let still: i64 = node.ask(&["STRLEN", &name]).await;
        assert_eq!(still, longer, "{length}: what is damaged was changed");
    }
}
