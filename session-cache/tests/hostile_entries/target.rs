//! What is thrown at the format of cached sessions: for the test here and for cargo-fuzz, which includes this file.
//!
//! Whatever a cache holds under a session's key, it is a session, none, or an error of this one session.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use session_cache::{CacheStore, CellCache, Cells};
use session_core::store::{NewRecord, Payload, SessionStore as _, StoreError, StoreKey, Timestamp};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_001_000);

/// A cache with one place, into which the test puts what it likes.
#[derive(Debug, Clone, Default)]
struct OneCell(Arc<Mutex<Option<Bytes>>>);

impl OneCell {
    fn set(&self, bytes: Option<Bytes>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    fn get(&self) -> Option<Bytes> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Cells for OneCell {
    type Token = ();

    fn name(&self) -> &'static str {
        "the one cell"
    }

    async fn read(&self, _: &StoreKey) -> Result<Option<(Bytes, ())>, StoreError> {
        Ok(self.get().map(|bytes| (bytes, ())))
    }

    async fn write(
        &self,
        _: &StoreKey,
        _: Option<&()>,
        bytes: Option<Bytes>,
        _: Duration,
    ) -> Result<bool, StoreError> {
        self.set(bytes);
        Ok(true)
    }
}

pub(crate) struct Target {
    runtime: Runtime,
    cell: OneCell,
    store: CacheStore<CellCache<OneCell>>,
    key: StoreKey,
}

impl Target {
    pub(crate) fn new() -> Self {
        let cell = OneCell::default();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
            store: CacheStore::new(CellCache::new(cell.clone())),
            cell,
            key: StoreKey::parse("0123456789abcdef0123456789abcdef01234567").expect("a store key"),
        }
    }

    /// What the store itself writes.
    pub(crate) fn good(&self, payload: &[u8]) -> Vec<u8> {
        let mut new = NewRecord::new(Payload::from_bytes(payload.to_vec()), LATER);
        new.owner = Some("ada".into());
        new.created_at = Some(NOW);
        self.cell.set(None);
        let created = self
            .runtime
            .block_on(self.store.create(&self.key, new, NOW));
        created.expect("an empty cell takes a session");
        self.cell.get().expect("it was written").to_vec()
    }

    /// Whether it was a session.
    pub(crate) fn entry(&self, input: &[u8]) -> bool {
        self.cell.set(Some(input.to_vec().into()));
        match self.runtime.block_on(self.store.load(&self.key, NOW)) {
            Ok(Some(record)) => {
                assert!(record.is_live(NOW), "an expired session is served");
                let payload = record.payload.to_bytes().expect("bytes are bytes");
                assert!(payload.len() <= input.len(), "a payload came from nowhere");
                true
            }
            Ok(None) | Err(StoreError::Damaged { .. } | StoreError::Misconfigured { .. }) => false,
            Err(error) => panic!("one session's bytes are everybody's trouble: {error:?}"),
        }
    }
}
