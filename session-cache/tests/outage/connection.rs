//! The way to a server: silent, slow, cut in the middle of an answer, refused.

use std::time::{Duration, Instant};

use session_cache::{CacheStore, RedisCacheConfig, RedisStore};
use session_core::store::{Saved, SessionStore as _, StoreError, Version};

use crate::support::proxy::Proxy;
use crate::support::{
    NOW, Server, assert_unavailable, change, connected, key, load, new, new_prefix, text,
};
use crate::{GRACE, Load, PATIENCE, STANDALONE, answers, assert_all_unavailable, recovered};

/// A store through a proxy, and one beside it.
async fn both() -> Option<(RedisStore, RedisStore, Proxy)> {
    let url = Server::Standalone.url()?;
    let proxy = Proxy::to(&url).await;
    let prefix = new_prefix();
    let config = |url: &str| {
        let config = RedisCacheConfig::from_url(url).expect("a URL");
        config.with_prefix(&prefix).expect("a prefix")
    };
    let through = connected(config(&proxy.url(&url)).with_timeout(PATIENCE)).await;
    let beside = connected(config(&url)).await;
    Some((CacheStore::new(through), CacheStore::new(beside), proxy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_way_that_falls_silent_is_unavailable_in_time_and_recovers() {
    let _alone = STANDALONE.lock().await;
    let Some((store, _, proxy)) = both().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let load = Load::start(&store, 20);
    load.visits(20).await;
    proxy.fall_silent(true);
    assert_all_unavailable(&store, &version).await;
    load.visits(20).await;
    proxy.speak();
    recovered(&store, &key(9)).await;
    load.stop().await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_costs_a_reader_nothing_but_time() {
    let _alone = STANDALONE.lock().await;
    let Some((store, beside, proxy)) = both().await else {
        return;
    };
    beside.create(&key(1), new("a"), NOW).await.unwrap();
    assert!(store.load(&key(1), NOW).await.unwrap().is_some());
    assert_eq!(proxy.connections(), 1);
    // As a firewall does that forgets a connection: new ones work.
    proxy.fall_silent(false);
    let record = load(&store, &key(1)).await.expect("it lives");
    assert_eq!(text(&record), "a");
    assert_eq!(proxy.connections(), 2, "the silent connection was kept");
}

#[tokio::test]
async fn a_slow_server_is_waited_for_as_long_as_allowed() {
    let _alone = STANDALONE.lock().await;
    let Some((store, beside, proxy)) = both().await else {
        return;
    };
    beside.create(&key(1), new("a"), NOW).await.unwrap();
    proxy.delay(PATIENCE / 8);
    assert!(store.load(&key(1), NOW).await.unwrap().is_some());
    proxy.delay(PATIENCE * 3);
    let started = Instant::now();
    let loaded = store.load(&key(1), NOW).await;
    assert_unavailable("load", loaded);
    assert!(started.elapsed() < PATIENCE + GRACE);
}

#[tokio::test]
async fn fail_03_a_write_whose_answer_is_cut_off_is_not_sent_again() {
    let _alone = STANDALONE.lock().await;
    let Some((store, beside, proxy)) = both().await else {
        return;
    };
    // So that the server knows the scripts, and what is cut off is not that it does not.
    drop(answers(&store, &Version::Counter(1)).await);
    for after in [0, 1, 3] {
        let (one, two) = (key(10 + 2 * after), key(11 + 2 * after));
        let cut = usize::try_from(after).expect("a few bytes");
        connect_again(&store).await;
        proxy.cut_next_answer(cut);
        let created = store.create(&one, new("a"), NOW).await;
        assert_unavailable("create", created);
        let record = load(&beside, &one)
            .await
            .expect("it was created all the same");
        let first = record.version;

        connect_again(&store).await;
        proxy.cut_next_answer(cut);
        let saved = store.save(&one, &first, change("b"), NOW).await;
        assert_unavailable("save", saved);
        let record = load(&beside, &one)
            .await
            .expect("it was saved all the same");
        assert_eq!(text(&record), "b");
        assert_eq!(record.version, next(&first), "the save was sent twice");

        let second = record.version;
        connect_again(&store).await;
        proxy.cut_next_answer(cut);
        let rotated = store.rotate(&one, &second, &two, change("c"), NOW).await;
        assert_unavailable("rotate", rotated);
        assert!(load(&beside, &one).await.is_none(), "the old key lives on");
        let record = load(&beside, &two)
            .await
            .expect("it was moved all the same");
        assert_eq!(record.version, next(&second));
    }
}

#[tokio::test]
async fn fail_03_reads_and_log_outs_whose_answer_is_cut_off_are_sent_once_more() {
    let _alone = STANDALONE.lock().await;
    let Some((store, beside, proxy)) = both().await else {
        return;
    };
    beside.create(&key(1), new("a"), NOW).await.unwrap();
    for cut in [0, 1, 50] {
        connect_again(&store).await;
        proxy.cut_next_answer(cut);
        assert!(
            load(&store, &key(1)).await.is_some(),
            "cut after {cut} bytes"
        );
    }
    connect_again(&store).await;
    proxy.cut_next_answer(1);
    store
        .delete(&key(1))
        .await
        .expect("a log-out is sent once more");
    assert!(load(&beside, &key(1)).await.is_none());
    // What was sent once more is not known to have been the first to remove it. It is gone, which is what counts.
    let saved = store
        .save(&key(1), &Version::Counter(1), change("b"), NOW)
        .await;
    assert_eq!(saved.unwrap(), Saved::Gone);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_request() {
    let _alone = STANDALONE.lock().await;
    let Some((store, _, _)) = both().await else {
        return;
    };
    let node = Server::Standalone.node().expect("it was there");
    let mut version = store.create(&key(1), new("a"), NOW).await.unwrap();
    for _ in 0..20 {
        let _killed: i64 = node.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        // The news is on its way to this program; a request that was sent before it came would be lost.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match store.save(&key(1), &version, change("b"), NOW).await {
            Ok(Saved::Stored(next)) => version = next,
            other => panic!("a save after the server had closed the connection: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_unavailable_at_once() {
    // Bound, so that nobody else gets it, and with nobody to answer.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let config = RedisCacheConfig::standalone(&format!("redis://127.0.0.1:{port}")).unwrap();
    let error = config.clone().connect().await.expect_err("nobody is there");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let store = CacheStore::new(config.build());
    let loaded = tokio::time::timeout(GRACE, store.load(&key(1), NOW)).await;
    assert_unavailable("load", loaded.expect("it waited for nothing"));
}

/// So that the next answer is not one to the greeting of a new connection.
async fn connect_again(store: &RedisStore) {
    let loaded = store.load(&key(999), NOW).await;
    assert!(loaded.expect("the server runs").is_none());
}

fn next(version: &Version) -> Version {
    match version {
        Version::Counter(number) => Version::Counter(number + 1),
        other => other.clone(),
    }
}
