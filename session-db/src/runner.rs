//! Runs one statement: in time, to its end even if nobody waits for it any more, and again where that is safe.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::dialect::{Answer, Call, Connection, Dialect, Row};
use crate::error::{Failure, Kind};
use crate::kept::{Keep, Stock, Taken};
use crate::schema::Whose;
use crate::seen_through::SeenThrough;

/// How often a statement that the database undid is sent. Deadlocks and serialization errors are won by somebody each time,
/// so that few tries do; the deadline ends them in any case.
const TRIES_MAX: u32 = 10;

/// For how long after a broken connection others are tested before they are used: longer than a pool takes to hand out each
/// of its idle connections once, under any load to speak of.
const WARY_FOR: Duration = Duration::from_secs(60);

/// Lends connections to statements.
pub(crate) struct Runner<D: Dialect> {
    stock: Arc<Stock<D::Driver>>,
    pub(crate) timeout: Duration,
    whose: Whose,
    /// One writer at a time, where the database has only one.
    writers: Option<Writers>,
    wariness: Arc<Wariness>,
}

impl<D: Dialect> Runner<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, keep: Keep, timeout: Duration, whose: Whose) -> Self {
        Self {
            stock: Arc::new(Stock::new(pool, keep)),
            timeout,
            whose,
            writers: D::HAS_ONE_WRITER.then(Writers::new),
            wariness: Arc::new(Wariness::new()),
        }
    }

    /// The pool, for the application's own queries.
    pub(crate) fn pool(&self) -> Pool<D::Driver> {
        self.stock.share()
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs a statement of its own, which the database commits when it ends.
    pub(crate) async fn run(
        &self,
        call: Call,
        deadline: Instant,
    ) -> Result<Answer<Row<D>>, Failure> {
        let call = Arc::new(call);
        // A write that begins has half of the time before it, and the databases are told to give up a little sooner: who is
        // told that there was no time does not find out later that it happened all the same.
        let begin_by = match call.writes() {
            true => deadline - self.timeout / 2,
            false => deadline,
        };
        let mut was_lost = false;
        let mut tries = 1;
        loop {
            let failure = match self.attempt(&call, begin_by, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.kind {
                // It did not happen.
                Kind::Undone
                    if tries < TRIES_MAX && Instant::now() + pause_max(tries) < begin_by =>
                {
                    sleep(pause_max(tries).mul_f64(fraction(random()))).await;
                    tries += 1;
                }
                // It may have happened.
                Kind::Lost if call.statement.is_repeatable && !was_lost => was_lost = true,
                _ => return Err(failure.about(self.whose)),
            }
        }
    }

    async fn attempt(
        &self,
        call: &Arc<Call>,
        begin_by: Instant,
        deadline: Instant,
    ) -> Result<Answer<Row<D>>, Failure> {
        let turn = self.writers.as_ref().filter(|_| call.writes());
        let place = match turn {
            Some(writers) => Some(permit::<D>(&writers.places, begin_by).await?),
            None => None,
        };
        let mut lent = self.acquire(begin_by).await?;
        let turn = turn.map(|writers| Arc::clone(&writers.turn));
        let is_in_turn = turn.is_some();
        let call = Arc::clone(call);
        let statement = async move {
            let permit = match &turn {
                Some(turn) => match permit::<D>(turn, begin_by).await {
                    Ok(permit) => Some(permit),
                    Err(failure) => {
                        lent.keep();
                        return Err(failure);
                    }
                },
                None => None,
            };
            let result = timeout_at(deadline, D::run(lent.connection()?, &call)).await;
            drop(permit);
            let result = match result {
                Ok(result) => result.map_err(Failure::of::<D>),
                Err(_elapsed) => Err(Failure::new::<D>(
                    Kind::Unavailable,
                    "the statement did not end in time; is the database overloaded, or somebody holding a lock?",
                )),
            };
            match &result {
                Ok(_) => lent.keep(),
                Err(failure) if failure.is_an_answer() => lent.give_back(),
                Err(_) => drop(lent),
            }
            drop(place);
            result
        };
        let statement = statement.in_current_span();
        let result = match is_in_turn {
            // Others of this process wait for its end, and a task comes to that whoever forgets to ask for it.
            true => tokio::spawn(statement).await.unwrap_or_else(|_stopped| {
                Err(Failure::new::<D>(
                    Kind::Unavailable,
                    "the runtime is shutting down",
                ))
            }),
            false => SeenThrough::new(statement).await,
        };
        if matches!(&result, Err(failure) if failure.is_lost()) {
            self.wariness.begin();
            // The others are likely to be broken as well.
            self.stock.give_back_all();
        }
        result
    }

    /// A connection. Not tested before its use, which would cost a round trip each time, unless one broke lately.
    pub(crate) async fn acquire(&self, deadline: Instant) -> Result<Lent<D>, Failure> {
        loop {
            let taken = match timeout_at(deadline, self.stock.take()).await {
                Ok(taken) => taken.map_err(Failure::of::<D>)?,
                Err(_elapsed) => return Err(Failure::of::<D>(sqlx::Error::PoolTimedOut)),
            };
            let mut lent = Lent {
                taken: Some(taken),
                stock: Arc::clone(&self.stock),
                wariness: Arc::clone(&self.wariness),
            };
            if !self.wariness.is_on() {
                return Ok(lent);
            }
            // What fails the test is dropped, which makes room for a new one.
            match timeout_at(deadline, lent.connection()?.ping()).await {
                Ok(Ok(())) => return Ok(lent),
                Ok(Err(_broken)) => {}
                Err(_elapsed) => return Err(Failure::of::<D>(sqlx::Error::PoolTimedOut)),
            }
        }
    }
}

/// Where the writers of this process queue up, in the order in which they came.
struct Writers {
    /// For one who writes, and one who is ready to: with its connection in hand, so that the database has no pause between
    /// them. More would leave no connections to readers.
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Writers {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(2)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

async fn permit<D: Dialect>(
    semaphore: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<OwnedSemaphorePermit, Failure> {
    let permit = timeout_at(deadline, Arc::clone(semaphore).acquire_owned()).await;
    permit.ok().and_then(Result::ok).ok_or_else(|| {
        Failure::new::<D>(
            Kind::Unavailable,
            "other writers of this process were not done in time; is the disk slow, or the database locked?",
        )
    })
}

impl<D: Dialect> std::fmt::Debug for Runner<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the pool, whose options may hold a password.
        f.debug_struct("Runner")
            .field("connections", &self.stock.connections())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A connection that is used again only if its statement came to an end.
pub(crate) struct Lent<D: Dialect> {
    taken: Option<Taken<D::Driver>>,
    stock: Arc<Stock<D::Driver>>,
    wariness: Arc<Wariness>,
}

impl<D: Dialect> Lent<D> {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection<D>, Failure> {
        let taken = self.taken.as_mut();
        taken
            .map(Taken::connection)
            .ok_or_else(|| Failure::new::<D>(Kind::Other, "the connection was given back"))
    }

    /// Its statement did what it should: the next one may have it as it is. While others are tested before their use, this
    /// one goes to where they are.
    fn keep(mut self) {
        if let Some(taken) = self.taken.take() {
            self.stock.put(taken, || !self.wariness.is_on());
        }
    }

    /// Its statement is done.
    pub(crate) fn give_back(mut self) {
        drop(self.taken.take());
    }
}

impl<D: Dialect> Drop for Lent<D> {
    fn drop(&mut self) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        if D::SURVIVES_ABANDONMENT {
            // The pool's test comes after the statement.
            drop(taken);
        } else {
            taken.close();
        }
    }
}

/// Whether connections are to be tested before their use, since one broke lately.
#[derive(Debug)]
struct Wariness {
    start: Instant,
    until_ms: AtomicU64,
}

impl Wariness {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            until_ms: AtomicU64::new(0),
        }
    }

    fn begin(&self) {
        let until = self.start.elapsed() + WARY_FOR;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms > 0 && self.start.elapsed() < Duration::from_millis(until_ms)
    }
}

/// The longest pause before the next try: grows from some milliseconds to a quarter of a second. Those who met wait a random
/// part of it each.
fn pause_max(tries: u32) -> Duration {
    Duration::from_millis(4 << tries.min(6))
}

/// A number that does not come twice, from the seed of the standard library's hasher.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// A random number as a fraction of one.
pub(crate) fn fraction(random: u64) -> f64 {
    // The upper half of the bits are enough.
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wariness_ends() {
        let wariness = Wariness::new();
        assert!(
            !wariness.is_on(),
            "no connection is tested without a reason"
        );
        wariness.begin();
        assert!(wariness.is_on());
        tokio::time::advance(WARY_FOR).await;
        assert!(!wariness.is_on(), "an old fault slows every statement");
    }
}
