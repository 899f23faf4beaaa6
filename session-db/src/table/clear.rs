//! Removes what has expired: in batches, so that nobody waits long for a lock, and with rests between them.

use std::time::Duration;

use session_core::store::{StoreError, Timestamp};
use tokio::time::{Instant, sleep};

use super::Table;
use crate::columns::failed;
use crate::dialect::Dialect;

/// How many records one statement of `clear_expired` removes: few enough that nobody waits long for a lock.
const CLEAR_BATCH: i64 = 500;

/// The pause after a batch is as long as the batch took, but at least this, and at most [`CLEAR_PAUSE_MAX`].
const CLEAR_PAUSE_MIN: Duration = Duration::from_millis(5);
const CLEAR_PAUSE_MAX: Duration = Duration::from_secs(1);

const SECOND: Duration = Duration::from_secs(1);

const OPERATION: &str = "clear expired sessions";

/// What a batch came to.
struct Batch {
    removed: u64,
    /// Where the next one begins. What was removed stays in the index for a while, in some databases.
    next: Timestamp,
    is_last: bool,
}

impl<D: Dialect> Table<D> {
    pub(crate) async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let mut from = Timestamp::MIN;
        let mut total = 0_u64;
        loop {
            let start = Instant::now();
            let batch = self.clear_batch(from, now).await?;
            total = total.saturating_add(batch.removed);
            progress(total);
            if batch.is_last {
                return Ok(total);
            }
            from = batch.next;
            // As long as the work: live traffic has the database for at least half of the time.
            sleep(start.elapsed().clamp(CLEAR_PAUSE_MIN, CLEAR_PAUSE_MAX)).await;
        }
    }

    async fn clear_batch(&self, from: Timestamp, now: Timestamp) -> Result<Batch, StoreError> {
        let limit = u64::try_from(CLEAR_BATCH).unwrap_or(u64::MAX);
        let end = self.batch_end(from, now).await?;
        let to = end.unwrap_or(now);
        let values = [from.into(), to.into(), CLEAR_BATCH.into()];
        let call = self.statements.clear.with(values);
        let answer = self.runner.run(call, self.runner.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(OPERATION))?;
        if let Some(row) = answer.rows.first() {
            let columns =
                D::integer(row, 0).and_then(|count| Ok((count, D::nullable_integer(row, 1)?)));
            let (count, last) = columns.map_err(|error| failed::<D>(OPERATION, error))?;
            let removed = u64::try_from(count).unwrap_or(0);
            return Ok(Batch {
                removed,
                next: last.map_or(from, Timestamp::from_secs),
                is_last: removed < limit,
            });
        }
        let removed = answer.affected;
        let next = match end {
            // Others hold a whole batch of one second's: it is passed over.
            Some(end) if end == from && removed == 0 => end.saturating_add(SECOND),
            Some(end) => end,
            None => from,
        };
        Ok(Batch {
            removed,
            next,
            is_last: end.is_none() && removed < limit,
        })
    }

    /// When the last of the next batch expired, where the database has to be asked for it. `None` if there is no whole batch.
    async fn batch_end(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(statement) = &self.statements.batch_end else {
            return Ok(None);
        };
        let call = statement.with([from.into(), now.into(), (CLEAR_BATCH - 1).into()]);
        let rows = self.rows(OPERATION, call).await?;
        let end = rows.first().map(|row| D::integer(row, 0)).transpose();
        let end = end.map_err(|error| failed::<D>(OPERATION, error))?;
        Ok(end.map(Timestamp::from_secs))
    }
}
