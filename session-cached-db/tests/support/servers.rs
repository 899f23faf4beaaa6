//! The Redis and the PostgreSQL that the tests are given.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;

use session_cache::{MemoryCache, RedisCache, RedisCacheConfig};
use session_cached_db::CachedDbStore;
use session_core::MemoryStore;
use session_core::conformance::CountingStore;
use session_core::store::SessionStore;
use session_db::{DbStore, DbStoreConfig, TableName};

/// Which Redis, as xtask starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redis {
    Standalone,
    Cluster,
    Sentinel,
}

impl Redis {
    pub(crate) const ALL: [Self; 3] = [Self::Standalone, Self::Cluster, Self::Sentinel];

    const fn variable(self) -> &'static str {
        match self {
            Self::Standalone => "SESSION_TEST_REDIS",
            Self::Cluster => "SESSION_TEST_REDIS_CLUSTER",
            Self::Sentinel => "SESSION_TEST_REDIS_SENTINEL",
        }
    }
}

/// A prefix in Redis and a table in PostgreSQL that nobody else uses: what the processes of one site share.
pub(crate) struct Site {
    redis: RedisCacheConfig,
    postgres: String,
    table: TableName,
}

/// What a server answers at. Without it this says so aloud, and in CI the test fails.
fn given(variable: &str) -> Option<String> {
    if let Ok(url) = std::env::var(variable) {
        return Some(url);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{variable} is not set, and in CI nothing may be skipped"
    );
    // Not `eprintln!`, which a test that passes keeps to itself.
    writeln!(
        std::io::stderr(),
        "SKIPPED: {variable} is not set; run `cargo xtask services` and export what it prints"
    )
    .expect("standard error is there");
    None
}

impl Site {
    pub(crate) fn new(redis: Redis) -> Option<Self> {
        let (redis, postgres) = (given(redis.variable()), given("SESSION_TEST_POSTGRES"));
        let config = RedisCacheConfig::from_url(&redis?).expect("xtask gives a URL");
        let name = format!("t{:016x}", RandomState::new().hash_one(0_u8));
        Some(Self {
            redis: config.with_prefix(&format!("{name}:")).expect("a prefix"),
            postgres: postgres?,
            table: TableName::parse(&name).expect("a name"),
        })
    }

    async fn parts(&self) -> (RedisCache, DbStore) {
        let config = DbStoreConfig::new()
            .with_table(self.table.clone())
            .with_connections_max(6);
        let database = config.connect(&self.postgres).await;
        let database = database.expect("the server answers");
        database.migrate().await.expect("the role may make tables");
        let cache = self.redis.clone().connect().await;
        (cache.expect("the server answers"), database)
    }

    /// What one process has: connections of its own.
    pub(crate) async fn process(&self) -> CachedDbStore<RedisCache, DbStore> {
        let (cache, database) = self.parts().await;
        CachedDbStore::new(cache, database)
    }

    pub(crate) async fn counted(&self) -> CachedDbStore<RedisCache, CountingStore<DbStore>> {
        let (cache, database) = self.parts().await;
        CachedDbStore::new(cache, CountingStore::new(database))
    }
}

/// For the contract's tests, which need a store to say anything at all. What they do on the stand-in says nothing about
/// Redis and PostgreSQL.
pub(crate) async fn store_or_standin(redis: Redis) -> Box<dyn SessionStore> {
    match Site::new(redis) {
        Some(site) => Box::new(site.process().await),
        None => Box::new(CachedDbStore::single_process(
            MemoryCache::new(),
            MemoryStore::new(),
        )),
    }
}
