//! The table: its name, the texts that make it, and what is wrong with one that is there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Kind};

/// What [`DbStore::migrate`](crate::DbStore::migrate) runs on SQLite, for a table named `web_sessions`: for people who run
/// their own migrations. [`DbStore::migration_sql`](crate::DbStore::migration_sql) gives it for a table of another name.
#[cfg(feature = "sqlite")]
pub const MIGRATION_SQLITE: &str = include_str!("../migrations/sqlite/0001_sessions.sql");

/// What [`DbStore::migrate`](crate::DbStore::migrate) runs on PostgreSQL, for a table named `web_sessions`: for people who
/// run their own migrations. [`DbStore::migration_sql`](crate::DbStore::migration_sql) gives it for a table of another name.
#[cfg(feature = "postgres")]
pub const MIGRATION_POSTGRES: &str = include_str!("../migrations/postgres/0001_sessions.sql");

/// What [`DbStore::migrate`](crate::DbStore::migrate) runs on MariaDB and MySQL, for a table named `web_sessions`: for
/// people who run their own migrations. [`DbStore::migration_sql`](crate::DbStore::migration_sql) gives it for a table of
/// another name.
#[cfg(feature = "mysql")]
pub const MIGRATION_MYSQL: &str = include_str!("../migrations/mysql/0001_sessions.sql");

/// The name that the migrations' texts are written with.
const NAME_IN_TEXTS: &str = "web_sessions";

/// The name of a table: `sessions`, or `auth.sessions` with its schema (in MariaDB and MySQL: its database).
///
/// Each part is 1 to 48 of `[A-Za-z0-9_]` and does not begin with a digit. It is always quoted, so that it may be a word
/// of SQL, and that PostgreSQL keeps its case.
///
/// ```
/// use session_db::TableName;
///
/// assert_eq!(TableName::default().to_string(), "web_sessions");
/// assert_eq!("auth.sessions".parse::<TableName>()?.to_string(), "auth.sessions");
/// assert!("sessions; DROP TABLE users".parse::<TableName>().is_err());
/// # Ok::<(), session_db::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: Option<Arc<str>>,
    name: Arc<str>,
}

impl TableName {
    /// PostgreSQL cuts names after 63 bytes, and the longest of an index is the table's and `_expires_at`.
    const PART_LEN_MAX: usize = 48;

    /// The name in this text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTableName`] when it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        if !schema.is_none_or(is_part) || !is_part(name) {
            return Err(Error::InvalidTableName {
                name: text.to_owned(),
                advice: "write `name` or `schema.name`, each 1 to 48 of A-Z, a-z, 0-9 and _, not beginning with a digit",
            });
        }
        Ok(Self {
            schema: schema.map(Arc::from),
            name: Arc::from(name),
        })
    }

    /// The schema's name, if one was given.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table's name, without its schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where sessions are, unless somebody says otherwise.
    pub(crate) fn of(whose: Whose) -> Self {
        match whose {
            Whose::Ours => Self::default(),
            #[cfg(feature = "django")]
            Whose::Djangos => Self {
                schema: None,
                name: Arc::from("django_session"),
            },
        }
    }

    /// The name as it is written in SQL.
    pub(crate) fn quoted(&self, quote: char) -> String {
        match &self.schema {
            Some(schema) => format!("{quote}{schema}{quote}.{quote}{}{quote}", self.name),
            None => format!("{quote}{}{quote}", self.name),
        }
    }

    /// A migration's text with this name in it.
    pub(crate) fn write_into(&self, text: &str, quote: char) -> String {
        let table_in_text = format!("{quote}{NAME_IN_TEXTS}{quote}");
        let index_in_text = format!("{quote}{NAME_IN_TEXTS}_");
        // The indexes first: the table's own name may begin like one.
        text.replace(&index_in_text, &format!("{quote}{}_", self.name))
            .replace(&table_in_text, &self.quoted(quote))
    }
}

fn is_part(text: &str) -> bool {
    (1..=TableName::PART_LEN_MAX).contains(&text.len())
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Default for TableName {
    /// `web_sessions`. Not `sessions`, which many applications have, and not Django's `django_session`, which is another
    /// table.
    fn default() -> Self {
        Self {
            schema: None,
            name: Arc::from(NAME_IN_TEXTS),
        }
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// Whose table it is, and with that who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    #[cfg(feature = "django")]
    Djangos,
}

impl Whose {
    /// What is said of a table that is not there.
    pub(crate) const fn missing(self) -> &'static str {
        match self {
            Self::Ours => "the table does not exist: run migrate(), or the migration's text",
            #[cfg(feature = "django")]
            Self::Djangos => {
                "the table does not exist: let Django make it (`manage.py migrate`), and look at the database's name"
            }
        }
    }

    /// What to do about a failure, where that depends on whose the table is.
    pub(crate) const fn advice(self, kind: Kind) -> Option<&'static str> {
        match (self, kind) {
            #[cfg(feature = "django")]
            (Self::Djangos, Kind::NoTable) => Some(self.missing()),
            #[cfg(feature = "django")]
            (Self::Djangos, Kind::OtherTable) => Some(
                "the table has other columns or constraints than Django's own table of sessions; run check() to see which",
            ),
            _ => None,
        }
    }

    const fn column_missing(self) -> &'static str {
        match self {
            Self::Ours => {
                "the table is another's, or of another version; give sessions a table of their own"
            }
            #[cfg(feature = "django")]
            Self::Djangos => "the table is not Django's table of sessions; look at its name",
        }
    }

    const fn index_missing(self) -> &'static str {
        match self {
            Self::Ours => "run migrate(), or the migration's text",
            #[cfg(feature = "django")]
            Self::Djangos => "Django's own migration makes it",
        }
    }
}

/// Columns and their types.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

/// What a table must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) whose: Whose,
    pub(crate) columns: Columns,
    /// The indexes besides the primary key, by their first column, with what needs them.
    pub(crate) indexes: &'static [(&'static str, &'static str)],
}

impl Shape {
    pub(crate) const fn ours(columns: Columns) -> Self {
        Self {
            whose: Whose::Ours,
            columns,
            indexes: &[
                ("expires_at", "clear_expired"),
                ("owner", "the look-up of an owner's sessions"),
            ],
        }
    }

    /// Whether `migrate` makes good what was found. What else is wrong with a table is not for us to change: it may be
    /// another's.
    pub(crate) fn migrates(&self, finding: &str) -> bool {
        finding == self.whose.missing() || finding.ends_with(self.whose.index_missing())
    }

    /// Compares the columns that are there with those that must be.
    pub(crate) fn column_findings(&self, found: &[Column], findings: &mut Vec<String>) {
        for (name, kind) in self.columns {
            match found.iter().find(|column| column.name == *name) {
                None => findings.push(format!(
                    "the column {name} ({kind}) is missing: {}",
                    self.whose.column_missing()
                )),
                Some(column) if column.kind != *kind => findings.push(format!(
                    "the column {name} is {}, and must be {kind}: change its type",
                    column.kind
                )),
                Some(_) => {}
            }
        }
    }

    /// Compares the leading columns of the indexes that are there with those that must be.
    pub(crate) fn index_findings(&self, found: &[String], findings: &mut Vec<String>) {
        for (column, purpose) in self.indexes {
            if !found.iter().any(|leading| leading == column) {
                findings.push(format!(
                    "an index that begins with {column} is missing, which {purpose} needs: {}",
                    self.whose.index_missing()
                ));
            }
        }
    }
}

/// What a column is, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_02_names_that_could_mean_something_else_are_refused() {
        let long = "a".repeat(49);
        for bad in [
            "", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"b", "a`b", "a;b", "a-b", "ä", "a\0",
            &long,
        ] {
            assert!(
                TableName::parse(bad).is_err(),
                "{bad:?} was taken for a table"
            );
        }
        for good in ["a", "_", "Sessions_2", "select", "s.t", &long[1..]] {
            assert_eq!(TableName::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn a_name_is_written_into_every_place_of_the_text() {
        let name = TableName::parse("auth.Visits").unwrap();
        let text = name.write_into(MIGRATION_POSTGRES, '"');
        assert!(!text.contains(NAME_IN_TEXTS), "{text}");
        for part in [
            r#"CREATE TABLE IF NOT EXISTS "auth"."Visits" ("#,
            r#"INDEX IF NOT EXISTS "Visits_owner" ON "auth"."Visits" (owner)"#,
            r#"INDEX IF NOT EXISTS "Visits_expires_at" ON "auth"."Visits" (expires_at)"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(
            TableName::default().write_into(MIGRATION_POSTGRES, '"'),
            MIGRATION_POSTGRES
        );
    }
}
