//! Sends the statements of the contract's operations, and says what their failures mean.

use std::time::Duration;

use session_core::store::StoreError;
use tokio::time::{Instant, timeout_at};

use crate::dialect::{Call, Connection, Dialect, Row};
use crate::error::{Error, Failure, Kind};
use crate::runner::Runner;

/// What a statement needs besides its payload, generously.
const STATEMENT_BYTES_BESIDES: usize = 4_096;

/// A payload below this is never the reason why a server hangs up: no server is set to take less in one piece.
const PAYLOAD_BYTES_SURELY_TAKEN: usize = 512 << 10;

impl<D: Dialect> Runner<D> {
    /// Whether a row was written.
    pub(crate) async fn write(
        &self,
        operation: &'static str,
        call: Call,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let written = self
            .write_unless_taken(operation, call, payload_bytes, deadline)
            .await?;
        written.ok_or_else(|| StoreError::key_taken(D::STORE))
    }

    /// Whether a row was written, or `None` if its key was taken.
    pub(crate) async fn write_unless_taken(
        &self,
        operation: &'static str,
        call: Call,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<bool>, StoreError> {
        match self.run(call, deadline).await {
            Ok(answer) => Ok(Some(answer.affected > 0)),
            Err(failure) if failure.kind == Kind::Duplicate => Ok(None),
            Err(failure) => Err(self
                .unless_too_large(failure, payload_bytes, deadline)
                .await
                .unwrap_or_else(|failure| failure.into_store_error::<D>(operation))),
        }
    }

    /// The error for a payload that the server does not take. It may say so, or hang up on the one who sends too much.
    async fn unless_too_large(
        &self,
        failure: Failure,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<StoreError, Failure> {
        let may_be_the_size = failure.kind == Kind::TooLarge
            || (failure.is_lost() && payload_bytes > PAYLOAD_BYTES_SURELY_TAKEN);
        if !may_be_the_size {
            return Err(failure);
        }
        let limit = match self.acquire(deadline).await {
            Ok(mut lent) => {
                let limit = match lent.connection() {
                    Ok(connection) => D::statement_bytes_max(connection).await.ok().flatten(),
                    Err(_given_back) => None,
                };
                lent.give_back();
                limit
            }
            Err(_unreachable) => None,
        };
        match limit.map(|limit| limit.saturating_sub(STATEMENT_BYTES_BESIDES)) {
            Some(limit) if payload_bytes > limit => {
                Ok(StoreError::too_large(D::STORE, payload_bytes, limit))
            }
            None if failure.kind == Kind::TooLarge => Ok(StoreError::too_large(
                D::STORE,
                payload_bytes,
                payload_bytes.saturating_sub(1),
            )),
            _ => Err(failure),
        }
    }

    /// How many rows were written.
    pub(crate) async fn count(
        &self,
        operation: &'static str,
        call: Call,
    ) -> Result<u64, StoreError> {
        let answer = self.run(call, self.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(operation))?;
        Ok(answer.affected)
    }

    /// The rows that it finds.
    pub(crate) async fn rows(
        &self,
        operation: &'static str,
        call: Call,
    ) -> Result<Vec<Row<D>>, StoreError> {
        let answer = self.run(call, self.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(operation))?;
        Ok(answer.rows)
    }

    /// Whether it finds a row.
    pub(crate) async fn finds(
        &self,
        operation: &'static str,
        call: Call,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let answer = self.run(call, deadline).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(operation))?;
        Ok(!answer.rows.is_empty())
    }

    /// Does something on a connection that is no operation of the contract.
    pub(crate) async fn on_connection<T>(
        &self,
        operation: &'static str,
        timeout: Duration,
        work: impl AsyncFnOnce(&mut Connection<D>) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let failed = |failure: Failure| failure.into_error(operation);
        let deadline = Instant::now() + timeout;
        let mut lent = self.acquire(deadline).await.map_err(failed)?;
        let connection = lent.connection().map_err(failed)?;
        let done = timeout_at(deadline, work(connection)).await;
        let done = done.map_err(|_elapsed| {
            let advice = "it did not answer in time; is it overloaded?";
            failed(Failure::new::<D>(Kind::Unavailable, advice))
        })?;
        let done = done.map_err(|error| failed(Failure::of::<D>(error)))?;
        lent.give_back();
        Ok(done)
    }
}
