//! How often a request goes to the database, counted by the servers themselves and on the wire.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use session_core::adapter::Completion;
    use session_core::{ManualClock, SessionManager};
    use session_db::sqlx::{self, Row as _};
    use session_db::{DbPool, DbStore};

    use crate::servers::beside::Beside;
    use crate::servers::proxy::Proxy;
    use crate::servers::{request, statements};

    /// What each request costs: the crate's documentation promises it.
    const PROMISED: [(&str, u64); 12] = [
        ("a request that never asks for its session", 0),
        ("the same with a cookie", 0),
        ("a first write", 1),
        ("a read", 1),
        ("a write to an existing session", 2),
        ("a read when a renewal is due", 2),
        ("a log-in on an existing session", 2),
        ("a list of one's sessions", 2),
        ("a log-out that does not load", 1),
        ("a request with the key of a session that is gone", 1),
        ("a log-in without a session", 1),
        ("a log-out of a loaded session", 2),
    ];

    /// Where statements are counted.
    pub(crate) enum Counter {
        /// `pg_stat_statements`, seen from another database.
        Postgres { beside: Beside, database: String },
        /// The session's own status, on the store's only connection, which is in the pool when it is asked for: its store
        /// keeps none. Each look is a statement, too.
        MariaDb { pool: sqlx::MySqlPool, looks: u64 },
        /// What the driver says to have run. SQLite is inside the process, and keeps no count.
        Sqlite,
    }

    impl Counter {
        pub(crate) fn on_mariadb(store: &DbStore) -> Self {
            match store.pool() {
                DbPool::MySql(pool) => Self::MariaDb { pool, looks: 0 },
                other => panic!("this is not MariaDB: {other:?}"),
            }
        }

        async fn statements(&mut self) -> u64 {
            match self {
                Self::Postgres { beside, database } => {
                    let sql = format!(
                        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid WHERE datname = '{database}'"
                    );
                    u64::try_from(beside.number(&sql).await).expect("a count")
                }
                Self::MariaDb { pool, looks } => {
                    let rows = sqlx::raw_sql("SHOW SESSION STATUS WHERE Variable_name IN ('Questions', 'Com_stmt_prepare', 'Com_stmt_close', 'Com_stmt_reset')")
                        .fetch_all(&*pool)
                        .await
                        .expect("the server runs");
                    let counted: u64 = rows
                        .iter()
                        .map(|row| {
                            let value: String = row.try_get_unchecked(1).expect("a value");
                            value.parse::<u64>().expect("a count")
                        })
                        .sum();
                    *looks += 1;
                    counted - *looks
                }
                Self::Sqlite => {
                    u64::try_from(statements::sent_by_sqlite().len()).expect("few enough")
                }
            }
        }
    }

    /// What a request has cost, as far as it is counted.
    #[derive(Debug, Clone, Copy, Default)]
    struct Reading {
        statements: Option<u64>,
        /// Everything that the client said and the server answered: a test of a connection would be among them.
        round_trips: Option<u64>,
    }

    /// Says what each request has cost since the one before.
    struct Meter {
        counter: Option<Counter>,
        wire: Option<Proxy>,
        before: Reading,
        readings: Vec<Reading>,
    }

    impl Meter {
        async fn new(counter: Option<Counter>, wire: Option<Proxy>) -> Self {
            let mut meter = Self {
                counter,
                wire,
                before: Reading::default(),
                readings: Vec::new(),
            };
            meter.read().await;
            meter
        }

        async fn read(&mut self) {
            let now = Reading {
                statements: match &mut self.counter {
                    Some(counter) => Some(counter.statements().await),
                    None => None,
                },
                round_trips: self.wire.as_ref().map(Proxy::round_trips),
            };
            let since = |now: Option<u64>, before: Option<u64>| {
                now.map(|now| now - before.unwrap_or_default())
            };
            self.readings.push(Reading {
                statements: since(now.statements, self.before.statements),
                round_trips: since(now.round_trips, self.before.round_trips),
            });
            self.before = now;
        }
    }

    /// Walks through every kind of request, and compares what they cost with what is promised. The store has one
    /// connection, which has met every statement before.
    pub(crate) async fn assert_promised(
        store: DbStore,
        counter: Option<Counter>,
        wire: Option<Proxy>,
    ) {
        let (has_counter, has_wire) = (counter.is_some(), wire.is_some());
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        clock.set(crate::servers::records::NOW);
        let manager = SessionManager::new(store).with_clock(Arc::clone(&clock));
        let mut meter = Meter::new(counter, wire).await;
        walk(&manager, &clock, &mut meter).await;
        meter.readings.clear();
        walk(&manager, &clock, &mut meter).await;

        assert_eq!(meter.readings.len(), PROMISED.len());
        for ((what, promised), reading) in PROMISED.iter().zip(meter.readings) {
            let statements = has_counter.then_some(*promised);
            assert_eq!(reading.statements, statements, "statements of {what}");
            let round_trips = has_wire.then_some(*promised);
            assert_eq!(reading.round_trips, round_trips, "round trips of {what}");
        }
    }

    async fn walk(manager: &SessionManager, clock: &ManualClock, meter: &mut Meter) {
        const WORKS: &str = "the database works";
        let commit = async |slot: session_core::adapter::SessionSlot| {
            drop(slot.commit(Completion::Success).await.expect(WORKS));
        };
        let slot = manager.slot();
        commit(slot).await;
        meter.read().await;
        let slot = manager.slot();
        slot.present([&b"abcdefghijklmnopqrstuvwxyz012345"[..]]);
        commit(slot).await;
        meter.read().await;

        let (written, cookie) = request(manager, None, |session| session.set("name", "Ada"))
            .await
            .expect(WORKS);
        written.expect("a name and a value");
        let cookie = cookie.expect("a new session");
        meter.read().await;
        let (name, _) = request(manager, Some(&cookie), |session| {
            session.get::<String>("name")
        })
        .await
        .expect(WORKS);
        assert_eq!(name.expect("text").as_deref(), Some("Ada"));
        meter.read().await;
        let (written, _) = request(manager, Some(&cookie), |session| session.set("name", "Bob"))
            .await
            .expect(WORKS);
        written.expect("a name and a value");
        meter.read().await;
        clock.advance(Duration::from_secs(3 * 86_400));
        let (is_there, _) = request(manager, Some(&cookie), |session| {
            session.contains_key("name")
        })
        .await
        .expect(WORKS);
        assert!(is_there, "the session was lost");
        meter.read().await;
        let (logged_in, cookie) = request(manager, Some(&cookie), |session| session.log_in("ada"))
            .await
            .expect(WORKS);
        logged_in.expect("an owner");
        let cookie = cookie.expect("a new key at the log-in");
        meter.read().await;

        let slot = manager.slot();
        slot.present([cookie.as_bytes()]);
        let session = slot.session().await.expect(WORKS);
        let own = session.own_sessions().await.expect(WORKS);
        assert!(!own.is_empty(), "the session is not in its owner's list");
        commit(slot).await;
        meter.read().await;

        let slot = manager.slot();
        slot.present([cookie.as_bytes()]);
        slot.log_out();
        commit(slot).await;
        meter.read().await;
        let (is_empty, _) = request(manager, Some(&cookie), |session| session.is_empty())
            .await
            .expect(WORKS);
        assert!(is_empty, "the session survived its log-out");
        meter.read().await;
        let (logged_in, cookie) = request(manager, None, |session| session.log_in("ada"))
            .await
            .expect(WORKS);
        logged_in.expect("an owner");
        let cookie = cookie.expect("a new session");
        meter.read().await;
        let ((), _) = request(manager, Some(&cookie), |session| session.log_out())
            .await
            .expect(WORKS);
        meter.read().await;
    }
}

use session_db::DbStoreConfig;

use servers::Server;
use servers::proxy::Proxy;
use servers::statements;
use support::{Counter, assert_promised};

/// One connection, so that it has met every statement.
fn one_connection() -> DbStoreConfig {
    DbStoreConfig::new().with_connections_max(1)
}

#[tokio::test]
async fn postgres_counts_no_more_than_is_promised() {
    let name = "round_trips";
    let Some(mut database) = Server::Postgres.database(name).await else {
        return;
    };
    let mut beside = database.administration().await;
    beside
        .execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .await;
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = database.store(one_connection()).await;
    let counter = Counter::Postgres {
        beside,
        database: name.to_owned(),
    };
    assert_promised(store, Some(counter), Some(proxy)).await;
}

#[tokio::test]
async fn mariadb_counts_no_more_than_is_promised() {
    let Some(mut database) = Server::MariaDb.database("round_trips").await else {
        return;
    };
    let store = database.store(one_connection()).await;
    let counter = Counter::on_mariadb(&store);
    assert_promised(store, Some(counter), None).await;

    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = database.store(one_connection()).await;
    assert_promised(store, None, Some(proxy)).await;
}

#[tokio::test]
async fn sqlite_is_asked_no_more_than_is_promised() {
    statements::listen();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = one_connection().connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    assert_promised(store, Some(Counter::Sqlite), None).await;
}
