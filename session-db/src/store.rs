//! The store: one type over whichever database the pool is of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_core::Owner;
use session_core::store::{
    Change, EndScope, NewRecord, OwnerIndex, Page, Record, Saved, SessionStore, StoreError,
    StoreKey, StoreScan, Timestamp, Version,
};

use crate::cleaner::ClearExpiredTask;
use crate::config::{DbPool, DbStoreConfig};
use crate::dialect;
use crate::error::Error;
use crate::table::Table;

/// Keeps sessions in a table of SQLite, PostgreSQL, MariaDB or MySQL, one row per session.
///
/// Any number of processes may use one table at once. Cheap to clone; clones share the pool.
///
/// ```
/// use session_core::store::{NewRecord, Payload, SessionStore, StoreKey, Timestamp};
/// use session_db::DbStore;
///
/// # #[cfg(feature = "sqlite")]
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = DbStore::connect("sqlite::memory:").await?;
/// let (now, later) = (Timestamp::from_secs(1_000), Timestamp::from_secs(2_000));
/// let key = StoreKey::parse("abc").ok_or("no store key")?;
///
/// let error = store.load(&key, now).await.err().ok_or("there is no table yet")?;
/// assert!(error.to_string().contains("run migrate()"));
///
/// store.migrate().await?;
/// store.create(&key, NewRecord::new(Payload::from_bytes("data"), later), now).await?;
/// let record = store.load(&key, now).await?.ok_or("it was just created")?;
/// assert_eq!(record.payload.to_bytes()?, "data");
/// assert!(store.load(&key, later).await?.is_none(), "it has expired");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DbStore {
    table: AnyTable,
}

#[derive(Clone)]
enum AnyTable {
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<Table<dialect::Sqlite>>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<Table<dialect::Postgres>>),
    #[cfg(feature = "mysql")]
    MySql(Arc<Table<dialect::MySql>>),
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

impl DbStore {
    /// A store over an application's own pool: an `SqlitePool`, a `PgPool` or a `MySqlPool`, with the defaults of
    /// [`DbStoreConfig`]. Does nothing yet: run [`migrate`](Self::migrate), or [`check`](Self::check) if others migrate.
    ///
    /// The pool's own options stay what they are. [`connect`](Self::connect) makes a pool whose options suit sessions;
    /// the crate's documentation says which those are.
    ///
    /// ```
    /// use session_db::{DbStore, sqlx};
    ///
    /// # #[cfg(feature = "sqlite")]
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
    /// let store = DbStore::new(pool);
    /// store.migrate().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(pool: impl Into<DbPool>) -> Self {
        DbStoreConfig::new().with_pool(pool)
    }

    /// A store over a pool of its own, with the defaults of [`DbStoreConfig`]: `sqlite:app.db` (the file is made if it is
    /// missing), `postgres://user:password@host/database` or `mysql://user:password@host/database`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the URL can't be used or the database can't be reached; its text says what to do.
    ///
    /// # Cancel safety
    ///
    /// Connections that were opened are closed. A SQLite file may have been made, without a table.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        DbStoreConfig::new().connect(url).await
    }

    pub(crate) fn of(pool: DbPool, config: DbStoreConfig) -> Self {
        let table = match pool {
            #[cfg(feature = "sqlite")]
            DbPool::Sqlite(pool) => AnyTable::Sqlite(Arc::new(Table::new(pool, config))),
            #[cfg(feature = "postgres")]
            DbPool::Postgres(pool) => AnyTable::Postgres(Arc::new(Table::new(pool, config))),
            #[cfg(feature = "mysql")]
            DbPool::MySql(pool) => AnyTable::MySql(Arc::new(Table::new(pool, config))),
        };
        Self { table }
    }

    /// Makes the table and its indexes, unless they are there. A table of another's with this name is left as it is. To be run
    /// whenever the program starts, by as many processes at once as like. Where all is in place it asks for no right but to
    /// read the catalogue, so that the program's role need not be one that may make tables.
    ///
    /// # Errors
    ///
    /// [`Error`] when the database can't be reached or the role may not make tables; its text says what to do.
    ///
    /// # Cancel safety
    ///
    /// The table is there, whole, or not; its indexes may be missing. Run it again.
    pub async fn migrate(&self) -> Result<(), Error> {
        with_table!(self, table => table.migrate().await)
    }

    /// Looks at the table and the connection's settings, and names all that is wrong: for the start of a program whose table
    /// is made by others, or whose pool is its own.
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

    /// The SQL that [`migrate`](Self::migrate) runs, for this store's database and table.
    #[must_use]
    pub fn migration_sql(&self) -> String {
        match &self.table {
            #[cfg(feature = "sqlite")]
            AnyTable::Sqlite(table) => migration_of(table),
            #[cfg(feature = "postgres")]
            AnyTable::Postgres(table) => migration_of(table),
            #[cfg(feature = "mysql")]
            AnyTable::MySql(table) => migration_of(table),
        }
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

    /// Clears what has expired about every `every`, on a task in the background. Each wait differs by up to a quarter, and
    /// the first is shorter, so that many processes share the work instead of meeting. Trouble is reported as an event of
    /// `tracing` and tried again the next time. The task ends with the handle: keep it.
    ///
    /// # Panics
    ///
    /// When called outside a tokio runtime.
    #[must_use = "the task ends when the handle is dropped"]
    pub fn spawn_clear_expired(&self, every: Duration) -> ClearExpiredTask {
        ClearExpiredTask::spawn(self.clone(), every)
    }
}

fn migration_of<D: dialect::Dialect>(table: &Table<D>) -> String {
    table.name.write_into(D::MIGRATION, D::QUOTE)
}

impl fmt::Debug for DbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_table!(self, table => f.debug_tuple("DbStore").field(table).finish())
    }
}

#[async_trait]
impl SessionStore for DbStore {
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
        Some(self)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for DbStore {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        with_table!(self, table => table.sessions_of(owner, page, now).await)
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        with_table!(self, table => table.end(owner, scope).await)
    }
}

#[async_trait]
impl StoreScan for DbStore {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        with_table!(self, table => table.page(page).await)
    }
}
