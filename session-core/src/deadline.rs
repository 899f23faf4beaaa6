//! How long a request waits for its store, and what it does meanwhile.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::manager::SessionManager;
use crate::store::StoreError;
use crate::telemetry::{Answer, Call, Count};

/// Bounds every call to a store, and all of them together.
///
/// Needs no timer for a store that answers at once, as those in this process do.
// Small, since the future of every request has a place for it.
#[derive(Debug)]
pub(crate) struct Deadline<'a> {
    manager: &'a SessionManager,
    started: Option<Instant>,
}

impl<'a> Deadline<'a> {
    pub(crate) fn new(manager: &'a SessionManager) -> Self {
        Self {
            manager,
            started: None,
        }
    }

    fn per_call(&self) -> Duration {
        self.manager.policy().limits().store_timeout
    }

    /// What is left.
    pub(crate) fn left(&mut self) -> Duration {
        let started = self.started.get_or_insert_with(Instant::now);
        let total = self.manager.policy().limits().commit_timeout;
        total.saturating_sub(started.elapsed())
    }

    /// One call, whose outcome is unknown if it fails.
    pub(crate) fn call<'d, F>(
        &'d mut self,
        operation: &'static str,
        call: F,
    ) -> Bounded<'d, 'a, F> {
        Bounded {
            observed: Call::begin(self.manager.store(), operation),
            deadline: self,
            operation,
            call,
            timer: None,
        }
    }

    /// A call that may be made again if it is not known to have happened: reading, touching, deleting.
    pub(crate) fn call_again<'d, F, C: Fn() -> F>(
        &'d mut self,
        operation: &'static str,
        call: C,
    ) -> Repeated<'d, 'a, F, C> {
        Repeated {
            bounded: self.call(operation, call()),
            call,
            is_again: false,
        }
    }

    /// Something of this process that is waited for, or `None` once the time is up.
    pub(crate) async fn wait_for<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        timeout(self.left(), event).await.ok()
    }

    /// The same, no longer than for one call of the store.
    pub(crate) async fn wait_as_for_one<T>(
        &mut self,
        operation: &'static str,
        event: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let limit = self.per_call().min(self.left());
        timeout(limit, event)
            .await
            .map_err(|_elapsed| no_answer(operation, limit))
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

/// One call of a store, in time. Written by hand since the future of every request has a place for it, and an `async fn` keeps
/// what it was given beside what it makes of it.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Bounded<'d, 'a, F> {
    deadline: &'d mut Deadline<'a>,
    operation: &'static str,
    call: F,
    observed: Call,
    /// Only for a store that is waited for, with its limit.
    timer: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl<T: Answer, F: Future<Output = Result<T, StoreError>> + Unpin> Future for Bounded<'_, '_, F> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            deadline,
            operation,
            call,
            observed,
            timer,
        } = self.get_mut();
        let answer = match observed.poll(|| Pin::new(call).poll(context)) {
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                let (timer, limit) = timer.get_or_insert_with(|| {
                    let limit = deadline.per_call().min(deadline.left());
                    (Box::pin(sleep(limit)), limit)
                });
                ready!(timer.as_mut().poll(context));
                Err(no_answer(operation, *limit))
            }
        };
        observed.end(&answer);
        Poll::Ready(answer)
    }
}

/// One call of a store, in time, that is made once more if it is not known to have happened.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Repeated<'d, 'a, F, C> {
    bounded: Bounded<'d, 'a, F>,
    call: C,
    is_again: bool,
}

impl<T, F, C> Future for Repeated<'_, '_, F, C>
where
    T: Answer,
    F: Future<Output = Result<T, StoreError>> + Unpin,
    C: Fn() -> F + Unpin,
{
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            bounded,
            call,
            is_again,
        } = self.get_mut();
        loop {
            let answer = ready!(Pin::new(&mut *bounded).poll(context));
            let is_unknown = matches!(answer, Err(StoreError::Unavailable { .. }));
            if !is_unknown || *is_again || bounded.deadline.left().is_zero() {
                return Poll::Ready(answer);
            }
            *is_again = true;
            Count::Retry.add(1);
            bounded.call = call();
            bounded.timer = None;
            bounded.observed = Call::begin(bounded.deadline.manager.store(), bounded.operation);
        }
    }
}

fn no_answer(operation: &'static str, limit: Duration) -> StoreError {
    let cause = format!("no answer within {limit:?}");
    StoreError::unavailable("the session store", operation, cause)
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
