//! Visitors who come, are served by two processes, and leave, all the time; and what must be true of each answer they get.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::store::{Saved, SessionStore as _, StoreError, StoreKey, Version};

use crate::pair::{Pair, bounded};
use crate::redis_servers::WAIT_MAX;
use crate::support::servers::CountedStore;
use crate::support::site::STALENESS_MAX;
use crate::support::{NOW, change, key, new, shown};

/// What the fault of a test does to what the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It is gone, or still true.
    Gone,
    /// The cache may come back as it was some time ago, so that copies are believed for as long as they may live.
    MayReturn,
}

pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    visitors: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    /// So many visitors at a time.
    pub(crate) fn start(pair: &Pair, visitors: u64, past: Past) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let visitors = (1..=visitors).map(|number| {
            let visitor = Visitor {
                pair: pair.clone(),
                past,
                first_key: number * 1_000_000,
            };
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(visitor.comes_again_and_again(stop, done))
        });
        Self {
            visitors: visitors.collect(),
            stop,
            done,
        }
    }

    /// Waits until so many more visits have ended.
    pub(crate) async fn visits(&self, more: u64) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        let started = Instant::now();
        while self.done.load(Ordering::SeqCst) < goal {
            assert!(
                self.visitors.iter().all(|visitor| !visitor.is_finished()),
                "a visitor was answered wrongly"
            );
            assert!(started.elapsed() < WAIT_MAX, "the visits have stopped");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for visitor in self.visitors {
            visitor.await.expect("every answer was a right one");
        }
    }
}

struct Visitor {
    pair: Pair,
    past: Past,
    first_key: u64,
}

/// A session that lasts, and what its only writer was told of it.
struct Kept {
    key: StoreKey,
    version: Version,
    saves: u64,
}

impl Visitor {
    async fn comes_again_and_again(self, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
        let key = key(self.first_key);
        let version = self.pair.here.create(&key, new("0"), NOW).await;
        let mut kept = Kept {
            version: right("create", version),
            key,
            saves: 0,
        };
        let mut round = 0;
        while !stop.load(Ordering::SeqCst) {
            round += 1;
            self.visit(round, &mut kept).await;
            done.fetch_add(1, Ordering::SeqCst);
            // A cache that refuses at once would make this a race for the processor.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let Kept { key, saves, .. } = kept;
        let all = saves.to_string();
        assert_eq!(
            row(&self.pair.here, &key).await.as_deref(),
            Some(&*all),
            "a save that was acknowledged is not in the database"
        );
        for store in [&self.pair.here, &self.pair.there] {
            let seen = shown(store, &key, later()).await;
            assert_eq!(
                seen.as_deref(),
                Some(&*all),
                "an older state is read beyond the bound"
            );
        }
    }

    /// A visitor comes, is saved, gets another key and leaves, and the session that lasts is saved once more.
    async fn visit(&self, round: u64, kept: &mut Kept) {
        let (writer, other) = if round.is_multiple_of(2) {
            (&self.pair.here, &self.pair.there)
        } else {
            (&self.pair.there, &self.pair.here)
        };
        kept.saves += 1;
        let payload = kept.saves.to_string();
        kept.version = stored(writer, &kept.key, &kept.version, &payload).await;
        self.reads_what_it_wrote(writer, &kept.key, &payload).await;
        // So that the other has something to remember wrongly.
        let seen = bounded("load", other.load(&kept.key, NOW)).await;
        assert!(
            right("load", seen).is_some(),
            "a session that lasts is not found"
        );

        let (first, second) = (
            key(self.first_key + 2 * round),
            key(self.first_key + 2 * round + 1),
        );
        let created = bounded("create", writer.create(&first, new("new"), NOW)).await;
        let version = right("create", created);
        for store in [other, writer] {
            let seen = right("load", bounded("load", store.load(&first, NOW)).await);
            assert!(seen.is_some(), "a new session is not found");
        }
        let version = stored(writer, &first, &version, "saved").await;
        self.reads_what_it_wrote(writer, &first, "saved").await;

        let rotated = writer.rotate(&first, &version, &second, change("moved"), NOW);
        let rotated = right("rotate", bounded("rotate", rotated).await);
        assert!(matches!(rotated, Saved::Stored(_)), "{rotated:?}");
        self.is_over(writer, other, &first).await;
        self.reads_what_it_wrote(writer, &second, "moved").await;
        let seen = bounded("load", other.load(&second, NOW)).await;
        assert!(
            right("load", seen).is_some(),
            "a session is not found under its new key"
        );

        let deleted = bounded("delete", writer.delete(&second)).await;
        let is_assured = match deleted {
            Ok(was_there) => {
                assert!(was_there, "a session ended by itself");
                true
            }
            Err(StoreError::DeletedWithin { bound, .. }) => {
                assert_eq!(bound, STALENESS_MAX, "a log-out names another bound");
                false
            }
            Err(error) => panic!("a log-out was answered with: {error:?}"),
        };
        if is_assured && self.past == Past::Gone {
            let seen = right("load", bounded("load", other.load(&second, NOW)).await);
            assert!(
                seen.is_none(),
                "a session is read after a log-out that was assured"
            );
        }
        self.is_over(writer, other, &second).await;
    }

    /// Whoever has written knows what the cache was not told.
    async fn reads_what_it_wrote(&self, writer: &CountedStore, key: &StoreKey, payload: &str) {
        let seen = bounded("load", shown(writer, key, NOW)).await;
        assert!(seen.is_some(), "a session is not found where it was saved");
        if self.past == Past::Gone {
            assert_eq!(
                seen.as_deref(),
                Some(payload),
                "a process does not read what it has saved"
            );
        }
        let row = row(writer, key).await;
        assert_eq!(
            row.as_deref(),
            Some(payload),
            "a save that was acknowledged is not in the database"
        );
    }

    async fn is_over(&self, ended_by: &CountedStore, other: &CountedStore, key: &StoreKey) {
        if self.past == Past::Gone {
            let seen = bounded("load", shown(ended_by, key, NOW)).await;
            assert!(
                seen.is_none(),
                "the process that ended a session still reads it"
            );
        }
        for store in [ended_by, other] {
            let seen = bounded("load", shown(store, key, later())).await;
            assert!(
                seen.is_none(),
                "a session that has ended is read beyond the bound"
            );
        }
        assert!(
            row(other, key).await.is_none(),
            "a session that has ended is in the database"
        );
    }
}

/// When no copy of now is believed any more.
fn later() -> session_core::store::Timestamp {
    NOW.saturating_add(STALENESS_MAX)
}

/// What the database holds, past the cache.
async fn row(store: &CountedStore, key: &StoreKey) -> Option<String> {
    shown(store.database().inner(), key, NOW).await
}

/// A save by the only writer of a session, which the database always takes.
async fn stored(store: &CountedStore, key: &StoreKey, version: &Version, payload: &str) -> Version {
    let saved = bounded("save", store.save(key, version, change(payload), NOW)).await;
    match right("save", saved) {
        Saved::Stored(version) => version,
        other => panic!("a save was answered with {other:?}, and nobody else writes"),
    }
}

/// Whatever the cache does, the database's answer is the answer.
fn right<T: Debug>(what: &str, answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| panic!("{what} was answered with: {error:?}"))
}
