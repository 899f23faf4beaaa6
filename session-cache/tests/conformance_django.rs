//! The contract of every store, on the sessions of a Django project's cache.
#![cfg(feature = "django")]

#[cfg(test)]
mod support;

#[cfg(test)]
mod project {
    //! Caches that share nothing, and what the contract's tests run on where there is no server.

    use async_trait::async_trait;
    use session_cache::{DjangoCacheConfig, RedisCacheConfig};
    use session_core::MemoryStore;
    use session_core::django::DjangoSettings;
    use session_core::store::{
        Change, NewRecord, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp, Version,
    };

    use super::support::{Server, new_prefix};

    pub(crate) fn config() -> Option<DjangoCacheConfig> {
        let redis =
            RedisCacheConfig::from_url(&Server::Standalone.url()?).expect("xtask gives a URL");
        Some(DjangoCacheConfig::new(redis).with_key_prefix(new_prefix()))
    }

    pub(crate) async fn cache() -> Box<dyn SessionStore> {
        match config() {
            Some(config) => Box::new(config.connect_store().await.expect("the server answers")),
            None => Box::new(Standin::default()),
        }
    }

    pub(crate) async fn cached_db() -> Box<dyn SessionStore> {
        let settings = DjangoSettings::new("a secret key");
        match config() {
            Some(config) => Box::new(
                config
                    .connect_cached_db(Rows::default(), &settings)
                    .await
                    .expect("the server answers"),
            ),
            None => Box::new(Rows::default()),
        }
    }

    /// A table without an index of owners.
    #[derive(Debug, Default)]
    pub(crate) struct Rows(MemoryStore);

    /// The same, which says that it forgets by itself.
    #[derive(Debug, Default)]
    struct Standin(Rows);

    #[async_trait]
    impl SessionStore for Rows {
        async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
            self.0.load(key, now).await
        }

        async fn create(
            &self,
            key: &StoreKey,
            new: NewRecord,
            now: Timestamp,
        ) -> Result<Version, StoreError> {
            self.0.create(key, new, now).await
        }

        async fn save(
            &self,
            key: &StoreKey,
            expected: &Version,
            change: Change,
            now: Timestamp,
        ) -> Result<Saved, StoreError> {
            self.0.save(key, expected, change, now).await
        }

        async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
            self.0.delete(key).await
        }

        async fn touch(
            &self,
            key: &StoreKey,
            expires_at: Timestamp,
            now: Timestamp,
        ) -> Result<bool, StoreError> {
            self.0.touch(key, expires_at, now).await
        }

        async fn rotate(
            &self,
            from: &StoreKey,
            expected: &Version,
            to: &StoreKey,
            change: Change,
            now: Timestamp,
        ) -> Result<Saved, StoreError> {
            self.0.rotate(from, expected, to, change, now).await
        }

        async fn clear_expired(
            &self,
            now: Timestamp,
            progress: &mut (dyn FnMut(u64) + Send),
        ) -> Result<u64, StoreError> {
            self.0.clear_expired(now, progress).await
        }
    }

    #[async_trait]
    impl SessionStore for Standin {
        async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
            self.0.load(key, now).await
        }

        async fn create(
            &self,
            key: &StoreKey,
            new: NewRecord,
            now: Timestamp,
        ) -> Result<Version, StoreError> {
            self.0.create(key, new, now).await
        }

        async fn save(
            &self,
            key: &StoreKey,
            expected: &Version,
            change: Change,
            now: Timestamp,
        ) -> Result<Saved, StoreError> {
            self.0.save(key, expected, change, now).await
        }

        async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
            self.0.delete(key).await
        }

        async fn clear_expired(
            &self,
            _now: Timestamp,
            _progress: &mut (dyn FnMut(u64) + Send),
        ) -> Result<u64, StoreError> {
            Ok(0)
        }
    }
}

session_core::conformance_suite!(
    || async { project::cache().await },
    name: cache,
    except: [
        keeps_expired_records = "Redis forgets by itself",
        owner_index = "Django's cache names no owner",
        scan = "Redis has no order",
        owner_label_and_creation_time = "Django's values have no place for them",
        versions_are_unique = "no place for a version: the data themselves are compared",
    ],
);
session_core::conformance_suite!(
    || async { project::cached_db().await },
    name: cached_db,
    except: [
        owner_index = "an index ends sessions without saying which",
        scan = "the tests' table has none",
    ],
);
