//! How a command ended: what is said of it, in words or as JSON, and the exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

/// What went wrong below, with its causes.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is done.
    Done,
    /// The store could not be used. What was done so far stays done.
    Failed,
    /// The command line is wrong. Nothing was done.
    Misused,
    /// Done, and somebody should look at what was said.
    NeedsAttention,
    /// `check` found what keeps sessions from working.
    NotReady,
    /// There is no such session.
    NotFound,
}

impl Outcome {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Misused => 2,
            Self::NeedsAttention => 3,
            Self::NotReady => 4,
            Self::NotFound => 5,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// What a command has to say, twice: for people and for programs.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    /// An object.
    pub(crate) json: Value,
}

impl Report {
    pub(crate) fn done(text: impl Into<String>, json: Value) -> Self {
        Self {
            outcome: Outcome::Done,
            text: text.into(),
            json,
        }
    }

    pub(crate) const fn with(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// As it is printed, without a line break at the end.
    pub(crate) fn shown(&self, as_json: bool) -> String {
        if !as_json {
            return self.text.trim_end().to_owned();
        }
        let mut object = self.json.clone();
        if let Some(object) = object.as_object_mut() {
            object.insert("exit_code".to_owned(), self.outcome.code().into());
        }
        object.to_string()
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense, and nothing was done.
    Misused(String),
    /// There is no such session.
    NotFound(String),
    /// Something below failed.
    Failed(BoxError),
}

impl Failure {
    pub(crate) fn failed(advice: impl Into<String>) -> Self {
        Self::Failed(advice.into().into())
    }

    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Misused(_) => Outcome::Misused,
            Self::NotFound(_) => Outcome::NotFound,
            Self::Failed(_) => Outcome::Failed,
        }
    }

    pub(crate) fn as_json(&self) -> String {
        json!({ "error": self.to_string(), "exit_code": self.outcome().code() }).to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misused(advice) | Self::NotFound(advice) => f.write_str(advice),
            Self::Failed(error) => f.write_str(&chain(&**error)),
        }
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}
