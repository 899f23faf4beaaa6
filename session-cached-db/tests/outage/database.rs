//! The way to PostgreSQL falls silent, and that to Redis with it: who is still served, and what the others are told.

use std::time::{Duration, Instant};

use session_core::store::{Saved, SessionStore as _, StoreError, StoreKey};

use crate::pair::{GRACE, STANDALONE, bounded, site};
use crate::redis_servers::WAIT_MAX;
use crate::redis_servers::assert_unavailable;
use crate::redis_servers::proxy::Proxy;
use crate::support::servers::Redis;
use crate::support::site::STALENESS_MAX;
use crate::support::{LATER, NOW, change, key, new, shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_database_that_falls_silent_cached_sessions_are_read_and_nothing_is_written() {
    let _alone = STANDALONE.lock().await;
    let Some(mut site) = site(Redis::Standalone) else {
        return;
    };
    site.database_patience = Duration::from_secs(2);
    let (rows, cache) = (
        Proxy::to(&site.postgres).await,
        Proxy::to(&site.redis).await,
    );
    site.postgres = rows.url(&site.postgres);
    site.redis = cache.url(&site.redis);
    let (here, there) = (site.counted().await, site.counted().await);
    let keys: Vec<StoreKey> = (0..15).map(key).collect();
    let mut versions = Vec::new();
    for number in 0..6 {
        let version = here.create(&key(number), new("old"), NOW).await;
        versions.push(version.expect("both run"));
        if number != 1 {
            assert!(shown(&here, &key(number), NOW).await.is_some());
        }
    }
    let saved = here.save(&keys[0], &versions[0], change("acknowledged"), NOW);
    let saved = saved.await.expect("both run");
    assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");

    rows.fall_silent(true);
    for store in [&here, &there] {
        let seen = bounded("load", shown(store, &key(0), NOW)).await;
        assert_eq!(
            seen.as_deref(),
            Some("acknowledged"),
            "a cached session is not read without the database"
        );
    }
    let beyond = NOW.saturating_add(STALENESS_MAX);
    let started = Instant::now();
    let later = LATER.saturating_add(STALENESS_MAX);
    let stale = bounded("load", there.load(&key(0), beyond)).await;
    assert_unavailable("a load of an old copy", stale);
    let cold = bounded("load", here.load(&key(1), NOW)).await;
    assert_unavailable("a load without a copy", cold);
    let created = bounded("create", here.create(&key(9), new("x"), NOW)).await;
    assert_unavailable("create", created);
    let answer = here.save(&keys[2], &versions[2], change("unknown"), NOW);
    assert_unavailable("save", bounded("save", answer).await);
    let answer = bounded("touch", here.touch(&key(3), later, NOW)).await;
    assert_unavailable("touch", answer);
    let answer = here.rotate(&keys[4], &versions[4], &keys[14], change("moved"), NOW);
    assert_unavailable("rotate", bounded("rotate", answer).await);
    let answer = bounded("delete", here.delete(&key(5))).await;
    assert_unavailable("delete", answer);
    // Both are down, in the middle of it.
    cache.fall_silent(true);
    let answer = bounded("load", here.load(&key(0), NOW)).await;
    assert_unavailable("a load without either", answer);
    let answer = bounded("delete", here.delete(&key(5))).await;
    assert_unavailable("a log-out without either", answer);
    assert!(
        started.elapsed() < site.database_patience * 9 + GRACE,
        "nine calls took {:?}",
        started.elapsed()
    );
    cache.speak();
    rows.speak();

    // It goes on by itself.
    let started = Instant::now();
    let mut number = 100;
    while let Err(error) = bounded("create", here.create(&key(number), new("x"), NOW)).await {
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "while it recovers the store answers: {error:?}"
        );
        assert!(started.elapsed() < WAIT_MAX, "the store does not recover");
        number += 1;
    }
    // What was not answered has happened or not, and everybody who asks beyond the bound is told the same.
    for number in [0, 1, 2, 3, 4, 5, 9, 14] {
        let row = shown(here.database().inner(), &key(number), NOW).await;
        match number {
            0 => assert_eq!(
                row.as_deref(),
                Some("acknowledged"),
                "a save that was acknowledged is lost"
            ),
            1 | 3 => assert_eq!(row.as_deref(), Some("old"), "a session is lost"),
            2 => assert!(
                row.as_deref()
                    .is_some_and(|row| ["old", "unknown"].contains(&row)),
                "a save without an answer has happened by half"
            ),
            _ => {}
        }
        for store in [&here, &there] {
            assert_eq!(
                shown(store, &key(number), beyond).await,
                row,
                "a copy from before the outage is read beyond the bound"
            );
        }
    }
    let ways = [
        shown(here.database().inner(), &key(4), NOW).await,
        shown(here.database().inner(), &key(14), NOW).await,
    ];
    assert_eq!(
        ways.iter().flatten().count(),
        1,
        "a log-in without an answer left two keys, or none"
    );
}
