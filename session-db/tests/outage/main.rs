//! What becomes of sessions when the database does not do its part: killed, unreachable, stalled, full, locked, read-only,
//! undoing what met. All of it is answered as "unavailable", in time, and nothing that was acknowledged is lost.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod codes;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lock;
#[cfg(test)]
#[path = "../servers/mod.rs"]
mod servers;
#[cfg(test)]
mod support;

use std::time::Duration;

use session_core::store::SessionStore as _;
use session_db::sqlx::postgres::PgPoolOptions;
use session_db::sqlx::sqlite::SqliteConnectOptions;
use session_db::sqlx::{Connection as _, SqliteConnection, SqlitePool, raw_sql};
use session_db::{DbPool, DbStore, DbStoreConfig};
use tokio::sync::{Mutex, MutexGuard};

use codes::{undone_by_mariadb, undone_by_postgres};
use connection::{exhaust_pool, lose_answers, refuse, stall};
use kill::kill;
use lock::{deadlock, lock_row, serialize, waiting};
use servers::Server;
use servers::proxy::Proxy;
use servers::records::{
    NOW, PATIENT, assert_unavailable, bounded, change, key_in_order as key, new,
};
use support::{
    assert_checked, assert_unharmed, assert_writes_unavailable, create_record, impatient,
    one_connection,
};

/// A server that is killed, or made read-only, is of no use to another test.
async fn alone(server: Server) -> MutexGuard<'static, ()> {
    static POSTGRES: Mutex<()> = Mutex::const_new(());
    static MARIADB: Mutex<()> = Mutex::const_new(());
    match server {
        Server::MariaDb => MARIADB.lock().await,
        Server::Postgres | Server::PgBouncer => POSTGRES.lock().await,
    }
}

/// One test per server of each function that takes a database of its own.
macro_rules! on_both_servers {
    ($($body:ident => $on_postgres:ident, $on_mariadb:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $on_postgres() {
                let _alone = alone(Server::Postgres).await;
                if let Some(database) = Server::Postgres.database(concat!("outage_", stringify!($body))).await {
                    $body(database).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn $on_mariadb() {
                let _alone = alone(Server::MariaDb).await;
                if let Some(database) = Server::MariaDb.database(concat!("outage_", stringify!($body))).await {
                    $body(database).await;
                }
            }
        )+
    };
}

on_both_servers! {
    kill => a_killed_postgres_loses_nothing_that_was_acknowledged, a_killed_mariadb_loses_nothing_that_was_acknowledged;
    refuse => a_postgres_that_refuses_connections_is_unavailable, a_mariadb_that_refuses_connections_is_unavailable;
    stall => a_postgres_that_stalls_is_unavailable_in_time, a_mariadb_that_stalls_is_unavailable_in_time;
    lose_answers => a_lost_answer_of_postgres_is_asked_for_again_only_where_that_is_safe, a_lost_answer_of_mariadb_is_asked_for_again_only_where_that_is_safe;
    exhaust_pool => an_exhausted_pool_of_postgres_is_unavailable_in_time, an_exhausted_pool_of_mariadb_is_unavailable_in_time;
    lock_row => a_row_that_is_locked_in_postgres_is_unavailable_in_time, a_row_that_is_locked_in_mariadb_is_unavailable_in_time;
    deadlock => a_deadlock_in_postgres_is_tried_again, a_deadlock_in_mariadb_is_tried_again;
    serialize => serialization_failures_of_postgres_lose_nothing, serialization_failures_of_mariadb_lose_nothing;
}

#[tokio::test]
async fn fail_04_a_read_only_postgres_is_unavailable_for_writes_alone() {
    let _alone = alone(Server::Postgres).await;
    let Some(mut database) = Server::Postgres.database("read_only").await else {
        return;
    };
    let store = database.store(DbStoreConfig::new()).await;
    let version = create_record(&store).await.expect("the server runs");
    let settings = [("default_transaction_read_only", "on")];
    database.url = database.url_with_settings(&settings);
    let store = DbStore::connect(&database.url).await;
    let store = store.expect("the server runs");
    assert_writes_unavailable(&store, &version, "SQLSTATE 25006").await;
    let record = store.load(&key(1), NOW).await.expect("a reader");
    assert!(record.is_some(), "a replica was taken for an empty store");
    assert_checked(&store, "the server is read-only").await;
}

#[tokio::test]
async fn fail_04_a_read_only_mariadb_is_unavailable_for_writes_alone() {
    let _alone = alone(Server::MariaDb).await;
    let Some(mut database) = Server::MariaDb.database("read_only").await else {
        return;
    };
    let store = database.store(DbStoreConfig::new()).await;
    let version = create_record(&store).await.expect("the server runs");
    let mut beside = database.administration().await;
    // A user that `read_only` binds, as it does not bind administrators.
    beside
        .execute(
            "CREATE OR REPLACE USER visitor@127.0.0.1 IDENTIFIED BY 'visitor';
             GRANT SELECT, INSERT, UPDATE, DELETE ON read_only.* TO visitor@127.0.0.1",
        )
        .await;
    let (_, host) = database.url.split_once('@').expect("a URL with a user");
    database.url = format!("mysql://visitor:visitor@{host}");
    let store = DbStore::connect(&database.url).await;
    let store = store.expect("the server runs");
    beside.execute("SET GLOBAL read_only = ON").await;
    let answers = tokio::spawn({
        let store = store.clone();
        let version = version.clone();
        async move {
            assert_writes_unavailable(&store, &version, "1290 (SQLSTATE HY000)").await;
            assert_checked(&store, "the server is read-only").await;
            store.load(&key(1), NOW).await
        }
    })
    .await;
    beside.execute("SET GLOBAL read_only = OFF").await;
    let record = answers.expect("see above").expect("a reader");
    assert!(record.is_some(), "a replica was taken for an empty store");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn fail_04_every_code_of_postgres_is_told_and_tried_again_only_where_that_is_safe() {
    let _alone = alone(Server::Postgres).await;
    if let Some(database) = Server::Postgres.database("codes").await {
        undone_by_postgres(database).await;
    }
}

#[tokio::test]
async fn fail_04_every_code_of_mariadb_is_told_and_tried_again_only_where_that_is_safe() {
    let _alone = alone(Server::MariaDb).await;
    if let Some(database) = Server::MariaDb.database("codes").await {
        undone_by_mariadb(database).await;
    }
}

/// The pool has a limit of the server's for each statement.
#[tokio::test]
async fn fail_04_a_statement_timeout_of_postgres_is_unavailable() {
    let _alone = alone(Server::Postgres).await;
    let Some(mut database) = Server::Postgres.database("statement_timeout").await else {
        return;
    };
    let store = database.store(DbStoreConfig::new()).await;
    let version = create_record(&store).await.expect("the server runs");
    let mut holder = database.beside().await;
    holder.execute("BEGIN").await;
    holder
        .execute("SELECT * FROM web_sessions FOR UPDATE")
        .await;
    // Whichever of the two ends first. The store is more patient than both.
    let (statement, lock, either) = ("SQLSTATE 57014", "SQLSTATE 55P03", "SQLSTATE 5");
    let settings = [
        (&[("statement_timeout", "100")][..], statement),
        (&[("lock_timeout", "100")], lock),
        (
            &[("statement_timeout", "100"), ("lock_timeout", "90000")],
            statement,
        ),
        (
            &[("statement_timeout", "90000"), ("lock_timeout", "100")],
            lock,
        ),
        (
            &[("statement_timeout", "100"), ("lock_timeout", "100")],
            either,
        ),
    ];
    let plain = database.url.clone();
    for (setting, code) in settings {
        database.url = plain.clone();
        let url = database.url_with_settings(setting);
        let pool = PgPoolOptions::new().connect(&url).await;
        let patient = DbStoreConfig::new().with_timeout(PATIENT);
        let store = patient.with_pool(pool.expect("the server runs"));
        assert_writes_unavailable(&store, &version, code).await;
    }
    database.url = plain;
    let url = database.url_with_settings(&[("statement_timeout", "3000")]);
    let pool = PgPoolOptions::new().connect(&url).await;
    let patient = DbStore::new(pool.expect("the server runs"));
    assert_writes_unavailable(&impatient(&patient), &version, "in time").await;
    // The server ends what the store gave up.
    let mut watcher = database.beside().await;
    watcher.wait_for(waiting(Server::Postgres), "0").await;
    holder.execute("ROLLBACK").await;
    assert_unharmed(&store, &version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dos_07_fail_04_a_sqlite_that_others_keep_locked_is_unavailable_in_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let config = DbStoreConfig::new().with_timeout(Duration::from_secs(1));
    let store = config.connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let version = create_record(&store).await.expect("it works");
    let mut holder = SqliteConnection::connect(&url).await.expect("a file");
    raw_sql("BEGIN IMMEDIATE")
        .execute(&mut holder)
        .await
        .expect("the lock");
    assert_writes_unavailable(&store, &version, "lock").await;
    let loaded = store.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a reader waited for a writer");
    // A pool of the application's own that waits for nobody: it is asked again, and then told why.
    let options: SqliteConnectOptions = url.parse().expect("the URL is right");
    let pool = SqlitePool::connect_with(options.busy_timeout(Duration::ZERO)).await;
    let patient = DbStoreConfig::new().with_timeout(PATIENT);
    let hasty = patient.with_pool(pool.expect("the file is there"));
    assert_writes_unavailable(&hasty, &version, "SQLite, 5").await;
    raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .expect("the lock");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn fail_04_a_sqlite_file_that_can_not_be_written_is_unavailable_for_writes_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = DbStore::connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let version = create_record(&store).await.expect("it works");
    let pool = SqlitePool::connect(&format!("{url}?mode=ro")).await;
    let read_only = DbStore::new(pool.expect("the file is there"));
    assert_writes_unavailable(&read_only, &version, "SQLite, 8").await;
    assert_checked(&read_only, "the file can only be read").await;
    let loaded = read_only.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a file was taken for an empty store");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn fail_04_a_full_sqlite_file_is_unavailable_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = one_connection().connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let version = create_record(&store).await.expect("it works");
    let DbPool::Sqlite(pool) = store.pool() else {
        panic!("this is not SQLite");
    };
    // As many pages as there are, which is what a full disk comes to.
    raw_sql("PRAGMA max_page_count = 1")
        .execute(&pool)
        .await
        .expect("a pragma");
    let large = "x".repeat(100_000);
    let created = store.create(&key(2), new(&large), NOW).await;
    assert_unavailable(created, "SQLite, 13");
    let saved = store.save(&key(1), &version, change(&large), NOW).await;
    assert_unavailable(saved, "SQLite, 13");
    raw_sql("PRAGMA max_page_count = 1000000")
        .execute(&pool)
        .await
        .expect("a pragma");
    let created = store.load(&key(2), NOW).await.expect("it works again");
    assert!(created.is_none(), "a failed creation left something");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn fail_07_a_canceled_request_leaves_no_connection_in_the_middle_of_an_answer() {
    let _alone = alone(Server::Postgres).await;
    let Some(mut database) = Server::Postgres.database("canceled").await else {
        return;
    };
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = database
        .store(DbStoreConfig::new().with_connections_max(1))
        .await;
    create_record(&store).await.expect("the server runs");
    for _ in 0..20 {
        proxy.stall(true);
        let load = async { store.load(&key(1), NOW).await };
        let given_up = tokio::time::timeout(Duration::from_millis(1), load).await;
        assert!(given_up.is_err(), "a stalled server answered");
        proxy.stall(false);
        let loaded = bounded("load", store.load(&key(1), NOW)).await;
        let record = loaded.expect("the connection is in step");
        assert!(record.is_some(), "the answer was another's");
    }
}
