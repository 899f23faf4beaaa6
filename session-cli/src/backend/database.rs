//! Sessions in a table of a database.

use std::sync::Arc;

use async_trait::async_trait;
use session_core::store::SessionStore;
use session_db::{DbStore, DbStoreConfig, Error, TableName};

use super::{Backend, Finding, Opening};
use crate::outcome::Failure;
use crate::place::Database;

pub(super) struct Table {
    pub(super) store: DbStore,
}

impl Table {
    pub(super) async fn open(place: &Database, opening: Opening) -> Result<Self, Failure> {
        if let Some(file) = place.file()
            && opening == Opening::Existing
            && !file.exists()
        {
            return Err(Failure::failed(
                "there is no such file: look at its name, or make it with `sessions migrate`",
            ));
        }
        let mut config = DbStoreConfig::new();
        if let Some(table) = &place.table {
            config = config.with_table(TableName::parse(table)?);
        }
        Ok(Self {
            store: config.connect(&place.url).await?,
        })
    }
}

#[async_trait]
impl Backend for Table {
    fn store(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.store.clone())
    }

    async fn migrate(&self) -> Result<String, Failure> {
        self.store.migrate().await?;
        Ok("the table and its indexes are there".to_owned())
    }

    fn migration(&self) -> Option<String> {
        Some(self.store.migration_sql())
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        match self.store.check().await {
            Ok(()) => Ok(Vec::new()),
            Err(Error::NotReady { findings, .. }) => {
                Ok(findings.into_iter().map(Finding::error).collect())
            }
            Err(error) => Err(error.into()),
        }
    }
}
