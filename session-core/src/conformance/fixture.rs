//! What a suite is given to test: a way to make stores.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::conformance::ability::{self, Ability};
use crate::key::StoreKey;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{OwnerIndex, SessionStore, StoreError, StoreScan};

/// A store and whatever must live as long as it.
///
/// Every store is one, and so is a pair of a store and a guard: `(store, temporary_folder)`. The store is dropped
/// first.
pub trait Fixture: Send + Sync + 'static {
    /// The store to test.
    fn store(&self) -> &dyn SessionStore;
}

impl<S: SessionStore> Fixture for S {
    fn store(&self) -> &dyn SessionStore {
        self
    }
}

impl<S: SessionStore, G: Send + Sync + 'static> Fixture for (S, G) {
    fn store(&self) -> &dyn SessionStore {
        &self.0
    }
}

/// A store with its guard, to be shared by a clause's tasks.
pub(super) type Store = Arc<dyn SessionStore>;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Makes the stores of one clause. Without type parameters, so that every clause is compiled once and not per backend.
pub(super) struct Stores {
    make: Box<dyn Fn() -> BoxFuture<Store> + Send + Sync>,
    lacking: Vec<Ability>,
}

impl Stores {
    pub(super) fn new<N, M, F>(new_store: N, lacking: Vec<Ability>) -> Self
    where
        N: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = F> + Send + 'static,
        F: Fixture,
    {
        let make = move || -> BoxFuture<Store> {
            let making = new_store();
            Box::pin(async move { Arc::new(Held(making.await)) as Store })
        };
        Self {
            make: Box::new(make),
            lacking,
        }
    }

    /// An empty store.
    pub(super) async fn fresh(&self) -> Store {
        (self.make)().await
    }

    pub(super) fn offer(&self, ability: Ability) -> bool {
        // Where nothing is kept that has expired, nothing can be cleared.
        let nothing_to_clear = ability == ability::clear_expired
            && self.lacking.contains(&ability::keeps_expired_records);
        !nothing_to_clear && !self.lacking.contains(&ability)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("lacking", &self.lacking)
            .finish_non_exhaustive()
    }
}

struct Held<F>(F);

impl<F: Fixture> fmt::Debug for Held<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.store().fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<F: Fixture> SessionStore for Held<F> {
    fn system_name(&self) -> &'static str {
        self.0.store().system_name()
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.store().load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.store().create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.store().save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.store().delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.store().touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.store().rotate(from, expected, to, change, now).await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.0.store().clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.store().owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.store().scan()
    }
}
