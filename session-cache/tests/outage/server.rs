//! One server: killed, restarted, frozen, full, busy, demoted.

use std::time::{Duration, Instant};

use session_cache::{Cache as _, CacheStore, RedisStore};
use session_core::store::{Saved, SessionStore as _, StoreError};

use crate::support::nodes::Node;
use crate::support::{NOW, Server, assert_unavailable, change, connected, key, load, new, text};
use crate::{Load, PATIENCE, STANDALONE, answers, assert_all_unavailable, recovered};

async fn store_and_node() -> Option<(RedisStore, Node)> {
    let config = Server::Standalone.config()?.with_timeout(PATIENCE);
    let store = CacheStore::new(connected(config).await);
    Some((store, Server::Standalone.node()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_is_unavailable_and_comes_back_empty() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let load = Load::start(&store, 20);
    load.visits(50).await;
    let victim = node.victim().await;
    victim.kill();
    assert_all_unavailable(&store, &version).await;
    load.visits(50).await;
    victim.let_it_start();
    recovered(&store, &key(9)).await;
    // It kept nothing: the visitor has to log in again, and is told so by no error.
    assert!(store.load(&key(1), NOW).await.unwrap().is_none());
    let late = store.save(&key(1), &version, change("b"), NOW).await;
    assert_eq!(
        late.unwrap(),
        Saved::Gone,
        "a late save brought a session back"
    );
    load.visits(50).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_comes_back_with_an_old_snapshot_loses_no_update_silently() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let first = store.create(&key(1), new("a"), NOW).await.unwrap();
    let () = node.ask(&["SAVE"]).await;
    let saved = store.save(&key(1), &first, change("b"), NOW).await;
    let Ok(Saved::Stored(second)) = saved else {
        panic!("{saved:?}");
    };
    store.create(&key(2), new("since then"), NOW).await.unwrap();
    let load = Load::start(&store, 10);
    load.visits(20).await;
    let victim = node.victim().await;
    victim.kill();
    load.visits(20).await;
    victim.let_it_start();
    recovered(&store, &key(9)).await;
    let record = store
        .load(&key(1), NOW)
        .await
        .unwrap()
        .expect("it was in the snapshot");
    assert_eq!(text(&record), "a");
    assert_eq!(record.version, first);
    assert!(store.load(&key(2), NOW).await.unwrap().is_none());
    let late = store.save(&key(1), &second, change("c"), NOW).await;
    assert_eq!(
        late.unwrap(),
        Saved::Conflict,
        "a save that builds on what was lost was taken for one on the snapshot"
    );
    load.stop().await;
    let folder = std::path::PathBuf::from(node.setting("dir").await);
    let () = node.ask(&["FLUSHALL"]).await;
    std::fs::remove_file(folder.join("dump.rdb")).expect("the snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dos_07_fail_04_a_server_that_hangs_is_unavailable_in_time() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let load = Load::start(&store, 20);
    load.visits(20).await;
    let victim = node.victim().await;
    victim.freeze();
    assert_all_unavailable(&store, &version).await;
    load.visits(20).await;
    victim.thaw();
    recovered(&store, &key(9)).await;
    load.visits(20).await;
    load.stop().await;
}

#[tokio::test]
async fn fail_04_a_full_server_takes_no_new_session_and_still_ends_old_ones() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    node.set("maxmemory", "1").await;
    let created = store.create(&key(2), new("b"), NOW).await;
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    let there = load(&store, &key(1)).await;
    let deleted = store.delete(&key(1)).await;
    node.set("maxmemory", "0").await;
    assert_unavailable("create", created);
    assert_unavailable("save", saved);
    assert_eq!(text(&there.expect("a full server can be read")), "a");
    assert!(
        deleted.expect("a full server"),
        "nobody can log out of a full server"
    );
    store.create(&key(2), new("b"), NOW).await.unwrap();
}

#[tokio::test]
async fn fail_04_a_server_that_is_busy_with_anothers_script_is_unavailable() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    node.set("busy-reply-threshold", "10").await;
    let busy = {
        let node = node.clone();
        tokio::spawn(async move {
            let mut connection = node.connect().await;
            let endless = ["EVAL", "while true do end", "0"];
            node.ask_on::<()>(&mut connection, &endless).await
        })
    };
    // Until it answers that it is busy.
    let started = Instant::now();
    let mut connection = node.connect().await;
    while node
        .ask_on::<String>(&mut connection, &["PING"])
        .await
        .is_ok()
    {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it does not get busy"
        );
    }
    assert_all_unavailable(&store, &version).await;
    let () = node.ask(&["SCRIPT", "KILL"]).await;
    assert!(busy.await.expect("it ends").is_err());
    node.set("busy-reply-threshold", "5000").await;
    assert_eq!(text(&load(&store, &key(1)).await.expect("it lives")), "a");
}

#[tokio::test]
async fn fail_04_a_server_that_has_become_a_replica_takes_no_write_and_is_left() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let () = node.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    node.set("replica-serve-stale-data", "no").await;
    let all = answers(&store, &version).await;
    node.set("replica-serve-stale-data", "yes").await;
    for (what, answer) in all {
        assert_unavailable(what, answer);
    }
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert_unavailable("save to a replica", saved);
    let () = node.ask(&["REPLICAOF", "NO", "ONE"]).await;
    let record = load(&store, &key(1)).await.expect("it lives");
    assert_eq!(record.version, version, "a replica was written to");
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_is_told_them_again() {
    let _alone = STANDALONE.lock().await;
    let Some((store, node)) = store_and_node().await else {
        return;
    };
    let version = store.create(&key(1), new("a"), NOW).await.unwrap();
    let () = node.ask(&["SCRIPT", "FLUSH"]).await;
    for (what, answer) in answers(&store, &version).await {
        assert!(answer.is_ok(), "{what} failed: {answer:?}");
        let () = node.ask(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_one_sessions_problem() {
    let _alone = STANDALONE.lock().await;
    let prefix = crate::support::new_prefix();
    let Some(config) = Server::Standalone.config_with_prefix(&prefix) else {
        return;
    };
    let store = CacheStore::new(connected(config).await);
    let node = Server::Standalone.node().expect("it was there");
    let healthy = store.create(&key(2), new("b"), NOW).await.unwrap();
    let name = format!("{prefix}{}", key(1).as_str());
    for spoil in [
        &["LPUSH", &name, "x"][..],
        &["SET", &name, "something else"],
        &["SET", &name, "SES1E00"],
        &["SET", &name, "SES2E"],
    ] {
        let _length: redis::Value = node.ask(spoil).await;
        for (what, answer) in answers(&store, &healthy).await {
            let is_about_key_1 = ["load", "save", "touch", "rotate"].contains(&what);
            let is_damaged = matches!(answer, Err(StoreError::Damaged { .. }));
            assert_eq!(is_damaged, is_about_key_1, "{spoil:?}: {what}: {answer:?}");
        }
        // The operations above ended with a delete, which worked.
        assert!(store.load(&key(1), NOW).await.unwrap().is_none());
        assert_eq!(
            text(&load(&store, &key(2)).await.expect("the other lives")),
            "b"
        );
        let _length: redis::Value = node.ask(spoil).await;
        let buried = store.cache().bury(&key(1), Duration::from_secs(60)).await;
        buried.expect("what can't be read can be buried");
        let _removed: i64 = node.ask(&["DEL", &name]).await;
        store.delete(&key(4)).await.unwrap();
    }
}
