//! How a store is set up: its table, how patient it is, and the pool that it makes for itself.

use std::time::Duration;

use crate::dialect;
use crate::error::{Error, Failure};
use crate::kept::Keep;
use crate::schema::{TableName, Whose};
use crate::store::DbStore;

/// A pool of sqlx, of one of the databases that this build knows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DbPool {
    /// SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    /// MariaDB and MySQL.
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for DbPool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for DbPool {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::Postgres(pool)
    }
}

#[cfg(feature = "mysql")]
impl From<sqlx::MySqlPool> for DbPool {
    fn from(pool: sqlx::MySqlPool) -> Self {
        Self::MySql(pool)
    }
}

/// When SQLite forces what was written onto the disk. The other databases have settings of their own for that.
///
/// A crash of the program costs nothing under either: what the operating system was given, it keeps. This is about a power
/// loss, or a crash of the operating system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// With every write, before the call returns (`PRAGMA synchronous = FULL`): an acknowledged write survives a power
    /// loss, and an ended session stays ended.
    ///
    /// The default, since "log out" is a promise.
    #[default]
    EveryWrite,
    /// Now and then, when SQLite moves its log into the database (`PRAGMA synchronous = NORMAL`): many times faster on a
    /// slow disk. A power loss may cost the writes since then, log-outs included. The file is never damaged by it.
    AtCheckpoints,
}

/// How to set up a [`DbStore`]: what differs from the defaults.
///
/// ```
/// use std::time::Duration;
/// use session_db::{DbStoreConfig, SyncPolicy, TableName};
///
/// # #[cfg(feature = "sqlite")]
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}", folder.path().join("app.db").display());
/// let store = DbStoreConfig::new()
///     .with_table(TableName::parse("visits")?)
///     .with_timeout(Duration::from_secs(4))
///     .with_sync(SyncPolicy::AtCheckpoints)
///     .connect(&url) // "sqlite:app.db"
///     .await?;
/// store.migrate().await?;
/// store.check().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DbStoreConfig {
    table: Option<TableName>,
    timeout: Duration,
    sync: SyncPolicy,
    connections_max: Option<u32>,
    keep: Option<Keep>,
    creates_schema: bool,
}

/// What a table needs of it.
pub(crate) struct ForTable {
    pub(crate) name: TableName,
    pub(crate) timeout: Duration,
    pub(crate) keep: Keep,
    pub(crate) creates_schema: bool,
}

impl Default for DbStoreConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl DbStoreConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: None,
            timeout: Duration::from_secs(5),
            sync: SyncPolicy::default(),
            connections_max: None,
            keep: None,
            creates_schema: false,
        }
    }

    /// The table that sessions are kept in. `web_sessions` by default, and `django_session` beside Django.
    #[must_use]
    pub fn with_table(mut self, table: TableName) -> Self {
        self.table = Some(table);
        self
    }

    /// How long a call may take, waiting for a connection and for other writers included, before it is answered with
    /// [`StoreError::Unavailable`](session_core::store::StoreError::Unavailable). 5 seconds by default, as the manager's own
    /// bound. `clear_expired` may take as long as it needs, and each of its batches is bounded.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When SQLite forces what was written onto the disk, for [`connect`](Self::connect). [`SyncPolicy::EveryWrite`] by
    /// default.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// How many connections [`connect`](Self::connect) opens at most. 5 to SQLite by default, since it has one writer, and
    /// 10 to the others, as sqlx does. A database in memory has always one.
    #[must_use]
    pub fn with_connections_max(mut self, connections: u32) -> Self {
        self.connections_max = Some(connections);
        self
    }

    /// How many connections the store keeps for its next statements, at most. The others it gives back to their pool after
    /// each statement, and sqlx's pool tests what it is given: a round trip more, on a task of its own. A connection that is
    /// kept visits the pool every minute or two, so that the pool's own limits of age hold.
    ///
    /// A store that made its pool itself ([`connect`](Self::connect)) keeps them all, until somebody asks for that pool
    /// ([`DbStore::pool`]), who will want to find connections in it; from then on it keeps none. A store over an application's
    /// pool keeps none. With a number said here, it is that number in either case: leave the application enough of them, since
    /// it waits for one that is kept until that visits the pool.
    #[must_use]
    pub fn with_connections_kept(mut self, connections: u32) -> Self {
        self.keep = Some(Keep::AtMost(connections));
        self
    }

    /// Lets [`DbStore::migrate`] make the table's schema, too, if that is missing (in MariaDB and MySQL: its database).
    /// Not without being asked: a role seldom may, and a schema has an owner.
    #[must_use]
    pub fn with_schema_creation(mut self) -> Self {
        self.creates_schema = true;
        self
    }

    /// A store over an application's own pool.
    #[must_use]
    pub fn with_pool(self, pool: impl Into<DbPool>) -> DbStore {
        DbStore::of(pool.into(), self)
    }

    /// A store over a pool of its own; see [`DbStore::connect`].
    ///
    /// # Errors
    ///
    /// [`Error`] when the URL can't be used or the database can't be reached; its text says what to do.
    ///
    /// # Cancel safety
    ///
    /// Connections that were opened are closed. A SQLite file may have been made, without a table.
    pub async fn connect(self, url: &str) -> Result<DbStore, Error> {
        let pool = self.pool(url, Whose::Ours).await?;
        Ok(DbStore::of(pool, self.with_own_pool()))
    }

    /// The same, for a pool that nobody else uses yet.
    pub(crate) fn with_own_pool(mut self) -> Self {
        self.keep = self.keep.or(Some(Keep::UntilShared));
        self
    }

    /// A pool of its own, for a table of this kind.
    pub(crate) async fn pool(
        &self,
        url: &str,
        #[cfg_attr(
            not(feature = "sqlite"),
            expect(
                unused_variables,
                reason = "only SQLite's file is set up by who opens it"
            )
        )]
        whose: Whose,
    ) -> Result<DbPool, Error> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        // sqlx would take `postgres:app` for a database on this machine.
        if scheme != "sqlite" && !rest.starts_with("//") {
            return Err(Error::InvalidUrl { advice: URL_ADVICE });
        }
        Ok(match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => dialect::Sqlite::connect(url, self, whose).await?.into(),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => dialect::Postgres::connect(url, self).await?.into(),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => dialect::MySql::connect(url, self).await?.into(),
            _ => return Err(unknown(scheme)),
        })
    }

    #[cfg(feature = "sqlite")]
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long the database itself may take for one statement: less than the half that each write has at least, since a busy
    /// machine wakes those who wait too late.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.timeout.mul_f32(0.4)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) const fn sync(&self) -> SyncPolicy {
        self.sync
    }

    /// The options of a pool for sessions.
    pub(crate) fn pool_options<DB: sqlx::Database>(
        &self,
        connections_max: u32,
    ) -> sqlx::pool::PoolOptions<DB> {
        sqlx::pool::PoolOptions::new()
            .max_connections(self.connections_max.unwrap_or(connections_max))
            .acquire_timeout(self.timeout)
            // A round trip before each statement, for nothing: a broken connection is noticed by its use.
            .test_before_acquire(false)
    }

    pub(crate) fn for_table(self, whose: Whose) -> ForTable {
        let Self {
            table,
            timeout,
            keep,
            creates_schema,
            sync: _,
            connections_max: _,
        } = self;
        ForTable {
            name: table.unwrap_or_else(|| TableName::of(whose)),
            timeout,
            keep: keep.unwrap_or(Keep::AtMost(0)),
            creates_schema,
        }
    }
}

/// What `connect` did when it failed.
pub(crate) fn not_connected(failure: Failure) -> Error {
    failure.into_error("connect to")
}

pub(crate) const URL_ADVICE: &str = "write sqlite:app.db, postgres://user:password@host/database or mysql://user:password@host/database, with special characters in %XX form";

fn unknown(scheme: &str) -> Error {
    let (database, feature) = match scheme {
        "sqlite" => ("SQLite", "sqlite"),
        "postgres" | "postgresql" => ("PostgreSQL", "postgres"),
        "mysql" | "mariadb" => ("MariaDB and MySQL", "mysql"),
        _ => return Error::InvalidUrl { advice: URL_ADVICE },
    };
    Error::NotCompiled { database, feature }
}
