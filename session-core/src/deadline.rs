//! How long a request waits for its store, and what it does meanwhile.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::policy::Limits;
use crate::store::StoreError;

/// Bounds every call to a store, and all of them together.
///
/// Needs no timer for a store that answers at once, as those in this process do.
#[derive(Debug)]
pub(crate) struct Deadline {
    per_call: Duration,
    total: Duration,
    started: Option<Instant>,
}

impl Deadline {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_call: limits.store_timeout,
            total: limits.commit_timeout,
            started: None,
        }
    }

    /// What is left.
    pub(crate) fn left(&mut self) -> Duration {
        self.total
            .saturating_sub(self.started.get_or_insert_with(Instant::now).elapsed())
    }

    /// One call, whose outcome is unknown if it fails.
    pub(crate) async fn call<T>(
        &mut self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut call = pin!(call);
        // Only a store that is waited for needs it, and it is a third of what a request's future would have room for.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut limit = self.per_call;
        poll_fn(|context| {
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            let timer = timer.get_or_insert_with(|| {
                limit = limit.min(self.left());
                Box::pin(sleep(limit))
            });
            timer.as_mut().poll(context).map(|()| {
                let cause = format!("no answer within {limit:?}");
                Err(StoreError::unavailable(
                    "the session store",
                    operation,
                    cause,
                ))
            })
        })
        .await
    }

    /// A call that may be made again if it is not known to have happened: reading, touching, deleting.
    pub(crate) async fn call_again<T, F: Future<Output = Result<T, StoreError>>>(
        &mut self,
        operation: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let mut is_again = false;
        // One call in the text, since the request's future has a place for each.
        loop {
            let answer = self.call(operation, call()).await;
            let is_unknown = matches!(answer, Err(StoreError::Unavailable { .. }));
            if !is_unknown || is_again || self.left().is_zero() {
                return answer;
            }
            is_again = true;
        }
    }

    /// Something of this process that is waited for, or `None` once the time is up.
    pub(crate) async fn wait_for<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        timeout(self.left(), event).await.ok()
    }

    /// Lets others get ahead, for a random part of `longest`.
    pub(crate) async fn back_off(&mut self, longest: Duration) {
        // Timers tick in milliseconds; a store that answers faster than that only needs the others to get their turn.
        const TICK: Duration = Duration::from_millis(1);
        let share = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        let pause = longest.mul_f64(share).min(self.left());
        if pause < TICK {
            yield_now().await;
        } else {
            sleep(pause).await;
        }
    }
}

/// Goes to the end of the executor's queue, once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
