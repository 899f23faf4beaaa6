//! Stores on servers, each with a table or a prefix that nobody else uses.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::Arc;

use session_cache::{CacheStore, RedisCache, RedisCacheConfig};
use session_cached_db::CachedDbStore;
use session_core::store::SessionStore;
use session_db::{DbStore, DbStoreConfig, TableName};

use crate::support::{Kind, Site, sessions};

/// Which servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    MariaDb,
    Redis,
    RedisCluster,
    RedisSentinel,
    /// A PostgreSQL behind a Redis.
    Cached,
}

/// A store that is migrated, and the word that names it.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) named: String,
    /// What must never be shown.
    pub(crate) password: String,
    name: String,
    urls: Vec<String>,
}

impl Server {
    pub(crate) const ALL: [Self; 6] = [
        Self::Postgres,
        Self::MariaDb,
        Self::Redis,
        Self::RedisCluster,
        Self::RedisSentinel,
        Self::Cached,
    ];

    const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["SESSION_TEST_POSTGRES"],
            Self::MariaDb => &["SESSION_TEST_MARIADB"],
            Self::Redis => &["SESSION_TEST_REDIS"],
            Self::RedisCluster => &["SESSION_TEST_REDIS_CLUSTER"],
            Self::RedisSentinel => &["SESSION_TEST_REDIS_SENTINEL"],
            Self::Cached => &["SESSION_TEST_REDIS", "SESSION_TEST_POSTGRES"],
        }
    }

    /// An empty store. Without its servers this says so aloud, and in CI the test fails.
    pub(crate) fn place(self) -> Option<Place> {
        let urls: Option<Vec<String>> = self.variables().iter().map(|name| given(name)).collect();
        let urls = urls?;
        let name = format!("t{:016x}", RandomState::new().hash_one(0_u8));
        let last = urls.last().expect("each has one");
        let named = match self {
            Self::Postgres | Self::MariaDb => format!("{last}#table={name}"),
            Self::Cached => format!("cached:{}#prefix={name}:+{last}#table={name}", urls[0]),
            _ => format!("{last}#prefix={name}:"),
        };
        let password = last.rsplit_once('@').expect("a user").0;
        let password = password.rsplit_once(':').expect("a password").1.to_owned();
        sessions(&["migrate", "--quiet", "--store", &named]).with(0);
        Some(Place {
            server: self,
            named,
            password,
            name,
            urls,
        })
    }
}

impl Place {
    /// The store, as the application opens it.
    pub(crate) async fn store(&self) -> Arc<dyn SessionStore> {
        let last = self.urls.last().expect("each has one");
        match self.server {
            Server::Postgres | Server::MariaDb => Arc::new(self.table(last).await),
            Server::Cached => {
                let cache = self.cache(&self.urls[0]).await;
                Arc::new(CachedDbStore::new(cache, self.table(last).await))
            }
            _ => Arc::new(CacheStore::new(self.cache(last).await)),
        }
    }

    async fn table(&self, url: &str) -> DbStore {
        let table = TableName::parse(&self.name).expect("a name");
        let store = DbStoreConfig::new().with_table(table).connect(url).await;
        store.expect("the server answers")
    }

    async fn cache(&self, url: &str) -> RedisCache {
        let config = RedisCacheConfig::from_url(url).expect("a URL");
        let config = config.with_prefix(&format!("{}:", self.name));
        let cache = config.expect("a prefix").connect().await;
        cache.expect("the server answers")
    }

    /// Whether the server forgets by itself what has expired.
    pub(crate) const fn forgets(&self) -> bool {
        matches!(
            self.server,
            Server::Redis | Server::RedisCluster | Server::RedisSentinel
        )
    }
}

/// The first and the last stop of a round trip.
pub(crate) fn at_home() -> Site {
    Site::migrated(Kind::Sqlite)
}

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
