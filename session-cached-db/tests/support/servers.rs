//! The Redis and the PostgreSQL that the tests are given.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::Duration;

use session_cache::{MemoryCache, RedisCache, RedisCacheConfig};
use session_cached_db::{CachedDbConfig, CachedDbStore};
use session_core::conformance::CountingStore;
use session_core::store::SessionStore;
use session_core::{Limits, MemoryStore, Policy, SessionManager};
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
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Of the keys in Redis, with a colon, and of the table.
    pub(crate) name: String,
    pub(crate) redis: String,
    pub(crate) postgres: String,
    /// What a call to the database may take.
    pub(crate) database_patience: Duration,
    /// As it is by default, but for what a call to the cache may take.
    pub(crate) config: CachedDbConfig,
}

/// More patient than any machine is slow, for what has to get through.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

/// A store whose calls on the database are counted.
pub(crate) type CountedStore = CachedDbStore<RedisCache, CountingStore<DbStore>>;

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
        let name = format!("t{:016x}", RandomState::new().hash_one(0_u8));
        Self::named(redis, &name)
    }

    pub(crate) fn named(redis: Redis, name: &str) -> Option<Self> {
        let (redis, postgres) = (given(redis.variable()), given("SESSION_TEST_POSTGRES"));
        Some(Self {
            name: name.to_owned(),
            redis: redis?,
            postgres: postgres?,
            database_patience: PATIENT,
            config: CachedDbConfig::new().with_cache_timeout(PATIENT),
        })
    }

    /// What the keys in Redis begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}:", self.name)
    }

    async fn parts(&self) -> (RedisCache, DbStore) {
        let config = DbStoreConfig::new()
            .with_table(TableName::parse(&self.name).expect("a name"))
            .with_timeout(self.database_patience)
            .with_connections_max(6);
        let database = config.connect(&self.postgres).await;
        let database = database.expect("the server answers");
        database.migrate().await.expect("the role may make tables");
        let config = RedisCacheConfig::from_url(&self.redis).expect("xtask gives a URL");
        let config = config.with_prefix(&self.prefix()).expect("a prefix");
        let cache = config.connect().await.expect("the server answers");
        (cache, database)
    }

    /// What one process has: connections of its own.
    pub(crate) async fn process(&self) -> CachedDbStore<RedisCache, DbStore> {
        let (cache, database) = self.parts().await;
        self.config.clone().build(cache, database)
    }

    /// The same behind a manager that is as patient.
    pub(crate) async fn manager(&self) -> SessionManager {
        patient_manager(self.process().await)
    }

    pub(crate) async fn counted(&self) -> CountedStore {
        let (cache, database) = self.parts().await;
        self.config
            .clone()
            .build(cache, CountingStore::new(database))
    }
}

pub(crate) fn patient_manager(store: CachedDbStore<RedisCache, DbStore>) -> SessionManager {
    let mut limits = Limits::default();
    limits.store_timeout = PATIENT * 4;
    limits.commit_timeout = PATIENT * 4;
    SessionManager::new(store).with_policy(Policy::new().with_limits(limits))
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
