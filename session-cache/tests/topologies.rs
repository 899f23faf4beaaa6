//! The ways to reach a Redis: with users and passwords, through a socket, by database, by the wrong door; and what `check` finds.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use session_cache::{CacheStore, RedisCacheConfig, RedisStore, RedisSubject, Severity};
use session_core::store::{SessionStore as _, StoreError};
use support::{NOW, Server, chain, connected, key, new, new_of, new_prefix};

/// Host and port of the standalone server, and its password.
#[cfg(test)]
fn address() -> Option<(String, String)> {
    let url = Server::Standalone.url()?;
    let rest = url
        .strip_prefix("redis://:")
        .expect("xtask gives a URL with a password");
    let (password, rest) = rest.split_once('@').expect("a password");
    let (host, _) = rest.split_once('/').expect("a database");
    Some((host.to_owned(), password.to_owned()))
}

#[cfg(test)]
async fn works(store: &RedisStore) {
    let key = key(u64::from(std::process::id()));
    store
        .create(&key, new_of("ada"), NOW)
        .await
        .expect("a session can be made");
    assert!(store.load(&key, NOW).await.unwrap().is_some());
    assert!(store.delete(&key).await.unwrap());
}

#[cfg(test)]
async fn refused(config: RedisCacheConfig, expected: &str) {
    match config.connect().await {
        Err(error @ StoreError::Misconfigured { .. }) => {
            assert!(chain(&error).contains(expected), "{}", chain(&error));
        }
        other => panic!("should be misconfigured ({expected}): {other:?}"),
    }
}

#[tokio::test]
async fn one_line_connects() {
    for server in [Server::Standalone, Server::Cluster, Server::Sentinel] {
        if let Some(url) = server.url() {
            works(&RedisStore::connect(&url).await.expect("the server answers")).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_says_what_to_do() {
    let Some((host, password)) = address() else {
        return;
    };
    let at = |url: String| RedisCacheConfig::standalone(&url).expect("a URL");
    refused(at(format!("redis://{host}")), "password").await;
    refused(at(format!("redis://:canary@{host}")), "URL").await;
    refused(at(format!("redis://nobody:canary@{host}")), "URL").await;
    let given = at(format!("redis://{host}")).with_credentials(None, &password);
    works(&CacheStore::new(connected(given).await)).await;
}

#[tokio::test]
async fn a_user_who_may_only_what_sessions_need_is_enough() {
    let Some((host, _)) = address() else {
        return;
    };
    let node = Server::Standalone.node().expect("it was there");
    let prefix = new_prefix();
    let keys = format!("~{prefix}*");
    let () = node
        .ask(&[
            "ACL",
            "SETUSER",
            "shop",
            "on",
            ">shop-password",
            &keys,
            "-@all",
            "+@connection",
            "+get",
            "+set",
            "+getrange",
            "+setrange",
            "+strlen",
            "+exists",
            "+del",
            "+pexpire",
            "+pttl",
            "+zadd",
            "+zrem",
            "+zrangebyscore",
            "+zremrangebyscore",
            "+evalsha",
            "+eval",
            "+info",
        ])
        .await;
    let config =
        RedisCacheConfig::standalone(&format!("redis://shop:shop-password@{host}")).unwrap();
    let own = connected(config.clone().with_prefix(&prefix).unwrap()).await;
    own.check().await.expect("it may ask");
    works(&CacheStore::new(own)).await;

    let foreign = CacheStore::new(connected(config.with_prefix("another:").unwrap()).await);
    let created = foreign.create(&key(1), new("a"), NOW).await;
    let Err(StoreError::Misconfigured { advice, .. }) = created else {
        panic!("a user without the right was answered with {created:?}");
    };
    assert!(advice.contains("grant"), "{advice}");
    let _deleted: i64 = node.ask(&["ACL", "DELUSER", "shop"]).await;
}

#[tokio::test]
async fn databases_are_kept_apart() {
    let Some((host, password)) = address() else {
        return;
    };
    let prefix = new_prefix();
    let config = |database: i64| {
        let config = RedisCacheConfig::standalone(&format!("redis://:{password}@{host}")).unwrap();
        config.with_prefix(&prefix).unwrap().with_database(database)
    };
    let (zero, one) = (connected(config(0)).await, connected(config(1)).await);
    let (zero, one) = (CacheStore::new(zero), CacheStore::new(one));
    zero.create(&key(1), new("a"), NOW).await.unwrap();
    assert!(one.load(&key(1), NOW).await.unwrap().is_none());
    works(&one).await;
    refused(config(9_999), "database").await;
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    let Some((_, password)) = address() else {
        return;
    };
    let socket = Server::Standalone
        .node()
        .unwrap()
        .setting("unixsocket")
        .await;
    assert!(!socket.is_empty(), "the test's server has no socket");
    let url = format!("unix://{socket}?pass={password}");
    works(
        &RedisStore::connect(&url)
            .await
            .expect("the socket is there"),
    )
    .await;
}

#[tokio::test]
async fn the_older_protocol_works() {
    let Some(url) = Server::Standalone.url() else {
        return;
    };
    works(
        &RedisStore::connect(&format!("{url}?protocol=resp2"))
            .await
            .unwrap(),
    )
    .await;
}

#[tokio::test]
async fn the_wrong_constructor_names_the_right_one() {
    let Some((host, password)) = address() else {
        return;
    };
    let cluster = RedisCacheConfig::cluster([format!("redis://:{password}@{host}")]).unwrap();
    refused(cluster, "redis://").await;
    let service =
        RedisCacheConfig::sentinel([format!("redis://:{password}@{host}")], "sessions").unwrap();
    assert!(
        service.connect().await.is_err(),
        "a server was taken for a Sentinel"
    );

    if let Some(url) = Server::Cluster.url() {
        let url = url.replacen("redis-cluster", "redis", 1);
        let store = RedisStore::connect(&url).await.expect("a node answers");
        let mut advice = Vec::new();
        for number in 0..30 {
            match store.load(&key(number), NOW).await {
                Err(StoreError::Misconfigured { advice: text, .. }) => advice.push(text),
                other => drop(other.expect("this node has the key")),
            }
        }
        assert!(
            advice.iter().any(|text| text.contains("cluster")),
            "a node of a cluster was taken for all of it: {advice:?}"
        );
    }
    if let Some(url) = Server::Sentinel.url() {
        let config =
            RedisCacheConfig::from_url(&url.replacen("/sessions/", "/unknown/", 1)).unwrap();
        refused(config, "service").await;
    }
}

#[tokio::test]
async fn the_next_sentinel_is_asked_when_one_is_down() {
    let Some(url) = Server::Sentinel.url() else {
        return;
    };
    // Nobody listens at port 1.
    let (before, host) = url.split_once('@').expect("a user");
    let url = format!("{before}@127.0.0.1:1,{host}");
    works(
        &RedisStore::connect(&url)
            .await
            .expect("one Sentinel answers"),
    )
    .await;
}

#[tokio::test]
async fn check_finds_what_the_server_is_set_to() {
    let Some(config) = Server::Standalone.config() else {
        return;
    };
    let cache = connected(config).await;
    let node = Server::Standalone.node().expect("it was there");
    let found = |findings: Vec<session_cache::RedisFinding>| -> Vec<(RedisSubject, Severity)> {
        let pairs = findings
            .iter()
            .map(|finding| (finding.subject, finding.severity));
        pairs.collect()
    };
    let persistence = (RedisSubject::Persistence, Severity::Warning);
    assert_eq!(found(cache.check().await.unwrap()), [persistence]);
    node.set("maxmemory-policy", "allkeys-lru").await;
    let harmless = found(cache.check().await.unwrap());
    node.set("maxmemory", "1gb").await;
    let harmful = found(cache.check().await.unwrap());
    node.set("maxmemory", "0").await;
    node.set("maxmemory-policy", "noeviction").await;
    assert_eq!(
        harmless,
        [(RedisSubject::Eviction, Severity::Warning), persistence]
    );
    assert_eq!(
        harmful,
        [(RedisSubject::Eviction, Severity::Error), persistence]
    );

    if let Some(config) = Server::Sentinel.config() {
        let findings = found(connected(config).await.check().await.unwrap());
        assert!(
            findings.contains(&(RedisSubject::Replication, Severity::Warning)),
            "a primary that takes writes while it is cut off was not found: {findings:?}"
        );
    }
    if let Some(config) = Server::Cluster.config() {
        let findings = found(connected(config).await.check().await.unwrap());
        assert_eq!(
            findings,
            [persistence],
            "three nodes with one flaw are one finding"
        );
    }
}
