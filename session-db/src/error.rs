//! Why a database can't be used, and what of its errors may be shown: codes and names, never a server's own text.

use std::borrow::Cow;
use std::fmt;

use session_core::store::{BoxError, StoreError};

use crate::dialect::Dialect;
use crate::schema::Whose;

/// Why a store could not be connected, migrated or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text can't name a table.
    #[error("{name:?} can't name a table: {advice}")]
    #[non_exhaustive]
    InvalidTableName {
        /// The text.
        name: String,
        /// What a name must look like.
        advice: &'static str,
    },
    /// The URL can't be used. It may hold a password, so that it is not shown.
    #[error("the database's URL can't be used: {advice}")]
    #[non_exhaustive]
    InvalidUrl {
        /// What it must look like.
        advice: &'static str,
    },
    /// The URL is of a database that this build has no driver for.
    #[error("this is a URL of {database}: enable the feature `{feature}` of session-db")]
    #[non_exhaustive]
    NotCompiled {
        /// The database.
        database: &'static str,
        /// The feature that brings its driver.
        feature: &'static str,
    },
    /// The database could not be reached, or refused.
    #[error("could not {operation} {database}")]
    #[non_exhaustive]
    Database {
        /// The database.
        database: &'static str,
        /// What was tried.
        operation: &'static str,
        /// Why it failed, with the code and what to do.
        source: BoxError,
    },
    /// The database answers, but is not set up as it must be. Each finding says what is wrong and what to do.
    #[error("{database} is not ready for sessions in {table}: {}", findings.join("; "))]
    #[non_exhaustive]
    NotReady {
        /// The database.
        database: &'static str,
        /// The table, as it is written in SQL.
        table: String,
        /// What is wrong, one by one.
        findings: Vec<String>,
    },
}

/// What a failure means for the caller, and whether the statement may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The database undid it in favour of somebody else (deadlock, serialization, busy): it did not happen, and may again
    /// be tried.
    Undone,
    /// The connection broke: it may have happened.
    Lost,
    /// Nothing is wrong with the session: locked, full, read-only, overloaded, too slow.
    Unavailable,
    /// A record is under this key already.
    Duplicate,
    /// More than the database takes in one piece.
    TooLarge,
    /// The database can't hold this text.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "the others hold every text")
    )]
    Unrepresentable,
    /// Not set up; the advice says what to do.
    NotSetUp,
    /// There is no such table. What to do depends on [whose](Whose) it is.
    NoTable,
    /// A table of other columns or constraints than it must have. The same.
    OtherTable,
    /// Anything else.
    Other,
}

/// What a dialect makes of an error's code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) advice: &'static str,
}

impl Verdict {
    pub(crate) const fn new(kind: Kind, advice: &'static str) -> Self {
        Self { kind, advice }
    }

    pub(crate) const NO_TABLE: Self = Self::new(Kind::NoTable, Whose::Ours.missing());
    pub(crate) const OTHER_COLUMNS: Self = Self::new(
        Kind::OtherTable,
        "the table has other columns than migrate() makes; run check() to see which",
    );
    pub(crate) const OTHER_CONSTRAINT: Self = Self::new(
        Kind::OtherTable,
        "the table has a constraint that a session breaks; give sessions a table of their own",
    );
}

/// A driver's error without its text: PostgreSQL's and MySQL's quote rows.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    database: &'static str,
    code: Option<String>,
    constraint: Option<String>,
    advice: Cow<'static, str>,
    /// Whether it is what the database answered, on a connection that goes on.
    is_an_answer: bool,
}

impl Failure {
    pub(crate) fn new<D: Dialect>(kind: Kind, advice: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            database: D::DATABASE,
            code: None,
            constraint: None,
            advice: advice.into(),
            is_an_answer: false,
        }
    }

    /// The time was up before the statement's answer came.
    pub(crate) fn too_slow<D: Dialect>() -> Self {
        Self::new::<D>(
            Kind::Unavailable,
            "the statement did not end in time; is the database overloaded, or somebody holding a lock?",
        )
    }

    /// Sorts a driver's error. The only place that looks into one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the driver's error must not live on beside what may be shown of it"
    )]
    pub(crate) fn of<D: Dialect>(error: sqlx::Error) -> Self {
        use sqlx::Error as Driver;
        let sorted = |kind, advice: &'static str| Self::new::<D>(kind, advice);
        match &error {
            Driver::Database(answer) => {
                let (code, Verdict { kind, advice }) = D::sort(&**answer);
                Self {
                    code: Some(code),
                    constraint: answer.constraint().map(str::to_owned),
                    is_an_answer: kind != Kind::Lost,
                    ..sorted(kind, advice)
                }
            }
            // The system's own text would do, but drivers make such errors of their own words, too.
            Driver::Io(io) => Self {
                code: Some(io.kind().to_string()),
                ..sorted(
                    Kind::Lost,
                    "the connection broke, or there was none; is the database running, is its host's name right, and does the network reach it?",
                )
            },
            Driver::Protocol(_) | Driver::WorkerCrashed => sorted(
                Kind::Lost,
                "the connection is out of step with the database and was given up; if that is so each time, something else answers at this host and port",
            ),
            Driver::Tls(_) => sorted(
                Kind::Unavailable,
                "no TLS connection could be made; does this build have a feature for TLS, and does the certificate fit the host?",
            ),
            Driver::PoolTimedOut => sorted(
                Kind::Unavailable,
                "no connection was to be had in time; is the database running, is its host's name right, and is the pool large enough?",
            ),
            Driver::PoolClosed => sorted(Kind::Unavailable, "the pool is closed"),
            Driver::Configuration(_) | Driver::InvalidArgument(_) => sorted(
                Kind::NotSetUp,
                "the connection's options can't be used; look at the URL",
            ),
            Driver::ColumnDecode { .. }
            | Driver::Decode(_)
            | Driver::ColumnNotFound(_)
            | Driver::ColumnIndexOutOfBounds { .. }
            | Driver::TypeNotFound { .. } => {
                let Verdict { kind, advice } = Verdict::OTHER_COLUMNS;
                sorted(kind, advice)
            }
            _ => sorted(Kind::Other, "the driver failed"),
        }
    }

    /// With the advice for a table of this kind.
    pub(crate) fn about(mut self, whose: Whose) -> Self {
        if let Some(advice) = whose.advice(self.kind) {
            self.advice = Cow::Borrowed(advice);
        }
        self
    }

    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self.kind, Kind::Lost)
    }

    /// Whether it is about its own statement alone, and the others of its transaction are as they were. A constraint of somebody
    /// else may have undone them (`ON CONFLICT ROLLBACK`).
    pub(crate) const fn leaves_others(&self) -> bool {
        self.is_an_answer && matches!(self.kind, Kind::Duplicate | Kind::TooLarge | Kind::NoTable)
    }

    pub(crate) const fn is_an_answer(&self) -> bool {
        self.is_an_answer
    }

    /// As the contract says it. [`Kind::TooLarge`] and [`Kind::Duplicate`] are answered by those who know the record.
    pub(crate) fn into_store_error<D: Dialect>(self, operation: &'static str) -> StoreError {
        match self.kind {
            Kind::Undone | Kind::Lost | Kind::Unavailable => {
                StoreError::unavailable(D::STORE, operation, self)
            }
            Kind::Duplicate => StoreError::key_taken(D::STORE),
            Kind::Unrepresentable => StoreError::unrepresentable(D::STORE, self),
            Kind::NotSetUp | Kind::NoTable | Kind::OtherTable => {
                let advice = self.advice.clone();
                StoreError::misconfigured(D::STORE, advice, Some(Box::new(self)))
            }
            Kind::TooLarge | Kind::Other => StoreError::failed(D::STORE, operation, self),
        }
    }

    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        Error::Database {
            database: self.database,
            operation,
            source: Box::new(self),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.database)?;
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, ", constraint {constraint}")?;
        }
        write!(f, ": {}", self.advice)
    }
}

impl std::error::Error for Failure {}

/// What is stored is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("a row's {column} can't be what was once written there")]
pub(crate) struct DamagedColumn {
    pub(crate) column: &'static str,
}
