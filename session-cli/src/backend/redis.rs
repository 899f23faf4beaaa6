//! Sessions in Redis or Valkey, and nowhere else.

use std::sync::Arc;

use async_trait::async_trait;
use session_cache::{CacheStore, RedisCache, RedisCacheConfig, RedisFinding};
use session_core::store::SessionStore;

use super::{Backend, Finding, Severity};
use crate::outcome::Failure;
use crate::place::Redis;

pub(super) struct Keys {
    pub(super) cache: RedisCache,
}

impl Keys {
    pub(super) async fn open(place: &Redis) -> Result<Self, Failure> {
        let mut config = RedisCacheConfig::from_url(&place.url)?;
        if let Some(prefix) = &place.prefix {
            config = config.with_prefix(prefix)?;
        }
        Ok(Self {
            cache: config.connect().await?,
        })
    }

    pub(super) async fn findings(&self) -> Result<Vec<RedisFinding>, Failure> {
        Ok(self.cache.check().await?)
    }
}

impl From<RedisFinding> for Finding {
    fn from(found: RedisFinding) -> Self {
        Self {
            severity: match found.severity {
                session_cache::Severity::Warning => Severity::Warning,
                _ => Severity::Error,
            },
            advice: found.advice,
        }
    }
}

#[async_trait]
impl Backend for Keys {
    fn store(&self) -> Arc<dyn SessionStore> {
        Arc::new(CacheStore::new(self.cache.clone()))
    }

    async fn migrate(&self) -> Result<String, Failure> {
        Ok("Redis answers, and needs no more".to_owned())
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        Ok(self
            .findings()
            .await?
            .into_iter()
            .map(Finding::from)
            .collect())
    }
}
