//! Connections that can't be had, that say nothing, or that break with an answer on them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_core::store::{Saved, SessionStore as _, Version};
use session_db::sqlx::mysql::MySqlPoolOptions;
use session_db::sqlx::postgres::PgPoolOptions;
use session_db::{DbPool, DbStoreConfig};

use crate::servers::proxy::Proxy;
use crate::servers::records::{
    LATER, NOW, assert_unavailable, bounded, chain, change, key_in_order as key, new,
};
use crate::servers::{Database, Server};
use crate::support::{
    PATIENCE, assert_all_unavailable, assert_unharmed, create_record, dead_port, impatient,
    one_connection,
};

const NO_CONNECTION: &str = "no connection was to be had in time";

pub(crate) async fn refuse(database: Database) {
    let url = Proxy::url_at(&database.url, dead_port());
    let config = DbStoreConfig::new().with_timeout(PATIENCE);
    let store = match database.server {
        Server::MariaDb => config.clone().with_pool(
            MySqlPoolOptions::new()
                .connect_lazy(&url)
                .expect("the URL is right"),
        ),
        Server::Postgres | Server::PgBouncer => config.clone().with_pool(
            PgPoolOptions::new()
                .connect_lazy(&url)
                .expect("the URL is right"),
        ),
    };
    assert_all_unavailable(&store, &Version::Counter(1), NO_CONNECTION).await;
    let connected = bounded("connect", config.connect(&url)).await;
    let error = connected.expect_err("nobody is there");
    let text = chain(&error);
    assert!(text.contains("is the database running"), "{text}");
}

pub(crate) async fn stall(mut database: Database) {
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let patient = database.store(DbStoreConfig::new()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    // Loads alone: what waits behind the proxy is done when it opens.
    proxy.stall(true);
    for _ in 0..3 {
        let loaded = bounded("load", store.load(&key(1), NOW)).await;
        assert_unavailable(loaded, "");
    }
    let checked = bounded("check", store.check()).await;
    let text = chain(&checked.expect_err("a server that says nothing was taken for a good one"));
    assert!(text.contains("in time"), "{text}");
    let migrated = bounded("migrate", store.migrate()).await;
    let text = chain(&migrated.expect_err("a server that says nothing was taken for a good one"));
    assert!(text.contains("in time"), "{text}");
    let config = DbStoreConfig::new().with_timeout(PATIENCE);
    let connected = bounded("connect", config.connect(&database.url)).await;
    let text = chain(&connected.expect_err("nobody answers"));
    assert!(text.contains(NO_CONNECTION), "{text}");
    proxy.stall(false);
    assert_unharmed(&patient, &version).await;
}

pub(crate) async fn lose_answers(mut database: Database) {
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = database.store(one_connection()).await;
    let later = LATER.saturating_add(Duration::from_secs(9));
    // A new connection prepares a statement before it runs it: that answer is not the one to lose.
    let number = AtomicU64::new(100);
    let warm_up = async || {
        let key = || key(number.fetch_add(1, Ordering::SeqCst));
        let (one, other) = (key(), key());
        let version = store.create(&one, new("a"), NOW).await.expect("it works");
        store.load(&one, NOW).await.expect("it works");
        store.touch(&one, later, NOW).await.expect("it works");
        let saved = store.save(&one, &version, change("b"), NOW).await;
        let Ok(Saved::Stored(version)) = saved else {
            panic!("a save was answered {saved:?}");
        };
        let rotated = store.rotate(&one, &version, &other, change("c"), NOW).await;
        assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
        store.delete(&other).await.expect("it works");
        proxy.lose_answers(1);
    };
    let payload = async |number: u64| {
        let record = store.load(&key(number), NOW).await.expect("it works again");
        record.map(|record| record.payload.to_bytes().expect("bytes"))
    };

    let version = create_record(&store).await.expect("the server runs");
    warm_up().await;
    assert_eq!(
        payload(1).await.as_deref(),
        Some(&b"a"[..]),
        "a lost answer"
    );
    warm_up().await;
    let touched = store.touch(&key(1), later, NOW).await;
    touched.expect("a second try");
    let record = store.load(&key(1), NOW).await.expect("it works again");
    assert_eq!(record.expect("it lives").expires_at, later);

    // What is not safe to send again is not: a save that is there already would look like somebody else's.
    warm_up().await;
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert_unavailable(saved, "");
    let record = store.load(&key(1), NOW).await.expect("it works again");
    let record = record.expect("the record survived");
    let stored = record.payload.to_bytes().expect("bytes");
    assert_eq!(stored, "b", "the server had stored it");
    warm_up().await;
    let rotated = store
        .rotate(&key(1), &record.version, &key(2), change("c"), NOW)
        .await;
    assert_unavailable(rotated, "");
    assert_eq!(payload(1).await, None, "one session has two keys");
    assert_eq!(payload(2).await.as_deref(), Some(&b"c"[..]), "it has none");
    warm_up().await;
    assert_unavailable(store.create(&key(3), new("a"), NOW).await, "");
    assert_eq!(payload(3).await.as_deref(), Some(&b"a"[..]));
    warm_up().await;
    store.delete(&key(2)).await.expect("a second try");
    assert_eq!(payload(2).await, None, "a deleted session lives");
}

pub(crate) async fn exhaust_pool(database: Database) {
    let patient = database.store(one_connection()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    // The application uses the same pool for a transaction of its own, and takes its time.
    match store.pool() {
        DbPool::Postgres(pool) => {
            let held = pool.begin().await.expect("a connection");
            assert_all_unavailable(&store, &version, NO_CONNECTION).await;
            held.rollback().await.expect("the server runs");
        }
        DbPool::MySql(pool) => {
            let held = pool.begin().await.expect("a connection");
            assert_all_unavailable(&store, &version, NO_CONNECTION).await;
            held.rollback().await.expect("the server runs");
        }
        other => panic!("no test has such a pool: {other:?}"),
    }
    assert_unharmed(&patient, &version).await;
}
