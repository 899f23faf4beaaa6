//! "Log out everywhere", with a cache in front: each session is ended like any other, since each may have a copy.

use async_trait::async_trait;
use session_cache::Cache;
use session_core::Owner;
use session_core::store::{
    EndScope, OwnerIndex, Page, Record, SessionStore, StoreError, StoreKey, Timestamp,
};

use crate::reach::Urgency;
use crate::store::CachedDbStore;

/// Sessions that are listed at once.
const PAGE: usize = 100;

/// How often an owner's sessions are looked up anew, since some have changed their keys or begun meanwhile. Who rotates a
/// session that often within one call is no visitor.
const ROUNDS_MAX: usize = 32;

/// Every record was live then: what is listed is whatever the database has.
const ALWAYS: Timestamp = Timestamp::MIN;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: Cache, S: SessionStore> OwnerIndex for CachedDbStore<C, S> {
    /// As the database has them.
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        self.index()?.sessions_of(owner, page, now).await
    }

    /// One by one, each between its tombstones, until the database lists none. If the cache can't be told of one of them, all
    /// end nevertheless, and the answer is [`StoreError::DeletedWithin`].
    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        let index = self.index()?;
        let mut ending = Ending {
            store: self,
            index,
            owner,
            ended: 0,
            is_assured: true,
        };
        if let EndScope::One(key) = &scope {
            ending.end(key).await?;
            return ending.answer();
        }
        for _ in 0..ROUNDS_MAX {
            if ending.end_listed(&scope).await? == 0 {
                return ending.answer();
            }
        }
        // Whatever is left ends in one step of the database. Which keys these had is not known, nor is what the cache has.
        let ended = index.end(owner, scope).await?;
        ending.ended += ended;
        ending.is_assured &= ended == 0;
        ending.answer()
    }
}

impl<C: Cache, S: SessionStore> CachedDbStore<C, S> {
    fn index(&self) -> Result<&dyn OwnerIndex, StoreError> {
        self.0
            .store
            .owner_index()
            .ok_or_else(|| StoreError::unsupported(Self::NAME, "find sessions by their owner"))
    }
}

/// One call that ends sessions of an owner, and how far it has come.
struct Ending<'a, C, S> {
    store: &'a CachedDbStore<C, S>,
    index: &'a dyn OwnerIndex,
    owner: &'a Owner,
    ended: u64,
    is_assured: bool,
}

impl<C: Cache, S: SessionStore> Ending<'_, C, S> {
    /// Goes through the list once, and says how many sessions of the scope were on it.
    async fn end_listed(&mut self, scope: &EndScope) -> Result<usize, StoreError> {
        let mut found = 0;
        let mut page = Page::first(PAGE);
        loop {
            let listed = self.index.sessions_of(self.owner, page, ALWAYS).await?;
            let is_last = listed.len() < PAGE;
            let last = listed.last().map(|(key, _)| key.clone());
            for (key, _) in listed.iter().filter(|(key, _)| scope.contains(key)) {
                found += 1;
                self.end(key).await?;
            }
            match last {
                Some(last) if !is_last => page = Page::after(last, PAGE),
                _ => return Ok(found),
            }
        }
    }

    async fn end(&mut self, key: &StoreKey) -> Result<(), StoreError> {
        // Once one can't be assured the answer is known, and a cache that is down would cost two timeouts for each.
        let urgency = if self.is_assured {
            Urgency::Insists
        } else {
            Urgency::Ordinary
        };
        let row = self.index.end(self.owner, EndScope::One(key.clone()));
        let (ended, is_assured) = self.store.0.end_by(key, urgency, row).await?;
        self.ended += ended;
        self.is_assured &= is_assured;
        Ok(())
    }

    fn answer(self) -> Result<u64, StoreError> {
        if self.is_assured {
            Ok(self.ended)
        } else {
            Err(self.store.0.deleted_within())
        }
    }
}
