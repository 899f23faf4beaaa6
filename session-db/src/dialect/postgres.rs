//! PostgreSQL.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row as _};

use super::{
    Answer, Call, Connection, Dialect, Gives, Quiet, Row, Statement, Statements, Value, Words,
    speak, upsert,
};
use crate::config::{DbStoreConfig, URL_ADVICE, not_connected};
use crate::error::{Error, Failure, Kind, Verdict};
use crate::schema::{self, Column, Columns, Shape, TableName, Whose};

#[derive(Debug)]
pub(crate) struct Postgres;

const WORDS: Words = Words {
    greatest: "greatest",
    least: "least",
    number_parameters: true,
};

impl Dialect for Postgres {
    type Driver = sqlx::Postgres;

    const STORE: &'static str = "the PostgreSQL store";
    const SYSTEM: &'static str = "postgresql";
    const DATABASE: &'static str = "PostgreSQL";
    const QUOTE: char = '"';
    const COLUMNS: Columns = &[
        ("session_key", "character varying(40)"),
        ("version", "bigint"),
        ("expires_at", "bigint"),
        ("created_at", "bigint"),
        ("owner", "text"),
        ("label", "text"),
        ("payload", "bytea"),
    ];
    const MIGRATION: &'static str = schema::MIGRATION_POSTGRES;
    const SURVIVES_ABANDONMENT: bool = false;
    const ONE_WRITER_BEGINS: Option<&'static str> = None;

    fn statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        // The lock is taken on the newest state of a row, if that has still expired: what is renewed or replaced meanwhile
        // stays. What another cleaner or a visitor holds is passed over. Removed rows stay in the index until they are
        // vacuumed, so that the next batch begins where this one ended.
        let clear = format!(
            "WITH expired AS (SELECT session_key FROM {table} WHERE expires_at >= ? AND expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED), removed AS (DELETE FROM {table} AS old USING expired WHERE old.session_key = expired.session_key RETURNING old.expires_at) SELECT count(*), max(expires_at) FROM removed"
        );
        let clear = Statement {
            gives: Gives::RowsOfAWrite,
            ..Statement::writing(WORDS.parameters(&clear)).repeatable()
        };
        // A session that changes its key while its owner's are ended is the same row at the same place: the DELETE waits
        // for it, and then looks at the row's newest state.
        Statements::write(&WORDS, &table, upsert(&WORDS, &table), None, clear)
    }

    fn keeps_statements(pool: &PgPool) -> bool {
        keeps_statements(&pool.connect_options())
    }

    fn sort(error: &dyn DatabaseError) -> (String, Verdict) {
        let code = error.code().unwrap_or_default().into_owned();
        let is_at_the_end = error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| error.severity() != PgSeverity::Error);
        let verdict = match code.as_str() {
            PROTOCOL_VIOLATION => violation(is_at_the_end, error.message()),
            code => verdict(code),
        };
        (format!("SQLSTATE {code}"), verdict)
    }

    async fn statement_bytes_max(
        _connection: &mut Connection<Self>,
    ) -> Result<Option<usize>, sqlx::Error> {
        Ok(None)
    }

    async fn migrate(
        connection: &mut Connection<Self>,
        table: &TableName,
        creates_schema: bool,
    ) -> Result<(), sqlx::Error> {
        // One message, and so one transaction. `IF NOT EXISTS` alone does not keep two that start at once from failing on
        // the catalogue's own unique index; the lock does, and ends with the transaction. An index on a table that is full
        // takes its time.
        let mut text = format!(
            "SET LOCAL statement_timeout = 0;\nSELECT pg_advisory_xact_lock(hashtext('session-db {table}'));\n"
        );
        if let (Some(schema), true) = (table.schema(), creates_schema) {
            writeln!(text, "CREATE SCHEMA IF NOT EXISTS \"{schema}\";").unwrap_or_default();
        }
        text.push_str(&table.write_into(Self::MIGRATION, Self::QUOTE));
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn inspect_table(
        connection: &mut Connection<Self>,
        table: &TableName,
        shape: &Shape,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut findings = Vec::new();
        let name = table.quoted(Self::QUOTE);
        let columns = simple(
            connection,
            format!(
                "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass('{name}') AND attnum > 0 AND NOT attisdropped"
            ),
        )
        .await?;
        let columns: Vec<Column> = columns
            .iter()
            .map(|row| {
                Ok(Column {
                    name: row.try_get(0)?,
                    kind: row.try_get(1)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        if columns.is_empty() {
            return Ok(vec![shape.whose.missing().to_owned()]);
        }
        shape.column_findings(&columns, &mut findings);
        // The first column of every index that a look-up can use.
        let leading = simple(
            connection,
            format!(
                "SELECT attname::text, (indisprimary OR indisunique) AND indnatts = 1 AND indpred IS NULL FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] WHERE indrelid = to_regclass('{name}') AND indisvalid AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) = '(owner IS NOT NULL)')"
            ),
        )
        .await?;
        let mut indexes: Vec<String> = Vec::new();
        let mut has_key = false;
        for row in &leading {
            let column: String = row.try_get(0)?;
            has_key |= column == "session_key" && row.try_get::<bool, _>(1)?;
            indexes.push(column);
        }
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
        let name = table.quoted(Self::QUOTE);
        let settings = simple(
            connection,
            format!(
                "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')::bool, coalesce(has_table_privilege(to_regclass('{name}'), 'SELECT') AND has_table_privilege(to_regclass('{name}'), 'INSERT') AND has_table_privilege(to_regclass('{name}'), 'UPDATE') AND has_table_privilege(to_regclass('{name}'), 'DELETE'), true)"
            ),
        )
        .await?;
        let Some(row) = settings.first() else {
            return Ok(findings);
        };
        let isolation: String = row.try_get(0)?;
        if isolation != "read committed" {
            findings.push(format!(
                "the isolation level is {isolation}, in which requests that meet on a session are undone and repeated instead of waiting: set default_transaction_isolation to 'read committed' for this role or pool"
            ));
        }
        if row.try_get(1)? {
            findings.push(
                "the server is read-only: connect to the primary, not to a replica, or look at default_transaction_read_only"
                    .to_owned(),
            );
        }
        if !row.try_get::<bool, _>(2)? {
            findings.push(format!(
                "the role may not do all that a session needs: GRANT SELECT, INSERT, UPDATE, DELETE ON {name} to it"
            ));
        }
        Ok(findings)
    }

    fn nullable_bytes(row: &Row<Self>, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        Ok(row.try_get::<Option<String>, _>(index)?.map(Into::into))
    }

    fn write_out(call: &Call) -> Option<String> {
        (!call.statement.is_prepared).then(|| written_out(call))
    }

    speak!(
        sqlx::Postgres,
        text: |text| text,
        one: |query, connection| query.fetch_all(connection).await?
    );
}

const PROTOCOL_VIOLATION: &str = "08P01";

/// What PgBouncer has to say has one code for everything. The server's own words of that code, which end no connection, are
/// that a statement is not the one that was prepared.
fn violation(ends_the_connection: bool, message: &str) -> Verdict {
    if !ends_the_connection {
        return NO_STATEMENTS;
    }
    if message.starts_with("unsupported startup parameter") {
        return Verdict::new(
            Kind::NotSetUp,
            "a pooler refuses the settings of a new connection: behind PgBouncer in transaction mode, connect with ?statement-cache-capacity=0 in the URL, or make your own pool with statement_cache_capacity(0) and extra_float_digits(None)",
        );
    }
    let is_no_database = message.starts_with("database \"") && message.ends_with("does not exist");
    if is_no_database || message == "SASL authentication failed" {
        return Verdict::new(
            Kind::NotSetUp,
            "a pooler refused the login: look at user, password and database in the URL, and at what PgBouncer's configuration knows of them",
        );
    }
    Verdict::new(
        Kind::Lost,
        "the server, or a pooler before it, ended the connection; see its log",
    )
}

const NO_STATEMENTS: Verdict = Verdict::new(
    Kind::NotSetUp,
    "prepared statements get lost between us and the server: behind PgBouncer in transaction mode, connect with ?statement-cache-capacity=0 in the URL, make your own pool with statement_cache_capacity(0), or set PgBouncer's max_prepared_statements (1.21 and later)",
);

/// What a SQLSTATE means (https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn verdict(code: &str) -> Verdict {
    let class = code.get(..2).unwrap_or_default();
    match (class, code) {
        (_, "40001" | "40P01") => Verdict::new(
            Kind::Undone,
            "others wrote the same rows at the same moment, at every try",
        ),
        (_, "55P03") => Verdict::new(
            Kind::Unavailable,
            "somebody held a lock for longer than lock_timeout",
        ),
        (_, "57014") => Verdict::new(
            Kind::Unavailable,
            "the statement took longer than statement_timeout, or was cancelled; is the server overloaded, or somebody holding a lock?",
        ),
        (_, "57P03") => Verdict::new(Kind::Unavailable, "the server is starting or stopping"),
        ("08" | "57", _) => Verdict::new(Kind::Lost, "the server ended the connection"),
        (_, "25006") => Verdict::new(
            Kind::Unavailable,
            "the server is read-only: is it a replica, or the primary about to change?",
        ),
        (_, "53300") => Verdict::new(
            Kind::Unavailable,
            "the server has no connections left: make the pools smaller, or max_connections larger",
        ),
        ("53" | "58", _) => Verdict::new(
            Kind::Unavailable,
            "the server is short of disk or memory, or its disk failed; see its log",
        ),
        (_, "42P01") => Verdict::NO_TABLE,
        (_, "3F000") => Verdict::new(
            Kind::NotSetUp,
            "the table's schema does not exist: make it, or let migrate() do so by DbStoreConfig::with_schema_creation()",
        ),
        (_, "42703" | "42804" | "22P03") => Verdict::OTHER_COLUMNS,
        (_, "42501") => Verdict::new(
            Kind::NotSetUp,
            "the role may not do this: GRANT SELECT, INSERT, UPDATE, DELETE on the table and USAGE on its schema for running, and let the table's owner migrate",
        ),
        ("28" | "3D", _) => Verdict::new(
            Kind::NotSetUp,
            "the server refused the login: look at user, password and database in the URL, and at pg_hba.conf",
        ),
        (_, "26000" | "42P05") => NO_STATEMENTS,
        ("23", "23505") => Verdict::new(Kind::Duplicate, "the key is taken"),
        ("23", _) => Verdict::OTHER_CONSTRAINT,
        (_, "22021" | "22P05") => Verdict::new(
            Kind::Unrepresentable,
            "the owner or the label holds a character that the database's encoding has not, or a NUL",
        ),
        ("54", _) => Verdict::new(
            Kind::TooLarge,
            "the record is larger than PostgreSQL allows",
        ),
        _ => Verdict::new(
            Kind::Other,
            "see https://www.postgresql.org/docs/current/errcodes-appendix.html for the code",
        ),
    }
}

/// Rows of a text that holds no values, in one round trip, also through a pooler.
async fn simple(
    connection: &mut PgConnection,
    text: String,
) -> Result<Vec<Row<Postgres>>, sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text))
        .fetch_all(connection)
        .await
}

/// The statement with its values written into its text, for poolers through which no prepared statement finds its server
/// again. Everything that is not a number or a key goes as hexadecimal digits, so that there is nothing to escape.
fn written_out(call: &Call) -> String {
    let mut text = String::with_capacity(call.statement.sql.len() + 256);
    for (number, part) in call.statement.sql.split('$').enumerate() {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        // `$3` is the third value, and stands after the third `$`.
        let value = number
            .checked_sub(1)
            .and_then(|index| call.values.get(index));
        if let Some(value) = value {
            literal(&mut text, value);
            text.push_str(rest);
        } else {
            text.push_str(part);
        }
    }
    text
}

fn literal(text: &mut String, value: &Value) {
    match value {
        Value::Key(key) => {
            text.push('\'');
            text.push_str(key.as_str());
            text.push('\'');
        }
        Value::NoKey => text.push_str("''"),
        Value::Text(None) | Value::Integer(None) => text.push_str("NULL"),
        Value::Text(Some(chars)) => {
            text.push_str("convert_from(decode('");
            hexadecimal(text, chars.as_bytes());
            text.push_str("', 'hex'), 'UTF8')");
        }
        Value::Bytes(bytes) => {
            text.push_str("decode('");
            hexadecimal(text, bytes);
            text.push_str("', 'hex')");
        }
        // In brackets, for a minus would meet an operator.
        Value::Integer(Some(number)) => {
            write!(text, "({number})").unwrap_or_default();
        }
    }
}

fn hexadecimal(text: &mut String, bytes: &[u8]) {
    text.reserve(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

/// As sqlx has it.
const CONNECTIONS_MAX: u32 = 10;

impl Postgres {
    /// A pool for sessions.
    pub(crate) async fn connect(url: &str, config: &DbStoreConfig) -> Result<PgPool, Error> {
        let options: PgConnectOptions = url
            .parse()
            .map_err(|_unusable: sqlx::Error| Error::InvalidUrl { advice: URL_ADVICE })?;
        // Nothing of ours is a float, and PgBouncer refuses this setting unless it is told to ignore it.
        let mut options = options.extra_float_digits(None);
        if !keeps_statements(&options) {
            // sqlx logs the text of slow statements, in which the values are then. And a pooler takes no settings at the
            // start of a connection.
            options = options.disable_statement_logging();
        } else {
            // A statement that we gave up must not wait for its lock for ever, and then write after all.
            let milliseconds = config.statement_timeout().as_millis().max(1);
            options = options.options([
                ("statement_timeout", milliseconds.to_string()),
                ("default_transaction_isolation", "read committed".to_owned()),
            ]);
        }
        let pool = config.pool_options::<sqlx::Postgres>(CONNECTIONS_MAX);
        let connected = pool.connect_with(options).await;
        connected.map_err(|error| not_connected(Failure::of::<Self>(error)))
    }
}

/// Whether sqlx keeps what it prepares: it is told not to where there is a pooler in between. (It then gives a statement a name
/// all the same, and uses it in another transaction, so that we prepare none.)
fn keeps_statements(options: &PgConnectOptions) -> bool {
    // They are told in a URL alone. What is of no interest here must not keep them from being one.
    let options = options.clone().host("host").socket("socket");
    let url = options.username("user").password("").to_url_lossy();
    let mut pairs = url.query_pairs();
    !pairs.any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use session_core::store::StoreKey;

    use super::*;

    #[test]
    fn in_02_values_that_are_written_out_can_mean_nothing_else() {
        let statement = Statement::writing(WORDS.parameters(
            "a = ? AND b = ? AND c = ? AND d = ? AND e = ? AND f = ? AND g = ? AND h = ? AND i = ? AND j = ?",
        ));
        let key = StoreKey::parse("abc").unwrap();
        let call = statement.with([
            Value::Key(key),
            Value::text("'; DROP TABLE x; --$1"),
            Value::Text(None),
            Value::Bytes(Bytes::from_static(b"\0'\\")),
            Value::Integer(Some(-5)),
            Value::Integer(None),
            Value::NoKey,
            7.into(),
            8.into(),
            9.into(),
        ]);
        assert_eq!(
            written_out(&call),
            "a = 'abc' AND b = convert_from(decode('273b2044524f50205441424c4520783b202d2d2431', 'hex'), 'UTF8') AND c = NULL AND d = decode('00275c', 'hex') AND e = (-5) AND f = NULL AND g = '' AND h = (7) AND i = (8) AND j = (9)"
        );
    }

    #[test]
    fn a_pooler_is_told_by_the_options() {
        let keeps = |url: &str| keeps_statements(&url.parse().unwrap());
        assert!(!keeps(
            "postgres://h/d?sslmode=disable&statement-cache-capacity=0"
        ));
        assert!(keeps("postgres://h/d?statement-cache-capacity=100"));
        assert!(keeps("postgres://h/statement-cache-capacity=0"));
        assert!(keeps("postgres:///d?host=/run/postgresql"));
        let own = PgConnectOptions::new_without_pgpass()
            .host("::1")
            .username("a user: @/?#")
            .socket("")
            .database("?statement-cache-capacity=0");
        assert!(keeps_statements(&own), "a name was taken for an option");
        assert!(!keeps_statements(&own.statement_cache_capacity(0)));
    }

    #[test]
    fn what_a_pooler_says_is_told_from_what_a_server_says() {
        let advice = |verdict: Verdict| verdict.advice;
        let refused = violation(true, "unsupported startup parameter: options");
        for verdict in [violation(false, "bind message supplies 2"), refused] {
            assert_eq!(verdict.kind, Kind::NotSetUp);
            assert!(advice(verdict).contains("?statement-cache-capacity=0"));
        }
        // Nothing is wrong with how it was set up.
        assert_eq!(violation(true, "query_wait_timeout").kind, Kind::Lost);
    }
}
