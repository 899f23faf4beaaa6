//! What operations do when they meet a lock, a row that moves, or a client that goes away: each forced by a transaction of
//! the test's own, beside the store.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

use std::time::Duration;

use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, OwnerIndex, Payload, Saved, SessionStore, StoreError, StoreKey,
    Timestamp,
};
use session_db::{DbPool, DbStore, sqlx};
use support::beside::Beside;
use support::records::{LATER, NOW, assert_unavailable, bounded, change, key, new, new_of, text};
use support::{Server, block_on, load, new_table};

#[cfg(test)]
fn servers(test: &str) -> Vec<Server> {
    [Server::postgres(test), Server::mariadb(test)]
        .into_iter()
        .flatten()
        .collect()
}

/// How many statements on `table` wait for a lock.
#[cfg(test)]
async fn waiting(beside: &mut Beside, table: &str) -> i64 {
    // MariaDB looks again only if nobody has asked for a tenth of a second: two tests that ask in turns would both see what
    // was before their locks, until the locks time out.
    static ASKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ASKING.lock().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let sql = match beside {
        Beside::Sqlite(_) => panic!("SQLite does not tell who waits"),
        Beside::Postgres(_) => format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{table}%'"
        ),
        Beside::MariaDb(_) => format!(
            "SELECT count(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%{table}%'"
        ),
    };
    beside.number(&sql).await
}

/// Until a statement on `table` waits for a lock.
#[cfg(test)]
async fn until_waiting(server: &Server, table: &str) {
    let mut asking = Beside::connect(&server.url).await;
    bounded("the wait for a lock", async {
        while waiting(&mut asking, table).await == 0 {}
    })
    .await;
}

/// Until none does.
#[cfg(test)]
async fn until_none_waits(server: &Server, table: &str) {
    let mut asking = Beside::connect(&server.url).await;
    bounded("a statement that was given up", async {
        while waiting(&mut asking, table).await > 0 {}
    })
    .await;
}

/// A key that sorts by `letter`.
#[cfg(test)]
fn key_of(letter: char) -> StoreKey {
    StoreKey::parse(&letter.to_string().repeat(40)).expect("a letter is a key")
}

#[cfg(test)]
fn spawn_end(store: &DbStore, scope: EndScope) -> tokio::task::JoinHandle<u64> {
    let store = store.clone();
    tokio::spawn(async move {
        let ended = store.end(&Owner::from("ada"), scope).await;
        ended.expect("the server is fine")
    })
}

#[test]
fn end_06_a_session_that_is_moving_when_its_owners_are_ended_does_not_escape() {
    for server in
        servers("end_06_a_session_that_is_moving_when_its_owners_are_ended_does_not_escape")
    {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            let mut beside = Beside::connect(&server.url).await;
            // To a place before the others, and to one behind them.
            for to in ['a', 'z'] {
                for letter in ['m', 'n', 'o'] {
                    store
                        .create(&key_of(letter), new_of("ada"), NOW)
                        .await
                        .unwrap();
                }
                let (from, to) = (key_of('n'), key_of(to));
                beside.begin().await;
                let rotate = format!(
                    "UPDATE {table} SET session_key = '{}', version = version + 1 WHERE session_key = '{}'",
                    to.as_str(),
                    from.as_str()
                );
                beside.execute(&rotate).await;
                let end = spawn_end(&store, EndScope::AllExcept(key_of('o')));
                until_waiting(&server, &table).await;
                beside.execute("COMMIT").await;
                assert_eq!(end.await.unwrap(), 2, "{}", server.name);
                assert!(
                    load(&store, &to).await.is_none() && load(&store, &from).await.is_none(),
                    "{}: a session escaped by changing its key",
                    server.name
                );
                assert!(load(&store, &key_of('o')).await.is_some(), "this one");
                assert_eq!(
                    store.end(&Owner::from("ada"), EndScope::All).await.unwrap(),
                    1
                );
            }
        });
    }
}

/// InnoDB at READ COMMITTED does not lock what it has passed: a session that moves there would be missed, if the store did
/// not ask for more.
#[test]
fn a_session_that_moves_behind_the_back_of_end_does_not_escape() {
    const TEST: &str = "a_session_that_moves_behind_the_back_of_end_does_not_escape";
    for server in servers(TEST) {
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            block_on(async {
                let table = new_table();
                let made = server.store_in(&table).await;
                // Enough of others' that the owner's are looked up by their index.
                for number in 0..300 {
                    made.create(&key(number), new_of(&format!("other {number}")), NOW)
                        .await
                        .unwrap();
                }
                let store = at_level(&server, &table, level).await;
                for letter in ['g', 'm', 's'] {
                    store
                        .create(&key_of(letter), new_of("ada"), NOW)
                        .await
                        .unwrap();
                }
                let version = load(&store, &key_of('s')).await.unwrap().version;
                let mut beside = Beside::connect(&server.url).await;
                beside.begin().await;
                let hold = format!(
                    "SELECT 1 FROM {table} WHERE session_key = '{}' FOR UPDATE",
                    key_of('m').as_str()
                );
                beside.execute(&hold).await;
                // Now `end` has passed 'g', and waits at 'm'.
                let end = spawn_end(&store, EndScope::All);
                until_waiting(&server, &table).await;
                let rotate = {
                    let store = store.clone();
                    tokio::spawn(async move {
                        let mut moved = change("moved");
                        moved.owner = Some("ada".into());
                        let (from, to) = (key_of('s'), key_of('a'));
                        store.rotate(&from, &version, &to, moved, NOW).await
                    })
                };
                // It is through, or waits as well.
                let mut asking = Beside::connect(&server.url).await;
                while !rotate.is_finished() && waiting(&mut asking, &table).await < 2 {}
                beside.execute("COMMIT").await;
                let rotated = rotate.await.unwrap();
                let _answer = rotated.expect("one of a deadlock's is repeated");
                end.await.unwrap();
                for letter in ['a', 'g', 'm', 's'] {
                    assert!(
                        load(&store, &key_of(letter)).await.is_none(),
                        "{} at {level}: {letter} escaped",
                        server.name
                    );
                }
            });
        }
    }
}

/// A store over a pool of the application's own, whose connections are at this isolation level.
#[cfg(test)]
async fn at_level(server: &Server, table: &str, level: &'static str) -> DbStore {
    let pool: DbPool = if server.name == "postgres" {
        let options: sqlx::postgres::PgConnectOptions = server.url.parse().unwrap();
        let options = options.options([("default_transaction_isolation", level.to_lowercase())]);
        sqlx::PgPool::connect_with(options).await.unwrap().into()
    } else {
        let pool = sqlx::mysql::MySqlPoolOptions::new().after_connect(move |connection, _| {
            let level = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
            Box::pin(async move {
                let level = sqlx::raw_sql(sqlx::AssertSqlSafe(level));
                level.execute(connection).await.map(drop)
            })
        });
        pool.connect(&server.url).await.unwrap().into()
    };
    server.config(table).with_pool(pool)
}

#[test]
fn a_save_that_waited_for_another_sees_what_that_did() {
    for server in servers("a_save_that_waited_for_another_sees_what_that_did") {
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            block_on(async {
                let table = new_table();
                let _made = server.store_in(&table).await;
                let store = at_level(&server, &table, level).await;
                let mut beside = Beside::connect(&server.url).await;
                for (number, sql, expected) in [
                    (
                        1,
                        "UPDATE {} SET version = version + 1 WHERE",
                        Saved::Conflict,
                    ),
                    (2, "DELETE FROM {} WHERE", Saved::Gone),
                    (3, "UPDATE {} SET expires_at = 5 WHERE", Saved::Gone),
                ] {
                    let key = key(number);
                    let version = store.create(&key, new("first"), NOW).await.unwrap();
                    beside.begin().await;
                    let sql = sql.replace("{}", &table);
                    let other = format!("{sql} session_key = '{}'", key.as_str());
                    beside.execute(&other).await;
                    let save = {
                        let store = store.clone();
                        tokio::spawn(async move {
                            store.save(&key, &version, change("second"), NOW).await
                        })
                    };
                    until_waiting(&server, &table).await;
                    beside.execute("COMMIT").await;
                    let saved = save.await.unwrap();
                    assert_eq!(
                        saved.expect("a serialization error is repeated"),
                        expected,
                        "{} at {level}",
                        server.name
                    );
                }
            });
        }
    }
}

#[test]
fn fail_04_a_lock_that_is_held_for_long_is_no_answer_about_the_session() {
    const TEST: &str = "fail_04_a_lock_that_is_held_for_long_is_no_answer_about_the_session";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            let made = server.store_in(&table).await;
            let version = made.create(&key(1), new_of("ada"), NOW).await.unwrap();
            let config = server.config(&table).with_timeout(Duration::from_secs(1));
            let impatient = config.connect(&server.url).await.unwrap();
            open_all(&impatient).await;
            let mut beside = Beside::connect(&server.url).await;
            beside.begin().await;
            beside
                .execute(&format!("UPDATE {table} SET version = version"))
                .await;

            let key = key(1);
            let (saved, touched, deleted, rotated, ended) = {
                let free = support::records::key(2);
                let ada = Owner::from("ada");
                tokio::join!(
                    impatient.save(&key, &version, change("late"), NOW),
                    impatient.touch(&key, Timestamp::MAX, NOW),
                    impatient.delete(&key),
                    impatient.rotate(&key, &version, &free, change("late"), NOW),
                    impatient.end(&ada, EndScope::All),
                )
            };
            assert_unavailable(saved, "lock");
            assert_unavailable(touched, "lock");
            assert_unavailable(deleted, "lock");
            assert_unavailable(rotated, "lock");
            assert_unavailable(ended, "lock");
            // Readers are not held up by a writer, on any of the databases.
            assert!(load(&made, &key).await.is_some(), "{}", server.name);

            // The database, too, gives them up while the lock is held: what was answered with an error does not come true
            // when the lock is free at last.
            match impatient.pool() {
                // Each connection does one thing after the other, so that what it is asked now comes last.
                DbPool::Sqlite(_) => open_all(&impatient).await,
                _ => {
                    until_none_waits(&server, &table).await;
                }
            }
            beside.execute("ROLLBACK").await;
            drop(beside);
            let record = load(&made, &key).await.expect("nobody ended it");
            assert_eq!(record.version, version, "{}", server.name);
            let saved = made.save(&key, &version, change("next"), NOW).await;
            assert!(
                matches!(saved, Ok(Saved::Stored(_))),
                "{}: {saved:?}",
                server.name
            );
        });
    }
}

/// Opens every connection that the pool may have, and asks each something.
#[cfg(test)]
async fn open_all(store: &DbStore) {
    async fn of<DB: sqlx::Database>(pool: sqlx::Pool<DB>) {
        let mut all = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            // The pool's patience is the store's, and may end before that of a statement that it gave up.
            let mut connection = loop {
                if let Ok(connection) = pool.acquire().await {
                    break connection;
                }
            };
            let asked = sqlx::Connection::ping(&mut *connection).await;
            asked.expect("the server answers");
            all.push(connection);
        }
    }
    match store.pool() {
        DbPool::Sqlite(pool) => of(pool).await,
        DbPool::Postgres(pool) => of(pool).await,
        DbPool::MySql(pool) => of(pool).await,
        other => panic!("{other:?} is new"),
    }
}

#[test]
fn a_client_that_goes_away_costs_no_connection() {
    for server in servers("a_client_that_goes_away_costs_no_connection") {
        block_on(async {
            let table = new_table();
            let config = server.config(&table).with_connections_max(1);
            let store = config.connect(&server.url).await.unwrap();
            store.migrate().await.unwrap();
            let version = store.create(&key(1), new("first"), NOW).await.unwrap();
            let connection = connection_id(&store).await;
            let mut beside = Beside::connect(&server.url).await;
            beside.begin().await;
            beside
                .execute(&format!("UPDATE {table} SET label = NULL"))
                .await;
            let save = {
                let store = store.clone();
                tokio::spawn(
                    async move { store.save(&key(1), &version, change("second"), NOW).await },
                )
            };
            until_waiting(&server, &table).await;
            save.abort();
            assert!(save.await.unwrap_err().is_cancelled());
            beside.execute("COMMIT").await;

            // The one connection of the pool comes back from the statement that nobody waits for, and is the same.
            assert_eq!(connection_id(&store).await, connection, "{}", server.name);
            let record = load(&store, &key(1)).await.unwrap();
            assert_eq!(text(&record), "second", "{}: it was under way", server.name);
        });
    }
}

/// Which connection of the server's the store's only one is.
#[cfg(test)]
async fn connection_id(store: &DbStore) -> i64 {
    match store.pool() {
        DbPool::Postgres(pool) => {
            let id = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()");
            id.fetch_one(&pool).await.unwrap().into()
        }
        DbPool::MySql(pool) => {
            let id = sqlx::query_scalar::<_, i64>("SELECT CAST(CONNECTION_ID() AS SIGNED)");
            id.fetch_one(&pool).await.unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn clear_expired_passes_over_what_others_hold_and_what_is_renewed() {
    for server in servers("clear_expired_passes_over_what_others_hold_and_what_is_renewed") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            for number in 0..3 {
                store.create(&key(number), new("old"), NOW).await.unwrap();
            }
            let mut beside = Beside::connect(&server.url).await;
            beside.begin().await;
            let renew = format!(
                "UPDATE {table} SET expires_at = {} WHERE session_key = '{}'",
                LATER.as_secs() + 1,
                key(1).as_str()
            );
            beside.execute(&renew).await;
            // Were it to wait for the row, it would not end before the timeout.
            let removed = store.clear_expired(LATER, &mut |_| {}).await;
            assert_eq!(removed.unwrap(), 2, "{}", server.name);
            beside.execute("COMMIT").await;
            assert_eq!(store.clear_expired(LATER, &mut |_| {}).await.unwrap(), 0);
            let record = store.load(&key(1), LATER).await.unwrap();
            assert!(record.is_some(), "a session was cleared as it was renewed");
        });
    }
}

/// As many as one statement removes, which expired in the same second: there is nothing among them to go on from.
#[test]
fn clear_expired_passes_over_a_whole_batch_that_others_hold() {
    const BATCH: u64 = 500;
    for server in servers("clear_expired_passes_over_a_whole_batch_that_others_hold") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            for number in 0..BATCH {
                store.create(&key(number), new("old"), NOW).await.unwrap();
            }
            let next_second = Timestamp::from_secs(LATER.as_secs() + 1);
            let mut next = new("old");
            next.expires_at = next_second;
            store.create(&key(BATCH), next, NOW).await.unwrap();
            let mut beside = Beside::connect(&server.url).await;
            beside.begin().await;
            let hold = format!(
                "SELECT 1 FROM {table} WHERE expires_at = {} FOR UPDATE",
                LATER.as_secs()
            );
            beside.execute(&hold).await;
            let removed = store.clear_expired(next_second, &mut |_| {}).await;
            assert_eq!(removed.unwrap(), 1, "{}", server.name);
            beside.execute("COMMIT").await;
            let removed = store.clear_expired(next_second, &mut |_| {}).await;
            assert_eq!(removed.unwrap(), BATCH, "{}", server.name);
        });
    }
}

#[test]
fn a_broken_connection_costs_a_reader_nothing() {
    for server in servers("a_broken_connection_costs_a_reader_nothing") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            let version = store.create(&key(1), new("x"), NOW).await.unwrap();
            // As a restart does: every connection of the pool is dead, and nobody has noticed.
            kill_all(&server, &store).await;
            assert!(load(&store, &key(1)).await.is_some(), "{}", server.name);
            // The reader has noticed for all of them.
            for round in 0..6 {
                let saved = store.save(&key(1), &version, change("y"), NOW).await;
                match (round, saved) {
                    (0, Ok(Saved::Stored(_))) | (_, Ok(Saved::Conflict)) => {}
                    (_, other) => panic!("{}: {other:?}", server.name),
                }
            }
            kill_all(&server, &store).await;
            let later = Timestamp::from_secs(LATER.as_secs() + 1);
            assert!(store.touch(&key(1), later, NOW).await.unwrap());
            kill_all(&server, &store).await;
            store.delete(&key(1)).await.expect("deleting is repeated");
            assert!(load(&store, &key(1)).await.is_none());
        });
    }
}

/// Opens all of the pool's connections, and has the server end them.
#[cfg(test)]
async fn kill_all(server: &Server, store: &DbStore) {
    let mut beside = Beside::connect(&server.url).await;
    match store.pool() {
        DbPool::Postgres(pool) => {
            let mut held = Vec::new();
            for _ in 0..pool.options().get_max_connections() {
                let mut connection = pool.acquire().await.unwrap();
                let id: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap();
                held.push((connection, id));
            }
            release(
                &pool,
                held.iter().map(|(_, id)| i64::from(*id)).collect(),
                |id| format!("SELECT pg_terminate_backend({id}, 10000)"),
                &mut beside,
                held,
            )
            .await;
        }
        DbPool::MySql(pool) => {
            let mut held = Vec::new();
            for _ in 0..pool.options().get_max_connections() {
                let mut connection = pool.acquire().await.unwrap();
                let id: i64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)")
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap();
                held.push((connection, id));
            }
            release(
                &pool,
                held.iter().map(|(_, id)| *id).collect(),
                |id| format!("KILL {id}"),
                &mut beside,
                held,
            )
            .await;
        }
        other => panic!("{other:?}"),
    }
}

/// Gives the connections back, and ends them once they are idle.
#[cfg(test)]
async fn release<DB: sqlx::Database, H>(
    pool: &sqlx::Pool<DB>,
    ids: Vec<i64>,
    kill: impl Fn(i64) -> String,
    beside: &mut Beside,
    held: H,
) {
    drop(held);
    while pool.num_idle() < ids.len() {
        tokio::task::yield_now().await;
    }
    for id in ids {
        beside.execute(&kill(id)).await;
    }
}

#[test]
fn what_a_server_takes_no_more_of_is_too_large() {
    for server in Server::all("what_a_server_takes_no_more_of_is_too_large") {
        block_on(async {
            let store = server.store().await;
            let payload = |mib: usize| Payload::from_bytes(vec![b'x'; mib << 20]);
            let version = store.create(&key(1), new("small"), NOW).await.unwrap();
            let large = Change::new(payload(65), ExpiryChange::Keep);
            let error = store.save(&key(1), &version, large, NOW).await.unwrap_err();
            assert!(
                matches!(error, StoreError::TooLarge { bytes_max, .. } if bytes_max == 64 << 20),
                "{}: {error:?}",
                server.name
            );
            // MariaDB's own limit is lower than ours, by default 16 MiB; it hangs up on who exceeds it.
            let large = Change::new(payload(20), ExpiryChange::Keep);
            let saved = store.save(&key(1), &version, large, NOW).await;
            match (server.name, saved) {
                ("mariadb", Err(StoreError::TooLarge { bytes_max, .. })) => {
                    assert!(bytes_max < 16 << 20, "{bytes_max}");
                }
                ("sqlite" | "postgres", Ok(Saved::Stored(_))) => {}
                (_, other) => panic!("{}: {other:?}", server.name),
            }
            assert!(load(&store, &key(1)).await.is_some());
        });
    }
}

#[test]
fn a_file_that_another_program_is_setting_up_is_waited_for() {
    block_on(async {
        use sqlx::Connection as _;
        let server = Server::sqlite();
        let table = new_table();
        let options: sqlx::sqlite::SqliteConnectOptions = server.url.parse().unwrap();
        let options = options.create_if_missing(true);
        let mut other = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        let run = async |other: &mut sqlx::SqliteConnection, sql: &str| {
            let sql = sqlx::AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(other).await.unwrap();
        };

        // It is no write-ahead file yet, and somebody reads it.
        run(
            &mut other,
            "CREATE TABLE other (a); BEGIN; SELECT * FROM other",
        )
        .await;
        let connecting = {
            let (config, url) = (server.config(&table), server.url.clone());
            tokio::spawn(async move { config.connect(&url).await })
        };
        // It can't be seen from outside that it waits; that it does not fail can.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!connecting.is_finished(), "it did not wait");
        run(&mut other, "COMMIT").await;
        let store = connecting.await.unwrap().expect("the reader is gone");

        // Somebody makes the same table.
        run(&mut other, "BEGIN IMMEDIATE").await;
        run(&mut other, &store.migration_sql()).await;
        let migrating = {
            let store = store.clone();
            tokio::spawn(async move { store.migrate().await })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!migrating.is_finished(), "it did not wait");
        run(&mut other, "COMMIT").await;
        migrating.await.unwrap().expect("the table is there");
        store.check().await.expect("and is as it must be");
    });
}
