//! What differs between the databases: their SQL, their codes, and how a driver is spoken to. Sealed: three there are.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use session_core::store::{StoreKey, Timestamp};
use sqlx::error::DatabaseError;
use sqlx::{Database, Pool};

#[cfg(feature = "mysql")]
pub(crate) use mysql::MySql;
#[cfg(feature = "postgres")]
pub(crate) use postgres::Postgres;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::Sqlite;

use crate::error::Verdict;
use crate::quiet::Quiet;
use crate::schema::{Columns, Shape, TableName, Whose};

/// A driver's connection.
pub(crate) type Connection<D> = <<D as Dialect>::Driver as Database>::Connection;
/// A driver's row.
pub(crate) type Row<D> = <<D as Dialect>::Driver as Database>::Row;

/// A database. Its futures run one statement each, on a connection that is theirs alone.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + 'static {
    type Driver: Database;

    /// What the store is called in errors.
    const STORE: &'static str;

    /// What operators call it.
    const SYSTEM: &'static str;
    /// What the database is called in errors.
    const DATABASE: &'static str;
    /// Quotes a name in SQL.
    const QUOTE: char;
    /// The columns of our own table.
    const COLUMNS: Columns;
    /// The text that makes the table.
    const MIGRATION: &'static str;
    /// Whether a connection whose statement was given up can still be used: one inside the process can, one on a network is
    /// out of step.
    const SURVIVES_ABANDONMENT: bool;
    /// How a transaction that writes begins, where only one connection may write at a time. Our own writers then queue in the
    /// process: first come, first served, without the pauses in which the database itself would try again.
    const ONE_WRITER_BEGINS: Option<&'static str>;

    fn statements(table: &TableName) -> Statements;

    /// Whether this pool's connections find again what was prepared on them.
    fn keeps_statements(_pool: &Pool<Self::Driver>) -> bool {
        true
    }

    /// Which code the database answered with, and what it means.
    fn sort(error: &dyn DatabaseError) -> (String, Verdict);

    fn run(
        connection: &mut Connection<Self>,
        call: &Call,
    ) -> impl Future<Output = Result<Answer<Row<Self>>, sqlx::Error>> + Send;

    /// The most bytes that the database takes in one statement, if it has such a limit.
    fn statement_bytes_max(
        connection: &mut Connection<Self>,
    ) -> impl Future<Output = Result<Option<usize>, sqlx::Error>> + Send;

    /// Makes the table. Others may be doing the same.
    fn migrate(
        connection: &mut Connection<Self>,
        table: &TableName,
        creates_schema: bool,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// What is wrong with the table.
    fn inspect_table(
        connection: &mut Connection<Self>,
        table: &TableName,
        shape: &Shape,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// What is wrong with the server's and the connection's settings, and with what the role may do.
    fn inspect_settings(
        connection: &mut Connection<Self>,
        table: &TableName,
        whose: Whose,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// The statement as one text with its values in it, if it can't be prepared.
    fn write_out(_call: &Call) -> Option<String> {
        None
    }

    fn text(row: &Row<Self>, index: usize) -> Result<String, sqlx::Error>;
    fn bytes(row: &Row<Self>, index: usize) -> Result<Vec<u8>, sqlx::Error>;
    fn integer(row: &Row<Self>, index: usize) -> Result<i64, sqlx::Error>;
    fn nullable_bytes(row: &Row<Self>, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error>;
    fn nullable_integer(row: &Row<Self>, index: usize) -> Result<Option<i64>, sqlx::Error>;
}

/// What a statement is given. Bound, never written into its text.
#[derive(Clone)]
pub(crate) enum Value {
    Key(StoreKey),
    /// Sorts before every key.
    NoKey,
    Text(Option<Arc<str>>),
    Bytes(Bytes),
    Integer(Option<i64>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Some(Arc::from(text)))
    }
}

impl From<&StoreKey> for Value {
    fn from(key: &StoreKey) -> Self {
        Self::Key(key.clone())
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(Some(moment.as_secs()))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

/// A statement's text, and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: Arc<str>,
    pub(crate) gives: Gives,
    /// Whether it may be sent again when it may have happened.
    pub(crate) is_repeatable: bool,
    /// Whether the database may keep it for the next time. Only a pooler in between is a reason why not.
    pub(crate) is_prepared: bool,
    /// Sent before it on the same connection.
    pub(crate) before: Option<&'static str>,
}

/// What a statement answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Rows; nothing is written.
    Rows,
    /// A row or none; nothing is written.
    Row,
    /// The number of rows that were written.
    Count,
    /// Rows, about what was written.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "the others answer a write with a number")
    )]
    RowsOfAWrite,
}

impl Statement {
    pub(crate) fn reading(sql: String) -> Self {
        Self {
            sql: Arc::from(sql),
            gives: Gives::Rows,
            is_repeatable: true,
            is_prepared: true,
            before: None,
        }
    }

    /// Of one row at most.
    pub(crate) fn reading_one(sql: String) -> Self {
        Self {
            gives: Gives::Row,
            ..Self::reading(sql)
        }
    }

    pub(crate) fn writing(sql: String) -> Self {
        Self {
            sql: Arc::from(sql),
            gives: Gives::Count,
            is_repeatable: false,
            is_prepared: true,
            before: None,
        }
    }

    pub(crate) fn repeatable(self) -> Self {
        Self {
            is_repeatable: true,
            ..self
        }
    }

    pub(crate) fn with<const N: usize>(&self, values: [Value; N]) -> Call {
        Call {
            statement: self.clone(),
            values: values.into(),
        }
    }
}

/// A statement with its values. Prints no value.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) statement: Statement,
    pub(crate) values: Vec<Value>,
}

impl Call {
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.statement.gives, Gives::Rows | Gives::Row)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("statement", &self.statement)
            .finish_non_exhaustive()
    }
}

/// A statement with as many values as there are.
pub(crate) fn call(statement: &Statement, values: Vec<Value>) -> Call {
    Call {
        statement: statement.clone(),
        values,
    }
}

/// What a statement answered.
#[derive(Debug)]
pub(crate) struct Answer<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) affected: u64,
}

/// All that is ever sent, built once per store. The values go by the order of the `?`s.
#[derive(Debug)]
pub(crate) struct Statements {
    /// (key, now): [`COLUMNS`] of the live record.
    pub(crate) load: Statement,
    /// ([new record], now): inserts, or replaces an expired record. Without `now` if there is a `replace`.
    pub(crate) create: Statement,
    /// ([new record] but its key, key, now): replaces an expired record, where inserting can't.
    pub(crate) replace: Option<Statement>,
    /// (version, floor, cap, created_at, owner, label, payload, key, expected version, now).
    pub(crate) save: Statement,
    /// (version, created_at, label, payload, key, expected version, now, owner): a save that changes neither expiry nor owner,
    /// where that is cheaper. Writes nothing if the owner is another.
    pub(crate) save_in_place: Option<Statement>,
    /// (new key, and as `save`).
    pub(crate) rotate: Statement,
    /// (expires_at, key, now, expires_at): only forward.
    pub(crate) touch: Statement,
    /// (key, now): a row if the record lives.
    pub(crate) is_live: Statement,
    /// (key).
    pub(crate) delete: Statement,
    /// (key, now): if it has expired.
    pub(crate) delete_expired: Statement,
    /// (from, to, limit): removes what expired from `from` to `to`, so many at most. Where it gives a row, that holds how many
    /// there were and from where to go on.
    pub(crate) clear: Statement,
    /// (from, now, limit - 1): when the last of a batch expired, unless there are fewer. Where `clear` can't tell it.
    pub(crate) batch_end: Option<Statement>,
    /// (owner, now, after, limit): key and [`COLUMNS`].
    pub(crate) sessions_of: Statement,
    /// (key, owner).
    pub(crate) end_one: Statement,
    /// (owner, spared key).
    pub(crate) end_others: Statement,
    /// (owner).
    pub(crate) end_all: Statement,
    /// (after, limit): key and [`COLUMNS`].
    pub(crate) page: Statement,
}

/// What a record is read from, in this order.
pub(crate) const COLUMNS: &str = "version, expires_at, created_at, owner, label, payload";

/// The words in which the dialects differ.
struct Words {
    greatest: &'static str,
    least: &'static str,
    /// How parameters are written, from `?`.
    number_parameters: bool,
}

impl Statements {
    /// The statements that are the same in all dialects, but for some words. `create`, `replace` and `clear` are not.
    fn write(
        words: &Words,
        table: &str,
        create: Statement,
        replace: Option<Statement>,
        clear: Statement,
    ) -> Self {
        let Words {
            greatest, least, ..
        } = words;
        // One text for all that may become of the expiry, so that one prepared statement does: floor and cap are both the
        // moment that is set, or a floor without a cap, or neither.
        let change = format!(
            "version = ?, expires_at = {greatest}(?, {least}(expires_at, ?)), created_at = ?, owner = ?, label = ?, payload = ?"
        );
        let current = "session_key = ? AND version = ? AND expires_at > ?";
        let reading = |sql: String| Statement::reading(words.parameters(&sql));
        let reading_one = |sql: String| Statement::reading_one(words.parameters(&sql));
        let writing = |sql: String| Statement::writing(words.parameters(&sql));
        Self {
            load: reading_one(format!(
                "SELECT {COLUMNS} FROM {table} WHERE session_key = ? AND expires_at > ?"
            )),
            create,
            replace,
            // One statement compares the version and writes, under the row's lock. In every isolation level that the
            // databases offer, a writer that waited for the lock sees the newest version, or is undone with an error.
            save: writing(format!("UPDATE {table} SET {change} WHERE {current}")),
            save_in_place: None,
            // The row moves to its new key with everything in it: there is no moment with two rows, and none with none.
            rotate: writing(format!(
                "UPDATE {table} SET session_key = ?, {change} WHERE {current}"
            )),
            // Writes nothing that is there already: of ten tabs that renew at once, one writes.
            touch: writing(format!(
                "UPDATE {table} SET expires_at = ? WHERE session_key = ? AND expires_at > ? AND expires_at < ?"
            ))
            .repeatable(),
            is_live: reading_one(format!(
                "SELECT expires_at FROM {table} WHERE session_key = ? AND expires_at > ?"
            )),
            delete: writing(format!("DELETE FROM {table} WHERE session_key = ?")).repeatable(),
            delete_expired: writing(format!(
                "DELETE FROM {table} WHERE session_key = ? AND expires_at <= ?"
            ))
            .repeatable(),
            clear,
            batch_end: None,
            sessions_of: reading(format!(
                "SELECT session_key, {COLUMNS} FROM {table} WHERE owner = ? AND expires_at > ? AND session_key > ? ORDER BY session_key LIMIT ?"
            )),
            end_one: writing(format!(
                "DELETE FROM {table} WHERE session_key = ? AND owner = ?"
            ))
            .repeatable(),
            end_others: writing(format!(
                "DELETE FROM {table} WHERE owner = ? AND session_key <> ?"
            ))
            .repeatable(),
            end_all: writing(format!("DELETE FROM {table} WHERE owner = ?")).repeatable(),
            page: reading(format!(
                "SELECT session_key, {COLUMNS} FROM {table} WHERE session_key > ? ORDER BY session_key LIMIT ?"
            )),
        }
    }

    /// The same, none of them prepared.
    pub(crate) fn unprepared(mut self) -> Self {
        for (_, statement) in self.all() {
            statement.is_prepared = false;
        }
        self
    }

    /// Every statement with its name, for those who look at all of them.
    fn all(&mut self) -> Vec<(&'static str, &mut Statement)> {
        let Self {
            load,
            create,
            replace,
            save,
            save_in_place,
            rotate,
            touch,
            is_live,
            delete,
            delete_expired,
            clear,
            batch_end,
            sessions_of,
            end_one,
            end_others,
            end_all,
            page,
        } = self;
        let mut all = vec![
            ("load", load),
            ("create", create),
            ("save", save),
            ("rotate", rotate),
            ("touch", touch),
            ("is_live", is_live),
            ("delete", delete),
            ("delete_expired", delete_expired),
            ("clear", clear),
            ("sessions_of", sessions_of),
            ("end_one", end_one),
            ("end_others", end_others),
            ("end_all", end_all),
            ("page", page),
        ];
        all.extend(save_in_place.as_mut().map(|save| ("save_in_place", save)));
        all.extend(replace.as_mut().map(|replace| ("replace", replace)));
        all.extend(batch_end.as_mut().map(|end| ("batch_end", end)));
        all
    }
}

impl Words {
    /// Writes the parameters as the database wants them.
    fn parameters(&self, sql: &str) -> String {
        match self.number_parameters {
            true => numbered(sql),
            false => sql.to_owned(),
        }
    }
}

/// Numbers the parameters, from `?` to `$1`.
pub(crate) fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    for (number, part) in sql.split('?').enumerate() {
        if number > 0 {
            numbered.push('$');
            numbered.push_str(&number.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

/// `INSERT` of a whole record, and the part of `ON CONFLICT` that replaces an expired one.
const INSERT: &str = "(session_key, version, expires_at, created_at, owner, label, payload) VALUES (?, ?, ?, ?, ?, ?, ?)";

/// Replaces an expired record with the one that was to be inserted, in the dialects that know `ON CONFLICT`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn upsert(words: &Words, table: &str) -> Statement {
    // The row is locked before its expiry is looked at: a live record is never replaced.
    let sql = format!(
        "INSERT INTO {table} AS old {INSERT} ON CONFLICT (session_key) DO UPDATE SET version = excluded.version, expires_at = excluded.expires_at, created_at = excluded.created_at, owner = excluded.owner, label = excluded.label, payload = excluded.payload WHERE old.expires_at <= ?"
    );
    Statement::writing(words.parameters(&sql))
}

/// The part of a dialect that is the same text for every driver, and that generics can't say in fewer words.
macro_rules! speak {
    (
        $driver:ty,
        text: |$text:ident| $as_text:expr,
        one: |$query:ident, $connection:ident| $one:expr
    ) => {
        async fn run(
            connection: &mut Connection<Self>,
            call: &Call,
        ) -> Result<Answer<Row<Self>>, sqlx::Error> {
            if let Some(before) = call.statement.before {
                sqlx::raw_sql(before).execute(&mut *connection).await?;
            }
            if let Some(text) = Self::write_out(call) {
                let query = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
                return match call.statement.gives {
                    Gives::Count => Ok(Answer {
                        rows: Vec::new(),
                        affected: Quiet::new(query.execute(connection)).await?.rows_affected(),
                    }),
                    Gives::Rows | Gives::Row | Gives::RowsOfAWrite => Ok(Answer {
                        rows: Quiet::new(query.fetch_all(connection)).await?,
                        affected: 0,
                    }),
                };
            }
            let sql = Arc::clone(&call.statement.sql);
            let mut query = sqlx::query::<$driver>(sqlx::AssertSqlSafe(sql));
            for value in &call.values {
                query = match value {
                    Value::Key(key) => query.bind(key.as_str()),
                    Value::NoKey => query.bind(""),
                    Value::Text(text) => {
                        let $text = text.as_deref();
                        query.bind($as_text)
                    }
                    Value::Bytes(bytes) => query.bind(bytes.as_ref()),
                    Value::Integer(number) => query.bind(number),
                };
            }
            match call.statement.gives {
                Gives::Count => {
                    let done = query.execute(connection).await?;
                    Ok(Answer {
                        rows: Vec::new(),
                        affected: done.rows_affected(),
                    })
                }
                Gives::Row => {
                    let ($query, $connection) = (query, connection);
                    let rows = $one;
                    Ok(Answer { rows, affected: 0 })
                }
                Gives::Rows | Gives::RowsOfAWrite => {
                    let rows = query.fetch_all(connection).await?;
                    Ok(Answer { rows, affected: 0 })
                }
            }
        }

        fn text(row: &Row<Self>, index: usize) -> Result<String, sqlx::Error> {
            sqlx::Row::try_get(row, index)
        }

        fn bytes(row: &Row<Self>, index: usize) -> Result<Vec<u8>, sqlx::Error> {
            sqlx::Row::try_get(row, index)
        }

        fn integer(row: &Row<Self>, index: usize) -> Result<i64, sqlx::Error> {
            sqlx::Row::try_get(row, index)
        }

        fn nullable_integer(row: &Row<Self>, index: usize) -> Result<Option<i64>, sqlx::Error> {
            sqlx::Row::try_get(row, index)
        }
    };
}
use speak;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_in_their_order() {
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
    }
}
