//! A primary under a Sentinel: killed, and demoted.

use std::time::{Duration, Instant};

use session_cache::{CacheStore, RedisStore};
use session_core::store::{Saved, SessionStore as _};

use crate::support::nodes::Node;
use crate::support::{NOW, Server, WAIT_MAX, change, connected, key, load, new, new_prefix, text};
use crate::{Load, PATIENCE, SENTINEL, assert_all_unavailable, recovered};

async fn store() -> Option<RedisStore> {
    store_with(&new_prefix()).await
}

async fn store_with(prefix: &str) -> Option<RedisStore> {
    let config = Server::Sentinel
        .config_with_prefix(prefix)?
        .with_timeout(PATIENCE);
    Some(CacheStore::new(connected(config).await))
}

async fn another_primary(than: &str) -> Node {
    let started = Instant::now();
    loop {
        let primary = Server::Sentinel.primary().await;
        if primary.fact("tcp_port").await != than && primary.fact("role").await == "master" {
            return primary;
        }
        assert!(started.elapsed() < WAIT_MAX, "there is no failover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_primary_is_followed_by_the_replica_without_a_restart() {
    let _alone = SENTINEL.lock().await;
    let Some(store) = store().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let primary = Server::Sentinel.primary().await;
    primary.replicated().await;
    let load_on_it = Load::start(&store, 20);
    load_on_it.visits(50).await;
    let victim = primary.victim().await;
    victim.kill();
    load_on_it.visits(50).await;
    recovered(&store, &key(9)).await;
    let record = load(&store, &key(1)).await.expect("it had been replicated");
    assert_eq!(text(&record), "a");
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    load_on_it.visits(50).await;
    load_on_it.stop().await;
    victim.let_it_start();
    // The old one comes back as a replica, and nobody takes it for the primary.
    primary.wait_for_fact("role", "slave").await;
    Server::Sentinel.primary().await.replicated().await;
    assert_eq!(text(&load(&store, &key(1)).await.expect("it lives")), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_demoted_primary_is_not_written_to() {
    let _alone = SENTINEL.lock().await;
    let prefix = new_prefix();
    let Some(store) = store_with(&prefix).await else {
        return;
    };
    store.create(&key(1), new("a"), NOW).await.unwrap();
    let primary = Server::Sentinel.primary().await;
    let port = primary.fact("tcp_port").await;
    primary.replicated().await;
    let load_on_it = Load::start(&store, 20);
    load_on_it.visits(50).await;
    let sentinel = Server::Sentinel.node().expect("it was there");
    let started = Instant::now();
    let mut connection = sentinel.connect().await;
    // One that has just failed over may not be ready for the next.
    while let Err(error) = sentinel
        .ask_on::<()>(&mut connection, &["SENTINEL", "FAILOVER", "sessions"])
        .await
    {
        assert!(started.elapsed() < WAIT_MAX, "no failover begins: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let next = another_primary(&port).await;
    primary.wait_for_fact("role", "slave").await;
    recovered(&store, &key(9)).await;
    load_on_it.visits(50).await;
    load_on_it.stop().await;
    next.replicated().await;
    // What was just written is on the new one.
    let version = recovered(&store, &key(10)).await;
    let name = format!("{prefix}{}", key(10).as_str());
    let is_there: bool = next.ask(&["EXISTS", &name]).await;
    assert!(is_there, "a session was not written to the new primary");
    assert_eq!(
        load(&store, &key(10)).await.expect("it lives").version,
        version
    );
}

#[tokio::test]
async fn without_any_sentinel_everything_is_unavailable_until_one_is_there() {
    let _alone = SENTINEL.lock().await;
    let Some(store) = store().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let sentinel = Server::Sentinel.node().expect("it was there");
    let victim = sentinel_victim(&sentinel).await;
    victim.freeze();
    // The connection that there is needs no Sentinel.
    let still = store.load(&key(1), NOW).await;
    let primary = {
        // Its address is in the store's connection alone: a new store has to ask.
        let config = Server::Sentinel.config().expect("it was there");
        let fresh = CacheStore::new(config.with_timeout(PATIENCE).build());
        assert_all_unavailable(&fresh, &version).await;
        fresh
    };
    victim.thaw();
    assert!(still.expect("it is connected").is_some());
    recovered(&primary, &key(9)).await;
}

/// A Sentinel has no `CONFIG GET dir`, and is only frozen.
async fn sentinel_victim(sentinel: &Node) -> crate::support::nodes::Victim {
    crate::support::nodes::Victim::to_freeze(sentinel.fact("process_id").await)
}
