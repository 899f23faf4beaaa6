//! Makes the table, and says what is wrong with one that is there.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Table;
use crate::dialect::{Connection, Dialect};
use crate::error::{Error, Failure, Kind};

/// How long `migrate` may take, waiting for others who migrate included: indexes on a table that is full take a while.
const MIGRATION_TIME_MAX: Duration = Duration::from_secs(120);

impl<D: Dialect> Table<D> {
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        const OPERATION: &str = "make the table of sessions in";
        // Without this look, a role that may use the table and make none could not start a program that migrates.
        if self.table_findings(OPERATION).await?.is_empty() {
            return Ok(());
        }
        let make = self.on_connection(OPERATION, MIGRATION_TIME_MAX, async |connection| {
            D::migrate(connection, &self.name, self.creates_schema).await
        });
        make.await?;
        // A table of another's with this name is not touched, and not taken for ours.
        self.ready(self.table_findings(OPERATION).await?)
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        const OPERATION: &str = "check";
        let mut findings = self.table_findings(OPERATION).await?;
        let inspect = self.on_connection(OPERATION, self.timeout, async |connection| {
            D::inspect_settings(connection, &self.name).await
        });
        findings.extend(inspect.await?);
        self.ready(findings)
    }

    async fn table_findings(&self, operation: &'static str) -> Result<Vec<String>, Error> {
        let inspect = self.on_connection(operation, self.timeout, async |connection| {
            D::inspect_table(connection, &self.name).await
        });
        inspect.await
    }

    fn ready(&self, findings: Vec<String>) -> Result<(), Error> {
        if findings.is_empty() {
            return Ok(());
        }
        Err(Error::NotReady {
            database: D::DATABASE,
            table: self.name.quoted(D::QUOTE),
            findings,
        })
    }

    /// Does something on a connection that is no operation of the contract.
    async fn on_connection<T>(
        &self,
        operation: &'static str,
        timeout: Duration,
        work: impl AsyncFnOnce(&mut Connection<D>) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let failed = |failure: Failure| failure.into_error(operation);
        let deadline = Instant::now() + timeout;
        let mut lent = self.runner.acquire(deadline).await.map_err(failed)?;
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
