//! No error, no event and no `Debug` shows a key, an owner, a label, data or a password, whatever goes wrong.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

#[cfg(test)]
mod log {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    /// All that is logged while the tests run, at every level.
    #[derive(Clone, Default)]
    pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        /// Everything of this process goes there from now on.
        pub(crate) fn listen() -> Self {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}

use std::fmt::Write as _;

use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, Label, NewRecord, OwnerIndex, Page, Payload, SessionStore,
    StoreError, StoreKey, StoreScan, Version,
};
use session_db::{DbPool, DbStore, sqlx};
use support::records::{LATER, NOW, everything};
use support::{Server, block_on, new_table};

/// In everything that nobody may see.
const MARK: &str = "canarycanarycanarycanary";

#[cfg(test)]
fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{MARK}{number:016}")).expect("letters and digits are a key")
}

#[cfg(test)]
fn record() -> NewRecord {
    let mut record = NewRecord::new(Payload::from_bytes(format!("{MARK} data")), LATER);
    record.owner = Some(owner());
    record.label = Some(Label::new(&format!("{MARK} label")));
    record
}

#[cfg(test)]
fn change() -> Change {
    let mut change = Change::new(
        Payload::from_bytes(format!("{MARK} changed")),
        ExpiryChange::Keep,
    );
    change.owner = Some(owner());
    change.label = Some(Label::new(&format!("{MARK} label")));
    change
}

#[cfg(test)]
fn owner() -> Owner {
    Owner::from(format!("{MARK} owner"))
}

#[cfg(test)]
async fn execute(store: &DbStore, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let done = match store.pool() {
        DbPool::Sqlite(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::Postgres(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::MySql(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        other => panic!("{other:?} is new"),
    };
    done.expect("the test's own SQL is fine");
}

/// All operations, on the record at key 1 and a free key: what went wrong of them, as text.
#[cfg(test)]
async fn errors_of(store: &DbStore, version: &Version) -> Vec<String> {
    let errors: Vec<Option<StoreError>> = vec![
        store.load(&key(1), NOW).await.err(),
        store.create(&key(1), record(), NOW).await.err(),
        store.create(&key(3), record(), NOW).await.err(),
        store.save(&key(1), version, change(), NOW).await.err(),
        store
            .rotate(&key(1), version, &key(2), change(), NOW)
            .await
            .err(),
        store
            .rotate(&key(1), version, &key(4), change(), NOW)
            .await
            .err(),
        store.touch(&key(1), LATER, NOW).await.err(),
        store
            .sessions_of(&owner(), Page::first(10), NOW)
            .await
            .err(),
        store.page(Page::first(10)).await.err(),
        store.end(&owner(), EndScope::One(key(9))).await.err(),
        store.clear_expired(NOW, &mut |_| {}).await.err(),
        store.delete(&key(9)).await.err(),
    ];
    errors
        .iter()
        .flatten()
        .map(|error| everything(error))
        .collect()
}

#[test]
fn leak_01_leak_04_nothing_secret_is_shown_by_what_goes_wrong() {
    let log = log::Log::listen();
    let mut seen = String::new();
    for server in Server::all("leak_01_leak_04_nothing_secret_is_shown_by_what_goes_wrong") {
        block_on(async {
            let table = new_table();
            let config = server.config(&table);
            let store = config.connect(&server.url).await.unwrap();
            let version = Version::Counter(1);
            let mut expect = |what: &str, errors: Vec<String>| {
                assert!(!errors.is_empty(), "{}: no error with {what}", server.name);
                writeln!(seen, "{}: {what}: {errors:#?}", server.name).unwrap();
            };
            expect("no table", errors_of(&store, &version).await);

            store.migrate().await.unwrap();
            let version = store.create(&key(1), record(), NOW).await.unwrap();
            store.create(&key(2), record(), NOW).await.unwrap();
            expect("keys that are taken", errors_of(&store, &version).await);
            for number in [1, 3, 4] {
                store.delete(&key(number)).await.unwrap();
            }
            let version = store.create(&key(1), record(), NOW).await.unwrap();

            // The servers quote the row in each of these.
            store.delete(&key(2)).await.unwrap();
            let unique = format!("CREATE UNIQUE INDEX {table}_u ON {table} (label)");
            execute(&store, &unique).await;
            expect("another unique index", errors_of(&store, &version).await);
            let drop_unique = match server.name {
                "mariadb" => format!("DROP INDEX {table}_u ON {table}"),
                _ => format!("DROP INDEX {table}_u"),
            };
            execute(&store, &drop_unique).await;

            if server.name != "sqlite" {
                let check =
                    format!("ALTER TABLE {table} ADD CONSTRAINT {table}_c CHECK (version = 5)");
                execute(&store, &format!("UPDATE {table} SET version = 5")).await;
                execute(&store, &check).await;
                expect("a check", errors_of(&store, &Version::Counter(5)).await);
                execute(
                    &store,
                    &format!("ALTER TABLE {table} DROP CONSTRAINT {table}_c"),
                )
                .await;
            }
            execute(&store, &format!("UPDATE {table} SET version = -1")).await;
            expect("a damaged version", errors_of(&store, &version).await);
            execute(&store, &format!("UPDATE {table} SET version = 1")).await;
            match server.name {
                "mariadb" => {
                    execute(
                        &store,
                        &format!("UPDATE {table} SET label = CONCAT(label, x'ff')"),
                    )
                    .await;
                    expect("no UTF-8", errors_of(&store, &version).await);
                    execute(
                        &store,
                        &format!("ALTER TABLE {table} MODIFY version VARCHAR(30)"),
                    )
                    .await;
                }
                "postgres" => {
                    let to_text = format!(
                        "ALTER TABLE {table} ALTER payload TYPE text USING encode(payload, 'escape')"
                    );
                    execute(&store, &to_text).await;
                }
                _ => {
                    execute(
                        &store,
                        &format!("ALTER TABLE {table} RENAME COLUMN payload TO data"),
                    )
                    .await;
                }
            }
            expect(
                "a column of another type",
                errors_of(&store, &version).await,
            );

            let mut bad = record();
            bad.owner = Some(Owner::from(MARK.repeat(20)));
            let refused = store.create(&key(7), bad, NOW).await.unwrap_err();
            expect("a long owner", vec![everything(&refused)]);

            match store.pool() {
                DbPool::Sqlite(pool) => pool.close().await,
                DbPool::Postgres(pool) => pool.close().await,
                DbPool::MySql(pool) => pool.close().await,
                other => panic!("{other:?}"),
            }
            expect("a closed pool", errors_of(&store, &version).await);
            writeln!(
                seen,
                "{store:?} {:?} {:?}",
                store.pool(),
                server.config(&table)
            )
            .unwrap();
        });
    }
    block_on(async {
        for url in [
            format!("postgres://{MARK}:{MARK}@127.0.0.1:1/{MARK}"),
            format!("mysql://{MARK}:{MARK}@127.0.0.1:1/{MARK}"),
            format!("postgres://{MARK}:{MARK}@127.0.0.1:{MARK}/x"),
            format!("sqlite:/{MARK}/{MARK}/x.db"),
            format!("{MARK}://x"),
        ] {
            let config = session_db::DbStoreConfig::new();
            let config = config.with_timeout(std::time::Duration::from_millis(300));
            let error = config.connect(&url).await.unwrap_err();
            writeln!(seen, "{}", everything(&error)).unwrap();
        }
        if let Some(server) = Server::postgres("a wrong password") {
            let url = server.url_of(MARK, MARK);
            let error = DbStore::connect(&url).await.unwrap_err();
            writeln!(seen, "{}", everything(&error)).unwrap();
        }
    });
    for (place, text) in [("an error", seen), ("the log", log.text())] {
        let at = text.find(MARK);
        let around = at.map(|at| &text[at.saturating_sub(300)..(at + 60).min(text.len())]);
        assert!(around.is_none(), "{place} shows a secret: {around:?}");
        assert!(text.len() > 1_000, "{place} is not looked at");
    }
}

/// Through a pooler the values are part of the statements' texts, which sqlx would log.
#[test]
fn leak_04_statements_that_hold_their_values_are_not_logged() {
    const TEST: &str = "leak_04_statements_that_hold_their_values_are_not_logged";
    if support::role().is_none() {
        // The log is the process's: in one of its own.
        let status = support::this_test_as(TEST, "listen").status().unwrap();
        assert!(status.success(), "see above");
        return;
    }
    let log = log::Log::listen();
    let Some(server) = Server::postgres(TEST) else {
        return;
    };
    block_on(async {
        let url = format!("{}?statement-cache-capacity=0", server.url);
        let connected = server.config(&new_table()).connect(&url).await.unwrap();
        // Of a pool of the application's own all else is logged.
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        let table = new_table();
        let own = server.config(&table).with_pool(pool.clone());
        for store in [&connected, &own] {
            store.migrate().await.unwrap();
            let version = store.create(&key(1), record(), NOW).await.unwrap();
            drop(store.save(&key(1), &version, change(), NOW).await.unwrap());
            let loaded = store.load(&key(1), NOW).await.unwrap();
            loaded.expect("it is there");
        }

        // A statement that is given up is logged as well.
        let mut holder = pool.begin().await.unwrap();
        let lock = format!("UPDATE {table} SET version = version");
        let lock = sqlx::raw_sql(sqlx::AssertSqlSafe(lock));
        lock.execute(&mut *holder).await.unwrap();
        let impatient = server.config(&table);
        let impatient = impatient.with_timeout(std::time::Duration::from_millis(300));
        let impatient = impatient.with_pool(pool.clone());
        let record = own.load(&key(1), NOW).await.unwrap();
        let version = record.expect("it is there").version;
        let saved = impatient.save(&key(1), &version, change(), NOW).await;
        support::records::assert_unavailable(saved, "lock");
        drop(holder);

        let hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
        let text = log.text();
        assert!(
            text.contains("SET version = version"),
            "nothing is logged, so that the rest says nothing"
        );
        assert!(!text.contains(MARK), "the log shows a key");
        assert!(!text.contains(&hex), "the log shows data");
    });
}
