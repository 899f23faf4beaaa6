//! Clearing what has expired, and the way through all records.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, label, live, new, payload, stored, together,
};
use crate::conformance::fixture::{BoxFuture, Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{NewRecord, Record};
use crate::store::{Page, SessionStore, StoreScan};

fn until(text: &'static str, expires_at: Timestamp) -> NewRecord {
    NewRecord::new(payload(text), expires_at)
}

pub(in crate::conformance) async fn clear_expired_removes_and_counts_exactly_the_expired(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    ensure_eq!(
        store.clear_expired(NOW, &mut |_| {}).await?,
        0,
        "clearing an empty store removed something"
    );
    for n in 0..20 {
        store.create(&key(n), until("expired", END), NOW).await?;
        store
            .create(&key(100 + n), until("expires this second", at(1_500)), NOW)
            .await?;
        store
            .create(&key(200 + n), until("lives another second", at(1_501)), NOW)
            .await?;
        store
            .create(&key(300 + n), until("living", at(9_000)), NOW)
            .await?;
    }
    // What was renewed lives.
    store.touch(&key(0), at(9_000), NOW).await?;
    let removed = store.clear_expired(at(1_500), &mut |_| {}).await?;
    ensure_eq!(
        removed,
        39,
        "clearing expired sessions reports another number than there were"
    );
    for n in (200..220).chain(300..320).chain([0]) {
        let what = "clearing expired sessions ended a live one";
        live(&store, &key(n), at(1_500), what).await?;
    }
    ensure_eq!(
        store.clear_expired(at(1_500), &mut |_| {}).await?,
        0,
        "clearing again found something that was said to be removed"
    );
    for n in (1..20).chain(100..120) {
        // Nothing is there, for a server whose clock lags either.
        dead(
            &store,
            &key(n),
            NOW,
            "an expired session was counted as removed, and is still there",
        )
        .await?;
        ensure!(
            !store.delete(&key(n)).await?,
            "an expired session was counted as removed, and is still there"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn clear_expired_reports_a_running_total(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for n in 0..60 {
        store.create(&key(n), new("x"), NOW).await?;
    }
    let mut reports = Vec::new();
    let removed = store
        .clear_expired(END, &mut |total| reports.push(total))
        .await?;
    ensure!(
        reports.is_sorted(),
        "the progress of clearing expired sessions runs backwards: {reports:?}"
    );
    ensure_eq!(
        reports.last().copied(),
        Some(removed),
        "the progress of clearing expired sessions does not end at what was removed"
    );
    Ok(())
}

pub(in crate::conformance) async fn clear_expired_is_safe_beside_another_and_live_traffic(
    stores: Stores,
) -> Result<(), Broken> {
    const EXPIRED: u64 = 40;
    let store = stores.fresh().await;
    for round in 0..6 {
        let base = 1_000 * round;
        for n in 0..EXPIRED {
            store.create(&key(base + n), new("old"), NOW).await?;
        }
        let mut calls: Vec<BoxFuture<Result<u64, Broken>>> = Vec::new();
        for _ in 0..2 {
            let store = Arc::clone(&store);
            calls.push(Box::pin(async move {
                Ok(store.clear_expired(END, &mut |_| {}).await?)
            }));
        }
        // New sessions under keys that are being cleared, and elsewhere.
        for n in (0..EXPIRED).step_by(2) {
            let store = Arc::clone(&store);
            calls.push(Box::pin(async move {
                let key = key(base + n);
                let version = store.create(&key, until("new", at(9_000)), END).await?;
                let saved = store.save(&key, &version, change("newer"), END).await?;
                stored(saved, "clearing expired sessions ended a new one")?;
                Ok(0)
            }));
        }
        let removed: Result<Vec<u64>, Broken> = together(calls).await?.into_iter().collect();
        let removed: u64 = removed?.into_iter().sum();
        ensure!(
            removed <= EXPIRED,
            "two cleaners at once report {removed} removed sessions of {EXPIRED} that had expired"
        );
        for n in (0..EXPIRED).step_by(2) {
            let what = "clearing expired sessions ended a new one";
            let record = live(&store, &key(base + n), END, what).await?;
            ensure!(
                data(&record)? == "newer",
                "clearing expired sessions undid a save"
            );
        }
        ensure_eq!(
            store.clear_expired(END, &mut |_| {}).await?,
            0,
            "two cleaners at once left something behind"
        );
    }
    Ok(())
}

fn scan(store: &Store) -> Result<&dyn StoreScan, Broken> {
    store
        .scan()
        .ok_or_else(|| Broken::new("the store has no scan; if that is meant, say why in `except`"))
}

async fn scanned(store: &Store, limit: usize) -> Result<Vec<(StoreKey, Record)>, Broken> {
    const PAGES_MAX: usize = 1_000;
    let mut all: Vec<(StoreKey, Record)> = Vec::new();
    let mut page = Page::first(limit);
    for _ in 0..PAGES_MAX {
        let found = scan(store)?.page(page).await?;
        ensure!(
            found.len() <= limit,
            "a page of {limit} records has {}",
            found.len()
        );
        let Some((last, _)) = found.last() else {
            return Ok(all);
        };
        page = Page::after(last.clone(), limit);
        all.extend(found);
    }
    Err(Broken::new(format!(
        "after {PAGES_MAX} pages the scan had not come to its end"
    )))
}

pub(in crate::conformance) async fn scan_pages_through_every_record_once_in_order(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    ensure!(
        scanned(&store, 5).await?.is_empty(),
        "an empty store has records"
    );
    let mut expected = BTreeMap::new();
    for n in 0..23 {
        let record = NewRecord {
            owner: (n % 3 == 0).then(|| Owner::from(n)),
            label: label("a label").filter(|_| n % 5 == 0),
            created_at: (n % 7 == 0).then(|| at(-1)),
            // Some expired long ago, some of them before anybody could load them.
            expires_at: if n % 4 == 0 { at(-100) } else { END },
            ..new(format!("of {n}"))
        };
        expected.insert(key(n), record.clone());
        store.create(&key(n), record, at(-200)).await?;
    }
    // Whatever short keys may be kept under sorts with the others.
    for text in ["0", "a", "zz"] {
        if let Some(key) = StoreKey::parse(text) {
            expected.insert(key.clone(), new("short"));
            store.create(&key, new("short"), NOW).await?;
        }
    }
    for limit in [1, 4, 26, 27, 1_000] {
        let all = scanned(&store, limit).await?;
        ensure!(
            all.iter().map(|(key, _)| key).eq(expected.keys()),
            "a scan in pages of {limit} does not give every record once in the order of the keys: found {}, expected {}",
            all.len(),
            expected.len()
        );
        let with_owners = stores.offer(crate::conformance::ability::owner_label_and_creation_time);
        for ((_, found), new) in all.iter().zip(expected.values()) {
            ensure!(
                data(found)?.0 == new.payload.to_bytes()? && found.expires_at == new.expires_at,
                "a scan shows another record than the one that is kept"
            );
            ensure!(
                !with_owners
                    || (&found.owner, &found.label, found.created_at)
                        == (&new.owner, &new.label, new.created_at),
                "a scan shows another owner, label or creation time than the one that is kept"
            );
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn scan_sees_what_stays_while_others_come_and_go(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut keys: Vec<StoreKey> = (0..30).map(key).collect();
    keys.sort_unstable();
    // Every third stays, every third goes, and of the rest those towards the end come.
    for key in keys
        .iter()
        .enumerate()
        .filter_map(|(n, key)| (n % 3 != 2).then_some(key))
    {
        store.create(key, new("x"), NOW).await?;
    }
    let mut seen = Vec::new();
    let mut page = Page::first(4);
    for round in 0..100 {
        let found = scan(&store)?.page(page).await?;
        let Some((last, _)) = found.last().cloned() else {
            break;
        };
        seen.extend(found.into_iter().map(|(key, _)| key));
        page = Page::after(last, 4);
        if round == 0 {
            for (n, key) in keys.iter().enumerate() {
                match n % 3 {
                    1 => drop(store.delete(key).await?),
                    2 if n > 15 => drop(store.create(key, new("x"), NOW).await?),
                    _rest => {}
                }
            }
        }
    }
    for (n, key) in keys.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
        let times = seen.iter().filter(|one| *one == key).count();
        ensure_eq!(
            times,
            1,
            "while other records came and went, a scan gave the {n}th record so many times"
        );
    }
    Ok(())
}
