//! Django's table in MariaDB and MySQL, where its times are without a zone, and its text is compared without regard to case.

use std::sync::Arc;

use session_core::store::Timestamp;

use super::statements::{Clear, DjangoDialect, Statements, Words};
use super::times::Times;
use crate::dialect::{Dialect, MySql, Row, Statement, Value};
use crate::schema::{Columns, TableName};

const WORDS: Words = Words {
    // The first finds the row by the index, in whatever collation the table has. The second compares bytes.
    key: "session_key = ? AND CAST(session_key AS BINARY) = ?",
    key_times: 2,
    end: "CAST(expire_date AS CHAR)",
    moment: "CAST(? AS DATETIME(6))",
    data: "CAST(session_data AS BINARY)",
    greatest: "GREATEST",
    least: "LEAST",
    number_parameters: false,
};

impl DjangoDialect for MySql {
    fn django_columns(_times: &Times) -> Columns {
        &[
            ("session_key", "varchar"),
            ("session_data", "longtext"),
            ("expire_date", "datetime"),
        ]
    }

    fn django_statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        let Words {
            key, end, moment, ..
        } = WORDS;
        // `ON DUPLICATE KEY UPDATE` could not tell a live session from an expired one in what it answers.
        let create = Statement::writing(format!(
            "INSERT INTO {table} (session_key, session_data, expire_date) VALUES (?, ?, {moment})"
        ));
        let replace = Statement::writing(format!(
            "UPDATE {table} SET session_data = ?, expire_date = {moment} WHERE {key} AND expire_date < {moment}"
        ));
        // The inner query's locks hold to the statement's end: what it found expired stays so. What another cleaner or a
        // visitor holds is passed over. STRAIGHT_JOIN, since the optimizer may else walk, and lock, the whole table.
        let clear = Statement::writing(format!(
            "DELETE old FROM (SELECT session_key FROM {table} WHERE expire_date >= {moment} AND expire_date <= {moment} ORDER BY expire_date LIMIT ? FOR UPDATE SKIP LOCKED) AS expired STRAIGHT_JOIN {table} AS old ON old.session_key = expired.session_key"
        ));
        // Removed rows stay in the index until the oldest transaction that may see them has ended. Without a place to begin
        // at, each batch would pass over all that were removed before it.
        let end = Statement::reading(format!(
            "SELECT {end} FROM {table} WHERE expire_date >= {moment} AND expire_date <= {moment} ORDER BY expire_date LIMIT 1 OFFSET ?"
        ));
        let clear = Clear::Counted {
            end,
            clear: clear.repeatable(),
        };
        Statements::write(&WORDS, &table, create, Some(replace), clear)
    }

    fn moment(times: &Times, moment: Timestamp) -> Value {
        Value::Text(Some(Arc::from(times.spelled(moment))))
    }

    fn next(times: &Times, now: Timestamp) -> Value {
        Value::Text(Some(Arc::from(times.next(now))))
    }

    fn read_moment(times: &Times, row: &Row<Self>, index: usize) -> Result<Timestamp, sqlx::Error> {
        Ok(times.read(&Self::text(row, index)?))
    }

    fn data(row: &Row<Self>, index: usize) -> Result<Vec<u8>, sqlx::Error> {
        Self::bytes(row, index)
    }
}
