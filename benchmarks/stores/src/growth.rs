//! What an operation costs when there are many sessions, how many bytes one takes, and how fast they are removed: our stores,
//! without HTTP.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Place, Result, runtime};
use session_cache::RedisStore;
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreKey,
};
use session_core::{Clock as _, KeyPolicy, MemoryStore, SessionKey, SystemClock};
use session_db::DbStore;
use session_db::sqlx::{PgPool, query, query_scalar};
use session_file::FileStore;
use tokio::task::JoinSet;

use crate::{postgres, redis_url};

/// The bytes of a session.
const PAYLOAD: &[u8] = br#"{"name":"Ada Lovelace","email":"ada.lovelace@analytical-engine.example","token":"4f1b0c2d9e8a7766554433221100ffee"}"#;

/// Sessions on which loads and saves are measured, out of all.
const SAMPLES: usize = 500;

/// Sessions that are made at the same time.
const WRITERS: usize = 8;

const LIFE: Duration = Duration::from_secs(3600);

/// Prints one line of JSON about `store` with `count` sessions.
pub(crate) fn run(store: &str, count: usize) -> Result<()> {
    let place = Place::find()?;
    let runtime = runtime()?;
    let line = runtime.block_on(async {
        let made: Arc<dyn SessionStore> = match store {
            "memory" => Arc::new(MemoryStore::new()),
            "file" => Arc::new(FileStore::open(place.folder.join("sessions"))?),
            "sqlite" => {
                let url = format!("sqlite:{}", place.folder.join("ours.db").display());
                Arc::new(migrated(&url).await?)
            }
            "postgres" => Arc::new(migrated(&own_database(postgres(&place)?, count).await?).await?),
            "redis" => {
                forget_all(redis_url(&place)?).await?;
                Arc::new(RedisStore::connect(redis_url(&place)?).await?)
            }
            _ => return Err("there is no such store".into()),
        };
        let before = bytes(store, &place).await?;
        let keys = fill(&made, count).await?;
        let taken = bytes(store, &place).await?.saturating_sub(before);
        let (load, save) = measure(made.as_ref(), &keys).await?;
        let started = Instant::now();
        let later = SystemClock::default().now().saturating_add(2 * LIFE);
        let purged = made.clear_expired(later, &mut |_| {}).await;
        let took = started.elapsed().as_secs_f64();
        // A server that removes what has expired leaves nothing to remove.
        let purged = purged.ok().filter(|&removed| removed > 0);
        let purged = purged.map(|removed| (removed as f64 / took).round());
        Ok::<_, Box<dyn std::error::Error>>(serde_json::json!({
            "store": store,
            "sessions": count,
            "load_nanoseconds": load,
            "save_nanoseconds": save,
            "bytes_each": taken as f64 / count as f64,
            "purged_each_second": purged,
        }))
    })?;
    harness::report(&line)
}

async fn migrated(url: &str) -> Result<DbStore> {
    let store = DbStore::connect(url).await?;
    store.migrate().await?;
    Ok(store)
}

/// A database that holds nothing else: the URL.
async fn own_database(url: &str, count: usize) -> Result<String> {
    let name = format!("growth_{count}");
    let (server, _) = url.rsplit_once('/').ok_or("this is no URL")?;
    let pool = PgPool::connect(url).await?;
    for statement in [
        format!("DROP DATABASE IF EXISTS {name}"),
        format!("CREATE DATABASE {name}"),
    ] {
        query(session_db::sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await?;
    }
    Ok(format!("{server}/{name}"))
}

async fn forget_all(url: &str) -> Result<()> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    Ok(redis::cmd("FLUSHDB").exec_async(&mut connection).await?)
}

async fn fill(store: &Arc<dyn SessionStore>, count: usize) -> Result<Vec<StoreKey>> {
    let now = SystemClock::default().now();
    let expires_at = now.saturating_add(LIFE);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        writers.spawn(async move {
            let mut keys = Vec::new();
            for _ in (writer..count).step_by(WRITERS) {
                let key = SessionKey::generate().map_err(|error| error.to_string())?;
                let key = KeyPolicy::default().store_key(&key);
                let new = NewRecord::new(Payload::from_bytes(PAYLOAD), expires_at);
                let created = store.create(&key, new, now).await;
                created.map_err(|error| error.to_string())?;
                keys.push(key);
            }
            Ok::<_, String>(keys)
        });
    }
    let mut keys = Vec::with_capacity(count);
    while let Some(written) = writers.join_next().await {
        keys.extend(written??);
    }
    Ok(keys)
}

/// The medians of a load and of a save, over keys from everywhere.
async fn measure(store: &dyn SessionStore, keys: &[StoreKey]) -> Result<(f64, f64)> {
    let now = SystemClock::default().now();
    let (mut loads, mut saves) = (Vec::new(), Vec::new());
    for key in keys.iter().step_by(keys.len().div_ceil(SAMPLES)) {
        let started = Instant::now();
        let record = store.load(key, now).await?.ok_or("a session is lost")?;
        loads.push(started.elapsed().as_nanos() as f64);
        let change = Change::of(
            &record,
            Payload::from_bytes(PAYLOAD.to_vec()),
            ExpiryChange::Keep,
        );
        let started = Instant::now();
        let saved = store.save(key, &record.version, change, now).await?;
        saves.push(started.elapsed().as_nanos() as f64);
        if !matches!(saved, Saved::Stored(_)) {
            return Err("a session was not saved".into());
        }
    }
    Ok((median(&mut loads), median(&mut saves)))
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// What all sessions take.
async fn bytes(store: &str, place: &Place) -> Result<u64> {
    match store {
        "memory" => resident(),
        "file" | "sqlite" => on_disk(&place.folder),
        "postgres" => {
            let pool = PgPool::connect(postgres(place)?).await?;
            let sum = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database";
            let size: i64 = query_scalar(sum).fetch_one(&pool).await?;
            Ok(u64::try_from(size)?)
        }
        _ => {
            let client = redis::Client::open(redis_url(place)?)?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut info = redis::cmd("INFO");
            let text: String = info.arg("memory").query_async(&mut connection).await?;
            let used = text
                .lines()
                .find_map(|line| line.strip_prefix("used_memory:"));
            Ok(used.ok_or("Redis does not say")?.trim().parse()?)
        }
    }
}

/// This process's memory.
fn resident() -> Result<u64> {
    const PAGE: u64 = 4096;
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).ok_or("the kernel does not say")?;
    Ok(pages.parse::<u64>()? * PAGE)
}

/// What the folder takes, in blocks.
fn on_disk(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += 512 * metadata.blocks();
        if metadata.is_dir() {
            sum += on_disk(&entry.path())?;
        }
    }
    Ok(sum)
}
