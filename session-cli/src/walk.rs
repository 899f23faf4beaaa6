//! The way through all sessions of a store, or through two stores side by side, in the order of their keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

use session_core::store::{Page, Record, SessionStore, StoreError, StoreKey, StoreScan};

use crate::outcome::Failure;

/// How many records are read at once.
const PAGE: usize = 200;

/// How many, if that took too long: some hundred sessions of a megabyte each are more than a store may read in its time.
const SMALL_PAGE: usize = 10;

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
            // A connection that was closed while it was of no use shows in the same way, and is new by then.
            let found = match self.scan.page(page.clone()).await {
                Err(StoreError::Unavailable { .. }) => {
                    let mut small = page;
                    small.limit = SMALL_PAGE;
                    self.scan.page(small).await?
                }
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use session_core::MemoryStore;
    use session_core::store::{NewRecord, Payload, Timestamp};

    use super::*;

    /// Is too slow for more than ten records at once.
    #[derive(Debug)]
    struct Slow(MemoryStore);

    #[async_trait]
    impl StoreScan for Slow {
        async fn page(&self, page: Page) -> Result<Vec<Found>, StoreError> {
            if page.limit > SMALL_PAGE {
                return Err(StoreError::unavailable("a slow store", "scan", "too slow"));
            }
            StoreScan::page(&self.0, page).await
        }
    }

    async fn filled(keys: impl Iterator<Item = u32>) -> MemoryStore {
        let store = MemoryStore::new();
        for key in keys {
            let key = StoreKey::parse(&format!("{key:05}")).unwrap();
            let new = NewRecord::new(Payload::from_bytes(""), Timestamp::MAX);
            store.create(&key, new, Timestamp::MIN).await.unwrap();
        }
        store
    }

    fn through(scan: &dyn StoreScan) -> Walk<'_> {
        Walk {
            scan,
            waiting: VecDeque::new(),
            next: Some(Page::first(PAGE)),
        }
    }

    #[tokio::test]
    async fn a_store_that_is_too_slow_for_a_page_is_asked_for_less() {
        let slow = Slow(filled(0..25).await);
        let mut walk = through(&slow);
        let mut seen = 0;
        while walk.next().await.unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen, 25);
    }

    #[tokio::test]
    async fn two_stores_are_walked_key_by_key() {
        let (from, to) = (
            filled((0..900).step_by(2)).await,
            filled((0..900).step_by(3)).await,
        );
        let mut walk = WalkTwo::new(through(&from), through(&to));
        let mut seen = Vec::new();
        while let Some(Both { key, from, to }) = walk.next().await.unwrap() {
            let number: u32 = key.as_str().parse().unwrap();
            assert_eq!(
                (from.is_some(), to.is_some()),
                (number.is_multiple_of(2), number.is_multiple_of(3))
            );
            seen.push(number);
        }
        let expected: Vec<u32> = (0..900)
            .filter(|n| u32::is_multiple_of(*n, 2) || u32::is_multiple_of(*n, 3))
            .collect();
        assert_eq!(seen, expected);
    }
}
