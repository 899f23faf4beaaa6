//! Our stores, each in a place of its own: how one is opened, and how much it takes there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harness::{Place, Result};
use session_cache::{RedisCacheConfig, RedisStore};
use session_cached_db::CachedDbStore;
use session_core::MemoryStore;
use session_core::store::SessionStore;
use session_db::sqlx::{AssertSqlSafe, MySqlPool, PgPool, SqlitePool, query, query_scalar};
use session_db::{DbStore, DbStoreConfig};
use session_file::FileStoreConfig;

use crate::{mariadb, postgres, redis_url};

/// A store by its name, and the folder or database with this number.
pub(crate) struct Backend<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: usize,
    pub(crate) place: &'a Place,
}

/// Whether what is written must reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// As the store does by default.
    Default,
    /// For writes that nobody measures.
    Hasty,
}

impl Backend<'_> {
    /// Removes whatever is there. Called once, before the store is opened.
    pub(crate) async fn clear(&self) -> Result<()> {
        let statements = [
            format!("DROP DATABASE IF EXISTS {}", self.database()),
            format!("CREATE DATABASE {}", self.database()),
        ];
        if ["postgres", "cached"].contains(&self.name) {
            let pool = PgPool::connect(postgres(self.place)?).await?;
            for statement in statements.clone() {
                query(AssertSqlSafe(statement)).execute(&pool).await?;
            }
        }
        if self.name == "mariadb" {
            let pool = MySqlPool::connect(mariadb(self.place)?).await?;
            // What it keeps in memory, and its log, must be able to hold a million sessions, as the other servers' do. With
            // the small log of the tests it comes to a halt on one core.
            let room = ["innodb_buffer_pool_size", "innodb_log_file_size"]
                .map(|setting| format!("SET GLOBAL {setting} = 1073741824"));
            for statement in statements.into_iter().chain(room) {
                query(AssertSqlSafe(statement)).execute(&pool).await?;
            }
        }
        if ["redis", "cached"].contains(&self.name) {
            let client = redis::Client::open(self.redis()?)?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("FLUSHDB").exec_async(&mut connection).await?;
        }
        Ok(())
    }

    pub(crate) async fn open(&self, sync: Sync) -> Result<Arc<dyn SessionStore>> {
        Ok(match self.name {
            "memory" => Arc::new(MemoryStore::new()),
            "file" => {
                let config = FileStoreConfig::new(self.folder());
                let config = match sync {
                    Sync::Default => config,
                    Sync::Hasty => config.with_sync(session_file::SyncPolicy::Never),
                };
                Arc::new(config.open()?)
            }
            "sqlite" | "postgres" | "mariadb" => Arc::new(self.table(sync).await?),
            "redis" => Arc::new(RedisStore::connect(&self.redis()?).await?),
            "cached" => {
                let cache = RedisCacheConfig::from_url(&self.redis()?)?
                    .connect()
                    .await?;
                Arc::new(CachedDbStore::new(cache, self.table(sync).await?))
            }
            _ => return Err("there is no such store".into()),
        })
    }

    async fn table(&self, sync: Sync) -> Result<DbStore> {
        let url = match self.name {
            "sqlite" => format!("sqlite:{}", self.file().display()),
            "mariadb" => self.beside(mariadb(self.place)?)?,
            _ => self.beside(postgres(self.place)?)?,
        };
        let config = match sync {
            Sync::Default => DbStoreConfig::new(),
            Sync::Hasty => DbStoreConfig::new()
                .with_sync(session_db::SyncPolicy::AtCheckpoints)
                // More writers than one core serves in the time that a request has.
                .with_timeout(Duration::from_secs(60)),
        };
        let store = config.connect(&url).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Lets the server do now what it would do later, at some moment of a measurement.
    pub(crate) async fn settle(&self) -> Result<()> {
        match self.name {
            "sqlite" => {
                let pool =
                    SqlitePool::connect(&format!("sqlite:{}", self.file().display())).await?;
                let checkpoint = query("PRAGMA wal_checkpoint(TRUNCATE)");
                checkpoint.execute(&pool).await?;
                pool.close().await;
            }
            "postgres" => {
                let pool = PgPool::connect(&self.beside(postgres(self.place)?)?).await?;
                for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
                    query(statement).execute(&pool).await?;
                }
                pool.close().await;
            }
            _ => {}
        }
        Ok(())
    }

    /// What is taken now: of this process's memory, of the disk, or of the server's memory.
    pub(crate) async fn bytes(&self) -> Result<u64> {
        match self.name {
            "memory" => resident(),
            "file" => on_disk(&self.folder()),
            "sqlite" => Ok(fs::metadata(self.file())?.len()),
            "postgres" => {
                let pool = PgPool::connect(postgres(self.place)?).await?;
                let size = query_scalar("SELECT pg_database_size($1)").bind(self.database());
                let size: i64 = size.fetch_one(&pool).await?;
                Ok(u64::try_from(size)?)
            }
            "mariadb" => {
                let pool = MySqlPool::connect(mariadb(self.place)?).await?;
                let sum = "SELECT CAST(COALESCE(SUM(file_size), 0) AS SIGNED) \
                           FROM information_schema.innodb_sys_tablespaces WHERE name LIKE ?";
                let size = query_scalar(sum).bind(format!("{}/%", self.database()));
                let size: i64 = size.fetch_one(&pool).await?;
                Ok(u64::try_from(size)?)
            }
            "redis" => {
                let client = redis::Client::open(redis_url(self.place)?)?;
                let mut connection = client.get_multiplexed_async_connection().await?;
                let mut info = redis::cmd("INFO");
                let text: String = info.arg("memory").query_async(&mut connection).await?;
                let used = text
                    .lines()
                    .find_map(|line| line.strip_prefix("used_memory:"));
                Ok(used.ok_or("Redis does not say")?.trim().parse()?)
            }
            _ => Err("nobody says how much this store takes".into()),
        }
    }

    fn folder(&self) -> PathBuf {
        self.place.folder.join(format!("sessions_{}", self.number))
    }

    fn file(&self) -> PathBuf {
        self.place.folder.join(format!("ours_{}.db", self.number))
    }

    fn database(&self) -> String {
        format!("ours_{}", self.number)
    }

    fn redis(&self) -> Result<String> {
        let (server, _) = parted(redis_url(self.place)?)?;
        Ok(format!("{server}/{}", self.number))
    }

    /// Our database on the server of `url`.
    fn beside(&self, url: &str) -> Result<String> {
        let (server, _) = parted(url)?;
        Ok(format!("{server}/{}", self.database()))
    }
}

fn parted(url: &str) -> Result<(&str, &str)> {
    Ok(url.rsplit_once('/').ok_or("this is no URL")?)
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
