//! Sessions in a table of a database, with copies in Redis.

use std::sync::Arc;

use async_trait::async_trait;
use session_cache::RedisSubject;
use session_cached_db::CachedDbStore;
use session_core::store::SessionStore;

use super::{Backend, Finding, database, redis};
use crate::outcome::Failure;

pub(super) struct Cached {
    cache: redis::Keys,
    database: database::Table,
}

impl Cached {
    pub(super) const fn new(cache: redis::Keys, database: database::Table) -> Self {
        Self { cache, database }
    }
}

#[async_trait]
impl Backend for Cached {
    fn store(&self) -> Arc<dyn SessionStore> {
        let (cache, database) = (self.cache.cache.clone(), self.database.store.clone());
        Arc::new(CachedDbStore::new(cache, database))
    }

    async fn migrate(&self) -> Result<String, Failure> {
        self.database.migrate().await
    }

    fn migration(&self) -> Option<String> {
        self.database.migration()
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let mut findings = self.database.check().await?;
        // What a cache loses in front of a database costs a look-up and no session.
        let matters = |subject| {
            !matches!(
                subject,
                RedisSubject::Eviction | RedisSubject::Persistence | RedisSubject::Replication
            )
        };
        let found = self.cache.findings().await?.into_iter();
        findings.extend(
            found
                .filter(|found| matters(found.subject))
                .map(Finding::from),
        );
        Ok(findings)
    }
}
