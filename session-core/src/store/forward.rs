//! Pointers to stores are stores. Every method is forwarded, also those with default bodies: the lint sees to it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{OwnerIndex, SessionStore, StoreError, StoreScan};

macro_rules! forward {
    ($pointer:ty) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: SessionStore + ?Sized> SessionStore for $pointer {
            fn system_name(&self) -> &'static str {
                (**self).system_name()
            }

            async fn load(
                &self,
                key: &StoreKey,
                now: Timestamp,
            ) -> Result<Option<Record>, StoreError> {
                (**self).load(key, now).await
            }

            async fn create(
                &self,
                key: &StoreKey,
                new: NewRecord,
                now: Timestamp,
            ) -> Result<Version, StoreError> {
                (**self).create(key, new, now).await
            }

            async fn save(
                &self,
                key: &StoreKey,
                expected: &Version,
                change: Change,
                now: Timestamp,
            ) -> Result<Saved, StoreError> {
                (**self).save(key, expected, change, now).await
            }

            async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
                (**self).delete(key).await
            }

            async fn touch(
                &self,
                key: &StoreKey,
                expires_at: Timestamp,
                now: Timestamp,
            ) -> Result<bool, StoreError> {
                (**self).touch(key, expires_at, now).await
            }

            async fn rotate(
                &self,
                from: &StoreKey,
                expected: &Version,
                to: &StoreKey,
                change: Change,
                now: Timestamp,
            ) -> Result<Saved, StoreError> {
                (**self).rotate(from, expected, to, change, now).await
            }

            async fn clear_expired(
                &self,
                now: Timestamp,
                progress: &mut (dyn FnMut(u64) + Send),
            ) -> Result<u64, StoreError> {
                (**self).clear_expired(now, progress).await
            }

            fn owner_index(&self) -> Option<&dyn OwnerIndex> {
                (**self).owner_index()
            }

            fn scan(&self) -> Option<&dyn StoreScan> {
                (**self).scan()
            }
        }
    };
}

forward!(Arc<S>);
forward!(Box<S>);
forward!(&'static S);
