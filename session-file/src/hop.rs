//! Takes blocking work to a thread for it, in one hop: after its turn has come, and within its time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use session_core::store::StoreError;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{Late, NAME, unavailable};
use crate::layout::{Folder, STRIPES, Stripe};
use crate::lock::Lock;
use crate::publish::Publisher;

/// What all clones of a store share.
pub(crate) struct Shared {
    pub(crate) folder: Folder,
    pub(crate) publisher: Publisher,
    timeout: Duration,
    /// Where this process's writers queue, one queue per stripe: first come, first served, and without a thread.
    queues: Vec<Arc<Mutex<()>>>,
}

/// One or two stripes, in the order in which everybody takes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stripes {
    first: Stripe,
    second: Option<Stripe>,
}

/// The right to write at some stripes. Handed to the work itself, so that a dropped future does not end it early.
#[derive(Debug)]
pub(crate) struct Held {
    // In this order: another process may have the lock before our own next writer gets its turn.
    _locks: (Lock, Option<Lock>),
    _turns: Turns,
}

type Turns = (Option<OwnedMutexGuard<()>>, Option<OwnedMutexGuard<()>>);

/// What came of trying once.
enum Attempt<W, T> {
    Done(Result<T, StoreError>),
    Busy(W, Turns),
}

impl Stripes {
    pub(crate) const fn one(stripe: Stripe) -> Self {
        Self {
            first: stripe,
            second: None,
        }
    }

    pub(crate) fn two(one: Stripe, other: Stripe) -> Self {
        Self {
            first: one.min(other),
            second: (one != other).then(|| one.max(other)),
        }
    }
}

impl Shared {
    pub(crate) fn new(folder: Folder, publisher: Publisher, timeout: Duration) -> Self {
        Self {
            folder,
            publisher,
            timeout,
            queues: (0..STRIPES).map(|_| Arc::default()).collect(),
        }
    }

    /// When a call that starts now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        let now = Instant::now();
        // A timeout beyond what the clock can say is a year.
        const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        now.checked_add(self.timeout).unwrap_or(now + FAR)
    }

    /// Does `work` on a blocking thread, without a lock.
    pub(crate) async fn unlocked<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Option<Instant>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(self);
        self.hop(operation, deadline, move || work(&shared)).await?
    }

    /// Does `work` on a blocking thread, with the locks of `stripes`.
    pub(crate) async fn locked<T, W>(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
        stripes: Stripes,
        mut work: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Self, Held) -> Result<T, StoreError> + Send + 'static,
    {
        // Another process can't wake us. It holds the lock for a write or two, so that the first wait mostly suffices.
        const WAIT_MAX: Duration = Duration::from_millis(8);
        let mut wait = Duration::from_millis(1);
        let mut was_busy = false;

        let late = || StoreError::unavailable(NAME, operation, Late::Locked(self.path()));
        let mut turns = timeout_at(deadline, self.turns(stripes))
            .await
            .map_err(|_elapsed| late())?;
        loop {
            let shared = Arc::clone(self);
            let attempt = self
                .hop(operation, Some(deadline), move || {
                    shared.attempt(operation, stripes, turns, work)
                })
                .await;
            (work, turns) = match attempt {
                Ok(Attempt::Done(result)) => return result,
                Ok(Attempt::Busy(work, turns)) => (work, turns),
                // The time went by with waiting, even if it ended in a hop.
                Err(_) if was_busy && Instant::now() >= deadline => return Err(late()),
                Err(error) => return Err(error),
            };
            was_busy = true;
            sleep(wait).await;
            if Instant::now() >= deadline {
                return Err(late());
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    fn attempt<T, W>(
        &self,
        operation: &'static str,
        stripes: Stripes,
        turns: Turns,
        work: W,
    ) -> Attempt<W, T>
    where
        W: FnOnce(&Self, Held) -> Result<T, StoreError>,
    {
        let failed = |error| unavailable(self.folder.path(), operation, error);
        // Nobody waits while holding a lock: if the second is taken, the first is dropped. So there is no deadlock.
        let locks = || {
            let Some(first) = self.folder.try_lock(stripes.first)? else {
                return Ok(None);
            };
            let Some(second) = stripes.second else {
                return Ok(Some((first, None)));
            };
            let second = self.folder.try_lock(second)?;
            Ok(second.map(|second| (first, Some(second))))
        };
        match locks().map_err(failed) {
            Err(error) => Attempt::Done(Err(error)),
            Ok(None) => Attempt::Busy(work, turns),
            Ok(Some(locks)) => {
                let held = Held {
                    _locks: locks,
                    _turns: turns,
                };
                Attempt::Done(work(self, held))
            }
        }
    }

    async fn turns(&self, stripes: Stripes) -> Turns {
        let first = self.turn(stripes.first).await;
        let second = match stripes.second {
            Some(stripe) => self.turn(stripe).await,
            None => None,
        };
        (first, second)
    }

    async fn turn(&self, stripe: Stripe) -> Option<OwnedMutexGuard<()>> {
        let queue = self.queues.get(stripe.number())?;
        Some(Arc::clone(queue).lock_owned().await)
    }

    async fn hop<T: Send + 'static>(
        &self,
        operation: &'static str,
        deadline: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = Handle::try_current().map_err(|outside| {
            let advice = "call it from within a tokio runtime";
            StoreError::misconfigured(NAME, advice, Some(outside.into()))
        })?;
        let working = runtime.spawn_blocking(work);
        let done = match deadline {
            None => working.await,
            Some(deadline) => timeout_at(deadline, working).await.map_err(|_elapsed| {
                StoreError::unavailable(NAME, operation, Late::Disk(self.path()))
            })?,
        };
        // The text of a panic might hold anything, and is dropped.
        done.map_err(|_stopped| {
            StoreError::unavailable(NAME, operation, "the runtime was shutting down")
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            folder,
            publisher,
            timeout,
            queues: _,
        } = self;
        f.debug_struct("Shared")
            .field("folder", folder)
            .field("publisher", publisher)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}
