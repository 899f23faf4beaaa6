//! The contract of every store, on PostgreSQL.
#![cfg(feature = "postgres")]

#[cfg(test)]
mod support;

use session_db::{DbStore, sqlx};
use support::Server;

/// A store in a table of its own. Without a server the tests say aloud that they are skipped (and fail in CI); what they
/// then do on SQLite says nothing about PostgreSQL.
async fn new_store() -> (DbStore, Server) {
    let server = server();
    (server.store().await, server)
}

fn server() -> Server {
    Server::postgres("conformance_postgres").unwrap_or_else(Server::sqlite)
}

session_core::conformance_suite!(|| async { new_store().await });

/// As [`new_store`], over a pool of the application's own whose connections are at this isolation level: requests that meet
/// are then undone by the server, and repeated.
#[expect(
    clippy::expect_used,
    reason = "this makes what the tests need, and can't go on without"
)]
async fn at_level(level: &str) -> (DbStore, Server) {
    let server = server();
    if server.name == "sqlite" {
        return (server.store().await, server);
    }
    let options: sqlx::postgres::PgConnectOptions = server.url.parse().expect("a URL");
    let options = options.options([("default_transaction_isolation", level)]);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(6);
    let pool = pool.connect_with(options).await;
    let store = server.config(&support::new_table());
    let store = store.with_pool(pool.expect("the server answers"));
    store.migrate().await.expect("the role may make tables");
    (store, server)
}

session_core::conformance_suite!(
    || async { at_level("repeatable read").await },
    name: repeatable_read
);
session_core::conformance_suite!(
    || async { at_level("serializable").await },
    name: serializable
);

/// As behind a pooler: no statement is prepared.
#[expect(
    clippy::expect_used,
    reason = "this makes what the tests need, and can't go on without"
)]
async fn unprepared() -> (DbStore, Server) {
    let server = server();
    if server.name == "sqlite" {
        return (server.store().await, server);
    }
    let url = format!("{}?statement-cache-capacity=0", server.url);
    let store = server.config(&support::new_table()).connect(&url).await;
    let store = store.expect("the server answers");
    store.migrate().await.expect("the role may make tables");
    (store, server)
}

session_core::conformance_suite!(|| async { unprepared().await }, name: unprepared);
