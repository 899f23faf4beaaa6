//! What becomes of sessions when the database does not do its part: killed, unreachable, stalled, full, locked, read-only,
//! undoing what met. All of it is answered as "unavailable", in time, and nothing that was acknowledged is lost.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use session_core::Owner;
    use session_core::store::{EndScope, Page, SessionStore as _, StoreError, Version};
    use session_db::DbStore;

    use crate::servers::{LATER, NOW, assert_unavailable, bounded, change, key, new};

    /// Far less than a store usually has, so that these tests end.
    pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

    /// A port at which nobody answers. It is kept from everybody else.
    pub(crate) fn dead_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("it is bound").port()
    }

    /// Every write to record 1 is answered as unavailable, and ends.
    pub(crate) async fn assert_writes_unavailable(store: &DbStore, version: &Version) {
        let owner = Owner::from("ada");
        let index = store.owner_index().expect("there is one");
        let later = LATER.saturating_add(Duration::from_secs(9));
        let saved = bounded("save", store.save(&key(1), version, change("b"), NOW)).await;
        assert_unavailable("save", saved);
        let touched = bounded("touch", store.touch(&key(1), later, NOW)).await;
        assert_unavailable("touch", touched);
        let (from, to) = (key(1), key(2));
        let rotated = store.rotate(&from, version, &to, change("c"), NOW);
        assert_unavailable("rotate", bounded("rotate", rotated).await);
        let deleted = bounded("delete", store.delete(&key(1))).await;
        assert_unavailable("delete", deleted);
        for scope in [
            EndScope::One(key(1)),
            EndScope::AllExcept(key(3)),
            EndScope::All,
        ] {
            let ended = bounded("end", index.end(&owner, scope)).await;
            assert_unavailable("end", ended);
        }
    }

    /// Every operation is answered as unavailable, and ends.
    pub(crate) async fn assert_all_unavailable(store: &DbStore, version: &Version) {
        let loaded = bounded("load", store.load(&key(1), NOW)).await;
        assert_unavailable("load", loaded);
        let created = bounded("create", store.create(&key(4), new("a"), NOW)).await;
        assert_unavailable("create", created);
        assert_writes_unavailable(store, version).await;
        let cleared = bounded("clear_expired", store.clear_expired(NOW, &mut |_| {})).await;
        assert_unavailable("clear_expired", cleared);
        let owner = Owner::from("ada");
        let index = store.owner_index().expect("there is one");
        let listed = bounded("list", index.sessions_of(&owner, Page::first(9), NOW)).await;
        assert_unavailable("list", listed.map(|sessions| sessions.len()));
        let scan = store.scan().expect("there is one");
        let page = bounded("scan", scan.page(Page::first(9))).await;
        assert_unavailable("scan", page.map(|sessions| sessions.len()));
    }

    /// Record 1, whose owner is ada.
    pub(crate) async fn create_record(store: &DbStore) -> Result<Version, StoreError> {
        let mut record = new("a");
        record.owner = Some(Owner::from("ada"));
        store.create(&key(1), record, NOW).await
    }

    /// Record 1 lives as it was created, and can be written again.
    pub(crate) async fn assert_unharmed(store: &DbStore, version: &Version) {
        let record = store.load(&key(1), NOW).await.expect("it works again");
        let record = record.expect("the record survived");
        assert_eq!(record.payload.to_bytes().expect("bytes"), "a");
        assert_eq!(&record.version, version);
        let saved = store.save(&key(1), version, change("b"), NOW).await;
        assert!(
            matches!(saved, Ok(session_core::store::Saved::Stored(_))),
            "a save after the outage was answered {saved:?}"
        );
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::store::{EndScope, OwnerIndex as _, Saved, SessionStore as _, StoreError};
use session_core::{Owner, SessionError, SessionManager};
use session_db::sqlx::mysql::MySqlPoolOptions;
use session_db::sqlx::postgres::PgPoolOptions;
use session_db::sqlx::{Connection as _, SqliteConnection, SqlitePool, raw_sql};
use session_db::{DbPool, DbStore, DbStoreConfig};
use tokio::sync::{Mutex, MutexGuard};

use servers::proxy::Proxy;
use servers::victim::Victim;
use servers::{Database, LATER, NOW, Server, WAIT_MAX, assert_unavailable, bounded, chain, change};
use servers::{key, new, request};
use support::{
    PATIENCE, assert_all_unavailable, assert_unharmed, assert_writes_unavailable, create_record,
    dead_port,
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

fn one_connection() -> DbStoreConfig {
    DbStoreConfig::new().with_connections_max(1)
}

/// A store on the same pool that gives up soon. The other is for what must work however busy the machine is.
fn impatient(patient: &DbStore) -> DbStore {
    DbStoreConfig::new()
        .with_timeout(PATIENCE)
        .with_pool(patient.pool())
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

/// What a writer knows of the two counters that it writes.
#[derive(Default)]
struct Knowledge {
    /// How often it was told that its write to the shared session was stored.
    shared_stored: AtomicU64,
    /// How often it was told that this is not known.
    shared_unknown: AtomicU64,
    /// The last number in its own session that it was told is stored.
    own_stored: AtomicU64,
    /// The last number that it tried to store.
    own_tried: AtomicU64,
    failures: AtomicU64,
}

async fn kill(database: Database) {
    const WRITERS: usize = 8;
    const KILLS: u64 = 3;
    /// Between two kills each writer stores at least so often.
    const STORED_BETWEEN: u64 = 20;

    // Less than the manager's own patience, so that it is the store that answers.
    let config = DbStoreConfig::new().with_timeout(Duration::from_secs(2));
    let manager = SessionManager::new(database.store(config).await);
    let victim = Victim::of(database.server, &mut database.administration().await).await;
    let new_session = async || {
        let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
        let (set, cookie) = created.expect("the server runs");
        set.expect("a number");
        Arc::<str>::from(cookie.expect("a new session"))
    };
    let shared = new_session().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let own = new_session().await;
        let knows = Arc::new(Knowledge::default());
        let task = tokio::spawn(write_until_over(
            manager.clone(),
            (Arc::clone(&own), Arc::clone(&shared)),
            Arc::clone(&knows),
            Arc::clone(&is_over),
        ));
        writers.push((own, knows, task));
    }

    let all_know = async |what: &str, number: fn(&Knowledge) -> u64, least: u64| {
        let started = Instant::now();
        while writers.iter().any(|(_, knows, _)| number(knows) < least) {
            assert!(
                started.elapsed() < WAIT_MAX
                    && writers.iter().all(|(_, _, task)| !task.is_finished()),
                "not every writer has {what} {least} times"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let stored = |knows: &Knowledge| knows.shared_stored.load(Ordering::SeqCst);
    let failures = |knows: &Knowledge| knows.failures.load(Ordering::SeqCst);
    for round in 0..KILLS {
        let before = writers.iter().map(|(_, knows, _)| stored(knows)).max();
        all_know("stored", stored, before.unwrap_or(0) + STORED_BETWEEN).await;
        let before = writers.iter().map(|(_, knows, _)| failures(knows)).max();
        victim.kill();
        // Every other time the server is back at once, and in between only after everybody has noticed.
        if round % 2 == 0 {
            all_know("failed", failures, before.unwrap_or(0) + 1).await;
        }
        victim.let_it_start();
    }
    let before = writers.iter().map(|(_, knows, _)| stored(knows)).max();
    all_know("stored", stored, before.unwrap_or(0) + STORED_BETWEEN).await;
    is_over.store(true, Ordering::SeqCst);

    let (mut shared_least, mut shared_most) = (0, 0);
    for (own, knows, task) in writers {
        task.await.expect("a writer met what it must not meet");
        let stored = knows.own_stored.load(Ordering::SeqCst);
        let tried = knows.own_tried.load(Ordering::SeqCst);
        let found = count(&manager, &own).await;
        assert!(
            (stored..=tried).contains(&found),
            "{stored} was acknowledged, {tried} was tried, and {found} is there"
        );
        let stored = knows.shared_stored.load(Ordering::SeqCst);
        shared_least += stored;
        shared_most += stored + knows.shared_unknown.load(Ordering::SeqCst);
    }
    let found = count(&manager, &shared).await;
    assert!(
        (shared_least..=shared_most).contains(&found),
        "{shared_least} increments were acknowledged, at most {shared_most} happened, and {found} are there"
    );
}

/// Counts in a session of its own, where it sets each number, and in one that all share, where it adds.
async fn write_until_over(
    manager: SessionManager,
    (own, shared): (Arc<str>, Arc<str>),
    knows: Arc<Knowledge>,
    is_over: Arc<AtomicBool>,
) {
    let mut number = 0_u64;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        knows.own_tried.store(number, Ordering::SeqCst);
        let written = request(&manager, Some(&own), |session| {
            assert!(session.session_key().is_some(), "the own session is gone");
            session.set("count", &number)
        })
        .await;
        if is_stored(&knows, written) {
            knows.own_stored.store(number, Ordering::SeqCst);
        }
        let written = request(&manager, Some(&shared), |session| {
            assert!(
                session.session_key().is_some(),
                "the shared session is gone"
            );
            session.modify("count", |count: &mut u64| *count += 1)
        })
        .await;
        if is_stored(&knows, written) {
            knows.shared_stored.fetch_add(1, Ordering::SeqCst);
        } else {
            knows.shared_unknown.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn is_stored(
    knows: &Knowledge,
    written: Result<(Result<(), SessionError>, Option<String>), SessionError>,
) -> bool {
    match written {
        Ok((set, _)) => {
            set.expect("a number");
            true
        }
        Err(error) if error.is_unavailable() => {
            knows.failures.fetch_add(1, Ordering::SeqCst);
            false
        }
        Err(error) => panic!("a killed server was taken for: {}", chain(&error)),
    }
}

async fn count(manager: &SessionManager, cookie: &str) -> u64 {
    let asked = request(manager, Some(cookie), |session| session.get::<u64>("count"));
    let (count, _) = asked.await.expect("the server runs");
    count.expect("a number").expect("the session survived")
}

async fn refuse(database: Database) {
    let url = Proxy::url_at(&database.url, dead_port());
    let config = DbStoreConfig::new().with_timeout(PATIENCE);
    let store = match database.server {
        Server::MariaDb => config.clone().with_pool(
            MySqlPoolOptions::new()
                .connect_lazy(&url)
                .expect("the URL is right"),
        ),
        Server::Postgres | Server::PgBouncer => config.clone().with_pool(
            PgPoolOptions::new()
                .connect_lazy(&url)
                .expect("the URL is right"),
        ),
    };
    assert_all_unavailable(&store, &session_core::store::Version::Counter(1)).await;
    let connected = bounded("connect", config.connect(&url)).await;
    let error = connected.expect_err("nobody is there");
    let text = chain(&error);
    assert!(text.contains("is the database running"), "{text}");
}

async fn stall(mut database: Database) {
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let patient = database.store(DbStoreConfig::new()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    // Loads alone: what waits behind the proxy is done when it opens.
    proxy.stall(true);
    for _ in 0..3 {
        let loaded = bounded("load", store.load(&key(1), NOW)).await;
        assert_unavailable("load", loaded);
    }
    proxy.stall(false);
    assert_unharmed(&patient, &version).await;
}

async fn lose_answers(mut database: Database) {
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = database.store(one_connection()).await;
    let later = LATER.saturating_add(Duration::from_secs(9));
    // A new connection prepares a statement before it runs it: that answer is not the one to lose.
    let number = AtomicU64::new(100);
    let warm_up = async || {
        let key = || key(number.fetch_add(1, Ordering::SeqCst));
        let (one, other) = (key(), key());
        let version = store.create(&one, new("a"), NOW).await.expect("it works");
        store.load(&one, NOW).await.expect("it works");
        store.touch(&one, later, NOW).await.expect("it works");
        let saved = store.save(&one, &version, change("b"), NOW).await;
        let Ok(Saved::Stored(version)) = saved else {
            panic!("a save was answered {saved:?}");
        };
        let rotated = store.rotate(&one, &version, &other, change("c"), NOW).await;
        assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
        store.delete(&other).await.expect("it works");
        proxy.lose_answers(1);
    };
    let payload = async |number: u64| {
        let record = store.load(&key(number), NOW).await.expect("it works again");
        record.map(|record| record.payload.to_bytes().expect("bytes"))
    };

    let version = create_record(&store).await.expect("the server runs");
    warm_up().await;
    assert_eq!(
        payload(1).await.as_deref(),
        Some(&b"a"[..]),
        "a lost answer"
    );
    warm_up().await;
    let touched = store.touch(&key(1), later, NOW).await;
    touched.expect("a second try");
    let record = store.load(&key(1), NOW).await.expect("it works again");
    assert_eq!(record.expect("it lives").expires_at, later);

    // What is not safe to send again is not: a save that is there already would look like somebody else's.
    warm_up().await;
    let saved = store.save(&key(1), &version, change("b"), NOW).await;
    assert_unavailable("save", saved);
    let record = store.load(&key(1), NOW).await.expect("it works again");
    let record = record.expect("the record survived");
    let stored = record.payload.to_bytes().expect("bytes");
    assert_eq!(stored, "b", "the server had stored it");
    warm_up().await;
    let rotated = store
        .rotate(&key(1), &record.version, &key(2), change("c"), NOW)
        .await;
    assert_unavailable("rotate", rotated);
    assert_eq!(payload(1).await, None, "one session has two keys");
    assert_eq!(payload(2).await.as_deref(), Some(&b"c"[..]), "it has none");
    warm_up().await;
    assert_unavailable("create", store.create(&key(3), new("a"), NOW).await);
    assert_eq!(payload(3).await.as_deref(), Some(&b"a"[..]));
    warm_up().await;
    store.delete(&key(2)).await.expect("a second try");
    assert_eq!(payload(2).await, None, "a deleted session lives");
}

async fn exhaust_pool(database: Database) {
    let patient = database.store(one_connection()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    // The application uses the same pool for a transaction of its own, and takes its time.
    match store.pool() {
        DbPool::Postgres(pool) => {
            let held = pool.begin().await.expect("a connection");
            assert_all_unavailable(&store, &version).await;
            held.rollback().await.expect("the server runs");
        }
        DbPool::MySql(pool) => {
            let held = pool.begin().await.expect("a connection");
            assert_all_unavailable(&store, &version).await;
            held.rollback().await.expect("the server runs");
        }
        other => panic!("no test has such a pool: {other:?}"),
    }
    assert_unharmed(&patient, &version).await;
}

async fn lock_row(database: Database) {
    let patient = database.store(DbStoreConfig::new()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    let mut holder = database.beside().await;
    holder.execute("BEGIN").await;
    holder
        .execute("SELECT * FROM web_sessions FOR UPDATE")
        .await;
    assert_writes_unavailable(&store, &version).await;
    // A reader waits for nobody.
    let loaded = patient.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a locked row was taken for no session");
    // The server, too, gives them up by itself: none of them happens when the lock is gone.
    let mut watcher = database.beside().await;
    watcher.wait_for(waiting(database.server), "0").await;
    holder.execute("ROLLBACK").await;
    assert_unharmed(&patient, &version).await;
}

/// How many statements wait for a lock.
const fn waiting(server: Server) -> &'static str {
    match server {
        Server::MariaDb => {
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
        }
        Server::Postgres | Server::PgBouncer => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    }
}

/// The store ends two sessions of an owner, and meets a transaction that holds one of them and asks for the other. It is
/// the store's statement that is undone.
async fn deadlock(database: Database) {
    let patient = DbStoreConfig::new().with_timeout(Duration::from_secs(60));
    let store = database.store(patient.clone()).await;
    let owner = Owner::from("ada");
    for number in [1, 2] {
        let mut record = new("a");
        record.owner = Some(owner.clone());
        let created = store.create(&key(number), record, NOW).await;
        created.expect("the server runs");
    }
    let mut holder = database.beside().await;
    holder
        .execute(match database.server {
            // Who has written more is spared.
            Server::MariaDb => {
                "CREATE TABLE others (number INT); BEGIN; INSERT INTO others SELECT seq FROM seq_1_to_1000"
            }
            // Whose patience ends first looks for a deadlock, and gives way.
            Server::Postgres | Server::PgBouncer => {
                "ALTER DATABASE outage_deadlock SET deadlock_timeout = '3s'; SET deadlock_timeout = '1h'"
            }
        })
        .await;
    if database.server == Server::Postgres {
        holder.execute("BEGIN").await;
    }
    // Its connections are made now, with the new setting.
    let store = patient.connect(&database.url).await;
    let store = store.expect("the server runs");

    let lock = |number: u64| {
        format!(
            "SELECT version FROM web_sessions WHERE session_key = '{}' FOR UPDATE",
            key(number).as_str()
        )
    };
    // Both are of one owner, and are found in this order.
    holder.execute(&lock(2)).await;
    let ending = tokio::spawn(async move { store.end(&owner, EndScope::All).await });
    let mut watcher = database.beside().await;
    let deadlocks = match database.server {
        Server::MariaDb => {
            "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Innodb_deadlocks'"
        }
        Server::Postgres | Server::PgBouncer => {
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        }
    };
    let before = watcher.number(deadlocks).await;
    watcher.wait_for(waiting(database.server), "1").await;
    holder.execute(&lock(1)).await;
    // Perhaps more than one: the second try may be as quick as the holder.
    let before = before.to_string();
    watcher.wait_until(deadlocks, |now| now != before).await;
    holder.execute("COMMIT").await;
    match bounded("end", ending).await.expect("it does not panic") {
        Ok(ended) => assert_eq!(ended, 2, "sessions escaped in a deadlock"),
        Err(error) => panic!("the deadlock was not tried again: {}", chain(&error)),
    }
}

/// On connections whose isolation level makes PostgreSQL undo a writer that has waited for another.
async fn serialize(database: Database) {
    const WRITERS: u64 = 16;
    database.store(DbStoreConfig::new()).await;
    let store = match database.server {
        Server::MariaDb => {
            let pool = MySqlPoolOptions::new().after_connect(|connection, _| {
                Box::pin(async move {
                    let level = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE";
                    raw_sql(level).execute(connection).await.map(drop)
                })
            });
            DbStore::new(pool.connect(&database.url).await.expect("the server runs"))
        }
        Server::Postgres | Server::PgBouncer => {
            let settings = [("default_transaction_isolation", "serializable")];
            let url = database.url_with_settings(&settings);
            let pool = PgPoolOptions::new().connect(&url).await;
            DbStore::new(pool.expect("the server runs"))
        }
    };

    // The save waits for a transaction that moves the expiry, and is undone when that one commits.
    let version = create_record(&store).await.expect("the server runs");
    let mut holder = database.beside().await;
    holder.execute("BEGIN").await;
    holder
        .execute("UPDATE web_sessions SET expires_at = expires_at + 1")
        .await;
    let save = store.clone();
    let saving = tokio::spawn(async move { save.save(&key(1), &version, change("b"), NOW).await });
    let mut watcher = database.beside().await;
    watcher.wait_for(waiting(database.server), "1").await;
    holder.execute("COMMIT").await;
    let saved = bounded("save", saving).await.expect("it does not panic");
    assert!(
        matches!(saved, Ok(Saved::Stored(_))),
        "a save that was undone was answered {saved:?}"
    );
    if database.server == Server::Postgres {
        let undone =
            "SELECT xact_rollback > 0 FROM pg_stat_database WHERE datname = current_database()";
        watcher.wait_for(undone, "t").await;
    }

    // Managers of their own, as processes have them: within one, requests on a session take turns.
    let manager = SessionManager::new(store.clone());
    let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
    let cookie = created.expect("the server runs").1.expect("a new session");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (manager, cookie) = (SessionManager::new(store.clone()), cookie.clone());
        writers.push(tokio::spawn(async move {
            request(&manager, Some(&cookie), |session| {
                session.modify("count", |count: &mut u64| *count += 1)
            })
            .await
        }));
    }
    for writer in writers {
        match writer.await.expect("it does not panic") {
            Ok((modified, _)) => modified.expect("a number"),
            Err(error) => panic!("a writer did not get through: {}", chain(&error)),
        }
    }
    assert_eq!(count(&manager, &cookie).await, WRITERS, "updates were lost");
}

#[tokio::test]
async fn a_read_only_postgres_is_unavailable_for_writes_alone() {
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
    assert_writes_unavailable(&store, &version).await;
    let record = store.load(&key(1), NOW).await.expect("a reader");
    assert!(record.is_some(), "a replica was taken for an empty store");
}

#[tokio::test]
async fn a_read_only_mariadb_is_unavailable_for_writes_alone() {
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
            assert_writes_unavailable(&store, &version).await;
            store.load(&key(1), NOW).await
        }
    })
    .await;
    beside.execute("SET GLOBAL read_only = OFF").await;
    let record = answers.expect("see above").expect("a reader");
    assert!(record.is_some(), "a replica was taken for an empty store");
    assert_unharmed(&store, &version).await;
}

/// The pool has a limit of the server's for each statement.
#[tokio::test]
async fn a_statement_timeout_of_postgres_is_unavailable() {
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
    let settings = [[("statement_timeout", "200")], [("lock_timeout", "200")]];
    let plain = database.url.clone();
    for setting in settings {
        database.url = plain.clone();
        let url = database.url_with_settings(&setting);
        let pool = PgPoolOptions::new().connect(&url).await;
        let store = DbStore::new(pool.expect("the server runs"));
        assert_writes_unavailable(&store, &version).await;
    }
    holder.execute("ROLLBACK").await;
    assert_unharmed(&store, &version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_that_others_keep_locked_is_unavailable_in_time() {
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
    assert_writes_unavailable(&store, &version).await;
    let loaded = store.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a reader waited for a writer");
    raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .expect("the lock");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn a_sqlite_file_that_can_not_be_written_is_unavailable_for_writes_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = DbStore::connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let version = create_record(&store).await.expect("it works");
    let pool = SqlitePool::connect(&format!("{url}?mode=ro")).await;
    let read_only = DbStore::new(pool.expect("the file is there"));
    assert_writes_unavailable(&read_only, &version).await;
    let loaded = read_only.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a file was taken for an empty store");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn a_full_sqlite_file_is_unavailable_and_nothing_is_lost() {
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
    assert_unavailable("create", created);
    let saved = store.save(&key(1), &version, change(&large), NOW).await;
    assert_unavailable("save", saved);
    raw_sql("PRAGMA max_page_count = 1000000")
        .execute(&pool)
        .await
        .expect("a pragma");
    let created = store.load(&key(2), NOW).await.expect("it works again");
    assert!(created.is_none(), "a failed creation left something");
    assert_unharmed(&store, &version).await;
}

#[tokio::test]
async fn a_canceled_request_leaves_no_connection_in_the_middle_of_an_answer() {
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
        let loaded: Result<_, StoreError> = bounded("load", store.load(&key(1), NOW)).await;
        let record = loaded.expect("the connection is in step");
        assert!(record.is_some(), "the answer was another's");
    }
}
