//! `clear_expired` beside live traffic: it removes what has expired, needs no memory for it, and lets saves through.
//! With `SESSION_TEST_FULL=1` on as many rows as a large site has; then the times that it prints are worth reading.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use session_core::SessionManager;
    use session_core::store::{Page, SessionStore as _, StoreScan as _};
    use session_db::DbStore;

    use crate::servers::records::chain;
    use crate::servers::{now, request};

    const WRITERS: usize = 4;
    const SESSIONS_OF_EACH: usize = 50;

    /// The pause of a writer after each request: live traffic, and not as much as the machine can do.
    const THINKS: Duration = Duration::from_millis(10);

    /// How much more memory than before a purge may need.
    const GROWTH_MAX_KIB: u64 = 32 * 1024;

    /// How many rows there are besides the writers' own.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Scale {
        pub(crate) expired: u64,
        pub(crate) live: u64,
        /// How long traffic is measured without a purge.
        calm: Duration,
    }

    impl Scale {
        pub(crate) fn wanted() -> Self {
            if std::env::var_os("SESSION_TEST_FULL").is_some() {
                Self {
                    expired: 1_000_000,
                    live: 100_000,
                    calm: Duration::from_secs(15),
                }
            } else {
                Self {
                    expired: 5_000,
                    live: 500,
                    calm: Duration::from_millis(200),
                }
            }
        }

        pub(crate) const fn is_full(self) -> bool {
            self.expired > 100_000
        }

        /// The columns of row `i`, from 1: the live ones are spread among the others.
        pub(crate) fn columns(self) -> String {
            let every = self.rows() / self.live;
            format!(
                "1, CASE WHEN i % {every} = 0 THEN 4000000000 ELSE 1500000000 + i % 1000000 END, 1500000000, NULL, NULL"
            )
        }

        pub(crate) const fn rows(self) -> u64 {
            self.expired + self.live
        }
    }

    /// Purges, while writers write. The table has the rows of `scale`.
    pub(crate) async fn purge_beside_traffic(name: &str, store: &DbStore, scale: Scale) {
        let calm = Traffic::start(store).await;
        tokio::time::sleep(scale.calm).await;
        let calm = calm.stop().await;

        let busy = Traffic::start(store).await;
        let memory = resident_kib();
        let mut memory_most = memory;
        let mut reports = 0_u64;
        let started = Instant::now();
        let removed = store
            .clear_expired(now(), &mut |_total| {
                reports += 1;
                memory_most = memory_most.max(resident_kib());
            })
            .await
            .unwrap_or_else(|error| panic!("the purge failed: {}", chain(&error)));
        let took = started.elapsed();
        let busy = busy.stop().await;

        assert_eq!(removed, scale.expired, "what had expired");
        assert!(reports > 1, "it was all one batch");
        assert!(!busy.is_empty(), "nobody could save during the purge");
        assert!(
            memory_most < memory + GROWTH_MAX_KIB,
            "the purge took the process from {memory} KiB to {memory_most} KiB"
        );
        let line = format!(
            "{name}: purged {removed} beside {} in {:.1} s, memory {memory} to {memory_most} KiB; requests calm: {}; during the purge: {}\n",
            scale.live,
            took.as_secs_f64(),
            quantiles(calm),
            quantiles(busy),
        );
        // Not `println!`, which a test that passes keeps to itself.
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("standard error is there");
    }

    /// Writers, each of which changes its own sessions, one after the other.
    struct Traffic {
        is_over: Arc<AtomicBool>,
        writers: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
    }

    impl Traffic {
        async fn start(store: &DbStore) -> Self {
            let manager = SessionManager::new(store.clone());
            let is_over = Arc::new(AtomicBool::new(false));
            let mut writers = Vec::new();
            for _ in 0..WRITERS {
                let mut cookies = Vec::new();
                for _ in 0..SESSIONS_OF_EACH {
                    let text = "x".repeat(200);
                    let created = request(&manager, None, |session| session.set("text", &text));
                    let (_, cookie) = created.await.expect("the database works");
                    cookies.push(cookie.expect("a new session"));
                }
                writers.push(tokio::spawn(write(
                    manager.clone(),
                    cookies,
                    Arc::clone(&is_over),
                )));
            }
            Self { is_over, writers }
        }

        /// How long each request took: a load and a save.
        async fn stop(self) -> Vec<Duration> {
            self.is_over.store(true, Ordering::SeqCst);
            let mut took = Vec::new();
            for writer in self.writers {
                took.extend(writer.await.expect("a writer was kept from saving"));
            }
            took
        }
    }

    async fn write(
        manager: SessionManager,
        cookies: Vec<String>,
        is_over: Arc<AtomicBool>,
    ) -> Vec<Duration> {
        let mut took = Vec::new();
        for cookie in cookies.iter().cycle() {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let started = Instant::now();
            let number = took.len();
            let written = request(&manager, Some(cookie), |session| {
                assert!(session.session_key().is_some(), "a live session was purged");
                session.set("number", &number)
            })
            .await;
            took.push(started.elapsed());
            match written {
                Ok((set, _)) => set.expect("a number"),
                Err(error) => panic!("a save failed beside a purge: {}", chain(&error)),
            }
            tokio::time::sleep(THINKS).await;
        }
        took
    }

    fn quantiles(mut took: Vec<Duration>) -> String {
        took.sort_unstable();
        let at = |hundredths: usize| {
            let index = (took.len() * hundredths / 100).min(took.len().saturating_sub(1));
            took.get(index).copied().unwrap_or_default().as_secs_f64() * 1_000.0
        };
        format!(
            "{} in all, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            took.len(),
            at(50),
            at(99),
            at(100)
        )
    }

    /// The live rows are there, and those of the writers.
    pub(crate) async fn assert_live_are_left(store: &DbStore, scale: Scale) {
        let mut found = 0_u64;
        let mut page = Page::first(10_000);
        loop {
            let records = store.page(page).await.expect("the database works");
            let Some((last, _)) = records.last() else {
                break;
            };
            found += u64::try_from(records.len()).expect("a page's length");
            page = Page::after(last.clone(), 10_000);
        }
        assert!(
            found >= scale.live && found < scale.live + scale.expired / 10,
            "{found} sessions are left of {} that live",
            scale.live
        );
        let removed = store.clear_expired(now(), &mut |_| {}).await;
        assert_eq!(removed.expect("the database works"), 0, "it left some");
    }

    /// The memory of this process, as Linux counts it.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    }
}

use session_db::sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, raw_sql};
use session_db::{DbStore, DbStoreConfig};
use tokio::sync::Mutex;

use servers::Server;
use support::{Scale, assert_live_are_left, purge_beside_traffic};

/// One after the other: each is to have the machine, and the process's memory, for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn dos_08_a_purge_of_postgres_lets_live_traffic_through() {
    let _alone = ALONE.lock().await;
    let Some(database) = Server::Postgres.database("purge_beside_traffic").await else {
        return;
    };
    let scale = Scale::wanted();
    let store = database.store(DbStoreConfig::new()).await;
    let mut beside = database.beside().await;
    beside
        .execute(&format!(
            "INSERT INTO web_sessions (session_key, version, expires_at, created_at, owner, label, payload)
             SELECT substr(md5(i::text) || md5((-i)::text), 1, 40), {}, convert_to(repeat('x', 200), 'UTF8')
             FROM generate_series(1, {}) AS i;
             ANALYZE web_sessions",
            scale.columns(),
            scale.rows()
        ))
        .await;
    // As on a server that means it.
    beside.execute("ALTER SYSTEM SET fsync = on").await;
    beside
        .execute("ALTER SYSTEM SET full_page_writes = on")
        .await;
    beside.execute("SELECT pg_reload_conf()").await;
    let purged = tokio::spawn({
        let store = store.clone();
        async move { purge_beside_traffic("PostgreSQL", &store, scale).await }
    })
    .await;
    beside.execute("ALTER SYSTEM RESET ALL").await;
    beside.execute("SELECT pg_reload_conf()").await;
    purged.expect("see above");
    assert_live_are_left(&store, scale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dos_08_a_purge_of_mariadb_lets_live_traffic_through() {
    let _alone = ALONE.lock().await;
    let Some(database) = Server::MariaDb.database("purge_beside_traffic").await else {
        return;
    };
    let scale = Scale::wanted();
    let store = database.store(DbStoreConfig::new()).await;
    let mut beside = database.beside().await;
    beside
        .execute(&format!(
            "INSERT INTO web_sessions (session_key, version, expires_at, created_at, owner, label, payload)
             SELECT SUBSTR(CONCAT(MD5(i), MD5(-i)), 1, 40), {}, REPEAT('x', 200)
             FROM (SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_{}) AS numbers;
             ANALYZE TABLE web_sessions",
            scale.columns(),
            scale.rows()
        ))
        .await;
    // As on a server that means it.
    beside
        .execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        .await;
    if scale.is_full() {
        // MariaDB's own 128 MiB hold an eighth of this table, and this says more of the disk than of the purge.
        beside
            .execute("SET GLOBAL innodb_buffer_pool_size = 2147483648")
            .await;
        beside
            .execute("SET GLOBAL innodb_log_file_size = 268435456")
            .await;
    }
    let purged = tokio::spawn({
        let store = store.clone();
        async move { purge_beside_traffic("MariaDB", &store, scale).await }
    })
    .await;
    beside
        .execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        .await;
    purged.expect("see above");
    assert_live_are_left(&store, scale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dos_08_a_purge_of_sqlite_lets_live_traffic_through() {
    let _alone = ALONE.lock().await;
    let scale = Scale::wanted();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = DbStore::connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    let mut beside = SqliteConnection::connect(&url).await.expect("a file");
    let fill = format!(
        "INSERT INTO web_sessions (session_key, version, expires_at, created_at, owner, label, payload)
         WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {})
         SELECT printf('%08x', i * 2654435761 & 4294967295) || printf('%032x', i), {}, zeroblob(200) FROM numbers;
         PRAGMA wal_checkpoint(TRUNCATE)",
        scale.rows(),
        scale.columns()
    );
    raw_sql(AssertSqlSafe(fill))
        .execute(&mut beside)
        .await
        .expect("rows");
    purge_beside_traffic("SQLite", &store, scale).await;
    assert_live_are_left(&store, scale).await;
}
