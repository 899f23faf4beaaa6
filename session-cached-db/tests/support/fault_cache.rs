//! A cache that does to chosen calls what a network or a server may do.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use session_cache::{Cache, Entry, Lease, Slot};
use session_core::store::{Change, Record, Saved, StoreError, StoreKey, Timestamp, Version};
use tokio::sync::Semaphore;

use super::evictable::Evictable;

/// One of a cache's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CacheCall {
    Get,
    Lease,
    Fill,
    PutNewer,
    Invalidate,
    Bury,
}

impl CacheCall {
    pub(crate) const ALL: [Self; 6] = [
        Self::Get,
        Self::Lease,
        Self::Fill,
        Self::PutNewer,
        Self::Invalidate,
        Self::Bury,
    ];
}

/// What becomes of a call.
#[derive(Clone)]
pub(crate) enum Fate {
    Passes,
    /// It does not reach the cache.
    Refused,
    /// It reaches the cache, and its answer is lost.
    AnswerLost,
    /// It gets no answer, ever.
    Hangs,
    /// It reaches the cache after a while, also if nobody waits for it any more.
    Late(Duration),
    /// The slot is emptied first.
    Forgotten,
    /// What is in the slot can't be read.
    Damaged,
    /// It waits until the gate is opened.
    Held(Arc<Gate>),
}

/// Holds calls until it is opened.
#[derive(Debug)]
pub(crate) struct Gate {
    reached: Semaphore,
    opened: Semaphore,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            reached: Semaphore::const_new(0),
            opened: Semaphore::const_new(0),
        })
    }

    /// Waits until a call has arrived.
    pub(crate) async fn reached(&self) {
        drop(self.reached.acquire().await);
    }

    pub(crate) fn open(&self) {
        self.opened.close();
    }

    async fn pass(&self) {
        self.reached.close();
        drop(self.opened.acquire().await);
    }
}

type Plan = dyn Fn(CacheCall, u64) -> Fate + Send + Sync;

/// Passes everything on until it is told otherwise. Clones are the same cache, with the same faults: for a process of its own
/// take [`beside`](Self::beside).
#[derive(Clone)]
pub(crate) struct FaultCache {
    pub(crate) slots: Evictable,
    faults: Arc<Faults>,
}

struct Faults {
    plan: Mutex<Arc<Plan>>,
    calls: AtomicU64,
}

impl FaultCache {
    pub(crate) fn new() -> Self {
        Self::over(Evictable::default())
    }

    fn over(slots: Evictable) -> Self {
        Self {
            slots,
            faults: Arc::new(Faults {
                plan: Mutex::new(Arc::new(|_, _| Fate::Passes)),
                calls: AtomicU64::new(0),
            }),
        }
    }

    /// The same slots over a connection that has no faults yet: what another process has.
    pub(crate) fn beside(&self) -> Self {
        Self::over(self.slots.clone())
    }

    /// From now on `plan` says what becomes of a call, by its kind and its number, from 1.
    pub(crate) fn plan(&self, plan: impl Fn(CacheCall, u64) -> Fate + Send + Sync + 'static) {
        self.faults.calls.store(0, Ordering::SeqCst);
        *self.locked() = Arc::new(plan);
    }

    pub(crate) fn all(&self, fate: Fate) {
        self.plan(move |_, _| fate.clone());
    }

    pub(crate) fn each(&self, kind: CacheCall, fate: Fate) {
        self.plan(move |call, _| {
            if call == kind {
                fate.clone()
            } else {
                Fate::Passes
            }
        });
    }

    /// The call with this number alone, counted from now.
    pub(crate) fn nth(&self, number: u64, fate: Fate) {
        self.plan(move |_, call| {
            if call == number {
                fate.clone()
            } else {
                Fate::Passes
            }
        });
    }

    pub(crate) fn heal(&self) {
        self.all(Fate::Passes);
    }

    /// How many calls there were since the last plan.
    pub(crate) fn calls(&self) -> u64 {
        self.faults.calls.load(Ordering::SeqCst)
    }

    fn locked(&self) -> MutexGuard<'_, Arc<Plan>> {
        self.faults
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn around<T, F>(&self, call: CacheCall, key: &StoreKey, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let number = self.faults.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = Arc::clone(&self.locked());
        let lost = || StoreError::unavailable("the faulty cache", "answer", "the test says so");
        match plan(call, number) {
            Fate::Passes => work.await,
            Fate::Refused => Err(lost()),
            Fate::AnswerLost => {
                drop(work.await);
                Err(lost())
            }
            Fate::Hangs => pending().await,
            Fate::Late(delay) => {
                let late = tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    work.await
                });
                late.await
                    .unwrap_or_else(|error| Err(StoreError::failed("a task", "end", error)))
            }
            Fate::Forgotten => {
                self.slots.evict(key);
                work.await
            }
            Fate::Damaged => match call {
                // These remove or bury what they can't read.
                CacheCall::Invalidate => {
                    self.slots.evict(key);
                    work.await
                }
                CacheCall::Bury => work.await,
                _ => Err(StoreError::damaged("the faulty cache", "the test says so")),
            },
            Fate::Held(gate) => {
                gate.pass().await;
                work.await
            }
        }
    }
}

impl fmt::Debug for FaultCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultCache").finish_non_exhaustive()
    }
}

/// A call that outlives its caller, on clones of what it needs.
macro_rules! around {
    ($self:ident, $call:ident, $key:ident, $method:ident($($argument:expr),*)) => {{
        let slots = $self.slots.clone();
        let key = $key.clone();
        let work = async move { slots.$method(&key $(, $argument)*).await };
        $self.around(CacheCall::$call, $key, work).await
    }};
}

#[async_trait]
impl Cache for FaultCache {
    fn name(&self) -> &'static str {
        "the faulty cache"
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        around!(self, Get, key, get())
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        around!(self, Lease, key, lease(lease, life))
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        around!(self, Fill, key, fill(lease, entry, now))
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        around!(self, PutNewer, key, put_newer(entry, now))
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        around!(self, Invalidate, key, invalidate())
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        around!(self, Bury, key, bury(life))
    }

    async fn add(&self, _: &StoreKey, _: Record, _: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "add"))
    }

    async fn compare_and_swap(
        &self,
        _: &StoreKey,
        _: &Version,
        _: Change,
        _: Timestamp,
    ) -> Result<Saved, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "swap"))
    }

    async fn expire(&self, _: &StoreKey, _: Timestamp, _: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::unsupported("a cache of copies", "expire"))
    }
}
