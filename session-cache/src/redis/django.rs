//! Which Redis a Django project caches in, and what it calls a session there.

mod cached_db;
mod store;

use session_core::django::DjangoSettings;
use session_core::store::{SessionStore, StoreError, StoreKey};

use super::config::{RedisCacheConfig, Topology};
use super::error::NAME;
use super::link::{Again, Link};

pub use cached_db::DjangoCachedDb;
pub use store::DjangoCacheStore;

/// What Django's `cache` engine puts before a session's key.
const CACHE: &str = "django.contrib.sessions.cache";
/// What its `cached_db` engine does.
const CACHED_DB: &str = "django.contrib.sessions.cached_db";

/// The cache of a Django project that holds its sessions: the entry of `CACHES` that `SESSION_CACHE_ALIAS` names, with
/// `django.core.cache.backends.redis.RedisCache` for a backend.
///
/// ```no_run
/// use session_cache::{DjangoCacheConfig, RedisCacheConfig};
/// use session_core::django::DjangoSettings;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = DjangoSettings::new("the project's SECRET_KEY")
///     .with_engine("django.contrib.sessions.backends.cache");
/// let redis = RedisCacheConfig::from_url("redis://127.0.0.1:6379/1")?; // LOCATION
/// let store = DjangoCacheConfig::new(redis)
///     .with_key_prefix("shop") // KEY_PREFIX
///     .connect_store()
///     .await?;
/// let manager = settings.manager(store, settings.policy())?;
/// # drop(manager);
/// # Ok(())
/// # }
/// ```
///
/// Keys are Django's own: `KEY_PREFIX:VERSION:`, the engine's name, and the session's key in clear, since Django looks for that.
/// The [prefix](RedisCacheConfig::with_prefix) of the Redis counts for nothing here. A project with a `KEY_FUNCTION` of its own
/// can't be shared.
///
/// Django writes to the first server of a `LOCATION` with several. That is the one to name here; replicas are not read.
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until it is connected"]
pub struct DjangoCacheConfig {
    redis: RedisCacheConfig,
    key_prefix: String,
    version: i64,
}

impl DjangoCacheConfig {
    /// The cache in this Redis, with Django's defaults: no `KEY_PREFIX`, and `VERSION` 1.
    pub const fn new(redis: RedisCacheConfig) -> Self {
        Self {
            redis,
            key_prefix: String::new(),
            version: 1,
        }
    }

    /// `KEY_PREFIX`.
    #[doc(alias = "KEY_PREFIX")]
    pub fn with_key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// `VERSION`.
    #[doc(alias = "VERSION")]
    pub const fn with_version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// The sessions of the `cache` engine, in a store that connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the Redis is a cluster, which Django's own cache can't use.
    pub fn build_store(self) -> Result<DjangoCacheStore, StoreError> {
        self.into_space(CACHE).map(DjangoCacheStore::new)
    }

    /// The sessions of the `cache` engine, in a store that is connected.
    ///
    /// # Errors
    ///
    /// As for [`build_store`](Self::build_store), and as for [`RedisCacheConfig::connect`].
    ///
    /// # Cancel safety
    ///
    /// A connection that was made is closed.
    pub async fn connect_store(self) -> Result<DjangoCacheStore, StoreError> {
        let space = self.into_space(CACHE)?;
        space.ping().await?;
        Ok(DjangoCacheStore::new(space))
    }

    /// The sessions of the `cached_db` engine: `rows` is a store of the project's table. It connects to the cache when that is
    /// first used.
    ///
    /// # Errors
    ///
    /// As for [`build_store`](Self::build_store).
    pub fn build_cached_db<S: SessionStore>(
        self,
        rows: S,
        settings: &DjangoSettings,
    ) -> Result<DjangoCachedDb<S>, StoreError> {
        let mut config = self;
        config.redis = cached_db::with_short_timeout(config.redis);
        let space = config.into_space(CACHED_DB)?;
        Ok(DjangoCachedDb::new(rows, space, settings.cookie_age()))
    }

    /// The same, connected to the cache.
    ///
    /// # Errors
    ///
    /// As for [`connect_store`](Self::connect_store).
    ///
    /// # Cancel safety
    ///
    /// A connection that was made is closed.
    pub async fn connect_cached_db<S: SessionStore>(
        self,
        rows: S,
        settings: &DjangoSettings,
    ) -> Result<DjangoCachedDb<S>, StoreError> {
        let store = self.build_cached_db(rows, settings)?;
        store.ping().await?;
        Ok(store)
    }

    fn into_space(self, engine: &str) -> Result<Space, StoreError> {
        let Self {
            redis,
            key_prefix,
            version,
        } = self;
        let (topology, _prefix, timeout, connect_timeout) = redis.into_parts();
        if matches!(topology, Topology::Cluster(_)) {
            return Err(StoreError::misconfigured(
                NAME,
                "Django's own Redis cache can't use a cluster: name the server that is in the LOCATION of its cache",
                None,
            ));
        }
        Ok(Space {
            link: Link::new(topology, timeout, connect_timeout),
            prefix: format!("{key_prefix}:{version}:{engine}"),
        })
    }
}

/// One engine's sessions in the project's cache.
#[derive(Debug)]
struct Space {
    link: Link,
    /// What Django puts before a session's key.
    prefix: String,
}

impl Space {
    fn key(&self, key: &StoreKey) -> String {
        format!("{}{}", self.prefix, key.as_str())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.link.ask(&redis::cmd("PING"), Again::Once).await;
        answer
            .map(drop)
            .map_err(|failure| failure.into_error("connect"))
    }
}
