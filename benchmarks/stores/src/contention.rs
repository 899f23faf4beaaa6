//! Many clients write one session at the same time: whether all of them get through, how long each waits, and how often one had
//! to try again. Our stores, without HTTP.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use harness::{COUNT, Place, Result, quartiles};
use serde_json::json;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};
use session_core::{SessionKey, SessionManager};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::backends::{Backend, Sync};

const CLIENTS: usize = 64;
/// What each of them does, one after the other.
const MODIFIES_EACH: usize = 10;

/// Prints one line of JSON about as many managers with connections of their own as there are `nodes`.
pub(crate) fn run(store: &str, nodes: usize) -> Result<()> {
    let place = Place::find()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let backend = Backend {
            name: store,
            number: 0,
            place: &place,
        };
        backend.clear().await?;
        let conflicts = Arc::new(AtomicU64::new(0));
        let mut managers = Vec::new();
        for _ in 0..nodes {
            let counted = Counted {
                store: backend.open(Sync::Default).await?,
                conflicts: Arc::clone(&conflicts),
            };
            managers.push(SessionManager::new(counted));
        }
        let first = managers.first().ok_or("say a number of nodes")?;
        let session = first.start();
        session.set(COUNT, &0_u64)?;
        session.save().await?;
        let key = Arc::new(session.session_key().ok_or("no session was begun")?);

        let together = Arc::new(Barrier::new(CLIENTS));
        let mut clients = JoinSet::new();
        let started = Instant::now();
        for manager in managers.iter().cycle().take(CLIENTS) {
            let (manager, key) = (manager.clone(), Arc::clone(&key));
            clients.spawn(client(manager, key, Arc::clone(&together)));
        }
        let (mut waited, mut failures) = (Vec::new(), Vec::new());
        while let Some(client) = clients.join_next().await {
            for modified in client?? {
                match modified {
                    Ok(nanoseconds) => waited.push(nanoseconds),
                    Err(failure) => failures.push(failure),
                }
            }
        }
        let took = started.elapsed();
        if let Some(failure) = failures.first() {
            eprintln!("{store}, {nodes}: {failure}");
        }
        let session = first.load(&key).await?.ok_or("the session is lost")?;
        let kept: u64 = session.get(COUNT)?.unwrap_or_default();
        let modifies = CLIENTS * MODIFIES_EACH;
        let slowest = waited.iter().copied().max_by(f64::total_cmp);
        let [_, median, _] = quartiles(&mut waited, 1.0);
        harness::report(&json!({
            "store": store,
            "nodes": nodes,
            "clients": CLIENTS,
            "modifies": modifies,
            "kept": kept,
            "failed": failures.len(),
            "conflicts": conflicts.load(Ordering::SeqCst),
            "nanoseconds": took.as_nanos() as f64,
            "median_wait_nanoseconds": median,
            "longest_wait_nanoseconds": slowest.unwrap_or_default(),
        }))
    })
}

/// Nanoseconds of each save, or why there was none.
async fn client(
    manager: SessionManager,
    key: Arc<SessionKey>,
    together: Arc<Barrier>,
) -> std::result::Result<Vec<std::result::Result<f64, String>>, String> {
    let mut waited = Vec::new();
    for turn in 0..MODIFIES_EACH {
        let session = manager.load(&key).await.map_err(told)?;
        let session = session.ok_or("the session is lost")?;
        if turn == 0 {
            // All have read before the first one writes.
            together.wait().await;
        }
        session
            .modify(COUNT, |count: &mut u64| *count += 1)
            .map_err(told)?;
        let started = Instant::now();
        let saved = session.save().await;
        let took = started.elapsed().as_nanos() as f64;
        waited.push(saved.map(|()| took).map_err(told));
    }
    Ok(waited)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn told(error: session_core::SessionError) -> String {
    format!("{error}: {:?}", error.source())
}

/// Counts the saves that came too late.
#[derive(Debug)]
struct Counted {
    store: Arc<dyn SessionStore>,
    conflicts: Arc<AtomicU64>,
}

#[async_trait]
impl SessionStore for Counted {
    fn system_name(&self) -> &'static str {
        self.store.system_name()
    }

    async fn load(
        &self,
        key: &StoreKey,
        now: Timestamp,
    ) -> std::result::Result<Option<Record>, StoreError> {
        self.store.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> std::result::Result<Version, StoreError> {
        self.store.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> std::result::Result<Saved, StoreError> {
        let saved = self.store.save(key, expected, change, now).await;
        if matches!(saved, Ok(Saved::Conflict)) {
            self.conflicts.fetch_add(1, Ordering::SeqCst);
        }
        saved
    }

    async fn delete(&self, key: &StoreKey) -> std::result::Result<bool, StoreError> {
        self.store.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.store.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> std::result::Result<Saved, StoreError> {
        self.store.rotate(from, expected, to, change, now).await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> std::result::Result<u64, StoreError> {
        self.store.clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.store.owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.store.scan()
    }
}
