//! Runs one statement: in time, to its end even if nobody waits for it any more, and again where that is safe.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::dialect::{Answer, Call, Dialect, Row};
use crate::error::{Failure, Kind};
use crate::kept::Keep;
use crate::lent::{Lender, Lent};
use crate::schema::Whose;
use crate::seen_through::SeenThrough;
use crate::writers::Writers;

/// How often a statement that the database undid is sent. Deadlocks and serialization errors are won by somebody each time,
/// so that few tries do; the deadline ends them in any case.
const TRIES_MAX: u32 = 10;

/// Runs a store's statements.
pub(crate) struct Runner<D: Dialect> {
    lender: Lender<D>,
    pub(crate) timeout: Duration,
    whose: Whose,
    /// Where the database has one writer at a time.
    writers: Option<Writers<D>>,
}

impl<D: Dialect> Runner<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, keep: Keep, timeout: Duration, whose: Whose) -> Self {
        let lender = Lender::new(pool, keep);
        let writers = |begin| Writers::new(lender.clone(), begin, timeout);
        Self {
            writers: D::ONE_WRITER_BEGINS.map(writers),
            lender,
            timeout,
            whose,
        }
    }

    /// The pool, for the application's own queries.
    pub(crate) fn pool(&self) -> Pool<D::Driver> {
        self.lender.share()
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    pub(crate) async fn acquire(&self, deadline: Instant) -> Result<Lent<D>, Failure> {
        self.lender.acquire(deadline).await
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
        if let Some(writers) = &self.writers
            && call.writes()
        {
            return writers.write(call, begin_by, deadline).await;
        }
        let lent = self.acquire(begin_by).await?;
        let call = Arc::clone(call);
        let statement = async move { lent.run(&call, deadline).await };
        SeenThrough::new(statement.in_current_span()).await
    }
}

impl<D: Dialect> std::fmt::Debug for Runner<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the pool, whose options may hold a password.
        f.debug_struct("Runner")
            .field("connections", &self.lender.connections())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
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
