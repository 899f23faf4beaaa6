//! Makes the table, and says what is wrong with one that is there.

use std::time::Duration;

use super::Table;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::runner::Runner;
use crate::schema::{Shape, TableName};

/// How long `migrate` may take, waiting for others who migrate included: indexes on a table that is full take a while.
const MIGRATION_TIME_MAX: Duration = Duration::from_secs(120);

impl<D: Dialect> Table<D> {
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        const OPERATION: &str = "make the table of sessions in";
        // Without this look, a role that may use the table and make none could not start a program that migrates.
        let findings = self.table_findings(OPERATION).await?;
        if findings.is_empty() {
            return Ok(());
        }
        // A table of another's with this name is not touched, and not taken for ours.
        let shape = Shape::ours(D::COLUMNS);
        if !findings.iter().all(|finding| shape.migrates(finding)) {
            return self.ready(findings);
        }
        let make = self
            .runner
            .on_connection(OPERATION, MIGRATION_TIME_MAX, async |connection| {
                D::migrate(connection, &self.name, self.creates_schema).await
            });
        make.await?;
        self.ready(self.table_findings(OPERATION).await?)
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        let shape = Shape::ours(D::COLUMNS);
        self.runner.check(&self.name, &shape).await
    }

    async fn table_findings(&self, operation: &'static str) -> Result<Vec<String>, Error> {
        let shape = Shape::ours(D::COLUMNS);
        self.runner
            .table_findings(operation, &self.name, &shape)
            .await
    }

    fn ready(&self, findings: Vec<String>) -> Result<(), Error> {
        ready::<D>(&self.name, findings)
    }
}

impl<D: Dialect> Runner<D> {
    /// What is wrong with the table that should have this shape.
    pub(crate) async fn table_findings(
        &self,
        operation: &'static str,
        name: &TableName,
        shape: &Shape,
    ) -> Result<Vec<String>, Error> {
        self.on_connection(operation, self.timeout, async |connection| {
            D::inspect_table(connection, name, shape).await
        })
        .await
    }

    /// Names all that is wrong with the table that should have this shape, and with the connection's settings.
    pub(crate) async fn check(&self, name: &TableName, shape: &Shape) -> Result<(), Error> {
        const OPERATION: &str = "check";
        let mut findings = self.table_findings(OPERATION, name, shape).await?;
        let inspect = self.on_connection(OPERATION, self.timeout, async |connection| {
            D::inspect_settings(connection, name, shape.whose).await
        });
        findings.extend(inspect.await?);
        ready::<D>(name, findings)
    }
}

fn ready<D: Dialect>(name: &TableName, findings: Vec<String>) -> Result<(), Error> {
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::NotReady {
        database: D::DATABASE,
        table: name.quoted(D::QUOTE),
        findings,
    })
}
