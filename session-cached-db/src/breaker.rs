//! When the cache is asked, and when it is left alone for a while because it does not answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::store::StoreError;
use tokio::time::Instant;

/// Opens after some failures in a row. From then on one call at a time finds out whether the cache is back.
///
/// Says so as an event when it opens and when it closes, and not for each call in between.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_max: u32,
    probe_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// Leave to make one call. Dropped without a word, nothing was learnt from it.
#[derive(Debug)]
#[must_use = "say how the call ended"]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, probe_after: Duration) -> Self {
        Self {
            failures_max,
            probe_after,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Leave for a call, or `None` while the cache is left alone.
    pub(crate) fn admit(&self) -> Option<Pass<'_>> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= Instant::now() => true,
            State::Open { .. } | State::Probing => return None,
        };
        if is_probe {
            *state = State::Probing;
        }
        Some(Pass {
            breaker: self,
            is_probe,
        })
    }

    /// Leave for a call that has to be tried whatever is known of the cache.
    pub(crate) fn insist(&self) -> Pass<'_> {
        Pass {
            breaker: self,
            is_probe: false,
        }
    }

    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> State {
        State::Open {
            until: Instant::now() + self.probe_after,
        }
    }
}

impl Pass<'_> {
    pub(crate) fn succeeded(mut self) {
        self.is_probe = false;
        let mut state = self.breaker.lock();
        let was_closed = matches!(*state, State::Closed { .. });
        *state = State::Closed { failures: 0 };
        drop(state);
        if !was_closed {
            tracing::info!("the cache answers again: sessions are read from it");
        }
    }

    pub(crate) fn failed(mut self, cause: &StoreError) {
        tracing::debug!(
            error = cause as &dyn std::error::Error,
            "the cache gave no answer"
        );
        let is_probe = std::mem::take(&mut self.is_probe);
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures } if failures + 1 < self.breaker.failures_max => {
                *state = State::Closed {
                    failures: failures + 1,
                };
            }
            State::Closed { failures } => {
                *state = self.breaker.open();
                drop(state);
                session_core::telemetry::breaker_opened();
                tracing::warn!(
                    failures = failures + 1,
                    error = cause as &dyn std::error::Error,
                    "the cache does not answer: sessions are read from the database until it does"
                );
            }
            State::Probing if is_probe => *state = self.breaker.open(),
            State::Open { .. } | State::Probing => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            // Whoever asked went away before there was an answer: the next one may find out.
            *self.breaker.lock() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker) {
        let error = StoreError::unavailable("a cache", "get", "the test says so");
        breaker.insist().failed(&error);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_probe_through_at_a_time() {
        let breaker = Breaker::new(3, WAIT);
        fail(&breaker);
        fail(&breaker);
        breaker.admit().unwrap().succeeded();
        fail(&breaker);
        fail(&breaker);
        assert!(
            breaker.admit().is_some(),
            "a success in between is forgotten"
        );
        fail(&breaker);
        assert!(
            breaker.admit().is_none(),
            "three failures in a row count for nothing"
        );

        tokio::time::advance(WAIT).await;
        let probe = breaker.admit().expect("nobody ever asks again");
        assert!(breaker.admit().is_none(), "everybody probes at once");
        probe.failed(&StoreError::unavailable("a cache", "get", "still down"));
        assert!(
            breaker.admit().is_none(),
            "a failed probe lets the next one wait, too"
        );

        tokio::time::advance(WAIT).await;
        breaker.admit().expect("nobody ever asks again").succeeded();
        assert!(
            breaker.admit().is_some(),
            "the cache is back, and nobody asks it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_went_away_is_followed_by_another() {
        let breaker = Breaker::new(1, WAIT);
        fail(&breaker);
        tokio::time::advance(WAIT).await;
        drop(breaker.admit().expect("a probe"));
        assert!(breaker.admit().is_some(), "the cache is never asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_insisted_on_closes_it() {
        let breaker = Breaker::new(1, WAIT);
        fail(&breaker);
        breaker.insist().succeeded();
        assert!(
            breaker.admit().is_some(),
            "the cache is back, and nobody asks it"
        );
    }
}
