//! Django's table in PostgreSQL, where its times are instants.

use session_core::store::Timestamp;

use super::statements::{Clear, DjangoDialect, Statements, Words, upsert};
use super::times::Times;
use crate::dialect::{Dialect, Gives, Postgres, Row, Statement, Value};
use crate::schema::{Columns, TableName};

const WORDS: Words = Words {
    key: "session_key = ?",
    key_times: 1,
    end: "floor(extract(epoch FROM expire_date))::bigint",
    moment: "to_timestamp(?)",
    data: "session_data",
    greatest: "greatest",
    least: "least",
    number_parameters: true,
};

impl DjangoDialect for Postgres {
    fn django_columns(_times: &Times) -> Columns {
        &[
            ("session_key", "character varying(40)"),
            ("session_data", "text"),
            ("expire_date", "timestamp with time zone"),
        ]
    }

    fn django_statements(table: &TableName) -> Statements {
        let table = table.quoted(Self::QUOTE);
        let Words { end, moment, .. } = WORDS;
        // The lock is taken on the newest state of a row, if that has still expired: what is renewed or replaced meanwhile
        // stays. What another cleaner or a visitor holds is passed over. Removed rows stay in the index until they are
        // vacuumed, so that the next batch begins where this one ended.
        let clear = format!(
            "WITH expired AS (SELECT session_key FROM {table} WHERE expire_date >= {moment} AND expire_date <= {moment} ORDER BY expire_date LIMIT ? FOR UPDATE SKIP LOCKED), removed AS (DELETE FROM {table} AS old USING expired WHERE old.session_key = expired.session_key RETURNING old.expire_date) SELECT count(*), max({end}) FROM removed"
        );
        let clear = Statement {
            gives: Gives::RowsOfAWrite,
            ..Statement::writing(WORDS.parameters(&clear)).repeatable()
        };
        Statements::write(
            &WORDS,
            &table,
            upsert(&WORDS, &table),
            None,
            Clear::Told(clear),
        )
    }

    fn moment(_times: &Times, moment: Timestamp) -> Value {
        moment.into()
    }

    fn next(_times: &Times, now: Timestamp) -> Value {
        // Also after the last moment that there is.
        (now.as_secs() + 1).into()
    }

    fn read_moment(
        _times: &Times,
        row: &Row<Self>,
        index: usize,
    ) -> Result<Timestamp, sqlx::Error> {
        Self::integer(row, index).map(Timestamp::from_secs)
    }

    fn data(row: &Row<Self>, index: usize) -> Result<Vec<u8>, sqlx::Error> {
        Self::text(row, index).map(String::into_bytes)
    }
}
