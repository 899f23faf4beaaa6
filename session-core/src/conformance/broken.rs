//! What a clause says of a store that breaks it.

use std::fmt;

use crate::store::StoreError;

/// What a store did that the contract forbids, in terms of what a user would have seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(format!(
            "a call failed that should have succeeded: {}",
            chain(&error)
        ))
    }
}

#[cfg(feature = "sealed")]
impl From<crate::error::SessionError> for Broken {
    fn from(error: crate::error::SessionError) -> Self {
        Self(format!(
            "a request failed that should have succeeded: {}",
            chain(&error)
        ))
    }
}

impl From<tokio::task::JoinError> for Broken {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(format!("a call panicked: {error}"))
    }
}

/// An error with its sources, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Ends the clause with the message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Broken::new(format!($($message)+)));
        }
    };
}
pub(super) use ensure;

/// Ends the clause with the message and both values unless they are equal.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => ensure!(
                found == expected,
                "{}; found {found:?}, expected {expected:?}",
                format_args!($($message)+)
            ),
        }
    };
}
pub(super) use ensure_eq;
