//! A connection beside the store's: holds locks, and looks at what the store does.

use std::time::{Duration, Instant};

use session_db::sqlx::{self, Connection as _, Row as _};

use super::records::WAIT_MAX;

/// A connection beside the store's.
pub(crate) enum Beside {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
    MariaDb(sqlx::MySqlConnection),
}

impl Beside {
    /// To whichever database the URL is of. Waits for a server that is just starting again.
    pub(crate) async fn connect(url: &str) -> Self {
        let started = Instant::now();
        loop {
            match Self::try_connect(url).await {
                Ok(beside) => return beside,
                Err(error) => assert!(
                    started.elapsed() < WAIT_MAX,
                    "the server does not answer: {error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_connect(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("sqlite:") {
            return sqlx::SqliteConnection::connect(url).await.map(Self::Sqlite);
        }
        if url.starts_with("mysql:") {
            return sqlx::MySqlConnection::connect(url).await.map(Self::MariaDb);
        }
        let options: sqlx::postgres::PgConnectOptions = url.parse()?;
        // PgBouncer refuses this setting.
        let options = options.extra_float_digits(None);
        sqlx::PgConnection::connect_with(&options)
            .await
            .map(Self::Postgres)
    }

    /// Begins, and holds what it writes until [`Self::execute`] is given `COMMIT` or `ROLLBACK`.
    pub(crate) async fn begin(&mut self) {
        let begin = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) | Self::MariaDb(_) => "BEGIN",
        };
        self.execute(begin).await;
    }

    /// Runs SQL without parameters, one or several statements.
    pub(crate) async fn execute(&mut self, sql: &str) {
        let result = self.try_execute(sql).await;
        result.unwrap_or_else(|error| panic!("{sql} failed: {error}"));
    }

    pub(crate) async fn try_execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::MariaDb(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
    }

    /// All rows, with their columns as text.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let text = sqlx::AssertSqlSafe(sql.to_owned());
        let rows = match self {
            Self::Sqlite(_) => panic!("SQLite's rows are not text"),
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
