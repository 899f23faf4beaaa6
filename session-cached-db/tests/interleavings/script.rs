//! Whose turn it is, what everybody has seen, and what must be true by then.

use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use session_cache::{Lease, Slot};
use session_core::store::{Record, Saved, StoreError, StoreKey, Timestamp, Version};

/// What happens to one call on the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not arrive.
    Refused,
    /// It is carried out, and nobody learns of it.
    AnswerLost,
}

/// What everybody may rely on from now on.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Facts {
    /// Saves that were acknowledged.
    pub(crate) saved: Vec<char>,
    /// The latest expiry that was acknowledged by a touch.
    pub(crate) expires_at: Option<Timestamp>,
    /// A delete, a rotation or an end was acknowledged.
    pub(crate) is_ended: bool,
}

#[derive(Debug, Default)]
struct Request {
    /// All that it has seen so far. The code is deterministic: who has seen the same does the same.
    history: DefaultHasher,
    pending: Option<&'static str>,
    at_begin: Facts,
    leases: u64,
}

#[derive(Debug, Default)]
struct State {
    current: Option<usize>,
    fault: Option<Fault>,
    /// The request whose step was dropped.
    dropped: Option<usize>,
    requests: Vec<Request>,
    facts: Facts,
    is_purged: bool,
    /// A request ended halfway.
    is_abandoned: bool,
    leases: HashMap<u64, (usize, u64)>,
}

/// What a request does before it loads: nothing, but somebody else may do something.
const BEGINS: &str = "begins";

#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    pub(crate) fn new(requests: usize) -> Self {
        let script = Self::default();
        script
            .lock()
            .requests
            .resize_with(requests, Request::default);
        script
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this request runs; `None` is whoever looks at the result, whom nobody interrupts.
    pub(crate) fn turn(&self, request: Option<usize>, fault: Option<Fault>) {
        let mut state = self.lock();
        state.current = request;
        state.fault = fault;
    }

    pub(crate) fn pending(&self, request: usize) -> Option<&'static str> {
        self.lock().requests[request].pending
    }

    pub(crate) fn calls_cache(&self, request: usize) -> bool {
        self.pending(request)
            .is_some_and(|call| call != BEGINS && !call.starts_with("row"))
    }

    /// Nobody waits for this request any more.
    pub(crate) fn abandon(&self) {
        self.lock().is_abandoned = true;
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// One call: waits for its turn, meets its fault, and notes what was seen.
    pub(crate) async fn step<T: Seen>(
        &self,
        name: &'static str,
        is_cache: bool,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let Some(request) = self.lock().current else {
            return work.await;
        };
        self.lock().requests[request].pending = Some(name);
        others_first().await;
        let fault = {
            let mut state = self.lock();
            state.requests[request].pending = None;
            let fault = state.fault.take_if(|_| is_cache);
            if fault.is_some() {
                state.dropped = Some(request);
            }
            fault
        };
        let lost = || StoreError::unavailable("the cache", name, "the test dropped this step");
        let answer = match fault {
            None => work.await,
            Some(Fault::Refused) => Err(lost()),
            Some(Fault::AnswerLost) => {
                drop(work.await);
                Err(lost())
            }
        };
        let mut state = self.lock();
        let seen = match &answer {
            Ok(seen) => seen.describe(&|lease| state.leases.get(&lease).copied()),
            Err(_) => "no answer".to_owned(),
        };
        (name, seen).hash(&mut state.requests[request].history);
        answer
    }

    /// Leases are random: for comparing states they are named after who took them.
    pub(crate) fn name_lease(&self, lease: Lease) {
        let mut state = self.lock();
        if let Some(request) = state.current {
            state.requests[request].leases += 1;
            let ordinal = state.requests[request].leases;
            state.leases.insert(lease.number(), (request, ordinal));
        }
    }

    pub(crate) fn describe(&self, slot: &Slot) -> String {
        let state = self.lock();
        slot.describe(&|lease| state.leases.get(&lease).copied())
    }

    /// The moment at which a request begins to load: what was acknowledged by then it must see.
    pub(crate) async fn begins(&self, request: usize) {
        self.lock().requests[request].pending = Some(BEGINS);
        others_first().await;
        let mut state = self.lock();
        let facts = state.facts.clone();
        let asking = &mut state.requests[request];
        asking.pending = None;
        asking.at_begin = facts;
        BEGINS.hash(&mut asking.history);
    }

    pub(crate) fn acknowledge(&self, fact: impl FnOnce(&mut Facts)) {
        fact(&mut self.lock().facts);
    }

    pub(crate) fn purged(&self) {
        self.lock().is_purged = true;
    }

    pub(crate) fn facts(&self) -> Facts {
        self.lock().facts.clone()
    }

    pub(crate) fn at_begin(&self, request: usize) -> Facts {
        self.lock().requests[request].at_begin.clone()
    }

    /// Whether `request` may see what is older than it should be: the row was removed behind the cache's back, a request
    /// ended halfway, or a step of another process was dropped.
    pub(crate) fn may_be_stale(&self, request: usize, is_one_process: bool) -> bool {
        let state = self.lock();
        let by_another = |dropped: usize| !is_one_process && dropped != request;
        state.is_purged || state.is_abandoned || state.dropped.is_some_and(by_another)
    }

    pub(crate) fn is_purged(&self) -> bool {
        self.lock().is_purged
    }

    pub(crate) fn dropped(&self) -> Option<usize> {
        self.lock().dropped
    }

    /// Two orders that come to the same go on the same: one of them is enough.
    pub(crate) fn fingerprint(&self, slots: &[String], rows: &[String], extra: &[bool]) -> u64 {
        let state = self.lock();
        let mut hasher = DefaultHasher::new();
        slots.hash(&mut hasher);
        rows.hash(&mut hasher);
        extra.hash(&mut hasher);
        state.facts.hash(&mut hasher);
        state.is_purged.hash(&mut hasher);
        state.is_abandoned.hash(&mut hasher);
        state.dropped.hash(&mut hasher);
        for request in &state.requests {
            request.history.finish().hash(&mut hasher);
            request.pending.hash(&mut hasher);
            request.at_begin.hash(&mut hasher);
        }
        hasher.finish()
    }
}

async fn others_first() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What an answer tells whoever gets it.
pub(crate) trait Seen {
    fn describe(&self, lease: &dyn Fn(u64) -> Option<(usize, u64)>) -> String;
}

macro_rules! seen_as_debug {
    ($($type:ty),*) => {$(
        impl Seen for $type {
            fn describe(&self, _: &dyn Fn(u64) -> Option<(usize, u64)>) -> String {
                format!("{self:?}")
            }
        }
    )*};
}
seen_as_debug!(bool, (), u64, Version, Saved, Option<Saved>);

pub(crate) fn text(record: &Record) -> String {
    let bytes = record.payload.to_bytes().expect("bytes are bytes");
    String::from_utf8(bytes.to_vec()).expect("the tests write text")
}

impl Seen for Record {
    fn describe(&self, _: &dyn Fn(u64) -> Option<(usize, u64)>) -> String {
        format!(
            "{} {:?} {:?}",
            text(self),
            self.version,
            self.expires_at.as_secs()
        )
    }
}

impl Seen for Option<Record> {
    fn describe(&self, lease: &dyn Fn(u64) -> Option<(usize, u64)>) -> String {
        self.as_ref()
            .map_or_else(|| "none".to_owned(), |record| record.describe(lease))
    }
}

impl Seen for Vec<(StoreKey, Record)> {
    fn describe(&self, lease: &dyn Fn(u64) -> Option<(usize, u64)>) -> String {
        self.iter()
            .map(|(key, record)| format!("{} {};", key.as_str(), record.describe(lease)))
            .collect()
    }
}

impl Seen for Slot {
    fn describe(&self, lease: &dyn Fn(u64) -> Option<(usize, u64)>) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Leased { lease: held, .. } => format!("leased {:?}", lease(held.number())),
            Self::Entry(entry) => format!(
                "entry {} until {}",
                entry.record.describe(lease),
                entry.stale_at.as_secs()
            ),
            Self::Tombstone { .. } => "tombstone".to_owned(),
            other => format!("{other:?}"),
        }
    }
}
