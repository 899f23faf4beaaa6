//! Django's table in SQLite, where its times are text, and compared as text.

use std::sync::Arc;

use session_core::store::Timestamp;

use super::statements::{Clear, DjangoDialect, Statements, Words, upsert};
use super::times::Times;
use crate::dialect::{Dialect, Row, Sqlite, Statement, Value};
use crate::schema::{Columns, TableName};

const WORDS: Words = Words {
    key: "session_key = ?",
    key_times: 1,
    end: "CAST(expire_date AS TEXT)",
    moment: "?",
    data: "session_data",
    greatest: "max",
    least: "min",
    number_parameters: false,
};

impl DjangoDialect for Sqlite {
    fn django_columns(_times: &Times) -> Columns {
        &[
            ("session_key", "VARCHAR(40)"),
            ("session_data", "TEXT"),
            ("expire_date", "DATETIME"),
        ]
    }

    fn django_statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        // SQLite has one writer: what is chosen is still there when it is removed.
        let clear = Statement::writing(format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expire_date <= ? ORDER BY expire_date LIMIT ?)"
        ));
        Statements::write(
            &WORDS,
            &table,
            upsert(&WORDS, &table),
            None,
            Clear::FromTheStart(clear.repeatable()),
        )
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
        Self::text(row, index).map(String::into_bytes)
    }
}
