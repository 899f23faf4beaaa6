//! A store reduced to its required methods, so that the contract's default bodies do the rest.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{SessionStore, StoreError};

/// Wraps a store and passes on `load`, `create`, `save` and `delete` alone: `touch` and `rotate` are the default bodies
/// over those, and nothing else is offered.
///
/// Around a [`FaultStore`](crate::conformance::FaultStore) it shows what the default bodies do when the store fails
/// between their steps.
#[derive(Debug)]
pub struct DefaultBodies<S>(pub(super) S);

impl<S: SessionStore> DefaultBodies<S> {
    /// The four required methods of `store`.
    #[must_use]
    pub const fn new(store: S) -> Self {
        Self(store)
    }

    /// The wrapped store, whole.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.0
    }
}

#[async_trait]
impl<S: SessionStore> SessionStore for DefaultBodies<S> {
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
}
