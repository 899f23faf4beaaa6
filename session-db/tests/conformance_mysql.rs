//! The contract of every store, on MariaDB.
#![cfg(feature = "mysql")]

#[cfg(test)]
mod support;

use session_db::{DbStore, sqlx};
use support::Server;

/// A store in a table of its own. Without a server the tests say aloud that they are skipped (and fail in CI); what they
/// then do on SQLite says nothing about MariaDB.
async fn new_store() -> (DbStore, Server) {
    let server = server();
    (server.store().await, server)
}

fn server() -> Server {
    Server::mariadb("conformance_mysql").unwrap_or_else(Server::sqlite)
}

session_core::conformance_suite!(|| async { new_store().await });

/// As [`new_store`], over a pool of the application's own whose connections are at this isolation level.
#[expect(
    clippy::expect_used,
    reason = "this makes what the tests need, and can't go on without"
)]
async fn at_level(level: &'static str) -> (DbStore, Server) {
    let server = server();
    if server.name == "sqlite" {
        return (server.store().await, server);
    }
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(6);
    let pool = pool.after_connect(move |connection, _| {
        Box::pin(async move { sqlx::raw_sql(level).execute(connection).await.map(drop) })
    });
    let pool = pool.connect(&server.url).await;
    let store = server.config(&support::new_table());
    let store = store.with_pool(pool.expect("the server answers"));
    store.migrate().await.expect("the role may make tables");
    (store, server)
}

session_core::conformance_suite!(
    || async { at_level("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await },
    name: read_committed
);
session_core::conformance_suite!(
    || async { at_level("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE").await },
    name: serializable
);

/// As [`new_store`], where an answer counts the rows that a statement changed, and not those that it found.
async fn counting_changed_rows() -> (DbStore, Server) {
    let mut server = server();
    if server.name != "sqlite" {
        server.url = support::changed_rows::url_over(&server.url);
    }
    (server.store().await, server)
}

session_core::conformance_suite!(
    || async { counting_changed_rows().await },
    name: where_changed_rows_are_counted
);
