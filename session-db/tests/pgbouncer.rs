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

    /// The URL that the crate's documentation gives for a pooler: nothing is prepared, since the next transaction would
    /// not find it.
    pub(crate) fn url() -> Option<String> {
        let url = Server::PgBouncer.url()?;
        Some(format!("{url}?statement-cache-capacity=0"))
    }

    fn config() -> DbStoreConfig {
        let table = format!("t_{:016x}", RandomState::new().hash_one(0_u8));
        DbStoreConfig::new()
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

use session_core::SessionManager;

use servers::{chain, request};
use support::{new_store, url};

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
    let manager = SessionManager::new(store.clone());
    let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
    let cookie = created.expect("the server runs").1.expect("a new session");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        // Managers of their own, as processes have them: within one, requests on a session take turns.
        let (manager, cookie) = (SessionManager::new(store.clone()), cookie.clone());
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
