//! The way through all sessions of a store, or through two stores side by side, in the order of their keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

use session_core::store::{Page, Record, SessionStore, StoreError, StoreKey, StoreScan};

use crate::outcome::Failure;

/// How many records are read at once: few enough that a page of large ones fits in memory and is there in time.
const PAGE: usize = 200;

/// A session and its key.
pub(crate) type Found = (StoreKey, Record);

/// One store's sessions, expired ones included.
pub(crate) struct Walk<'a> {
    scan: &'a dyn StoreScan,
    waiting: VecDeque<Found>,
    /// `None` behind the last page.
    next: Option<Page>,
}

impl<'a> Walk<'a> {
    pub(crate) fn through(store: &'a dyn SessionStore) -> Result<Self, Failure> {
        let scan = store
            .scan()
            .ok_or_else(|| Failure::failed("this store offers no way through all its sessions"))?;
        Ok(Self {
            scan,
            waiting: VecDeque::new(),
            next: Some(Page::first(PAGE)),
        })
    }

    /// The next session.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        self.peek().await?;
        Ok(self.waiting.pop_front())
    }

    async fn peek(&mut self) -> Result<Option<&StoreKey>, StoreError> {
        if self.waiting.is_empty()
            && let Some(page) = self.next.take()
        {
            // A read that failed may be repeated once: a connection may have been closed while it was of no use.
            let found = match self.scan.page(page.clone()).await {
                Err(StoreError::Unavailable { .. }) => self.scan.page(page).await?,
                found => found?,
            };
            self.next = found
                .last()
                .map(|(last, _)| Page::after(last.clone(), PAGE));
            self.waiting = found.into();
        }
        Ok(self.waiting.front().map(|(key, _)| key))
    }
}

/// A key, and what each of two stores has under it: one of them at least has something.
pub(crate) struct Both {
    pub(crate) key: StoreKey,
    pub(crate) from: Option<Record>,
    pub(crate) to: Option<Record>,
}

/// Two stores' sessions.
pub(crate) struct WalkTwo<'a> {
    from: Walk<'a>,
    to: Walk<'a>,
}

impl<'a> WalkTwo<'a> {
    pub(crate) const fn new(from: Walk<'a>, to: Walk<'a>) -> Self {
        Self { from, to }
    }

    /// The next key that one of them has.
    pub(crate) async fn next(&mut self) -> Result<Option<Both>, StoreError> {
        let order = match (self.from.peek().await?, self.to.peek().await?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(from), Some(to)) => from.cmp(to),
        };
        let from = if order.is_le() {
            self.from.next().await?
        } else {
            None
        };
        let to = if order.is_ge() {
            self.to.next().await?
        } else {
            None
        };
        let (from_key, from) = from.unzip();
        let (to_key, to) = to.unzip();
        Ok(from_key.or(to_key).map(|key| Both { key, from, to }))
    }
}
