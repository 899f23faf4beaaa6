//! Servers that die, hang, fill up and change: every call ends within its bound with an answer that says so, and everything goes
//! on by itself afterwards.
#![cfg(feature = "redis")]

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_cache::RedisStore;
use session_core::Owner;
use session_core::store::{
    EndScope, Page, Saved, SessionStore as _, StoreError, StoreKey, Version,
};
use support::{
    LATER, NOW, WAIT_MAX, assert_unavailable, bounded, chain, change, key, new, new_of, text,
};

/// Far less than a store usually has, so that these tests end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(800);

/// How much later than its bound a call may be answered on a busy machine.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Each test has the server to itself.
pub(crate) static STANDALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
pub(crate) static SENTINEL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Every operation, with its name.
#[cfg(test)]
pub(crate) async fn answers(
    store: &RedisStore,
    version: &Version,
) -> Vec<(&'static str, Result<String, StoreError>)> {
    let index = store.owner_index().expect("there is one");
    let ada = Owner::from("ada");
    let later = LATER.saturating_add(Duration::from_secs(9));
    let (one, two) = (key(1), key(2));
    vec![
        ("load", shown(bounded("load", store.load(&one, NOW)).await)),
        (
            "create",
            shown(bounded("create", store.create(&key(4), new_of("ada"), NOW)).await),
        ),
        (
            "save",
            shown(bounded("save", store.save(&one, version, change("b"), NOW)).await),
        ),
        (
            "touch",
            shown(bounded("touch", store.touch(&one, later, NOW)).await),
        ),
        (
            "rotate",
            shown(
                bounded(
                    "rotate",
                    store.rotate(&one, version, &two, change("c"), NOW),
                )
                .await,
            ),
        ),
        ("delete", shown(bounded("delete", store.delete(&one)).await)),
        (
            "list",
            shown(
                bounded("list", index.sessions_of(&ada, Page::first(9), NOW))
                    .await
                    .map(|all| all.len()),
            ),
        ),
        (
            "end one",
            shown(bounded("end", index.end(&ada, EndScope::One(one.clone()))).await),
        ),
        (
            "end all",
            shown(bounded("end", index.end(&ada, EndScope::All)).await),
        ),
    ]
}

fn shown<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Result<String, StoreError> {
    answer.map(|answer| format!("{answer:?}"))
}

/// Every operation is answered as unavailable, within its bound.
#[cfg(test)]
pub(crate) async fn assert_all_unavailable(store: &RedisStore, version: &Version) {
    let started = Instant::now();
    let answers = answers(store, version).await;
    let calls = u32::try_from(answers.len()).expect("a few");
    for (what, answer) in answers {
        assert_unavailable(what, answer);
    }
    assert!(
        started.elapsed() < PATIENCE * calls + GRACE,
        "{calls} calls took {:?}",
        started.elapsed()
    );
}

/// Waits until the store works again, by itself, and gives a new session's version.
#[cfg(test)]
pub(crate) async fn recovered(store: &RedisStore, key: &StoreKey) -> Version {
    let started = Instant::now();
    loop {
        match store.create(key, new("a"), NOW).await {
            Ok(version) => return version,
            Err(StoreError::Unavailable { .. }) => {}
            // An attempt that was answered as unavailable has happened all the same.
            Err(StoreError::KeyTaken { .. }) => {
                let record = store.load(key, NOW).await.expect("it works again");
                return record.expect("the key is taken").version;
            }
            Err(error) => panic!("while it recovers the store answers: {}", chain(&error)),
        }
        assert!(started.elapsed() < WAIT_MAX, "the store does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Requests that go on all the time, each on a session of its own.
#[cfg(test)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Duration>>,
}

#[cfg(test)]
impl Load {
    /// So many of them. Any answer but a right one or "unavailable" is a panic.
    pub(crate) fn start(store: &RedisStore, requests: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for n in 0..requests {
            let (store, stop, done) = (store.clone(), Arc::clone(&stop), Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let key = key((n + 1) * 1_000_000 + round);
                    longest = longest.max(visit(&store, &key).await);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                longest
            }));
        }
        Self { stop, done, tasks }
    }

    /// Waits until so many more visits have ended.
    pub(crate) async fn visits(&self, more: u64) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        let started = Instant::now();
        while self.done.load(Ordering::Relaxed) < goal {
            assert!(started.elapsed() < WAIT_MAX, "the requests have stopped");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends them. The longest call must have been within the bound.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let longest = bounded("a request", task)
                .await
                .expect("every answer was a right one");
            assert!(longest < PATIENCE + GRACE, "a call took {longest:?}");
        }
    }
}

/// A visitor comes, is saved and leaves. Gives how long the longest call took.
#[cfg(test)]
async fn visit(store: &RedisStore, key: &StoreKey) -> Duration {
    let mut longest = Duration::ZERO;
    let mut timed = |started: Instant| longest = longest.max(started.elapsed());
    let started = Instant::now();
    let created = bounded("create", store.create(key, new("a"), NOW)).await;
    timed(started);
    if let Ok(version) = expect_right("create", created) {
        let started = Instant::now();
        let saved = bounded("save", store.save(key, &version, change("b"), NOW)).await;
        timed(started);
        if let Ok(saved) = expect_right("save", saved) {
            // Gone when the server has forgotten it.
            assert_ne!(
                saved,
                Saved::Conflict,
                "somebody else saved this visitor's session"
            );
        }
        let started = Instant::now();
        let loaded = bounded("load", store.load(key, NOW)).await;
        timed(started);
        if let Ok(Some(record)) = expect_right("load", loaded) {
            assert!(
                ["a", "b"].contains(&&*text(&record)),
                "a visitor has another's data"
            );
        }
    }
    // Not too many at once after a failure that is answered at once.
    tokio::time::sleep(Duration::from_millis(2)).await;
    longest
}

#[cfg(test)]
fn expect_right<T>(what: &str, answer: Result<T, StoreError>) -> Result<T, ()> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(StoreError::Unavailable { .. }) => Err(()),
        Err(error) => panic!("{what} was answered with: {}", chain(&error)),
    }
}
