//! What is asked of Django's table: the statements, built once per store.

use crate::dialect::{Dialect, Row, Statement, Value, numbered};
use crate::django::times::Times;
use crate::schema::{Columns, TableName};
use session_core::store::Timestamp;

/// A database in which Django has a table of sessions.
pub(crate) trait DjangoDialect: Dialect {
    /// The columns of the table, as Django's migration makes them, in a project with these times.
    fn django_columns(times: &Times) -> Columns;

    fn django_statements(table: &TableName) -> Statements;

    /// What a statement is given for a moment.
    fn moment(times: &Times, moment: Timestamp) -> Value;

    /// What a statement is given for the second after now. What ends then or later lives: a session ends with the second in
    /// which Django's ends, and never after it.
    fn next(times: &Times, now: Timestamp) -> Value;

    /// The moment in a column that a statement gave, in whole seconds; fractions are cut off.
    fn read_moment(times: &Times, row: &Row<Self>, index: usize) -> Result<Timestamp, sqlx::Error>;

    /// The session's data, as they are stored.
    fn data(row: &Row<Self>, index: usize) -> Result<Vec<u8>, sqlx::Error>;
}

/// All that is ever sent. The values go by the order of the `?`s. `next` is the second after now: what ends then or later
/// lives, and what ends within this second is over.
#[derive(Debug)]
pub(crate) struct Statements {
    /// How often a statement takes the key that it looks for.
    pub(crate) key_times: usize,
    /// (keys, next): when the live session ends, and its data.
    pub(crate) load: Statement,
    /// (key, data, end, next): inserts, or replaces an expired session. Without `next` if there is a `replace`.
    pub(crate) create: Statement,
    /// (data, end, keys, next): replaces an expired session, where inserting can't.
    pub(crate) replace: Option<Statement>,
    /// (data, keys, expected data, next).
    pub(crate) save: Statement,
    /// (data, floor, cap, keys, expected data, next): a save that moves the end.
    pub(crate) save_and_move: Statement,
    /// (new key, and as `save`).
    pub(crate) rotate: Statement,
    /// (new key, and as `save_and_move`).
    pub(crate) rotate_and_move: Statement,
    /// (end, keys, next, end): only forward.
    pub(crate) touch: Statement,
    /// (keys, next): a row if the session lives.
    pub(crate) is_live: Statement,
    /// (keys).
    pub(crate) delete: Statement,
    /// (keys, next): if it has expired.
    pub(crate) delete_expired: Statement,
    /// How `clear_expired` goes on its way.
    pub(crate) clear: Clear,
}

/// How a batch of expired sessions is removed.
#[derive(Debug)]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "mysql")),
    expect(dead_code, reason = "each database has its own way")
)]
pub(crate) enum Clear {
    /// (to, limit). What is removed is out of the way.
    FromTheStart(Statement),
    /// (from, to, limit). Gives a row: how many there were, and when the last of them ended.
    Told(Statement),
    /// The same without a row. Before it `end` is asked, (from, to, limit - 1), for when the last of a batch ended.
    Counted { end: Statement, clear: Statement },
}

/// The words in which the databases differ.
pub(crate) struct Words {
    /// Compares the key.
    pub(crate) key: &'static str,
    pub(crate) key_times: usize,
    /// Reads when a session ends.
    pub(crate) end: &'static str,
    /// A parameter for a moment.
    pub(crate) moment: &'static str,
    /// Data as they are read and compared: by bytes.
    pub(crate) data: &'static str,
    pub(crate) greatest: &'static str,
    pub(crate) least: &'static str,
    pub(crate) number_parameters: bool,
}

impl Words {
    pub(crate) fn parameters(&self, sql: &str) -> String {
        match self.number_parameters {
            true => numbered(sql),
            false => sql.to_owned(),
        }
    }
}

impl Statements {
    /// The statements that are the same in all databases, but for some words. `create`, `replace` and `clear` are not.
    pub(crate) fn write(
        words: &Words,
        table: &str,
        create: Statement,
        replace: Option<Statement>,
        clear: Clear,
    ) -> Self {
        let Words {
            key,
            key_times,
            end,
            moment,
            data,
            greatest,
            least,
            ..
        } = words;
        let reading_one = |sql: String| Statement::reading_one(words.parameters(&sql));
        let writing = |sql: String| Statement::writing(words.parameters(&sql));
        // Floor and cap are both the moment that is set, or a floor without a cap.
        let moved = format!(
            "session_data = ?, expire_date = {greatest}({moment}, {least}(expire_date, {moment}))"
        );
        // One statement compares the data and writes, under the row's lock: a writer that waited for the lock, for Django's
        // as well, sees what was written last.
        let current = format!("{key} AND {data} = ? AND expire_date >= {moment}");
        Self {
            key_times: *key_times,
            load: reading_one(format!(
                "SELECT {end}, {data} FROM {table} WHERE {key} AND expire_date >= {moment}"
            )),
            create,
            replace,
            save: writing(format!(
                "UPDATE {table} SET session_data = ? WHERE {current}"
            )),
            save_and_move: writing(format!("UPDATE {table} SET {moved} WHERE {current}")),
            // The row moves to its new key with everything in it, also what a project has added: there is no moment with
            // two rows, and none with none.
            rotate: writing(format!(
                "UPDATE {table} SET session_key = ?, session_data = ? WHERE {current}"
            )),
            rotate_and_move: writing(format!(
                "UPDATE {table} SET session_key = ?, {moved} WHERE {current}"
            )),
            touch: writing(format!(
                "UPDATE {table} SET expire_date = {moment} WHERE {key} AND expire_date >= {moment} AND expire_date < {moment}"
            ))
            .repeatable(),
            is_live: reading_one(format!(
                "SELECT session_key FROM {table} WHERE {key} AND expire_date >= {moment}"
            )),
            delete: writing(format!("DELETE FROM {table} WHERE {key}")).repeatable(),
            delete_expired: writing(format!(
                "DELETE FROM {table} WHERE {key} AND expire_date < {moment}"
            ))
            .repeatable(),
            clear,
        }
    }

    /// The same, none of them prepared.
    pub(crate) fn unprepared(mut self) -> Self {
        let Self {
            key_times: _,
            load,
            create,
            replace,
            save,
            save_and_move,
            rotate,
            rotate_and_move,
            touch,
            is_live,
            delete,
            delete_expired,
            clear,
        } = &mut self;
        let mut all = vec![
            load,
            create,
            save,
            save_and_move,
            rotate,
            rotate_and_move,
            touch,
            is_live,
            delete,
            delete_expired,
        ];
        all.extend(replace.as_mut());
        match clear {
            Clear::FromTheStart(clear) | Clear::Told(clear) => all.push(clear),
            Clear::Counted { end, clear } => all.extend([end, clear]),
        }
        for statement in all {
            statement.is_prepared = false;
        }
        self
    }
}

/// Inserts a session, or replaces an expired one with it, in the databases that know `ON CONFLICT`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn upsert(words: &Words, table: &str) -> Statement {
    let Words { moment, .. } = words;
    // The row is locked before its end is looked at: a live session is never replaced.
    let sql = format!(
        "INSERT INTO {table} AS old (session_key, session_data, expire_date) VALUES (?, ?, {moment}) ON CONFLICT (session_key) DO UPDATE SET session_data = excluded.session_data, expire_date = excluded.expire_date WHERE old.expire_date < {moment}"
    );
    Statement::writing(words.parameters(&sql))
}
