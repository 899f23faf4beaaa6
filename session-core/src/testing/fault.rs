//! A store that fails, waits or loses its answer when it is told to, so that races and outages are forced and not hoped
//! for.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{EndScope, OwnerIndex, Page, SessionStore, StoreError, StoreScan};
use crate::testing::counting::{index_of, scan_of};
use crate::testing::gate::{Gate, Passage};
use crate::testing::operation::Operation;

/// Wraps a store and does to chosen calls what a network, a server or a slow disk may do.
///
/// Until it is told otherwise it passes everything on. Put it into an [`Arc`] to keep a hand on it:
/// `Arc<FaultStore<_>>` is a store too.
///
/// | method | the call | the caller sees |
/// | --- | --- | --- |
/// | [`refuse`](Self::refuse) | does not reach the store | [`StoreError::Unavailable`], or the error of [`refuse_with`](Self::refuse_with) |
/// | [`lose_answer`](Self::lose_answer) | is carried out | [`StoreError::Unavailable`] |
/// | [`hold`](Self::hold) | waits before it reaches the store, until the [`Gate`] is released | the answer, late |
/// | [`hold_answer`](Self::hold_answer) | is carried out, then waits | the answer, late |
///
/// Which call is said by an [`Operation`] (the next one of that kind) or a [`Call`] (the n-th, of any kind, all later
/// ones too). Calls are counted from the moment the fault is set up. Several faults may meet one call: it is held
/// first, then refused.
///
/// Two tabs, and the slower one saves last:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use std::sync::Arc;
/// use session_core::MemoryStore;
/// use session_core::testing::{FaultStore, Operation};
/// use session_core::store::{Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreKey, Timestamp};
///
/// let now = Timestamp::from_secs(0);
/// let key = StoreKey::parse("0123456789abcdef").ok_or("not a store key")?;
/// let change = |text| Change::new(Payload::from_bytes(text), ExpiryChange::Keep);
///
/// let store = Arc::new(FaultStore::new(MemoryStore::new()));
/// let new = NewRecord::new(Payload::from_bytes("{}"), Timestamp::from_secs(60));
/// let version = store.create(&key, new, now).await?;
///
/// let gate = store.hold(Operation::Save);
/// let slow = tokio::spawn({
///     let (store, key, version) = (Arc::clone(&store), key.clone(), version.clone());
///     async move { store.save(&key, &version, change("slow"), now).await }
/// });
/// gate.reached().await;
/// assert!(matches!(store.save(&key, &version, change("fast"), now).await?, Saved::Stored(_)));
/// gate.release();
/// assert_eq!(slow.await??, Saved::Conflict);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FaultStore<S> {
    store: S,
    rules: Mutex<Vec<Rule>>,
}

/// Which calls a fault meets, counted from the moment it is set up. An [`Operation`] stands for the next call of its
/// kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "hand it to one of the methods of `FaultStore`"]
pub struct Call {
    operation: Option<Operation>,
    nth: u64,
    and_later: bool,
}

impl Call {
    /// The next call, whatever it is.
    pub const fn any() -> Self {
        Self {
            operation: None,
            nth: 1,
            and_later: false,
        }
    }

    /// The next call of `operation`.
    pub const fn of(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
            ..Self::any()
        }
    }

    /// The `nth` of them, from 1. Zero is never reached.
    pub const fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// And all after it: the store is down from then on.
    pub const fn and_later(self) -> Self {
        Self {
            and_later: true,
            ..self
        }
    }
}

impl From<Operation> for Call {
    fn from(operation: Operation) -> Self {
        Self::of(operation)
    }
}

impl<S> FaultStore<S> {
    /// Passes everything on to `store`, until it is told otherwise.
    pub const fn new(store: S) -> Self {
        Self {
            store,
            rules: Mutex::new(Vec::new()),
        }
    }

    /// The wrapped store, which does not fail.
    pub const fn inner(&self) -> &S {
        &self.store
    }

    /// Answers `call` with [`StoreError::Unavailable`]; it does not reach the store.
    pub fn refuse(&self, call: impl Into<Call>) {
        self.add(call.into(), Fault::Refuse);
    }

    /// Answers `call` with an error of your own; it does not reach the store.
    pub fn refuse_with(
        &self,
        call: impl Into<Call>,
        error: impl Fn() -> StoreError + Send + Sync + 'static,
    ) {
        self.add(call.into(), Fault::RefuseWith(Arc::new(error)));
    }

    /// Carries `call` out and answers with [`StoreError::Unavailable`] all the same, as when a connection breaks.
    pub fn lose_answer(&self, call: impl Into<Call>) {
        self.add(call.into(), Fault::LoseAnswer);
    }

    /// Holds `call` before it reaches the store.
    pub fn hold(&self, call: impl Into<Call>) -> Gate {
        let passage = Arc::new(Passage::default());
        self.add(call.into(), Fault::Hold(Arc::clone(&passage)));
        Gate::new(passage)
    }

    /// Carries `call` out and holds the answer.
    pub fn hold_answer(&self, call: impl Into<Call>) -> Gate {
        let passage = Arc::new(Passage::default());
        self.add(call.into(), Fault::HoldAnswer(Arc::clone(&passage)));
        Gate::new(passage)
    }

    /// Forgets all faults, and says whether every one of them has met a call. A test whose fault never happened has
    /// shown nothing. Calls that are held stay held.
    #[must_use = "a fault that never happened has shown nothing"]
    pub fn clear_faults(&self) -> bool {
        self.rules().drain(..).all(|rule| rule.met)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, call: Call, fault: Fault) {
        self.rules().push(Rule {
            call,
            seen: 0,
            met: false,
            fault,
        });
    }

    /// The faults that this call of `operation` meets.
    fn meet(&self, operation: Operation) -> Vec<Fault> {
        let mut rules = self.rules();
        rules
            .iter_mut()
            .filter_map(|rule| rule.meets(operation).then(|| rule.fault.clone()))
            .collect()
    }
}

impl<S: SessionStore> FaultStore<S> {
    async fn around<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        const NAME: &str = "the faulty store";
        let faults = self.meet(operation);
        for fault in &faults {
            if let Fault::Hold(passage) = fault {
                passage.pass().await;
            }
        }
        for fault in &faults {
            match fault {
                Fault::Refuse => {
                    let why = "the test refused the call";
                    return Err(StoreError::unavailable(NAME, operation.as_str(), why));
                }
                Fault::RefuseWith(error) => return Err(error()),
                Fault::LoseAnswer | Fault::Hold(_) | Fault::HoldAnswer(_) => {}
            }
        }
        let answer = work.await;
        for fault in &faults {
            if let Fault::HoldAnswer(passage) = fault {
                passage.pass().await;
            }
        }
        if faults
            .iter()
            .any(|fault| matches!(fault, Fault::LoseAnswer))
        {
            let why = "the test lost the answer";
            return Err(StoreError::unavailable(NAME, operation.as_str(), why));
        }
        answer
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore")
            .field("store", &self.store)
            .field("faults", &self.rules().len())
            .finish()
    }
}

struct Rule {
    call: Call,
    seen: u64,
    met: bool,
    fault: Fault,
}

impl Rule {
    fn meets(&mut self, operation: Operation) -> bool {
        if self.call.operation.is_some_and(|only| only != operation) {
            return false;
        }
        self.seen += 1;
        let meets = self.seen == self.call.nth
            || (self.call.and_later && self.call.nth > 0 && self.seen > self.call.nth);
        self.met |= meets;
        meets
    }
}

#[derive(Clone)]
enum Fault {
    Refuse,
    RefuseWith(Arc<dyn Fn() -> StoreError + Send + Sync>),
    LoseAnswer,
    Hold(Arc<Passage>),
    HoldAnswer(Arc<Passage>),
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> SessionStore for FaultStore<S> {
    fn system_name(&self) -> &'static str {
        self.store.system_name()
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.around(Operation::Load, self.store.load(key, now))
            .await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.around(Operation::Create, self.store.create(key, new, now))
            .await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.around(Operation::Save, self.store.save(key, expected, change, now))
            .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.around(Operation::Delete, self.store.delete(key)).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.around(Operation::Touch, self.store.touch(key, expires_at, now))
            .await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.around(
            Operation::Rotate,
            self.store.rotate(from, expected, to, change, now),
        )
        .await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.around(
            Operation::ClearExpired,
            self.store.clear_expired(now, progress),
        )
        .await
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
impl<S: SessionStore> OwnerIndex for FaultStore<S> {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let index = index_of(&self.store)?;
        self.around(Operation::SessionsOf, index.sessions_of(owner, page, now))
            .await
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        let index = index_of(&self.store)?;
        self.around(Operation::End, index.end(owner, scope)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> StoreScan for FaultStore<S> {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let scan = scan_of(&self.store)?;
        self.around(Operation::Scan, scan.page(page)).await
    }
}
