//! Takes "deleted, but a copy may be read for a while" for an answer, so that the conformance kit can go on.
//!
//! With a cache that is down a delete has to answer so. The kit asks what became of the row: the database is overheard.

use std::cell::Cell;

use async_trait::async_trait;
use session_core::Owner;
use session_core::store::{
    Change, EndScope, NewRecord, OwnerIndex, Page, Record, Saved, SessionStore, StoreError,
    StoreKey, StoreScan, Timestamp, Version,
};

tokio::task_local! {
    /// How many rows this task's call has removed.
    static REMOVED: Cell<u64>;
}

/// The database, which says what it removes.
#[derive(Debug)]
pub(crate) struct Overheard<S>(pub(crate) S);

/// The cached database, whose word for "removed, more or less" is taken for "removed".
#[derive(Debug)]
pub(crate) struct Assured<S>(pub(crate) S);

fn removes(rows: u64) {
    // Outside of a call that wants to know, nobody is told.
    let _told: Result<(), _> = REMOVED.try_with(|removed| removed.set(removed.get() + rows));
}

fn index<S: SessionStore>(store: &S) -> Result<&dyn OwnerIndex, StoreError> {
    store
        .owner_index()
        .ok_or_else(|| StoreError::unsupported("the wrapped store", "look up an owner's sessions"))
}

async fn taken_for_removed(
    call: impl Future<Output = Result<u64, StoreError>>,
) -> Result<u64, StoreError> {
    let call = async {
        match call.await {
            Err(StoreError::DeletedWithin { .. }) => Ok(REMOVED.with(Cell::get)),
            answer => answer,
        }
    };
    REMOVED.scope(Cell::new(0), call).await
}

macro_rules! forward {
    ($wrapper:ident { $($own:item)* } index { $($own_index:item)* }) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: SessionStore> SessionStore for $wrapper<S> {
            fn system_name(&self) -> &'static str {
                self.0.system_name()
            }

            async fn load(
                &self,
                key: &StoreKey,
                now: Timestamp,
            ) -> Result<Option<Record>, StoreError> {
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

            fn owner_index(&self) -> Option<&dyn OwnerIndex> {
                self.0.owner_index().map(|_| self as &dyn OwnerIndex)
            }

            fn scan(&self) -> Option<&dyn StoreScan> {
                self.0.scan()
            }

            $($own)*
        }

        #[async_trait]
        impl<S: SessionStore> OwnerIndex for $wrapper<S> {
            async fn sessions_of(
                &self,
                owner: &Owner,
                page: Page,
                now: Timestamp,
            ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
                index(&self.0)?.sessions_of(owner, page, now).await
            }

            $($own_index)*
        }
    };
}

forward!(Overheard {
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let removed = self.0.delete(key).await?;
        removes(u64::from(removed));
        Ok(removed)
    }
} index {
    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        let ended = index(&self.0)?.end(owner, scope).await?;
        removes(ended);
        Ok(ended)
    }
});

forward!(Assured {
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let call = async { self.0.delete(key).await.map(u64::from) };
        Ok(taken_for_removed(call).await? > 0)
    }
} index {
    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        taken_for_removed(index(&self.0)?.end(owner, scope)).await
    }
});
