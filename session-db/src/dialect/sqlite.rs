//! SQLite, inside the process.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::time::{Instant, sleep};

use super::{
    Answer, Call, Connection, Dialect, Gives, Quiet, Row, Statement, Statements, Value, Words,
    speak, upsert,
};
use crate::config::{DbStoreConfig, SyncPolicy, URL_ADVICE, not_connected};
use crate::error::{Error, Failure, Kind, Verdict};
use crate::runner::random;
use crate::schema::{self, Column, Columns, Shape, TableName, Whose};

#[derive(Debug)]
pub(crate) struct Sqlite;

const WORDS: Words = Words {
    greatest: "max",
    least: "min",
    number_parameters: false,
};

impl Dialect for Sqlite {
    type Driver = sqlx::Sqlite;

    const STORE: &'static str = "the SQLite store";
    const SYSTEM: &'static str = "sqlite";
    const DATABASE: &'static str = "SQLite";
    const QUOTE: char = '"';
    const COLUMNS: Columns = &[
        ("session_key", "TEXT"),
        ("version", "INTEGER"),
        ("expires_at", "INTEGER"),
        ("created_at", "INTEGER"),
        ("owner", "TEXT"),
        ("label", "TEXT"),
        ("payload", "BLOB"),
    ];
    const MIGRATION: &'static str = schema::MIGRATION_SQLITE;
    const SURVIVES_ABANDONMENT: bool = true;
    const ONE_WRITER_BEGINS: Option<&'static str> = Some("BEGIN IMMEDIATE");

    fn statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        // SQLite has one writer: what is chosen is still there when it is removed.
        let clear = format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expires_at >= ? AND expires_at <= ? ORDER BY expires_at LIMIT ?)"
        );
        // SQLite writes an index anew whenever a column of it is set, be it to what it was: three more pages to sync.
        let save_in_place = format!(
            "UPDATE {table} SET version = ?, created_at = ?, label = ?, payload = ? WHERE session_key = ? AND version = ? AND expires_at > ? AND owner IS ?"
        );
        Statements {
            save_in_place: Some(Statement::writing(save_in_place)),
            ..Statements::write(
                &WORDS,
                &table,
                upsert(&WORDS, &table),
                None,
                Statement::writing(clear).repeatable(),
            )
        }
    }

    fn sort(error: &dyn DatabaseError) -> (String, Verdict) {
        let code = error.code().unwrap_or_default().into_owned();
        // The lower byte is the code, the rest says more (https://www.sqlite.org/rescode.html).
        let number: u32 = code.parse().unwrap_or_default();
        let verdict = match number & 0xff {
            1 if error.message().starts_with("no such table") => Verdict::NO_TABLE,
            1 if error.message().contains("column") => Verdict::OTHER_COLUMNS,
            5 | 6 => Verdict::new(
                Kind::Undone,
                "others kept the database locked; does somebody hold a transaction open?",
            ),
            7 => Verdict::new(Kind::Unavailable, "out of memory"),
            8 => Verdict::new(
                Kind::Unavailable,
                "the database is read-only; the program must be able to write the file and its folder",
            ),
            9 => Verdict::new(Kind::Unavailable, "the statement was interrupted"),
            10 => Verdict::new(Kind::Unavailable, "the disk failed to read or write"),
            13 => Verdict::new(
                Kind::Unavailable,
                "the disk is full; free some space. No session was lost",
            ),
            14 => Verdict::new(
                Kind::Unavailable,
                "the file could not be opened; is its folder there, and may the program write to it?",
            ),
            15 | 22 => Verdict::new(
                Kind::Unavailable,
                "the file can't be locked or is too large",
            ),
            17 => Verdict::new(Kind::Undone, "the table was changed meanwhile"),
            11 | 26 => Verdict::new(
                Kind::Other,
                "the file is no database of SQLite, or damaged; name another, or bring it back from a backup",
            ),
            18 => Verdict::new(Kind::TooLarge, "the record is larger than SQLite allows"),
            19 if matches!(number, 1555 | 2067) => {
                Verdict::new(Kind::Duplicate, "the key is taken")
            }
            19 => Verdict::OTHER_CONSTRAINT,
            23 => Verdict::new(Kind::NotSetUp, "access was denied"),
            _ => Verdict::new(
                Kind::Other,
                "see https://www.sqlite.org/rescode.html for the code",
            ),
        };
        (code, verdict)
    }

    async fn statement_bytes_max(
        _connection: &mut Connection<Self>,
    ) -> Result<Option<usize>, sqlx::Error> {
        Ok(None)
    }

    async fn migrate(
        connection: &mut Connection<Self>,
        table: &TableName,
        _creates_schema: bool,
    ) -> Result<(), sqlx::Error> {
        let text = table.write_into(Self::MIGRATION, Self::QUOTE);
        // Locks before it reads, so that of ten processes at once nine wait, and none finds its view outdated.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    async fn inspect_settings(
        connection: &mut Connection<Self>,
        table: &TableName,
        whose: Whose,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut findings = Vec::new();
        inspect_settings(connection, table, whose, &mut findings).await?;
        Ok(findings)
    }

    async fn inspect_table(
        connection: &mut Connection<Self>,
        table: &TableName,
        shape: &Shape,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut findings = Vec::new();
        if table.schema().is_some() {
            findings.push("SQLite has no schemas: name the table without one".to_owned());
            return Ok(findings);
        }
        let columns = sqlx::query("SELECT name, type FROM pragma_table_info(?)")
            .bind(table.name())
            .fetch_all(&mut *connection)
            .await?;
        let columns: Vec<Column> = columns
            .iter()
            .map(|row| {
                Ok(Column {
                    name: row.try_get(0)?,
                    kind: row.try_get::<String, _>(1)?.to_uppercase(),
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        if columns.is_empty() {
            return Ok(vec![shape.whose.missing().to_owned()]);
        }
        shape.column_findings(&columns, &mut findings);
        // The first column of every index that is not unusable for a look-up.
        let leading = sqlx::query(
            "SELECT info.name, list.\"unique\" FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS info WHERE info.seqno = 0 AND info.name IS NOT NULL",
        )
        .bind(table.name())
        .fetch_all(&mut *connection)
        .await?;
        let mut indexes = Vec::new();
        let mut has_key = false;
        for row in &leading {
            let column: String = row.try_get(0)?;
            has_key |= column == "session_key" && row.try_get::<i64, _>(1)? == 1;
            indexes.push(column);
        }
        if !has_key {
            findings.push("session_key is not the primary key: make it so".to_owned());
        }
        shape.index_findings(&indexes, &mut findings);
        Ok(findings)
    }

    fn nullable_bytes(row: &Row<Self>, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        Ok(row.try_get::<Option<String>, _>(index)?.map(Into::into))
    }

    // The driver then ends the statement before it hands over the row, and nobody is woken a second time for its end.
    speak!(
        sqlx::Sqlite,
        text: |text| text,
        one: |query, connection| query.fetch_optional(connection).await?.into_iter().collect()
    );
}

async fn inspect_settings(
    connection: &mut SqliteConnection,
    table: &TableName,
    whose: Whose,
    findings: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    // A database in memory has no log to write ahead, and the mode of Django's database is Django's.
    let is_ours = whose == Whose::Ours;
    if is_ours && !mode.eq_ignore_ascii_case("wal") && !mode.eq_ignore_ascii_case("memory") {
        findings.push(format!(
            "the journal mode is {mode}, in which readers and writers stop each other: run `PRAGMA journal_mode = WAL` once, or set SqliteConnectOptions::journal_mode"
        ));
    }
    let patience_ms: i64 = sqlx::query_scalar("PRAGMA busy_timeout")
        .fetch_one(&mut *connection)
        .await?;
    if patience_ms < 1_000 {
        findings.push(format!(
            "the busy timeout is {patience_ms} ms, so that a save fails when another process is writing: set SqliteConnectOptions::busy_timeout to some seconds"
        ));
    }
    let read_only: i64 = sqlx::query_scalar("PRAGMA query_only")
        .fetch_one(&mut *connection)
        .await?;
    if read_only != 0 {
        findings.push("the connection is read-only: switch `PRAGMA query_only` off".to_owned());
    } else if !may_write(connection, table).await? {
        findings.push(
            "the file can only be read: let the program write the file and its folder, and look at `mode` in the URL"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the file can be written. SQLite opens one that can't be without a word, and begins a transaction on it.
async fn may_write(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<bool, sqlx::Error> {
    const READONLY: u32 = 8;
    let nothing = format!(
        "DELETE FROM {} WHERE 0",
        table.quoted(<Sqlite as Dialect>::QUOTE)
    );
    let nothing = sqlx::raw_sql(sqlx::AssertSqlSafe(nothing));
    match nothing.execute(connection).await {
        // A missing table is found by those who look at the table, and that others write now says nothing.
        Err(sqlx::Error::Database(error)) => {
            let code: u32 = error.code().unwrap_or_default().parse().unwrap_or_default();
            Ok(code & 0xff != READONLY)
        }
        done => done.map(|_nothing| true),
    }
}

impl Sqlite {
    /// A pool for sessions: of our own in write-ahead mode, of Django's as Django has set its file up.
    pub(crate) async fn connect(
        url: &str,
        config: &DbStoreConfig,
        whose: Whose,
    ) -> Result<sqlx::SqlitePool, Error> {
        let failed = |error| not_connected(Failure::of::<Self>(error));
        let options: SqliteConnectOptions = url
            .parse()
            .map_err(|_unusable: sqlx::Error| Error::InvalidUrl { advice: URL_ADVICE })?;
        if options.get_filename().as_os_str().is_empty() {
            // SQLite would make a new file for each connection, and remove it.
            return Err(Error::InvalidUrl { advice: URL_ADVICE });
        }
        let is_in_memory = url.contains(":memory:") || url.contains("mode=memory");
        let synchronous = match config.sync() {
            SyncPolicy::EveryWrite => SqliteSynchronous::Full,
            SyncPolicy::AtCheckpoints => SqliteSynchronous::Normal,
        };
        let options = options
            .create_if_missing(whose == Whose::Ours)
            .busy_timeout(config.statement_timeout())
            .synchronous(synchronous);
        if is_in_memory {
            // It lives as long as its one connection.
            let pool = config
                .pool_options::<sqlx::Sqlite>(1)
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None);
            return pool.connect_with(options).await.map_err(failed);
        }
        let deadline = Instant::now() + config.timeout();
        let impatient = options.clone().busy_timeout(Duration::from_millis(20));
        let is_ours = whose == Whose::Ours;
        while is_ours && let Err(error) = switch_to_wal(&impatient).await {
            let failure = Failure::of::<Self>(error);
            if failure.kind != Kind::Undone || Instant::now() >= deadline {
                return Err(not_connected(failure));
            }
            sleep(Duration::from_micros(random() % 20_000)).await;
        }
        let pool = config.pool_options::<sqlx::Sqlite>(CONNECTIONS_MAX);
        pool.connect_with(options).await.map_err(failed)
    }
}

/// One writes, and the others read meanwhile.
const CONNECTIONS_MAX: u32 = 5;

/// Write-ahead mode, in which readers and a writer don't stop each other. The file remembers it. Two that switch at once
/// each hold what the other waits for, so that nobody waits for long, and those who are refused ask again.
async fn switch_to_wal(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let switched = sqlx::query("PRAGMA journal_mode = WAL")
        .execute(&mut connection)
        .await;
    connection.close().await?;
    switched.map(drop)
}
