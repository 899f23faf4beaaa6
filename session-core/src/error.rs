//! What can go wrong for a web developer.

use crate::store::{BoxError, StoreError};

/// Why a session could not be read or changed.
///
/// None of these holds a key or a value. A *name* may appear, since names are the application's own words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store failed. [`StoreError::Unavailable`] is worth a retry; see [`is_unavailable`](Self::is_unavailable).
    #[error("the session store failed")]
    Store(#[from] StoreError),
    /// The session was ended by another request, such as a logout, while this one was changing it. Nothing was written.
    /// Django's `SessionInterrupted`.
    #[error("the session was ended while this request was changing it; nothing was stored")]
    Interrupted,
    /// Other requests wrote this session at every try, until the commit's time was up. Nothing of the last try was stored.
    #[error("other requests kept writing this session until the commit's time was up; try again")]
    Contended,
    /// A value is there, but not of the type that was asked for. It is kept as it is.
    #[error("the session's value \"{name}\" is not of the type that was asked for")]
    #[non_exhaustive]
    WrongType {
        /// The value's name.
        name: String,
        /// What did not fit, and where, without the value.
        source: BoxError,
    },
    /// A [`View`](crate::View)'s value is there in a version from which there is no way to the application's own: it is of a newer
    /// release, or [`View::upgrade`](crate::View::upgrade) has refused it. It is kept as it is.
    #[error(
        "the session's value \"{name}\" has version {found}, and can't be brought to version {wanted}"
    )]
    #[non_exhaustive]
    NotUpgradable {
        /// The value's name.
        name: String,
        /// Its version.
        found: u32,
        /// The application's.
        wanted: u32,
        /// What stood in the way, without the value.
        source: BoxError,
    },
    /// A value can't be written as JSON. Nothing was changed.
    #[error("the value for \"{name}\" can't be stored as JSON")]
    #[non_exhaustive]
    NotSerializable {
        /// The value's name.
        name: String,
        /// What can't be written, without the value.
        source: BoxError,
    },
    /// Names that begin with `_` are the framework's. Nothing was changed.
    #[error("names that begin with \"_\" are reserved; \"{name}\" needs another name")]
    #[non_exhaustive]
    ReservedName {
        /// The name.
        name: String,
    },
    /// A name is empty or too long. Nothing was changed.
    #[error("a name has 1 to {bytes_max} bytes, this one {bytes}")]
    #[non_exhaustive]
    InvalidName {
        /// The name's length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The session would hold more names than it may. Nothing was changed.
    #[error(
        "a session holds at most {names_max} names; keep larger collections in a table of your own"
    )]
    #[non_exhaustive]
    TooManyNames {
        /// The limit.
        names_max: usize,
    },
    /// The session would be larger than it may. Nothing was changed.
    #[error(
        "a session holds at most {bytes_max} bytes, and would have {bytes}; keep large things in a table of your own"
    )]
    #[non_exhaustive]
    DataTooLarge {
        /// What it would have.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A value nests too deep to be read back. Nothing was changed.
    #[error("the value for \"{name}\" nests deeper than {nesting_max} levels")]
    #[non_exhaustive]
    TooDeep {
        /// The value's name.
        name: String,
        /// The limit.
        nesting_max: usize,
    },
    /// An owner's id is empty, too long or has a NUL in it. Nothing was changed.
    #[error("an owner's id has 1 to {bytes_max} bytes, and no NUL")]
    #[non_exhaustive]
    InvalidOwner {
        /// The limit.
        bytes_max: usize,
    },
    /// A label is too long or has a NUL in it. Nothing was changed.
    #[error("a label has at most {bytes_max} bytes, and no NUL")]
    #[non_exhaustive]
    InvalidLabel {
        /// The limit.
        bytes_max: usize,
    },
    /// The text is not the handle of a session.
    #[error("this is not the handle of a session: it has 24 hexadecimal digits")]
    InvalidHandle,
    /// The session has no owner, and was asked about the owner's sessions. Log in first.
    #[error("nobody is logged in: \"my sessions\" needs a session with an owner")]
    NoOwner,
    /// The response's headers are out, so that the client can't be told of a new key any more. Use the session once before
    /// the response starts.
    #[error("the response's headers are already sent: this change would need a cookie")]
    HeadersSent,
    /// The policy's budget for new sessions without a log-in is used up for this minute. Nothing was stored.
    #[error(
        "more than {per_minute_max} new sessions in a minute without a log-in; try again later"
    )]
    #[non_exhaustive]
    TooManyNewSessions {
        /// The limit.
        per_minute_max: u32,
    },
    /// The store does not offer what was asked of it.
    #[error("the session store does not offer this: {operation}")]
    #[non_exhaustive]
    Unsupported {
        /// What was asked.
        operation: &'static str,
    },
    /// A secret of the server can't be used. The advice says what to do.
    #[cfg(feature = "sealed")]
    #[error("the server's secret can't be used: {advice}")]
    #[non_exhaustive]
    InvalidKey {
        /// What is wrong with it.
        advice: String,
        /// What the system answered, if it could not be read.
        source: Option<BoxError>,
    },
    /// The operating system's random generator failed, and no key could be made.
    #[error("the operating system gave no random numbers for a new key")]
    #[non_exhaustive]
    Randomness {
        /// What it answered.
        source: BoxError,
    },
}

impl SessionError {
    /// Whether the store could not be asked: nothing is wrong with the session, and the answer is 503.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Contended
                | Self::TooManyNewSessions { .. }
                | Self::Store(StoreError::Unavailable { .. } | StoreError::DeletedWithin { .. })
        )
    }

    pub(crate) fn randomness(source: getrandom::Error) -> Self {
        Self::Randomness {
            source: Box::new(source),
        }
    }

    pub(crate) fn wrong_type(name: &str, error: &serde_json::Error) -> Self {
        Self::WrongType {
            name: name.to_owned(),
            source: Box::new(JsonError::from(error)),
        }
    }

    pub(crate) fn not_text(name: &str) -> Self {
        Self::NotSerializable {
            name: name.to_owned(),
            source: "the value is not written in UTF-8".into(),
        }
    }

    pub(crate) fn not_serializable(name: &str, error: &serde_json::Error) -> Self {
        Self::NotSerializable {
            name: name.to_owned(),
            source: Box::new(JsonError::from(error)),
        }
    }
}

/// What serde_json found, without the value that its own message quotes.
#[derive(Debug, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub(crate) struct JsonError {
    what: &'static str,
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for JsonError {
    fn from(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Io => "the value's own serialization failed",
            serde_json::error::Category::Syntax => "not valid JSON",
            serde_json::error::Category::Data => "JSON of another shape",
            serde_json::error::Category::Eof => "JSON that ends too early",
        };
        Self {
            what,
            line: error.line(),
            column: error.column(),
        }
    }
}
