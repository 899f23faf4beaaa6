//! A store that counts what it is asked, to test how many round trips something costs.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{EndScope, OwnerIndex, Page, SessionStore, StoreError, StoreScan};
use crate::testing::operation::Operation;

/// Wraps a store and counts the calls of each operation, also those that fail.
///
/// A call counts when its future is first polled. What the wrapped store's own default bodies do inside is not seen;
/// wrap it in [`DefaultBodies`](crate::conformance::DefaultBodies) *around* this one to count that.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use session_core::MemoryStore;
/// use session_core::testing::{CountingStore, Operation};
/// use session_core::store::{SessionStore, StoreKey, Timestamp};
///
/// let store = CountingStore::new(MemoryStore::new());
/// let key = StoreKey::parse("0123456789abcdef").ok_or("not a store key")?;
/// store.load(&key, Timestamp::from_secs(0)).await?;
/// assert_eq!(store.count(Operation::Load), 1);
/// assert_eq!(store.total(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CountingStore<S> {
    store: S,
    counts: [AtomicU64; Operation::ALL.len()],
}

impl<S> CountingStore<S> {
    /// Counts what `store` is asked from now on.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store,
            counts: Default::default(),
        }
    }

    /// The wrapped store, to be asked without being counted.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.store
    }

    /// How often `operation` was called.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.counts
            .get(operation as usize)
            .map_or(0, |count| count.load(Ordering::SeqCst))
    }

    /// How many calls there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        Operation::ALL.into_iter().map(|one| self.count(one)).sum()
    }

    /// Starts from zero again.
    pub fn reset(&self) {
        for count in &self.counts {
            count.store(0, Ordering::SeqCst);
        }
    }

    fn note(&self, operation: Operation) {
        if let Some(count) = self.counts.get(operation as usize) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> SessionStore for CountingStore<S> {
    fn system_name(&self) -> &'static str {
        self.store.system_name()
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.note(Operation::Load);
        self.store.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.note(Operation::Create);
        self.store.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.note(Operation::Save);
        self.store.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.note(Operation::Delete);
        self.store.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.note(Operation::Touch);
        self.store.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.note(Operation::Rotate);
        self.store.rotate(from, expected, to, change, now).await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.note(Operation::ClearExpired);
        self.store.clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.store.owner_index().map(|_| self as &dyn OwnerIndex)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.store.scan().map(|_| self as &dyn StoreScan)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> OwnerIndex for CountingStore<S> {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        self.note(Operation::SessionsOf);
        index_of(&self.store)?.sessions_of(owner, page, now).await
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        self.note(Operation::End);
        index_of(&self.store)?.end(owner, scope).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> StoreScan for CountingStore<S> {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        self.note(Operation::Scan);
        scan_of(&self.store)?.page(page).await
    }
}

/// The owner index of a store that a wrapper has offered before.
pub(crate) fn index_of<S: SessionStore>(store: &S) -> Result<&dyn OwnerIndex, StoreError> {
    store
        .owner_index()
        .ok_or_else(|| StoreError::unsupported("the wrapped store", "look up an owner's sessions"))
}

/// The scan of a store that a wrapper has offered before.
pub(crate) fn scan_of<S: SessionStore>(store: &S) -> Result<&dyn StoreScan, StoreError> {
    store
        .scan()
        .ok_or_else(|| StoreError::unsupported("the wrapped store", "scan its records"))
}
