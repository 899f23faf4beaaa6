//! One call of a store as an operator sees it: which store, which operation, how it ended, how long it took.

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::span::Span;

use crate::record::{Record, Saved, Version};
use crate::store::{SessionStore, StoreError, StoreKey};

/// A call that is under way, if anybody wants to know of it. One that is dropped before its end was given up.
///
/// In an allocation of its own, since the future of every request has a place for this, and most have no listener.
#[derive(Debug)]
pub(crate) struct Call(Option<Box<Observed>>);

#[derive(Debug)]
struct Observed {
    span: Span,
    began: Instant,
    outcome: &'static str,
    #[cfg(feature = "metrics")]
    labels: (&'static str, &'static str),
}

impl Call {
    /// `operation` is what errors call it.
    #[inline]
    pub(crate) fn begin(store: &dyn SessionStore, operation: &'static str) -> Self {
        let is_listening = LevelFilter::current() >= LevelFilter::DEBUG;
        if is_listening || cfg!(feature = "metrics") {
            Self(Observed::begin(store, operation))
        } else {
            Self(None)
        }
    }

    /// Runs a poll of the call's future, so that what a driver tells belongs to the span.
    #[inline]
    pub(crate) fn poll<T>(&self, poll: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(observed) => observed.span.in_scope(poll),
            None => poll(),
        }
    }

    #[inline]
    pub(crate) fn end<T: Answer>(&mut self, answer: &Result<T, StoreError>) {
        if let Some(mut observed) = self.0.take() {
            observed.outcome = match answer {
                Ok(answer) => answer.outcome(),
                Err(error) => failure(error),
            };
        }
    }
}

impl Observed {
    #[cold]
    fn begin(store: &dyn SessionStore, operation: &'static str) -> Option<Box<Self>> {
        let span = tracing::debug_span!(
            target: "session_core::store",
            "session_store",
            db.system.name = store.system_name(),
            db.operation.name = operation_name(operation),
            outcome = Empty,
            duration_seconds = Empty,
        );
        if span.is_disabled() && !cfg!(feature = "metrics") {
            return None;
        }
        Some(Box::new(Self {
            span,
            began: Instant::now(),
            outcome: "given_up",
            #[cfg(feature = "metrics")]
            labels: (store.system_name(), operation_name(operation)),
        }))
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.span.record("outcome", self.outcome);
        self.span.record("duration_seconds", seconds);
        #[cfg(feature = "metrics")]
        {
            let (system, operation) = self.labels;
            metrics::histogram!(
                super::DURATION,
                super::SYSTEM => system,
                super::OPERATION => operation,
                "outcome" => self.outcome
            )
            .record(seconds);
        }
    }
}

/// What an operation is called where names are compared by machines.
fn operation_name(operation: &'static str) -> &'static str {
    match operation {
        "end sessions" => "end_sessions",
        "list sessions" => "list_sessions",
        one_word => one_word,
    }
}

/// What a store can answer.
pub(crate) trait Answer {
    fn outcome(&self) -> &'static str;
}

impl Answer for Option<Record> {
    fn outcome(&self) -> &'static str {
        self.is_some().outcome()
    }
}

impl Answer for bool {
    fn outcome(&self) -> &'static str {
        if *self { "ok" } else { "not_found" }
    }
}

impl Answer for Saved {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Stored(_) => "ok",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
        }
    }
}

macro_rules! always_ok {
    ($($answer:ty),*) => {
        $(impl Answer for $answer {
            fn outcome(&self) -> &'static str {
                "ok"
            }
        })*
    };
}

always_ok!(Version, u64, Vec<(StoreKey, Record)>);

fn failure(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::KeyTaken { .. } => "key_taken",
        StoreError::Damaged { .. } => "damaged",
        StoreError::Unrepresentable { .. } => "unrepresentable",
        StoreError::TooLarge { .. } => "too_large",
        StoreError::Unsupported { .. } => "unsupported",
        StoreError::DeletedWithin { .. } => "deleted_within",
        StoreError::Misconfigured { .. } => "misconfigured",
        StoreError::Failed { .. } => "failed",
    }
}
