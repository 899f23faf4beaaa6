//! Keeps connections from one statement to the next, so that the pool does not test each of them in between.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::pool::{CloseEvent, PoolConnection};
use sqlx::{Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// After how long a connection is given back to its pool, which tests it and looks at its age. One that nobody uses may stay
/// away for twice as long.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// How many connections a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All that the pool has, until the pool is shared with the application.
    UntilShared,
    /// So many, whoever uses the pool besides.
    AtMost(u32),
}

/// A pool, and the connections out of it that are kept.
pub(crate) struct Stock<DB: Database> {
    pool: Pool<DB>,
    /// As many as the pool has connections. Who waits here is served by whoever is done next, also when that one keeps its
    /// connection, of which the pool would not know. `None` where nothing is kept.
    places: Option<Arc<Semaphore>>,
    state: Mutex<State<DB>>,
}

struct State<DB: Database> {
    /// The one that was used last is at the end, and is used next.
    idle: Vec<Idle<DB>>,
    kept_max: usize,
    ends_when_shared: bool,
    /// How many have a place and wait for the pool, since somebody else uses it as well, or since it is connecting. As long as
    /// there are any, nothing is kept from them.
    waiting: usize,
    /// Where what is kept will be given back, while there is any.
    runtime: Option<Handle>,
}

struct Idle<DB: Database> {
    connection: PoolConnection<DB>,
    taken: Instant,
}

/// A connection and the place of who uses it.
pub(crate) struct Taken<DB: Database> {
    idle: Idle<DB>,
    place: Option<OwnedSemaphorePermit>,
}

impl<DB: Database> Stock<DB> {
    pub(crate) fn new(pool: Pool<DB>, keep: Keep) -> Self {
        let connections_max = pool.options().get_max_connections();
        let kept_max = match keep {
            Keep::UntilShared => connections_max,
            Keep::AtMost(kept_max) => kept_max.min(connections_max),
        };
        // What does not fit was never to be had.
        let size = |connections| usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            pool,
            places: (kept_max > 0).then(|| {
                let places = size(connections_max).min(Semaphore::MAX_PERMITS);
                Arc::new(Semaphore::new(places))
            }),
            state: Mutex::new(State {
                idle: Vec::new(),
                kept_max: size(kept_max),
                ends_when_shared: keep == Keep::UntilShared,
                waiting: 0,
                runtime: None,
            }),
        }
    }

    /// How many connections there are, those that are in use and those that are kept included.
    pub(crate) fn connections(&self) -> u32 {
        self.pool.size()
    }

    /// The pool, for others to use: they must find connections in it.
    pub(crate) fn share(&self) -> Pool<DB> {
        let mut state = self.lock();
        if state.ends_when_shared {
            state.kept_max = 0;
        }
        if state.kept_max == 0 {
            state.give_back_if(|_| true);
        }
        drop(state);
        self.pool.clone()
    }

    /// A connection: one that was kept, or one of the pool's.
    pub(crate) async fn take(&self) -> Result<Taken<DB>, sqlx::Error> {
        let place = match &self.places {
            // It is never closed.
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        };
        let idle = match self.idle_or_wait() {
            Ok(idle) => idle,
            Err(_waiting) => Idle {
                connection: self.pool.acquire().await?,
                taken: Instant::now(),
            },
        };
        Ok(Taken { idle, place })
    }

    /// Keeps a connection whose statement came to its end, or gives it back. `may_keep` is asked when nobody else can keep
    /// or give back.
    pub(crate) fn put(self: &Arc<Self>, taken: Taken<DB>, may_keep: impl FnOnce() -> bool) {
        let Taken { idle, place } = taken;
        let mut state = self.lock();
        let is_kept = state.idle.len() < state.kept_max
            && state.waiting == 0
            && idle.taken.elapsed() < AWAY_MAX
            && !self.pool.is_closed()
            && may_keep()
            && state.is_seen_to(self);
        let given_back = if is_kept {
            state.idle.push(idle);
            None
        } else {
            Some(idle)
        };
        drop(state);
        drop(given_back);
        // Last: who is waiting for it looks for a connection at once.
        drop(place);
    }

    /// Gives back all that is kept: it may be broken, and the pool tests it.
    pub(crate) fn give_back_all(&self) {
        self.lock().give_back_if(|_| true);
    }

    /// The connection that was used last. Without any, the caller waits for the pool, and is counted before anybody can
    /// keep another.
    fn idle_or_wait(&self) -> Result<Idle<DB>, Waiting<'_, DB>> {
        let mut state = self.lock();
        if !self.pool.is_closed() {
            while let Some(idle) = state.idle.pop() {
                if idle.taken.elapsed() < AWAY_MAX {
                    return Ok(idle);
                }
            }
        }
        state.waiting += 1;
        Err(Waiting(self))
    }

    fn lock(&self) -> MutexGuard<'_, State<DB>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> State<DB> {
    /// Whether a task will give back in time what is kept. It ends when there is nothing left.
    fn is_seen_to(&mut self, stock: &Arc<Stock<DB>>) -> bool {
        if self.runtime.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let closed = stock.pool.close_event();
            drop(runtime.spawn(give_back_in_time(Arc::downgrade(stock), closed)));
            self.runtime = Some(runtime);
        }
        self.runtime.is_some()
    }

    fn give_back_if(&mut self, is_due: impl Fn(&Idle<DB>) -> bool) {
        // A connection goes back on a task, and whoever calls this need not be on a runtime.
        let _context = self.runtime.as_ref().map(Handle::enter);
        self.idle.retain(|idle| !is_due(idle));
    }
}

/// A store that is no longer asked keeps no connection from its pool, which closes what nobody uses; nor does one whose pool
/// is being closed.
async fn give_back_in_time<DB: Database>(stock: Weak<Stock<DB>>, mut closed: CloseEvent) {
    loop {
        let is_closed = closed.do_until(sleep(AWAY_MAX)).await.is_err();
        let Some(stock) = stock.upgrade() else {
            return;
        };
        let mut state = stock.lock();
        state.give_back_if(|idle| is_closed || idle.taken.elapsed() >= AWAY_MAX);
        if state.idle.is_empty() {
            state.runtime = None;
            return;
        }
    }
}

/// Somebody who waits for the pool, until this is dropped.
struct Waiting<'a, DB: Database>(&'a Stock<DB>);

impl<DB: Database> Drop for Waiting<'_, DB> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

impl<DB: Database> Taken<DB> {
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.idle.connection
    }

    /// Takes it from the pool for good, and closes it without a farewell: the server may not be there to hear it.
    pub(crate) fn close(self) {
        drop(self.idle.connection.detach());
    }
}

impl<DB: Database> Drop for Stock<DB> {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state
            .unwrap_or_else(PoisonError::into_inner)
            .give_back_if(|_| true);
    }
}

impl<DB: Database> fmt::Debug for Stock<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool, whose options may hold a password.
        f.debug_struct("Stock")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use std::task::{Context, Poll, Waker};

    use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

    use super::*;

    fn pool(connections: u32) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_lazy("sqlite::memory:")
            .expect("the URL is right")
    }

    fn stock(pool: &SqlitePool, keep: Keep) -> Arc<Stock<sqlx::Sqlite>> {
        Arc::new(Stock::new(pool.clone(), keep))
    }

    async fn taken(stock: &Stock<sqlx::Sqlite>) -> Taken<sqlx::Sqlite> {
        stock.take().await.expect("memory is there")
    }

    fn kept(stock: &Stock<sqlx::Sqlite>) -> usize {
        stock.lock().idle.len()
    }

    /// Lets other tasks go on until it is so.
    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let waited = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), waited).await;
        assert!(waited.is_ok(), "never {what}");
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_the_next_statement() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::UntilShared);
        for _ in 0..3 {
            let one = taken(&stock).await;
            stock.put(one, || true);
            assert_eq!((kept(&stock), pool.size(), pool.num_idle()), (1, 1, 0));
        }
        let one = taken(&stock).await;
        stock.put(one, || false);
        assert_eq!(kept(&stock), 0, "what may be broken was kept");
        until("given back", || pool.num_idle() == 1).await;
    }

    #[tokio::test]
    async fn an_applications_pool_gets_back_what_is_not_to_be_kept() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::AtMost(0));
        let one = taken(&stock).await;
        stock.put(one, || true);
        assert_eq!(kept(&stock), 0);
        until("given back", || pool.num_idle() == 1).await;
    }

    #[tokio::test]
    async fn who_has_to_wait_for_the_pool_is_not_passed_by() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::AtMost(2));
        let applications = pool.acquire().await.expect("memory is there");
        let one = taken(&stock).await;
        let waiting = tokio::spawn({
            let stock = Arc::clone(&stock);
            async move { stock.put(taken(&stock).await, || true) }
        });
        until("waiting", || stock.lock().waiting == 1).await;
        stock.put(one, || true);
        let waited = tokio::time::timeout(Duration::from_secs(120), waiting).await;
        waited
            .expect("a connection was kept from somebody who waited for one")
            .expect("nothing panics");
        drop(applications);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_not_waited_for() {
        let pool = pool(1);
        let stock = stock(&pool, Keep::AtMost(1));
        let applications = pool.acquire().await.expect("memory is there");
        let mut waits = Box::pin(stock.take());
        let polled = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "there is one connection");
        assert_eq!(stock.lock().waiting, 1);
        drop(waits);
        drop(applications);
        let one = taken(&stock).await;
        stock.put(one, || true);
        assert_eq!(kept(&stock), 1);
    }

    #[tokio::test]
    async fn a_shared_pool_gets_everything_back() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::UntilShared);
        let (one, other) = (taken(&stock).await, taken(&stock).await);
        stock.put(one, || true);
        stock.share();
        stock.put(other, || true);
        assert_eq!(kept(&stock), 0);
        until("given back", || pool.num_idle() == 2).await;
    }

    #[tokio::test]
    async fn a_pool_that_is_closed_gets_everything_back() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::AtMost(2));
        let (one, other) = (taken(&stock).await, taken(&stock).await);
        stock.put(one, || true);
        let closing = pool.close();
        stock.put(other, || true);
        let closed = tokio::time::timeout(AWAY_MAX / 2, closing).await;
        assert!(closed.is_ok(), "a kept connection held up the pool's end");
        let refused = stock.take().await;
        assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
    }

    #[tokio::test]
    async fn a_connection_that_was_away_for_long_goes_back() {
        let pool = pool(2);
        let stock = stock(&pool, Keep::AtMost(2));
        let (one, other) = (taken(&stock).await, taken(&stock).await);
        tokio::time::pause();
        stock.put(one, || true);
        // The task that gives back begins to wait.
        tokio::task::yield_now().await;
        tokio::time::advance(AWAY_MAX + Duration::from_secs(1)).await;
        stock.put(other, || true);
        until("given back", || kept(&stock) == 0).await;
        assert!(
            stock.lock().runtime.is_none(),
            "the task that gives back has nothing more to do"
        );
    }

    #[test]
    fn a_store_can_be_dropped_outside_its_runtime_and_after_it() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
        };
        for ends_first in [true, false] {
            let runtime = runtime();
            let stock = runtime.block_on(async {
                let stock = stock(&pool(1), Keep::UntilShared);
                stock.put(taken(&stock).await, || true);
                stock
            });
            assert_eq!(kept(&stock), 1);
            if ends_first {
                drop(runtime);
                drop(stock);
            } else {
                drop(stock);
                drop(runtime);
            }
        }
    }
}
