//! Pointers to caches are caches. Every method is forwarded, also those with default bodies: the lint sees to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_core::store::{
    Change, OwnerIndex, Record, Saved, StoreError, StoreKey, StoreScan, Timestamp, Version,
};

use crate::cache::{Cache, SharedCache};
use crate::slot::{Entry, Lease, Slot};

macro_rules! forward {
    ($pointer:ty) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<C: Cache + ?Sized> Cache for $pointer {
            fn system_name(&self) -> &'static str {
                (**self).system_name()
            }

            fn name(&self) -> &'static str {
                (**self).name()
            }

            async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
                (**self).get(key).await
            }

            async fn lease(
                &self,
                key: &StoreKey,
                lease: Lease,
                life: Duration,
            ) -> Result<bool, StoreError> {
                (**self).lease(key, lease, life).await
            }

            async fn fill(
                &self,
                key: &StoreKey,
                lease: Lease,
                entry: Entry,
                now: Timestamp,
            ) -> Result<bool, StoreError> {
                (**self).fill(key, lease, entry, now).await
            }

            async fn put_newer(
                &self,
                key: &StoreKey,
                entry: Entry,
                now: Timestamp,
            ) -> Result<bool, StoreError> {
                (**self).put_newer(key, entry, now).await
            }

            async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
                (**self).invalidate(key).await
            }

            async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
                (**self).bury(key, life).await
            }

            async fn add(
                &self,
                key: &StoreKey,
                record: Record,
                now: Timestamp,
            ) -> Result<bool, StoreError> {
                (**self).add(key, record, now).await
            }

            async fn compare_and_swap(
                &self,
                key: &StoreKey,
                expected: &Version,
                change: Change,
                now: Timestamp,
            ) -> Result<Saved, StoreError> {
                (**self).compare_and_swap(key, expected, change, now).await
            }

            async fn expire(
                &self,
                key: &StoreKey,
                expires_at: Timestamp,
                now: Timestamp,
            ) -> Result<bool, StoreError> {
                (**self).expire(key, expires_at, now).await
            }

            async fn rotate(
                &self,
                from: &StoreKey,
                expected: &Version,
                to: &StoreKey,
                change: Change,
                now: Timestamp,
            ) -> Result<Option<Saved>, StoreError> {
                (**self).rotate(from, expected, to, change, now).await
            }

            fn owner_index(&self) -> Option<&dyn OwnerIndex> {
                (**self).owner_index()
            }

            fn scan(&self) -> Option<&dyn StoreScan> {
                (**self).scan()
            }
        }

        impl<C: SharedCache + ?Sized> SharedCache for $pointer {}
    };
}

forward!(Arc<C>);
forward!(Box<C>);
