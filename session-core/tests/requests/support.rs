//! Requests without HTTP: what an adapter does, in a few lines.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use session_core::adapter::{Completion, Outcome, SessionSlot};
use session_core::conformance::{CountingStore, FaultStore};
use session_core::{
    ManualClock, MemoryStore, Policy, SessionBase, SessionError, SessionKey, SessionManager,
};

/// A store that can be held up and that counts what reaches it.
pub(crate) type TestStore = Arc<FaultStore<CountingStore<MemoryStore>>>;

/// One application: a manager, and a hand on its store and clock.
pub(crate) struct Site {
    pub(crate) manager: SessionManager,
    pub(crate) store: TestStore,
    pub(crate) clock: Arc<ManualClock>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_policy(Policy::new())
    }

    pub(crate) fn with_policy(policy: Policy) -> Self {
        let store: TestStore = Arc::new(FaultStore::new(CountingStore::new(MemoryStore::new())));
        let clock = Arc::new(ManualClock::at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045),
        ));
        let manager = SessionManager::new(Arc::clone(&store))
            .with_policy(policy)
            .with_clock(Arc::clone(&clock));
        Self {
            manager,
            store,
            clock,
        }
    }

    /// The same application under another policy.
    pub(crate) fn with(&self, policy: Policy) -> Self {
        Self {
            manager: self.manager.clone().with_policy(policy),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        }
    }

    /// A request that brings `key`.
    pub(crate) fn request(&self, key: Option<&SessionKey>) -> Request {
        let slot = self.manager.slot();
        slot.present(key.map(|key| key.expose_secret().as_bytes()));
        Request { slot }
    }

    /// A visitor whose session holds what `fill` puts there.
    pub(crate) async fn visitor(&self, fill: impl FnOnce(&SessionBase)) -> SessionKey {
        let request = self.request(None);
        fill(&request.session().await);
        request.finish().await.expect_issued()
    }

    /// What a new request reads of the session of `key`; `None` if there is none.
    pub(crate) async fn stored(&self, key: &SessionKey) -> Option<SessionBase> {
        self.manager.load(key).await.expect("the store answers")
    }

    /// How many calls have reached the store since the last question.
    pub(crate) fn calls(&self) -> u64 {
        let total = self.store.inner().total();
        self.store.inner().reset();
        total
    }
}

pub(crate) struct Request {
    pub(crate) slot: SessionSlot,
}

impl Request {
    pub(crate) async fn session(&self) -> SessionBase {
        self.slot.session().await.expect("the session loads")
    }

    pub(crate) async fn finish(&self) -> Ended {
        Ended(self.slot.commit(Completion::Success).await)
    }

    pub(crate) async fn finish_with_5xx(&self) -> Ended {
        Ended(self.slot.commit(Completion::ServerError).await)
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Result<Outcome, SessionError>);

impl Ended {
    /// In one word, for tables.
    pub(crate) fn word(&self) -> &'static str {
        match &self.0 {
            Ok(Outcome::Untouched) => "untouched",
            Ok(Outcome::Accessed) => "accessed",
            Ok(Outcome::Issue { .. }) => "issue",
            Ok(Outcome::Revoke) => "revoke",
            Ok(_) => "something new",
            Err(SessionError::Interrupted) => "interrupted",
            Err(SessionError::Contended) => "contended",
            Err(SessionError::Store(_)) => "store error",
            Err(_) => "another error",
        }
    }

    pub(crate) fn expect_done(&self) {
        assert!(self.0.is_ok(), "the commit failed: {self:?}");
    }

    pub(crate) fn expect_issued(&self) -> SessionKey {
        let Ok(Outcome::Issue { value, .. }) = &self.0 else {
            panic!("no key was issued: {self:?}")
        };
        SessionKey::parse(value.expose_secret().as_bytes()).expect("what is issued is a key")
    }

    pub(crate) fn max_age(&self) -> Option<Duration> {
        let Ok(Outcome::Issue { max_age, .. }) = &self.0 else {
            panic!("no key was issued: {self:?}")
        };
        *max_age
    }
}

/// Runs what may never end in a thread of its own, so that the test fails and does not hang.
pub(crate) fn must_end<F: Future<Output = ()>>(body: impl FnOnce() -> F + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime starts").block_on(body());
        done.send(()).expect("the test waits");
    });
    ended
        .recv_timeout(Duration::from_secs(30))
        .expect("it failed, or never ended");
}

/// Polls once; `None` if it is not ready.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Lets a test hear every event of its own thread. While there is one listener in the process, `tracing` asks the thread that
/// meets an event first, which may be another test's, whether anybody listens, and keeps the answer for all.
pub(crate) fn keep_events_on() {
    static SECOND: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was told while this ran, one event to a line.
pub(crate) fn told<F: Future<Output = ()>>(body: impl FnOnce() -> F) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    keep_events_on();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(body()));
    let text = log.0.lock().unwrap().clone();
    let text = String::from_utf8(text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// How many of these lines name `event`.
pub(crate) fn times(lines: &[String], event: &str) -> usize {
    lines.iter().filter(|line| line.contains(event)).count()
}
