//! What whoever has the server's memory, its files or its slow log does not get, and what no input does to a command.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use session_cache::CacheStore;
use session_core::Owner;
use session_core::conformance::live_with_secrets;
use session_core::store::{
    Change, EndScope, ExpiryChange, Label, NewRecord, Page, Payload, SessionStore, StoreKey,
};
use support::monitor::Monitor;
use support::{LATER, NOW, Server, connected, new_prefix};

session_core::security_suite!(
    || async { Server::Standalone.store_or_standin().await },
    name: standalone
);
session_core::security_suite!(
    || async { Server::Cluster.store_or_standin().await },
    name: cluster
);

#[tokio::test]
async fn rest_01_no_value_snapshot_or_log_of_the_server_tells_a_key_a_name_or_a_value() {
    let Some(store) = Server::Standalone.store().await else {
        return;
    };
    let node = Server::Standalone.node().expect("it was there");
    let before = node.setting("slowlog-log-slower-than").await;
    let length_before = node.setting("slowlog-max-len").await;
    node.set("slowlog-log-slower-than", "0").await;
    node.set("slowlog-max-len", "5000").await;
    let used = live_with_secrets(Arc::new(store)).await;
    let slow: redis::Value = node.ask(&["SLOWLOG", "GET", "5000"]).await;
    node.set("slowlog-log-slower-than", &before).await;
    node.set("slowlog-max-len", &length_before).await;
    let canaries = used.unwrap();
    let clean = |place: &str, bytes: &[u8]| {
        assert_eq!(canaries.found_in(bytes), None, "in {place}");
    };
    let mut told = Vec::new();
    flatten(&slow, &mut told);
    assert!(told.len() > 1_000, "the slow log is not looked at");
    clean("the slow log", &told);

    let folder = node.setting("dir").await;
    let name = node.setting("dbfilename").await;
    let () = node.ask(&["SAVE"]).await;
    let snapshot = fs::read(Path::new(&folder).join(name)).unwrap();
    assert!(snapshot.len() > 100, "the snapshot is not looked at");
    clean("the snapshot", &snapshot);

    // A snapshot may be compressed: each value once more, as it is served.
    let mut cursor = "0".to_owned();
    let mut values = 0;
    loop {
        let (next, names): (String, Vec<String>) = node.ask(&["SCAN", &cursor]).await;
        for name in names {
            clean("a key", name.as_bytes());
            let kind: String = node.ask(&["TYPE", &name]).await;
            let value: redis::Value = match kind.as_str() {
                "string" => node.ask(&["GET", &name]).await,
                "zset" => node.ask(&["ZRANGE", &name, "0", "-1"]).await,
                _ => continue,
            };
            let mut held = Vec::new();
            flatten(&value, &mut held);
            clean("a value", &held);
            values += 1;
        }
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert!(values > 2, "no value was looked at");
}

/// All bytes that are in an answer.
#[cfg(test)]
fn flatten(value: &redis::Value, into: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(bytes) => into.extend_from_slice(bytes),
        redis::Value::SimpleString(text) => into.extend_from_slice(text.as_bytes()),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            for value in values {
                flatten(value, into);
                into.push(b' ');
            }
        }
        _ => {}
    }
}

/// What a client may send about sessions. Nothing here goes through all keys, or takes a pattern.
#[cfg(test)]
const COMMANDS: [&str; 5] = ["EVAL", "EVALSHA", "GET", "ZRANGEBYSCORE", "ZREM"];

/// What scripts may do.
#[cfg(test)]
const IN_SCRIPTS: [&str; 14] = [
    "DEL",
    "EXISTS",
    "EXPIREAT",
    "GET",
    "GETRANGE",
    "PEXPIRE",
    "PTTL",
    "SET",
    "SETRANGE",
    "STRLEN",
    "TIME",
    "ZADD",
    "ZREM",
    "ZREMRANGEBYSCORE",
];

#[tokio::test]
async fn in_03_in_04_inputs_are_arguments_and_no_command_goes_through_all_keys() {
    for server in [Server::Standalone, Server::Cluster] {
        let prefix = new_prefix();
        let Some(config) = server.config_with_prefix(&prefix) else {
            continue;
        };
        let store = CacheStore::new(connected(config).await);
        let monitor = Monitor::of(server).await;
        let every_byte: Vec<u8> = (0..=u8::MAX).collect();
        let hostile = [
            "*",
            "[a-z]*",
            "{x}",
            "a b",
            "\r\nFLUSHALL\r\n",
            "\0",
            "'; redis.call('FLUSHALL')",
            "%s",
            "\u{1f600}",
            "KEYS *",
        ];
        let mut scripts = Vec::new();
        for (round, text) in (0_u64..).zip(hostile.iter().cycle().take(30)) {
            let key =
                |number: u64| StoreKey::parse(&format!("{number:02x}{round:038x}")).expect("a key");
            let mut record = NewRecord::new(Payload::from_bytes(every_byte.clone()), LATER);
            let owner = Owner::from(*text);
            record.owner = Some(owner.clone());
            record.label = Some(Label::new(text));
            let version = store.create(&key(1), record, NOW).await.unwrap();
            let loaded = store.load(&key(1), NOW).await.unwrap().unwrap();
            assert_eq!(loaded.payload.to_bytes().unwrap(), every_byte);
            assert_eq!(loaded.owner, Some(owner.clone()));
            let payload = Payload::from_bytes((*text).to_owned());
            let mut change = Change::new(payload, ExpiryChange::Keep);
            change.owner = Some(owner.clone());
            let moved = store.rotate(&key(1), &version, &key(2), change, NOW).await;
            drop(moved.unwrap());
            assert!(
                store
                    .touch(&key(2), LATER.saturating_add(support::WAIT_MAX), NOW)
                    .await
                    .unwrap()
            );
            let index = store.owner_index().expect("there is one");
            let listed = index
                .sessions_of(&owner, Page::first(5), NOW)
                .await
                .unwrap();
            assert_eq!(listed.len(), 1, "{text:?}");
            assert_eq!(index.end(&owner, EndScope::All).await.unwrap(), 1);
            assert_eq!(store.clear_expired(NOW, &mut |_| {}).await.unwrap(), 0);
            if round % 10 == 9 {
                let heard = monitor.commands(&prefix).await;
                assert!(!heard.is_empty(), "{server:?}: nothing was heard");
                let mut sent = BTreeSet::new();
                for line in &heard {
                    let words: Vec<&str> = line.split('"').collect();
                    let command = words.get(1).copied().unwrap_or_default().to_uppercase();
                    assert!(
                        COMMANDS.contains(&command.as_str()),
                        "{server:?} was sent {command}"
                    );
                    let script = words.get(3).copied().unwrap_or_default();
                    if command.starts_with("EVAL") {
                        sent.insert(script.to_owned());
                    }
                }
                scripts.push(sent);
            }
        }
        assert_eq!(
            scripts[1], scripts[2],
            "{server:?}: a script's text depends on what it is given"
        );
    }
}

#[test]
fn in_04_no_script_goes_through_all_keys() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis/lua");
    let mut called = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for call in text
            .split("redis.call(")
            .chain(text.split("redis.pcall("))
            .skip(1)
        {
            let Some(quoted) = call.strip_prefix('\'') else {
                continue;
            };
            called.insert(quoted.split('\'').next().unwrap().to_owned());
        }
    }
    assert!(called.len() > 3, "no script was looked at: {called:?}");
    for command in &called {
        assert!(
            IN_SCRIPTS.contains(&command.as_str()),
            "a script calls {command}"
        );
    }
}
