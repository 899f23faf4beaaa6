//! Removes what has expired: in batches, so that nobody waits long for a lock, and with rests between them.

use std::time::Duration;

use session_core::store::{StoreError, Timestamp};
use session_core::telemetry;
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;
use tracing::field::Empty;
use tracing::span::Span;

use super::Table;
use crate::columns::failed;
use crate::dialect::{Dialect, Row};

/// How many records one statement of `clear_expired` removes at first, and at least.
const CLEAR_BATCH_FIRST: i64 = 50;
const CLEAR_BATCH_MIN: i64 = 10;

/// How many it removes at most: few enough that nobody waits long for a lock.
const CLEAR_BATCH_MAX: i64 = 500;

/// A batch that takes longer is followed by half as many. Where every record has to be read from a slow disk first, a batch
/// would else run into the statement's own limit of time, and nothing would ever be cleared.
const CLEAR_BATCH_SLOW: Duration = Duration::from_millis(250);

/// One that takes less is followed by twice as many.
const CLEAR_BATCH_FAST: Duration = Duration::from_millis(60);

/// The pause after a batch is as long as the batch took, but at least this, and at most [`CLEAR_PAUSE_MAX`].
const CLEAR_PAUSE_MIN: Duration = Duration::from_millis(5);
const CLEAR_PAUSE_MAX: Duration = Duration::from_secs(1);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const OPERATION: &str = "clear expired sessions";

/// The way through all that has expired. A span from its begin to its end says how it ended, and how many rows it removed
/// until then.
pub(crate) struct Sweep {
    from: Timestamp,
    removed: u64,
    /// How many records the next batch removes at most.
    limit: i64,
    /// When the batch before began.
    batch_began: Option<Instant>,
    is_done: bool,
    span: Span,
    began: Instant,
    outcome: &'static str,
}

/// What a batch came to.
pub(crate) struct Batch {
    removed: u64,
    /// Where the next one begins. What was removed stays in the index for a while, in some databases.
    next: Timestamp,
    is_last: bool,
}

impl Sweep {
    /// `system` is what operators call the database.
    pub(crate) fn begin(system: &'static str) -> Self {
        // Of the same kind as the spans that session-core makes of a store's other calls.
        let span = tracing::debug_span!(
            target: "session_core::store",
            "session_store",
            db.system.name = system,
            db.operation.name = "clear_expired",
            outcome = Empty,
            rows = Empty,
            duration_seconds = Empty,
        );
        Self {
            from: Timestamp::MIN,
            removed: 0,
            limit: CLEAR_BATCH_FIRST,
            batch_began: None,
            is_done: false,
            span,
            began: Instant::now(),
            outcome: "given_up",
        }
    }

    /// From where to remove the next batch, and how many, after a rest. `None` if that was the last one.
    pub(crate) async fn next(&mut self) -> Option<(Timestamp, i64)> {
        if self.is_done {
            return None;
        }
        if let Some(began) = self.batch_began {
            // As long as the work: live traffic has the database for at least half of the time.
            sleep(began.elapsed().clamp(CLEAR_PAUSE_MIN, CLEAR_PAUSE_MAX)).await;
        }
        self.batch_began = Some(Instant::now());
        Some((self.from, self.limit))
    }

    /// Removes a batch.
    pub(crate) async fn take(
        &mut self,
        batch: impl Future<Output = Result<Batch, StoreError>>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), StoreError> {
        let batch = batch.instrument(self.span.clone()).await;
        let batch = batch.inspect_err(|error| {
            self.outcome = match error {
                StoreError::Unavailable { .. } => "unavailable",
                StoreError::Misconfigured { .. } => "misconfigured",
                _ => "failed",
            };
        })?;
        let took = self
            .batch_began
            .map_or(Duration::ZERO, |began| began.elapsed());
        self.limit = match took {
            slow if slow > CLEAR_BATCH_SLOW => (self.limit / 2).max(CLEAR_BATCH_MIN),
            fast if fast < CLEAR_BATCH_FAST => (self.limit * 2).min(CLEAR_BATCH_MAX),
            _ => self.limit,
        };
        telemetry::purged(batch.removed);
        self.removed = self.removed.saturating_add(batch.removed);
        self.from = batch.next;
        self.is_done = batch.is_last;
        if batch.is_last {
            self.outcome = "ok";
        }
        progress(self.removed);
        Ok(())
    }

    /// How many there were.
    pub(crate) const fn removed(&self) -> u64 {
        self.removed
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.span.record("outcome", self.outcome);
        self.span.record("rows", self.removed);
        let seconds = self.began.elapsed().as_secs_f64();
        self.span.record("duration_seconds", seconds);
    }
}

impl Batch {
    /// What a statement came to that was to remove `limit`, and answered with a row: how many it removed, and from where to go
    /// on.
    pub(crate) fn told<D: Dialect>(
        row: &Row<D>,
        from: Timestamp,
        limit: i64,
    ) -> Result<Self, sqlx::Error> {
        let (count, last) = (D::integer(row, 0)?, D::nullable_integer(row, 1)?);
        let removed = u64::try_from(count).unwrap_or(0);
        Ok(Self {
            removed,
            next: last.map_or(from, Timestamp::from_secs),
            is_last: removed < limit.unsigned_abs(),
        })
    }

    /// What a statement came to that answered with the number that it removed. `end` is when the last of the batch expired,
    /// if the database was asked for it, and found a whole batch.
    pub(crate) fn counted(
        removed: u64,
        from: Timestamp,
        limit: i64,
        end: Option<Timestamp>,
    ) -> Self {
        let next = match end {
            // Others hold a whole batch of one second's: it is passed over.
            Some(end) if end == from && removed == 0 => end.saturating_add(SECOND),
            Some(end) => end,
            None => from,
        };
        Self {
            removed,
            next,
            is_last: end.is_none() && removed < limit.unsigned_abs(),
        }
    }
}

impl<D: Dialect> Table<D> {
    pub(crate) async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let mut sweep = Sweep::begin(D::SYSTEM);
        while let Some((from, limit)) = sweep.next().await {
            let batch = self.clear_batch(from, limit, now);
            sweep.take(batch, progress).await?;
        }
        Ok(sweep.removed())
    }

    async fn clear_batch(
        &self,
        from: Timestamp,
        limit: i64,
        now: Timestamp,
    ) -> Result<Batch, StoreError> {
        let end = self.batch_end(from, limit, now).await?;
        let to = end.unwrap_or(now);
        let values = [from.into(), to.into(), limit.into()];
        let call = self.statements.clear.with(values);
        let answer = self.runner.run(call, self.runner.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(OPERATION))?;
        match answer.rows.first() {
            Some(row) => {
                let batch = Batch::told::<D>(row, from, limit);
                batch.map_err(|error| failed::<D>(OPERATION, error))
            }
            None => Ok(Batch::counted(answer.affected, from, limit, end)),
        }
    }

    /// When the last of the next batch expired, where the database has to be asked for it. `None` if there is no whole batch.
    async fn batch_end(
        &self,
        from: Timestamp,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(statement) = &self.statements.batch_end else {
            return Ok(None);
        };
        let call = statement.with([from.into(), now.into(), (limit - 1).into()]);
        let rows = self.runner.rows(OPERATION, call).await?;
        let end = rows.first().map(|row| D::integer(row, 0)).transpose();
        let end = end.map_err(|error| failed::<D>(OPERATION, error))?;
        Ok(end.map(Timestamp::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_each_batch_others_have_the_database_for_as_long_as_it_took() {
        let mut sweep = Sweep::begin("sqlite");
        let began = Instant::now();
        let mut before = sweep.next().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing was done before");
        // At least a few milliseconds, and at most a second.
        for (milliseconds, rest) in [(1, 5), (100, 100), (9_000, 1_000)] {
            let (from, limit) = before;
            let batch = async {
                tokio::time::advance(Duration::from_millis(milliseconds)).await;
                Ok(Batch::counted(limit.unsigned_abs(), from, limit, None))
            };
            sweep.take(batch, &mut |_| {}).await.unwrap();
            let ended = Instant::now();
            before = sweep.next().await.unwrap();
            // A timer is as exact as a millisecond.
            let rested = ended.elapsed().as_millis();
            assert!(
                (rest..=rest + 1).contains(&rested),
                "after {milliseconds} ms of work the purge rests for {rested} ms"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_as_large_as_the_database_is_fast() {
        let mut sweep = Sweep::begin("sqlite");
        let mut limits = Vec::new();
        for milliseconds in [
            1, 1, 1, 1, 100, 400, 400, 1, 9_000, 9_000, 9_000, 9_000, 9_000,
        ] {
            let (from, limit) = sweep.next().await.unwrap();
            limits.push(limit);
            let batch = async {
                tokio::time::advance(Duration::from_millis(milliseconds)).await;
                Ok(Batch::counted(limit.unsigned_abs(), from, limit, None))
            };
            sweep.take(batch, &mut |_| {}).await.unwrap();
        }
        assert_eq!(
            limits,
            [50, 100, 200, 400, 500, 500, 250, 125, 250, 125, 62, 31, 15],
            "a slow database is asked for more than it does in time, or a fast one for less"
        );
        assert_eq!(sweep.next().await.unwrap().1, CLEAR_BATCH_MIN);
    }
}
