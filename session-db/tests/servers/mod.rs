//! The servers that tests talk to, as xtask starts them: a database for each test, connections beside the store's, and
//! requests as an adapter makes them.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

#[path = "../support/beside.rs"]
pub(crate) mod beside;
pub(crate) mod proxy;
#[path = "../support/records.rs"]
pub(crate) mod records;
pub(crate) mod statements;
pub(crate) mod victim;

use std::io::Write as _;

use session_core::adapter::{Completion, Outcome};
use session_core::store::Timestamp;
use session_core::{Clock, SessionBase, SessionError, SessionManager, SystemClock};
use session_db::{DbStore, DbStoreConfig};

use beside::Beside;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    MariaDb,
    PgBouncer,
}

/// A database of one test, on a server.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) url: String,
    /// Another database of the server, from which this one can be looked at unnoticed.
    administration_url: String,
}

impl Server {
    const fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "SESSION_TEST_POSTGRES",
            Self::MariaDb => "SESSION_TEST_MARIADB",
            Self::PgBouncer => "SESSION_TEST_PGBOUNCER",
        }
    }

    /// Where it answers. Without it this says so aloud, and in CI the test fails.
    pub(crate) fn url(self) -> Option<String> {
        let variable = self.variable();
        if let Ok(url) = std::env::var(variable) {
            return Some(url);
        }
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{variable} is not set, and in CI nothing may be skipped"
        );
        // Not `eprintln!`, which a test that passes keeps to itself.
        writeln!(
            std::io::stderr(),
            "SKIPPED: {variable} is not set; run `cargo xtask services` and export what it prints"
        )
        .expect("standard error is there");
        None
    }

    /// A new database called `name`, instead of what an earlier run left under that name.
    pub(crate) async fn database(self, name: &str) -> Option<Database> {
        let administration_url = self.url()?;
        let (server, _) = administration_url
            .rsplit_once('/')
            .expect("the URL names a database");
        let database = Database {
            server: self,
            url: format!("{server}/{name}"),
            administration_url: administration_url.clone(),
        };
        let mut beside = database.administration().await;
        let force = match self {
            Self::MariaDb => "",
            Self::Postgres | Self::PgBouncer => " WITH (FORCE)",
        };
        beside
            .execute(&format!("DROP DATABASE IF EXISTS {name}{force}"))
            .await;
        beside.execute(&format!("CREATE DATABASE {name}")).await;
        Some(database)
    }
}

impl Database {
    /// A connection that is not the store's.
    pub(crate) async fn beside(&self) -> Beside {
        Beside::connect(&self.url).await
    }

    /// A connection to another database of the same server.
    pub(crate) async fn administration(&self) -> Beside {
        Beside::connect(&self.administration_url).await
    }

    /// A migrated store over a pool of its own.
    pub(crate) async fn store(&self, config: DbStoreConfig) -> DbStore {
        let store = config.connect(&self.url).await.expect("the server runs");
        store.migrate().await.expect("a role that may make tables");
        store
    }

    /// The URL with options for the server's settings of each connection.
    pub(crate) fn url_with_settings(&self, settings: &[(&str, &str)]) -> String {
        let options: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("options[{name}]={value}"))
            .collect();
        format!("{}?{}", self.url, options.join("&"))
    }
}

/// The time of managers that have no clock of their own.
pub(crate) fn now() -> Timestamp {
    Clock::now(&SystemClock::default())
}

/// One request: the client sends `cookie`, the handler does `does`, the commit gives back a new cookie or none.
pub(crate) async fn request<R>(
    manager: &SessionManager,
    cookie: Option<&str>,
    does: impl FnOnce(&SessionBase) -> R,
) -> Result<(R, Option<String>), SessionError> {
    let slot = manager.slot();
    slot.present(cookie.map(str::as_bytes));
    let session = slot.session().await?;
    let result = does(&session);
    match slot.commit(Completion::Success).await? {
        Outcome::Issue { value, .. } => Ok((result, Some(value.expose_secret().to_owned()))),
        _ => Ok((result, None)),
    }
}
