//! What the crate's documentation says about sizes and speed, measured: `cargo bench -p session-db --all-features`.
//!
//! With `-- SQLite` after it, on that database alone. On SQLite in a temporary folder, and on the servers that
//! `SESSION_TEST_POSTGRES` and `SESSION_TEST_MARIADB` name. Speed is given as a ratio to a bare `UPDATE`, since it is the disk
//! and the network that decide on the rest: of a store over the same pool, which gives each connection back, and of one that
//! made a pool for itself and keeps them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::store::{
    BoxError, Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreKey, Timestamp,
};
use session_db::{DbPool, DbStore, DbStoreConfig, SyncPolicy, TableName, sqlx};

type Result<T, E = BoxError> = std::result::Result<T, E>;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// How many sessions are weighed.
const SESSIONS: u64 = 20_000;

/// A small session: a user, a token, some settings.
const PAYLOAD_BYTES: usize = 200;

/// How long each speed is measured, and how often. They take short turns, and the ratio is the median of those within a turn:
/// whatever else the machine does meets all of them alike.
const MEASURED_FOR: Duration = Duration::from_millis(300);
const TURNS: usize = 20;

const CLIENTS: [u64; 3] = [1, 8, 64];

fn main() -> Result<()> {
    // A run without `--bench`, as under `cargo test`, measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        for (name, sync) in [
            ("SQLite, synced with every write", SyncPolicy::EveryWrite),
            ("SQLite, synced at checkpoints", SyncPolicy::AtCheckpoints),
        ] {
            let url = format!("sqlite:{}", folder.path().join(name).display());
            measure(name, &url, sync).await?;
        }
        for (name, variable) in [
            ("PostgreSQL", "SESSION_TEST_POSTGRES"),
            ("MariaDB", "SESSION_TEST_MARIADB"),
        ] {
            match std::env::var(variable) {
                Ok(url) => measure(name, &url, SyncPolicy::default()).await?,
                Err(_) => say(&format!("{name}: not measured, {variable} is not set"))?,
            }
        }
        Ok(())
    })
}

async fn measure(name: &str, url: &str, sync: SyncPolicy) -> Result<()> {
    if !is_wanted(name) {
        return Ok(());
    }
    let table = format!("figures_{}", std::process::id());
    let config = DbStoreConfig::new()
        .with_table(TableName::parse(&table)?)
        .with_timeout(Duration::from_secs(60))
        .with_sync(sync);
    // Nobody asks it for its pool, which would end the keeping.
    let keeping = config.clone().connect(url).await?;
    let store = config.connect(url).await?;
    store.migrate().await?;
    fill(&store).await?;
    say(&format!("{name}\n{}", weigh(&store, &table).await?))?;
    let works = [
        Work::Update(store.pool(), Arc::from(bare_update(&store, &table))),
        Work::Save(store.clone()),
        Work::Save(keeping),
    ];
    for clients in CLIENTS {
        let (mut updates, mut saves, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let mut speeds = [0.0; 3];
            for (work, speed) in works.iter().zip(&mut speeds) {
                *speed = per_second(clients, work).await?;
            }
            let [update, save, save_on_kept] = speeds;
            updates.push(update);
            saves.push(save / update);
            kept.push(save_on_kept / update);
        }
        say(&format!(
            "  {clients} clients: {:.0} bare updates a second; {:.2} of that are saves through the same pool, and {:.2} on connections that are kept",
            median(updates),
            median(saves),
            median(kept)
        ))?;
    }
    execute(&store, &format!("DROP TABLE {table}")).await
}

fn is_wanted(name: &str) -> bool {
    let mut wanted = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    wanted.next().is_none_or(|wanted| name.contains(&wanted))
}

async fn fill(store: &DbStore) -> Result<()> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..10 {
        let store = store.clone();
        writers.spawn(async move {
            for number in (writer..SESSIONS).step_by(10) {
                let mut new = NewRecord::new(payload(), LATER);
                new.owner = Some((number / 4).into());
                new.created_at = Some(NOW);
                store.create(&key(number), new, NOW).await?;
            }
            Ok::<(), BoxError>(())
        });
    }
    for written in writers.join_all().await {
        written?;
    }
    Ok(())
}

/// Bytes per session on disk, of the table and of each index.
async fn weigh(store: &DbStore, table: &str) -> Result<String> {
    let sizes: Vec<(String, i64)> = match store.pool() {
        DbPool::Sqlite(pool) => {
            let sql = "SELECT name, sum(pgsize) FROM dbstat WHERE name <> 'sqlite_schema' GROUP BY name ORDER BY 2 DESC";
            sqlx::query_as(sql).fetch_all(&pool).await?
        }
        DbPool::Postgres(pool) => {
            let sql = format!(
                "SELECT relname::text, pg_table_size(oid) FROM pg_class WHERE relname = '{table}' OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '{table}'::regclass) ORDER BY 2 DESC"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .fetch_all(&pool)
                .await?
        }
        DbPool::MySql(pool) => {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ANALYZE TABLE {table}")))
                .execute(&pool)
                .await?;
            let sql = format!(
                "SELECT CAST(index_name AS CHAR), CAST(stat_value * @@innodb_page_size AS SIGNED) FROM mysql.innodb_index_stats WHERE table_name = '{table}' AND stat_name = 'size' ORDER BY 2 DESC"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .fetch_all(&pool)
                .await?
        }
        other => return Err(format!("{other:?} is new").into()),
    };
    let sessions = i64::try_from(SESSIONS)?;
    let mut text = String::new();
    let mut total = 0;
    for (name, bytes) in sizes {
        let name = name.replace(table, "…");
        writeln!(text, "  {} bytes per session: {name}", bytes / sessions)?;
        total += bytes;
    }
    write!(
        text,
        "  {} bytes per session in all, with {PAYLOAD_BYTES} of payload",
        total / sessions
    )?;
    Ok(text)
}

/// What a client does again and again to its own session.
#[derive(Clone)]
enum Work {
    Save(DbStore),
    Update(DbPool, Arc<str>),
}

/// How often a second `clients` tasks get through with their work.
async fn per_second(clients: u64, work: &Work) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let (done, work) = (Arc::clone(&done), work.clone());
        tasks.spawn(async move {
            let key = key(number);
            let mut version = match &work {
                Work::Save(store) => store.load(&key, NOW).await?.map(|record| record.version),
                Work::Update(..) => None,
            };
            while start.elapsed() < MEASURED_FOR {
                match (&work, &mut version) {
                    (Work::Save(store), Some(version)) => {
                        let change = Change::new(payload(), ExpiryChange::Keep);
                        match store.save(&key, version, change, NOW).await? {
                            Saved::Stored(next) => *version = next,
                            refused => return Err(format!("{refused:?}").into()),
                        }
                    }
                    (Work::Update(pool, sql), _) => update(pool, Arc::clone(sql), &key).await?,
                    (Work::Save(_), None) => return Err("a session is gone".into()),
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), BoxError>(())
        });
    }
    for worked in tasks.join_all().await {
        worked?;
    }
    let count = u32::try_from(done.load(Ordering::Relaxed))?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn bare_update(store: &DbStore, table: &str) -> String {
    let (first, second) = match store.pool() {
        DbPool::Postgres(_) => ("$1", "$2"),
        _ => ("?", "?"),
    };
    format!(
        "UPDATE {table} SET payload = {first}, version = version + 1 WHERE session_key = {second}"
    )
}

async fn update(pool: &DbPool, sql: Arc<str>, key: &StoreKey) -> Result<()> {
    let bytes = [b'x'; PAYLOAD_BYTES];
    let (sql, payload) = (sqlx::AssertSqlSafe(sql), bytes.as_slice());
    let affected = match pool {
        DbPool::Sqlite(pool) => {
            let query = sqlx::query(sql).bind(payload).bind(key.as_str());
            query.execute(pool).await?.rows_affected()
        }
        DbPool::Postgres(pool) => {
            let query = sqlx::query(sql).bind(payload).bind(key.as_str());
            query.execute(pool).await?.rows_affected()
        }
        DbPool::MySql(pool) => {
            let query = sqlx::query(sql).bind(payload).bind(key.as_str());
            query.execute(pool).await?.rows_affected()
        }
        other => return Err(format!("{other:?} is new").into()),
    };
    if affected == 1 {
        Ok(())
    } else {
        Err("a bare update missed its row".into())
    }
}

async fn execute(store: &DbStore, sql: &str) -> Result<()> {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let done = match store.pool() {
        DbPool::Sqlite(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::Postgres(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::MySql(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        other => return Err(format!("{other:?} is new").into()),
    };
    Ok(done?)
}

fn median(mut measured: Vec<f64>) -> f64 {
    measured.sort_by(f64::total_cmp);
    measured
        .get(measured.len() / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Keys as hashes make them: spread evenly.
#[expect(clippy::expect_used, reason = "hexadecimal digits are a key")]
fn key(number: u64) -> StoreKey {
    let spread = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StoreKey::parse(&format!("{spread:016x}{spread:016x}{number:08x}")).expect("40 digits")
}

fn payload() -> Payload {
    Payload::from_bytes(vec![b'x'; PAYLOAD_BYTES])
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
