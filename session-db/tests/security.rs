//! What whoever has the database, its files or a dump of it does not get, and what no input does to a statement.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

#[cfg(test)]
#[path = "servers/statements.rs"]
mod statements;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use session_core::Owner;
use session_core::conformance::{Canaries, live_with_secrets};
use session_core::store::{
    Change, ExpiryChange, Label, NewRecord, Payload, SessionStore, StoreKey,
};
use session_db::{DbPool, DbStore, sqlx};
use support::records::{LATER, NOW};
use support::{Server, new_table};

session_core::security_suite!(
    || async {
        let server = Server::sqlite();
        (server.store().await, server)
    },
    name: sqlite
);

/// Without a server the tests say aloud that they are skipped (and fail in CI); what they then do on SQLite says nothing about it.
async fn on(server: Option<Server>) -> (DbStore, Server) {
    let server = server.unwrap_or_else(Server::sqlite);
    (server.store().await, server)
}

session_core::security_suite!(
    || async { on(Server::postgres("security on PostgreSQL")).await },
    name: postgres
);

session_core::security_suite!(
    || async { on(Server::mariadb("security on MariaDB")).await },
    name: mariadb
);

#[cfg(test)]
fn assert_clean(canaries: &Canaries, place: &str, bytes: &[u8]) {
    assert_eq!(canaries.found_in(bytes), None, "in {place}");
}

#[tokio::test]
async fn rest_01_no_file_of_sqlite_tells_a_key_a_name_or_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = DbStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let store = Arc::new(store);
    let canaries = live_with_secrets(Arc::clone(&store) as _).await.unwrap();
    let look = || {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_clean(&canaries, &name, &fs::read(&path).unwrap());
            names.insert(name);
        }
        names
    };
    let files = look();
    assert!(
        files.contains("test.db") && files.contains("test.db-wal"),
        "the log was not looked at: {files:?}"
    );
    let DbPool::Sqlite(pool) = store.pool() else {
        panic!("that is SQLite");
    };
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE); VACUUM")
        .execute(&pool)
        .await
        .unwrap();
    look();
}

#[tokio::test]
async fn rest_01_no_dump_of_postgres_tells_a_key_a_name_or_a_value() {
    let Some(server) = Server::postgres("rest_01 on PostgreSQL") else {
        return;
    };
    let table = new_table();
    let store = Arc::new(server.store_in(&table).await);
    let canaries = live_with_secrets(Arc::clone(&store) as _).await.unwrap();
    let DbPool::Postgres(pool) = store.pool() else {
        panic!("that is PostgreSQL");
    };
    // Each row as the server itself prints it, and then its files: the table's pages and the write-ahead log.
    let rows = format!("SELECT t::text FROM {table} AS t");
    let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
        .fetch_all(&pool)
        .await
        .unwrap();
    assert!(!rows.is_empty(), "nothing was kept");
    assert_clean(&canaries, "the rows", rows.join("\n").as_bytes());
    sqlx::raw_sql("CHECKPOINT").execute(&pool).await.unwrap();
    let read = |function: &str| {
        let sql = format!("SELECT {function}");
        let pool = pool.clone();
        async move {
            let bytes: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&pool)
                .await
                .unwrap();
            bytes
        }
    };
    let pages = read(&format!(
        "pg_read_binary_file(pg_relation_filepath('{table}'))"
    ))
    .await;
    assert!(!pages.is_empty(), "no page was looked at");
    assert_clean(&canaries, "the table's file", &pages);
    let log = read("pg_read_binary_file('pg_wal/' || pg_walfile_name(pg_current_wal_lsn()))").await;
    assert!(!log.is_empty(), "no log was looked at");
    assert_clean(&canaries, "the write-ahead log", &log);
}

#[tokio::test]
async fn rest_01_no_dump_of_mariadb_tells_a_key_a_name_or_a_value() {
    let Some(server) = Server::mariadb("rest_01 on MariaDB") else {
        return;
    };
    let table = new_table();
    let store = Arc::new(server.store_in(&table).await);
    let canaries = live_with_secrets(Arc::clone(&store) as _).await.unwrap();
    let DbPool::MySql(pool) = store.pool() else {
        panic!("that is MariaDB");
    };
    let columns = format!(
        "SELECT CONCAT('\\'', column_name, '\\'') FROM information_schema.columns WHERE table_name = '{table}'"
    );
    let columns: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(columns))
        .fetch_all(&pool)
        .await
        .unwrap();
    assert!(columns.len() > 4, "{columns:?}");
    let bare: Vec<_> = columns.iter().map(|name| name.trim_matches('\'')).collect();
    let rows = format!(
        "SELECT CAST(CONCAT_WS(' ', {}) AS BINARY) FROM {table}",
        bare.iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
        .fetch_all(&pool)
        .await
        .unwrap();
    assert!(!rows.is_empty(), "nothing was kept");
    for row in &rows {
        assert_clean(&canaries, "a row", row);
    }
    // The file itself, with what was deleted from it and not yet overwritten.
    let flush = format!("FLUSH TABLES {table} FOR EXPORT; UNLOCK TABLES");
    sqlx::raw_sql(sqlx::AssertSqlSafe(flush))
        .execute(&pool)
        .await
        .unwrap();
    let folder: String = sqlx::query_scalar("SELECT @@datadir")
        .fetch_one(&pool)
        .await
        .unwrap();
    let database: String = sqlx::query_scalar("SELECT DATABASE()")
        .fetch_one(&pool)
        .await
        .unwrap();
    let folder = std::path::PathBuf::from(folder);
    for file in [
        folder.join(&database).join(format!("{table}.ibd")),
        folder.join("ib_logfile0"),
    ] {
        let bytes = fs::read(&file).unwrap();
        // The log is long before it is used.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        assert!(used > 100, "{} is not looked at", file.display());
        assert_clean(&canaries, &file.display().to_string(), &bytes[..=used]);
    }
}

/// Numbers that look random and are the same every time.
#[cfg(test)]
fn hostile(seed: u64) -> impl FnMut(usize) -> String {
    const PARTS: [&str; 14] = [
        "'",
        "\"",
        "`",
        ";",
        "--",
        "/*",
        "*/",
        "\\",
        "$1",
        "?",
        "%",
        "{0}",
        "DROP TABLE",
        "\u{1f600}",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1);
    move |parts| {
        (0..parts)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                PARTS[usize::try_from(state % 14).unwrap()]
            })
            .collect()
    }
}

#[tokio::test]
async fn in_02_no_input_changes_the_text_of_a_statement() {
    statements::listen();
    for server in Server::all("in_02") {
        let table = new_table();
        let store = server.store_in(&table).await;
        let mut next = hostile(1);
        let mut texts = Vec::new();
        for round in 0..60_u64 {
            let key =
                |number: u64| StoreKey::parse(&format!("{:040x}", round * 10 + number)).unwrap();
            let mut record = NewRecord::new(Payload::from_bytes(next(6)), LATER);
            let owner = Owner::from(next(5));
            record.owner = Some(owner.clone());
            record.label = Some(Label::new(&next(5)));
            let (payload, label) = (record.payload.clone(), record.label.clone());
            let version = store.create(&key(1), record, NOW).await.unwrap();
            let mut change = Change::new(Payload::from_bytes(next(6)), ExpiryChange::Keep);
            change.owner = Some(owner.clone());
            change.label.clone_from(&label);
            let loaded = store.load(&key(1), NOW).await.unwrap().unwrap();
            assert_eq!(
                loaded.payload.to_bytes().unwrap(),
                payload.to_bytes().unwrap()
            );
            assert_eq!((loaded.owner, loaded.label), (Some(owner.clone()), label));
            let moved = store.rotate(&key(1), &version, &key(2), change, NOW).await;
            drop(moved.unwrap());
            let index = store.owner_index().unwrap();
            let page = session_core::store::Page::first(5);
            let listed = index.sessions_of(&owner, page, NOW).await.unwrap();
            assert!(!listed.is_empty(), "an owner does not find their session");
            let ended = index.end(&owner, session_core::store::EndScope::All).await;
            assert!(ended.unwrap() >= 1);
            if round % 20 == 19 {
                let sent = match server.name {
                    "sqlite" => statements::sent_by_sqlite(),
                    _ => statements::sent_with(&table),
                };
                let sent = sent.into_iter().filter(|sql| sql.contains(&table));
                texts.push(sent.collect::<BTreeSet<String>>());
            }
        }
        assert!(!texts[0].is_empty(), "{}: nothing was heard", server.name);
        assert_eq!(
            texts[0], texts[2],
            "{}: a statement's text depends on what is in it",
            server.name
        );
    }
}
