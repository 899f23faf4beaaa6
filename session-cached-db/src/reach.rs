//! How the cache is asked: in little time, through the circuit breaker, and without an error that could fail a request.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use session_cache::{Cache, Entry, Lease, Slot};
use session_core::store::{StoreError, StoreKey, Timestamp};
use tokio::time::{Sleep, sleep};

use crate::breaker::{Breaker, Pass};

/// A cache that may be away.
#[derive(Debug)]
pub(crate) struct Reach<C> {
    cache: C,
    breaker: Breaker,
    timeout: Duration,
}

/// Why a call came to nothing. It may have reached the cache all the same, or reach it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The cache failed, was too slow, or is left alone for a while.
    Away,
    /// The slot holds what nobody can read.
    Unreadable,
}

/// Whether a call is made while the cache is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// No: the answer is not worth waiting for.
    Ordinary,
    /// Yes: somebody is to be told what came of it.
    Insists,
}

impl<C: Cache> Reach<C> {
    pub(crate) fn new(cache: C, breaker: Breaker, timeout: Duration) -> Self {
        Self {
            cache,
            breaker,
            timeout,
        }
    }

    pub(crate) fn cache(&self) -> &C {
        &self.cache
    }

    pub(crate) async fn get(&self, key: &StoreKey) -> Result<Slot, NoAnswer> {
        self.ask(Urgency::Ordinary, "get", self.cache.get(key))
            .await
    }

    pub(crate) async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, NoAnswer> {
        let call = self.cache.lease(key, lease, life);
        self.ask(Urgency::Ordinary, "lease", call).await
    }

    pub(crate) async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, NoAnswer> {
        let call = self.cache.fill(key, lease, entry, now);
        self.ask(Urgency::Ordinary, "fill", call).await
    }

    pub(crate) async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, NoAnswer> {
        let call = self.cache.put_newer(key, entry, now);
        self.ask(Urgency::Ordinary, "put", call).await
    }

    pub(crate) async fn invalidate(&self, key: &StoreKey) -> Result<bool, NoAnswer> {
        let call = self.cache.invalidate(key);
        self.ask(Urgency::Ordinary, "invalidate", call).await
    }

    pub(crate) async fn bury(
        &self,
        key: &StoreKey,
        life: Duration,
        urgency: Urgency,
    ) -> Result<(), NoAnswer> {
        self.ask(urgency, "bury", self.cache.bury(key, life)).await
    }

    async fn ask<T>(
        &self,
        urgency: Urgency,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, NoAnswer> {
        let pass: Pass<'_> = match urgency {
            Urgency::Ordinary => self.breaker.admit().ok_or(NoAnswer::Away)?,
            Urgency::Insists => self.breaker.insist(),
        };
        let answer = within(self.timeout, call).await.unwrap_or_else(|| {
            let cause = format!("no answer within {:?}", self.timeout);
            Err(StoreError::unavailable(self.cache.name(), operation, cause))
        });
        match answer {
            Ok(answer) => {
                pass.succeeded();
                Ok(answer)
            }
            Err(error @ StoreError::Damaged { .. }) => {
                // One session's problem: the cache itself does answer.
                pass.succeeded();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a copy of a session in the cache can't be read; the database is asked instead"
                );
                Err(NoAnswer::Unreadable)
            }
            Err(error) => {
                pass.failed(&error);
                Err(NoAnswer::Away)
            }
        }
    }
}

/// The answer, if it comes in time. A cache that answers at once needs no timer.
async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut timer = pin!(None::<Sleep>);
    poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        if timer.is_none() {
            timer.set(Some(sleep(limit)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
