//! MariaDB and MySQL.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};
use sqlx::{Executor as _, Row as _};

use super::{
    Answer, Call, Connection, Dialect, Gives, INSERT, Quiet, Row, Statement, Statements, Value,
    Words, speak,
};
use crate::config::{DbStoreConfig, URL_ADVICE, not_connected};
use crate::error::{Error, Failure, Kind, Verdict};
use crate::schema::{self, Column, Columns, Shape, TableName, Whose};

#[derive(Debug)]
pub(crate) struct MySql;

const WORDS: Words = Words {
    greatest: "GREATEST",
    least: "LEAST",
    number_parameters: false,
};

impl Dialect for MySql {
    type Driver = sqlx::MySql;

    const STORE: &'static str = "the MySQL store";
    const SYSTEM: &'static str = "mysql";
    const DATABASE: &'static str = "MariaDB/MySQL";
    const QUOTE: char = '`';
    const COLUMNS: Columns = &[
        ("session_key", "varchar"),
        ("version", "bigint"),
        ("expires_at", "bigint"),
        ("created_at", "bigint"),
        ("owner", "varbinary"),
        ("label", "varbinary"),
        ("payload", "longblob"),
    ];
    const MIGRATION: &'static str = schema::MIGRATION_MYSQL;
    const SURVIVES_ABANDONMENT: bool = false;
    const ONE_WRITER_BEGINS: Option<&'static str> = None;

    fn statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        // `ON DUPLICATE KEY UPDATE` could not tell a live record from an expired one in what it answers.
        let create = Statement::writing(format!("INSERT INTO {table} {INSERT}"));
        let replace = Statement::writing(format!(
            "UPDATE {table} SET version = ?, expires_at = ?, created_at = ?, owner = ?, label = ?, payload = ? WHERE session_key = ? AND expires_at <= ?"
        ));
        // The inner query's locks hold to the statement's end: what it found expired stays so. What another cleaner or a
        // visitor holds is passed over. STRAIGHT_JOIN, since the optimizer may else walk, and lock, the whole table.
        let clear = Statement::writing(format!(
            "DELETE old FROM (SELECT session_key FROM {table} WHERE expires_at >= ? AND expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) AS expired STRAIGHT_JOIN {table} AS old ON old.session_key = expired.session_key"
        ))
        .repeatable();
        let mut statements = Statements::write(&WORDS, &table, create, Some(replace), clear);
        // Removed rows stay in the index until the oldest transaction that may see them has ended, a backup's for one. Without
        // a place to begin at, each batch would pass over all that were removed before it.
        statements.batch_end = Some(Statement::reading(format!(
            "SELECT expires_at FROM {table} WHERE expires_at >= ? AND expires_at <= ? ORDER BY expires_at LIMIT 1 OFFSET ?"
        )));
        // A session that changes its key while its owner's are ended would be found at its old place, gone, and be missed at
        // its new one, if that lies in the part of the index that was passed already. At this level the passed part is
        // locked: the two are then a deadlock, and one of them is undone and repeated.
        let level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        statements.end_all.before = Some(level);
        statements.end_others.before = Some(level);
        statements
    }

    fn sort(error: &dyn DatabaseError) -> (String, Verdict) {
        let state = error.code().unwrap_or_default();
        let number = number(error);
        (
            format!("{number} (SQLSTATE {state})"),
            verdict(number, &state),
        )
    }

    async fn statement_bytes_max(
        connection: &mut Connection<Self>,
    ) -> Result<Option<usize>, sqlx::Error> {
        let row = connection
            .fetch_one("SELECT CAST(@@max_allowed_packet AS SIGNED)")
            .await?;
        Ok(usize::try_from(row.try_get::<i64, _>(0)?).ok())
    }

    async fn migrate(
        connection: &mut Connection<Self>,
        table: &TableName,
        creates_schema: bool,
    ) -> Result<(), sqlx::Error> {
        if let (Some(schema), true) = (table.schema(), creates_schema) {
            let text = format!("CREATE DATABASE IF NOT EXISTS `{schema}`");
            sqlx::raw_sql(sqlx::AssertSqlSafe(text))
                .execute(&mut *connection)
                .await?;
        }
        // One statement, under the server's own lock on the table's name: no other lock is needed.
        let text = table.write_into(Self::MIGRATION, Self::QUOTE);
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(&mut *connection)
            .await?;
        make_indexes(connection, table).await
    }

    async fn inspect_table(
        connection: &mut Connection<Self>,
        table: &TableName,
        shape: &Shape,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut findings = Vec::new();
        let columns = sqlx::query(
            "SELECT CAST(c.COLUMN_NAME AS CHAR), CAST(c.DATA_TYPE AS CHAR), CAST(c.COLLATION_NAME AS CHAR), CAST(t.ENGINE AS CHAR) FROM information_schema.COLUMNS AS c JOIN information_schema.TABLES AS t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME WHERE c.TABLE_SCHEMA = COALESCE(?, DATABASE()) AND c.TABLE_NAME = ?",
        )
        .bind(table.schema())
        .bind(table.name())
        .fetch_all(&mut *connection)
        .await?;
        let mut found = Vec::new();
        for row in &columns {
            let name: String = row.try_get(0)?;
            let kind: String = row.try_get(1)?;
            let collation: Option<String> = row.try_get(2)?;
            let must_compare_bytes = name == "session_key" && shape.whose == Whose::Ours;
            if must_compare_bytes && collation.as_deref() != Some("ascii_bin") {
                findings.push(
                    "the column session_key does not compare bytes, which makes it slow: give it CHARACTER SET ascii COLLATE ascii_bin"
                        .to_owned(),
                );
            }
            found.push(Column {
                name,
                kind: kind.to_lowercase(),
            });
        }
        let Some(row) = columns.first() else {
            return Ok(vec![shape.whose.missing().to_owned()]);
        };
        let engine: Option<String> = row.try_get(3)?;
        if !engine.is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")) {
            findings.push(
                "the table's engine is not InnoDB, so that a crash can lose or damage sessions: ALTER TABLE … ENGINE = InnoDB"
                    .to_owned(),
            );
        }
        shape.column_findings(&found, &mut findings);
        let leading = leading_columns(connection, table).await?;
        let is_key =
            |(column, index): &(String, String)| column == "session_key" && index == "PRIMARY";
        let has_key = leading.iter().any(is_key);
        let indexes: Vec<String> = leading.into_iter().map(|(column, _)| column).collect();
        if !has_key {
            findings.push("session_key is not the primary key: make it so".to_owned());
        }
        shape.index_findings(&indexes, &mut findings);
        Ok(findings)
    }

    async fn inspect_settings(
        connection: &mut Connection<Self>,
        table: &TableName,
        _whose: Whose,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut findings = Vec::new();
        if !may_read_and_write(connection, table).await? {
            findings.push(format!(
                "the user may not do all that a session needs: GRANT SELECT, INSERT, UPDATE, DELETE ON {} to it",
                table.quoted(Self::QUOTE)
            ));
        }
        // MariaDB before 11.1 has the one name of the isolation level, MySQL the other.
        let settings = connection
            .fetch_all(
                "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'autocommit', 'read_only')",
            )
            .await?;
        for row in &settings {
            let name: String = row.try_get(0)?;
            let value: String = row.try_get(1)?;
            match (name.as_str(), value.as_str()) {
                ("tx_isolation" | "transaction_isolation", "READ-UNCOMMITTED") => findings.push(
                    "the isolation level is READ-UNCOMMITTED, in which a session can be seen that was never stored: use REPEATABLE READ, the server's default, or READ COMMITTED"
                        .to_owned(),
                ),
                ("autocommit", "OFF") => findings.push(
                    "autocommit is off, so that nothing is ever stored: switch it on for this pool".to_owned(),
                ),
                ("read_only", "ON") => findings.push(
                    "the server is read-only: connect to the primary, not to a replica".to_owned(),
                ),
                _ => {}
            }
        }
        findings.dedup();
        Ok(findings)
    }

    fn nullable_bytes(row: &Row<Self>, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        row.try_get(index)
    }

    // The columns are VARBINARY.
    speak!(
        sqlx::MySql,
        text: |text| text.map(str::as_bytes),
        one: |query, connection| query.fetch_all(connection).await?
    );
}

/// The first column of each index, and the index's name.
async fn leading_columns(
    connection: &mut Connection<MySql>,
    table: &TableName,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT CAST(COLUMN_NAME AS CHAR), CAST(INDEX_NAME AS CHAR) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND SEQ_IN_INDEX = 1",
    )
    .bind(table.schema())
    .bind(table.name())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Makes what a table lacks that is there already: the migration's text makes an index with the table alone.
async fn make_indexes(
    connection: &mut Connection<MySql>,
    table: &TableName,
) -> Result<(), sqlx::Error> {
    const DUPLICATE_INDEX: u16 = 1061;
    let leading = leading_columns(connection, table).await?;
    for column in ["expires_at", "owner"] {
        if leading.iter().any(|(leading, _)| leading == column) {
            continue;
        }
        // On a table that is full it takes its time, for which others that migrate wait. MariaDB alone reads such a comment.
        let sql = format!(
            "/*M! SET STATEMENT max_statement_time = 0, lock_wait_timeout = 120 FOR */ CREATE INDEX `{}_{column}` ON {} ({column})",
            table.name(),
            table.quoted(MySql::QUOTE)
        );
        let made = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *connection);
        match made.await {
            Ok(_made) => {}
            // Another process was faster.
            Err(sqlx::Error::Database(error)) if number(&*error) == DUPLICATE_INDEX => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the user may do with the table what a session needs. The catalogue shows no rights that come with a role; a
/// statement that is only explained needs those of one that is run.
async fn may_read_and_write(
    connection: &mut Connection<MySql>,
    table: &TableName,
) -> Result<bool, sqlx::Error> {
    const NO_RIGHTS: [u16; 5] = [1044, 1142, 1143, 1227, 1370];
    let table = table.quoted(MySql::QUOTE);
    for statement in [
        format!("SELECT * FROM {table} WHERE session_key = ''"),
        format!("INSERT INTO {table} SELECT * FROM {table} WHERE session_key = ''"),
        format!("UPDATE {table} SET session_key = '' WHERE session_key = ''"),
        format!("DELETE FROM {table} WHERE session_key = ''"),
    ] {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN {statement}"));
        match sqlx::raw_sql(explained).execute(&mut *connection).await {
            Ok(_plan) => {}
            Err(sqlx::Error::Database(error)) => {
                if NO_RIGHTS.contains(&number(&*error)) {
                    return Ok(false);
                }
                // A missing table or column is found by those who look at the table.
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn number(error: &dyn DatabaseError) -> u16 {
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map_or(0, MySqlDatabaseError::number)
}

/// What an error's number means (https://mariadb.com/kb/en/mariadb-error-code-reference/ and
/// https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html).
fn verdict(number: u16, state: &str) -> Verdict {
    match number {
        // A deadlock; a row that changed since it was read (MariaDB 11.6 and later); a table that changed since the
        // statement was prepared.
        1213 | 1020 | 1615 => Verdict::new(
            Kind::Undone,
            "others wrote the same rows at the same moment, at every try",
        ),
        1205 => Verdict::new(
            Kind::Unavailable,
            "somebody held a lock for longer than innodb_lock_wait_timeout",
        ),
        // max_statement_time, max_execution_time, KILL QUERY.
        1969 | 3024 | 1317 => Verdict::new(
            Kind::Unavailable,
            "the statement took longer than the server allows, or was killed; is it overloaded, or somebody holding a lock?",
        ),
        1053 | 1077..=1080 | 1152 | 1158..=1161 | 1184 | 1243 | 1927 | 4031 => {
            Verdict::new(Kind::Lost, "the server ended the connection")
        }
        1290 | 1792 | 1836 | 3100 => Verdict::new(
            Kind::Unavailable,
            "the server is read-only: is it a replica, or the primary about to change?",
        ),
        1040 | 1203 | 1226 => Verdict::new(
            Kind::Unavailable,
            "the server has no connections left: make the pools smaller, or max_connections larger",
        ),
        1021 | 1037 | 1038 | 1041 | 1114 | 1206 => Verdict::new(
            Kind::Unavailable,
            "the server is short of disk or memory; see its log",
        ),
        1146 | 1051 => Verdict::NO_TABLE,
        1049 => Verdict::new(
            Kind::NotSetUp,
            "the database does not exist: make it, or look at its name in the URL; one that the table's name begins with is made by migrate() after DbStoreConfig::with_schema_creation()",
        ),
        1046 => Verdict::new(
            Kind::NotSetUp,
            "no database is chosen: write mysql://user:password@host/database, or name the table with its database",
        ),
        1054 | 1366 | 1406 => Verdict::OTHER_COLUMNS,
        1142..=1143 | 1227 | 1370 => Verdict::new(
            Kind::NotSetUp,
            "the user may not do this: GRANT SELECT, INSERT, UPDATE, DELETE on the table for running, and CREATE for migrating",
        ),
        1044 | 1045 | 1130 | 1698 => Verdict::new(
            Kind::NotSetUp,
            "the server refused the login: look at user, password and database in the URL, and at the user's host",
        ),
        1062 => Verdict::new(Kind::Duplicate, "the key is taken"),
        1153 => Verdict::new(
            Kind::TooLarge,
            "the record is larger than the server's max_allowed_packet",
        ),
        _ if state.starts_with("08") => Verdict::new(Kind::Lost, "the connection broke"),
        _ if state == "40001" => Verdict::new(
            Kind::Undone,
            "others wrote the same rows at the same moment, at every try",
        ),
        _ if state.starts_with("23") => Verdict::OTHER_CONSTRAINT,
        _ => Verdict::new(
            Kind::Other,
            "see https://mariadb.com/kb/en/mariadb-error-code-reference/ for the code",
        ),
    }
}

/// As sqlx has it.
const CONNECTIONS_MAX: u32 = 10;

impl MySql {
    /// A pool for sessions.
    pub(crate) async fn connect(
        url: &str,
        config: &DbStoreConfig,
    ) -> Result<sqlx::MySqlPool, Error> {
        let options: MySqlConnectOptions = url
            .parse()
            .map_err(|_unusable: sqlx::Error| Error::InvalidUrl { advice: URL_ADVICE })?;
        // A statement that we gave up must not wait for its lock for the server's 50 seconds, and then write after all.
        // MariaDB, which alone reads such a comment, also bounds all else, and knows parts of a second.
        let limit = config.statement_timeout();
        let settings = format!(
            "SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds} /*M! , SESSION max_statement_time = {exactly:.3} */",
            seconds = limit.as_secs().max(1),
            exactly = limit.as_secs_f64().max(0.001),
        );
        let settings: Arc<str> = Arc::from(settings);
        let pool = config
            .pool_options::<sqlx::MySql>(CONNECTIONS_MAX)
            .after_connect(move |connection, _| {
                let settings = sqlx::raw_sql(sqlx::AssertSqlSafe(Arc::clone(&settings)));
                Box::pin(async move { settings.execute(connection).await.map(drop) })
            });
        let connected = pool.connect_with(options).await;
        connected.map_err(|error| not_connected(Failure::of::<Self>(error)))
    }
}
