//! The store of a session table that a running Django uses as well.

mod statements;
mod times;
mod table;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "mysql")]
mod mysql;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_core::django::DjangoSettings;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};

use crate::cleaner::ClearExpiredTask;
use crate::config::{DbPool, DbStoreConfig};
use crate::dialect;
use crate::error::Error;
use crate::schema::Whose;
use table::DjangoTable;
use times::Times;

#[doc = include_str!("../docs/django.md")]
#[derive(Clone)]
pub struct DjangoDbStore {
    table: AnyTable,
}

#[derive(Clone)]
enum AnyTable {
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<DjangoTable<dialect::Sqlite>>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<DjangoTable<dialect::Postgres>>),
    #[cfg(feature = "mysql")]
    MySql(Arc<DjangoTable<dialect::MySql>>),
}

/// Does the same with whichever table it is.
macro_rules! with_table {
    ($store:expr, $table:ident => $does:expr) => {
        match &$store.table {
            #[cfg(feature = "sqlite")]
            AnyTable::Sqlite($table) => $does,
            #[cfg(feature = "postgres")]
            AnyTable::Postgres($table) => $does,
            #[cfg(feature = "mysql")]
            AnyTable::MySql($table) => $does,
        }
    };
}

impl DjangoDbStore {
    /// A store over an application's own pool: an `SqlitePool`, a `PgPool` or a `MySqlPool`, with the defaults of
    /// [`DbStoreConfig`]. Does nothing yet: let [`check`](Self::check) look at the table.
    pub fn new(pool: impl Into<DbPool>, settings: &DjangoSettings) -> Self {
        DbStoreConfig::new().with_pool_beside_django(pool, settings)
    }

    /// A store over a pool of its own, with the defaults of [`DbStoreConfig`]: `sqlite:db.sqlite3`,
    /// `postgres://user:password@host/database` or `mysql://user:password@host/database`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the URL can't be used or the database can't be reached; its text says what to do.
    ///
    /// # Cancel safety
    ///
    /// Connections that were opened are closed.
    pub async fn connect(url: &str, settings: &DjangoSettings) -> Result<Self, Error> {
        DbStoreConfig::new()
            .connect_beside_django(url, settings)
            .await
    }

    fn of(pool: DbPool, config: DbStoreConfig, settings: &DjangoSettings) -> Self {
        let times = Times::of(settings);
        let table = match pool {
            #[cfg(feature = "sqlite")]
            DbPool::Sqlite(pool) => {
                AnyTable::Sqlite(Arc::new(DjangoTable::new(pool, config, times)))
            }
            #[cfg(feature = "postgres")]
            DbPool::Postgres(pool) => {
                AnyTable::Postgres(Arc::new(DjangoTable::new(pool, config, times)))
            }
            #[cfg(feature = "mysql")]
            DbPool::MySql(pool) => AnyTable::MySql(Arc::new(DjangoTable::new(pool, config, times))),
        };
        Self { table }
    }

    /// Looks at Django's table and the connection's settings, and names all that is wrong: for the start of a program. It
    /// changes nothing. The table is Django's: only `manage.py migrate` makes it.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] with what is wrong, one by one; others when the database can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn check(&self) -> Result<(), Error> {
        with_table!(self, table => table.check().await)
    }

    /// The pool, for the application's own queries. Clones of a pool are the same pool.
    ///
    /// A store that made its pool keeps connections out of it between its own statements. Asking for the pool ends that, so
    /// that the application finds all of them: see
    /// [`with_connections_kept`](DbStoreConfig::with_connections_kept).
    #[must_use]
    pub fn pool(&self) -> DbPool {
        match &self.table {
            #[cfg(feature = "sqlite")]
            AnyTable::Sqlite(table) => DbPool::Sqlite(table.runner.pool()),
            #[cfg(feature = "postgres")]
            AnyTable::Postgres(table) => DbPool::Postgres(table.runner.pool()),
            #[cfg(feature = "mysql")]
            AnyTable::MySql(table) => DbPool::MySql(table.runner.pool()),
        }
    }

    /// As [`DbStore::spawn_clear_expired`](crate::DbStore::spawn_clear_expired): instead of a job that runs
    /// `manage.py clearsessions`, or beside one.
    ///
    /// # Panics
    ///
    /// When called outside a tokio runtime.
    #[must_use = "the task ends when the handle is dropped"]
    pub fn spawn_clear_expired(&self, every: Duration) -> ClearExpiredTask {
        ClearExpiredTask::spawn(self.clone(), every)
    }
}

impl DbStoreConfig {
    /// A store of Django's table, for the project with these settings, over an application's own pool.
    #[must_use]
    pub fn with_pool_beside_django(
        self,
        pool: impl Into<DbPool>,
        settings: &DjangoSettings,
    ) -> DjangoDbStore {
        DjangoDbStore::of(pool.into(), self, settings)
    }

    /// The same over a pool of its own; see [`DjangoDbStore::connect`].
    ///
    /// # Errors
    ///
    /// [`Error`] when the URL can't be used or the database can't be reached; its text says what to do.
    ///
    /// # Cancel safety
    ///
    /// Connections that were opened are closed.
    pub async fn connect_beside_django(
        self,
        url: &str,
        settings: &DjangoSettings,
    ) -> Result<DjangoDbStore, Error> {
        let pool = self.pool(url, Whose::Djangos).await?;
        Ok(DjangoDbStore::of(pool, self.with_own_pool(), settings))
    }
}

impl fmt::Debug for DjangoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_table!(self, table => f.debug_tuple("DjangoDbStore").field(table).finish())
    }
}

#[async_trait]
impl SessionStore for DjangoDbStore {
    fn system_name(&self) -> &'static str {
        with_table!(self, table => table.system_name())
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        with_table!(self, table => table.load(key, now).await)
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        with_table!(self, table => table.create(key, new, now).await)
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        with_table!(self, table => table.save(key, expected, change, now).await)
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        with_table!(self, table => table.delete(key).await)
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        with_table!(self, table => table.touch(key, expires_at, now).await)
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        with_table!(self, table => table.rotate(from, expected, to, change, now).await)
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        with_table!(self, table => table.clear_expired(now, progress).await)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        None
    }
}
