//! A cluster: a node killed, a node frozen, slots that move.

use std::time::Instant;

use session_cache::{CacheStore, RedisStore};
use session_core::Owner;
use session_core::store::{EndScope, Page, Saved, SessionStore as _, StoreKey};

use crate::support::cluster::{healthy, holder_of, members};
use crate::support::{
    NOW, Server, assert_unavailable, bounded, change, connected, key, load, new, new_of,
    new_prefix, text,
};
use crate::{GRACE, Load, PATIENCE};

static CLUSTER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn store(prefix: &str) -> Option<RedisStore> {
    let config = Server::Cluster
        .config_with_prefix(prefix)?
        .with_timeout(PATIENCE);
    Some(CacheStore::new(connected(config).await))
}

async fn slot_of(prefix: &str, key: &StoreKey) -> u16 {
    let node = Server::Cluster.node().expect("it was there");
    let name = format!("{prefix}{}", key.as_str());
    node.ask(&["CLUSTER", "KEYSLOT", &name]).await
}

/// Waits until sessions can be made on every node again.
async fn recovered_everywhere(store: &RedisStore, from: u64) {
    for n in from..from + 30 {
        crate::recovered(store, &key(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_node_is_unavailable_and_comes_back() {
    let _alone = CLUSTER.lock().await;
    let prefix = new_prefix();
    let Some(store) = store(&prefix).await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let holder = holder_of(&prefix, &key(1)).await;
    let load_on_it = Load::start(&store, 20);
    load_on_it.visits(50).await;
    let victim = holder.node.victim().await;
    victim.kill();
    let started = Instant::now();
    assert_unavailable("load", bounded("load", store.load(&key(1), NOW)).await);
    let saved = bounded("save", store.save(&key(1), &version, change("b"), NOW)).await;
    assert_unavailable("save", saved);
    assert_unavailable("delete", bounded("delete", store.delete(&key(1))).await);
    assert!(started.elapsed() < PATIENCE * 3 + GRACE);
    load_on_it.visits(50).await;
    victim.let_it_start();
    healthy().await;
    recovered_everywhere(&store, 100).await;
    // It kept nothing, and nobody else's session was touched.
    let late = store.save(&key(1), &version, change("b"), NOW).await;
    assert_eq!(late.unwrap(), Saved::Gone);
    load_on_it.visits(50).await;
    load_on_it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_hangs_is_unavailable_in_time() {
    let _alone = CLUSTER.lock().await;
    let prefix = new_prefix();
    let Some(store) = store(&prefix).await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let holder = holder_of(&prefix, &key(1)).await;
    let load_on_it = Load::start(&store, 20);
    load_on_it.visits(50).await;
    let victim = holder.node.victim().await;
    victim.freeze();
    let started = Instant::now();
    assert_unavailable("load", bounded("load", store.load(&key(1), NOW)).await);
    let saved = bounded("save", store.save(&key(1), &version, change("b"), NOW)).await;
    assert_unavailable("save", saved);
    assert!(started.elapsed() < PATIENCE * 2 + GRACE);
    load_on_it.visits(20).await;
    victim.thaw();
    healthy().await;
    recovered_everywhere(&store, 100).await;
    load_on_it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_whose_slot_moves_is_followed_all_the_way() {
    let _alone = CLUSTER.lock().await;
    let prefix = new_prefix();
    let Some(store) = store(&prefix).await else {
        return;
    };
    let (one, owner) = (key(1), Owner::from("ada"));
    let mut version = store.create(&one, new_of("ada"), NOW).await.unwrap();
    let slot = slot_of(&prefix, &one).await.to_string();
    let from = holder_of(&prefix, &one).await;
    let to = members()
        .await
        .into_iter()
        .find(|member| member.id != from.id)
        .expect("three");
    let name = format!("{prefix}{}", one.as_str());
    let address = to.node.fact("tcp_port").await;

    for (from, to) in [(&from, &to), (&to, &from)] {
        let () = to
            .node
            .ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id])
            .await;
        let () = from
            .node
            .ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id])
            .await;
        // It is still here.
        version = saved_as(&store, &one, &version, "before").await;
        let port = to.node.fact("tcp_port").await;
        let moved = [
            "MIGRATE",
            "127.0.0.1",
            &port,
            &name,
            "0",
            "5000",
            "AUTH2",
            "sessions",
            &password(),
        ];
        let _ok: String = from.node.ask(&moved).await;
        // It is there, and the slot is not: the node says "ask the other one".
        let record = load(&store, &one)
            .await
            .expect("a session that moves is lost");
        assert_eq!(text(&record), "before");
        version = saved_as(&store, &one, &version, "during").await;
        for node in [&to.node, &from.node] {
            let () = node
                .ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to.id])
                .await;
        }
        version = saved_as(&store, &one, &version, "after").await;
    }
    assert!(!address.is_empty());
    healthy().await;
    let index = store.owner_index().expect("there is one");
    let listed = index
        .sessions_of(&owner, Page::first(9), NOW)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(index.end(&owner, EndScope::All).await.unwrap(), 1);
    assert!(load(&store, &one).await.is_none());
}

async fn saved_as(
    store: &RedisStore,
    key: &StoreKey,
    version: &session_core::store::Version,
    payload: &str,
) -> session_core::store::Version {
    let mut change = change(payload);
    change.owner = Some(Owner::from("ada"));
    match store.save(key, version, change, NOW).await {
        Ok(Saved::Stored(version)) => version,
        other => panic!("a save {payload} its slot moved: {other:?}"),
    }
}

fn password() -> String {
    let url = Server::Cluster.url().expect("it was there");
    let (_, rest) = url.split_once("://").expect("a URL");
    let (credentials, _) = rest.split_once('@').expect("a password");
    credentials
        .split_once(':')
        .expect("a password")
        .1
        .to_owned()
}
