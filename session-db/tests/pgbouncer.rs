//! PostgreSQL behind PgBouncer in transaction mode, where each transaction may be on another connection of the server.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use std::hash::{BuildHasher as _, RandomState};

    use session_db::{DbStore, DbStoreConfig, TableName};
    use tempfile::TempDir;

    use crate::servers::Server;
    use crate::servers::records::PATIENT;

    /// The URL that the crate's documentation gives for a pooler: nothing is prepared, since the next transaction would
    /// not find it.
    pub(crate) fn url() -> Option<String> {
        let url = Server::PgBouncer.url()?;
        Some(format!("{url}?statement-cache-capacity=0"))
    }

    pub(crate) fn config() -> DbStoreConfig {
        let table = format!("t_{:016x}", RandomState::new().hash_one(0_u8));
        DbStoreConfig::new()
            .with_timeout(PATIENT)
            .with_table(TableName::parse(&table).expect("a name"))
            .with_connections_max(6)
    }

    /// A store in a table of its own. Without PgBouncer the tests say aloud that they are skipped (and fail in CI); what
    /// they then do on SQLite says nothing about PgBouncer.
    pub(crate) async fn new_store() -> (DbStore, Option<TempDir>) {
        let (url, folder) = match url() {
            Some(url) => (url, None),
            None => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let url = format!("sqlite:{}", folder.path().join("test.db").display());
                (url, Some(folder))
            }
        };
        let store = config().connect(&url).await.expect("the server runs");
        store.migrate().await.expect("a role that may make tables");
        (store, folder)
    }
}

use std::str::FromStr as _;

use session_core::store::{SessionStore as _, StoreError};
use session_db::DbStore;
use session_db::sqlx::PgPool;
use session_db::sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use servers::records::{NOW, bounded, chain, key_in_order as key, new, patient_manager};
use servers::{Server, request};
use support::{config, new_store, url};

session_core::conformance_suite!(|| async { new_store().await });

#[tokio::test(flavor = "multi_thread")]
async fn fifty_writers_of_one_session_all_get_through() {
    const WRITERS: u64 = 50;
    if url().is_none() {
        return;
    }
    let (store, _) = new_store().await;
    store
        .check()
        .await
        .expect("nothing is wrong with PgBouncer");
    let manager = patient_manager(store.clone());
    let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
    let cookie = created.expect("the server runs").1.expect("a new session");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        // Managers of their own, as processes have them: within one, requests on a session take turns.
        let (manager, cookie) = (patient_manager(store.clone()), cookie.clone());
        writers.push(tokio::spawn(async move {
            request(&manager, Some(&cookie), |session| {
                session.modify("count", |count: &mut u64| *count += 1)
            })
            .await
        }));
    }
    for writer in writers {
        let (modified, _) = writer
            .await
            .expect("it does not panic")
            .unwrap_or_else(|error| panic!("a writer did not get through: {}", chain(&error)));
        modified.expect("a number");
    }
    let (count, _) = request(&manager, Some(&cookie), |session| {
        session.get::<u64>("count")
    })
    .await
    .expect("the server runs");
    assert_eq!(count.expect("a number"), Some(WRITERS), "updates were lost");
}

/// An application's own pool, with the statement cache off as the documentation says.
#[tokio::test]
async fn an_own_pool_works_with_its_statement_cache_off() {
    let Some(url) = Server::PgBouncer.url() else {
        return;
    };
    let options = PgConnectOptions::from_str(&url).expect("the URL is right");
    let pool = PgPoolOptions::new()
        .max_connections(6)
        .connect_with(options.statement_cache_capacity(0).extra_float_digits(None))
        .await
        .expect("the server runs");
    let store = config().with_pool(pool);
    store.migrate().await.expect("a role that may make tables");
    let mut tasks = Vec::new();
    for number in 0..50 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.create(&key(number), new("a"), NOW).await?;
            store.load(&key(number), NOW).await
        }));
    }
    for task in tasks {
        match task.await.expect("it does not panic") {
            Ok(record) => assert!(record.is_some(), "a session was lost"),
            Err(error) => panic!("PgBouncer was in the way: {}", chain(&error)),
        }
    }
}

/// What somebody meets who has not read the documentation.
#[tokio::test]
async fn a_statement_cache_is_an_error_that_says_what_to_set() {
    let Some(url) = Server::PgBouncer.url() else {
        return;
    };
    let connected = config().connect(&url).await;
    let error = connected.expect_err("PgBouncer takes no settings from those who connect");
    let text = chain(&error);
    assert!(text.contains("statement-cache-capacity=0"), "{text}");
}

#[tokio::test]
async fn a_login_that_a_pooler_refuses_is_an_error_that_says_where_to_look() {
    let Some(url) = Server::PgBouncer.url() else {
        return;
    };
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    let (_, host) = server.split_once('@').expect("a URL with a role");
    for wrong in [
        format!("postgres://postgres:wrong@{host}/postgres"),
        format!("{server}/no_such_database"),
    ] {
        let url = format!("{wrong}?statement-cache-capacity=0");
        let error = config().connect(&url).await.expect_err("a wrong URL");
        let text = chain(&error);
        assert!(
            text.contains("look at user, password and database"),
            "{text}"
        );
    }
}

/// An application's own pool that connects when it is first used, with nothing set: it is the store that meets PgBouncer.
#[tokio::test]
async fn a_pool_that_a_pooler_refuses_is_an_error_that_says_what_to_set() {
    let Some(url) = Server::PgBouncer.url() else {
        return;
    };
    let options = PgConnectOptions::from_str(&url).expect("the URL is right");
    for options in [options.clone(), options.statement_cache_capacity(0)] {
        let pool = PgPoolOptions::new().connect_lazy_with(options);
        let store = config().with_pool(pool);
        assert_advice("08P01", store.load(&key(1), NOW).await);
        let text = chain(&store.check().await.expect_err("it can't connect"));
        assert!(text.contains("extra_float_digits(None)"), "{text}");
    }
}

/// A pool whose options PgBouncer takes, with its statement cache on: a statement is then on another connection of the server,
/// or another client's is there under its name.
#[tokio::test]
async fn statements_that_get_lost_are_an_error_that_says_what_to_set() {
    let Some(database) = Server::PgBouncer.database("lost_statements").await else {
        return;
    };
    let set_up = DbStore::connect(&format!("{}?statement-cache-capacity=0", database.url)).await;
    let set_up = set_up.expect("the server runs");
    set_up.migrate().await.expect("a role that may make tables");
    let client = async || {
        let options = PgConnectOptions::from_str(&database.url).expect("the URL is right");
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options.extra_float_digits(None))
            .await
            .expect("the server runs");
        (DbStore::new(pool.clone()), pool)
    };
    let (one, other, third) = (client().await, client().await, client().await);

    // All are on the one connection to the server, and name their first statement alike.
    let loaded = one.0.load(&key(1), NOW).await;
    assert!(loaded.expect("it works by chance").is_none());
    is_idle(&one.1).await;
    assert_advice("42P05", other.0.load(&key(1), NOW).await);
    is_idle(&other.1).await;

    // Somebody is busy on that connection, and what was prepared there is not on the next.
    let mut busy = database.beside().await;
    busy.execute("BEGIN").await;
    assert_advice("26000", one.0.load(&key(1), NOW).await);
    is_idle(&one.1).await;

    // The same name means one statement here and another there.
    let deleted = third.0.delete(&key(1)).await;
    assert!(!deleted.expect("it works by chance"));
    is_idle(&third.1).await;
    let mut also_busy = database.beside().await;
    also_busy.execute("BEGIN").await;
    busy.execute("COMMIT").await;
    assert_advice("08P01", third.0.delete(&key(1)).await);
}

/// Until the pool's only connection has come back, which takes a round trip.
#[cfg(test)]
async fn is_idle(pool: &PgPool) {
    bounded("the pool", async {
        while pool.num_idle() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[cfg(test)]
fn assert_advice<T: std::fmt::Debug>(code: &str, answer: Result<T, StoreError>) {
    match answer {
        Err(error @ StoreError::Misconfigured { .. }) => {
            let text = chain(&error);
            assert!(text.contains(code), "another mistake: {text}");
            assert!(text.contains("?statement-cache-capacity=0"), "{text}");
        }
        other => panic!("{code} was taken for: {other:?}"),
    }
}
