//! The contract of every store, on MariaDB.
#![cfg(feature = "mysql")]

#[cfg(test)]
mod support;

use session_db::DbStore;
use support::Server;

/// A store in a table of its own. Without a server the tests say aloud that they are skipped (and fail in CI); what they
/// then do on SQLite says nothing about MariaDB.
async fn new_store() -> (DbStore, Server) {
    let server = Server::mariadb("conformance_mysql").unwrap_or_else(Server::sqlite);
    (server.store().await, server)
}

session_core::conformance_suite!(|| async { new_store().await });
