//! The servers that tests talk to, as xtask starts them: a database for each test, connections beside the store's, and
//! requests as an adapter makes them.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

pub(crate) mod proxy;
pub(crate) mod statements;
pub(crate) mod victim;

use std::io::Write as _;
use std::time::{Duration, Instant};

use session_core::adapter::{Completion, Outcome};
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, StoreError, StoreKey, Timestamp,
};
use session_core::{Clock, SessionBase, SessionError, SessionManager, SystemClock};
use session_db::sqlx::{self, Connection as _, Row as _};
use session_db::{DbStore, DbStoreConfig};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
pub(crate) const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// The longest that a state is waited for: only a hang takes so long.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

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
        Beside::connect(self.server, &self.url).await
    }

    /// A connection to another database of the same server.
    pub(crate) async fn administration(&self) -> Beside {
        Beside::connect(self.server, &self.administration_url).await
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

/// A connection beside the store's.
pub(crate) enum Beside {
    Postgres(sqlx::PgConnection),
    MariaDb(sqlx::MySqlConnection),
}

impl Beside {
    /// Waits for a server that is just starting again.
    pub(crate) async fn connect(server: Server, url: &str) -> Self {
        let started = Instant::now();
        loop {
            let connected = match server {
                Server::Postgres | Server::PgBouncer => {
                    let options: sqlx::postgres::PgConnectOptions =
                        url.parse().expect("a server's URL");
                    // PgBouncer refuses this setting.
                    let options = options.extra_float_digits(None);
                    let connected = sqlx::PgConnection::connect_with(&options).await;
                    connected.map(Self::Postgres)
                }
                Server::MariaDb => sqlx::MySqlConnection::connect(url).await.map(Self::MariaDb),
            };
            match connected {
                Ok(beside) => return beside,
                Err(error) => assert!(
                    started.elapsed() < WAIT_MAX,
                    "the server does not answer: {error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs SQL without parameters, one or several statements.
    pub(crate) async fn execute(&mut self, sql: &str) {
        let result = self.try_execute(sql).await;
        result.unwrap_or_else(|error| panic!("{sql} failed: {error}"));
    }

    pub(crate) async fn try_execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::MariaDb(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
    }

    /// All rows, with their columns as text.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let text = sqlx::AssertSqlSafe(sql.to_owned());
        let rows = match self {
            Self::Postgres(connection) => {
                let rows = sqlx::raw_sql(text).fetch_all(connection).await;
                rows.map(|rows| rows.iter().map(texts_of_postgres).collect())
            }
            Self::MariaDb(connection) => {
                let rows = sqlx::raw_sql(text).fetch_all(connection).await;
                rows.map(|rows| rows.iter().map(texts_of_mariadb).collect())
            }
        };
        rows.unwrap_or_else(|error| panic!("{sql} failed: {error}"))
    }

    /// The only column of the only row.
    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        rows[0][0]
            .clone()
            .unwrap_or_else(|| panic!("{sql} gave NULL"))
    }

    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let text = self.text(sql).await;
        text.parse()
            .unwrap_or_else(|error| panic!("{sql} gave {text}: {error}"))
    }

    /// Waits until `sql` gives `expected`. Not inside a transaction, in which PostgreSQL shows the same again and again.
    pub(crate) async fn wait_for(&mut self, sql: &str, expected: &str) {
        self.wait_until(sql, |found| found == expected).await;
    }

    pub(crate) async fn wait_until(&mut self, sql: &str, is_it: impl Fn(&str) -> bool) {
        let started = Instant::now();
        loop {
            let found = self.text(sql).await;
            if is_it(&found) {
                return;
            }
            assert!(started.elapsed() < WAIT_MAX, "{sql} still gives {found}");
            // MariaDB shows its transactions as they were a tenth of a second after the last look.
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
    }
}

/// A simple query answers in text, whatever the type.
fn texts_of_postgres(row: &sqlx::postgres::PgRow) -> Vec<Option<String>> {
    (0..row.len())
        .map(|at| {
            let value = row.try_get_raw(at).expect("the column is there");
            value.as_str().ok().map(str::to_owned)
        })
        .collect()
}

fn texts_of_mariadb(row: &sqlx::mysql::MySqlRow) -> Vec<Option<String>> {
    (0..row.len())
        .map(|at| {
            let value: Option<Vec<u8>> = row.try_get_unchecked(at).expect("text is bytes");
            value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

/// The time of managers that have no clock of their own.
pub(crate) fn now() -> Timestamp {
    Clock::now(&SystemClock::default())
}

pub(crate) fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{number:040x}")).expect("hexadecimal digits are a key")
}

pub(crate) fn new(payload: &str) -> NewRecord {
    NewRecord::new(Payload::from_bytes(payload.to_owned()), LATER)
}

pub(crate) fn change(payload: &str) -> Change {
    Change::new(Payload::from_bytes(payload.to_owned()), ExpiryChange::Keep)
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

/// What an error and its sources say.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Passes if the answer is [`StoreError::Unavailable`].
pub(crate) fn assert_unavailable<T: std::fmt::Debug>(what: &str, answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Unavailable { .. }) => {}
        Err(error) => panic!("{what} was answered with: {}", chain(&error)),
        Ok(answer) => panic!("{what} was answered with {answer:?}"),
    }
}

/// Runs a call that must end by itself, well before this gives up.
pub(crate) async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, call)
        .await
        .unwrap_or_else(|_elapsed| panic!("{what} never ended"))
}
