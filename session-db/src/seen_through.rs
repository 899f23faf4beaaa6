//! Sees a statement through to its end, whether or not somebody still waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that runs where it is awaited, without the cost of a task, and goes on as a task if it is given up.
///
/// A request that is dropped, because its client went away, must not leave a connection in the middle of an answer. It would
/// have to be closed, and whoever can hang up could have us reconnect all day.
pub(crate) struct SeenThrough<F>(Option<Pin<Box<F>>>)
where
    F: Future + Send + 'static,
    F::Output: Send;

impl<F> SeenThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F> Future for SeenThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out, so that one that panics is not gone on with.
        let Some(mut future) = self.0.take() else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<F> Drop for SeenThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        if let Some(future) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(future));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_given_up_goes_on() {
        let (open, gate) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut seen = Box::pin(SeenThrough::new(async move {
            let opened: Result<(), _> = gate.await;
            drop(done.send(opened));
        }));
        let polled = std::future::poll_fn(|context| Poll::Ready(seen.as_mut().poll(context))).await;
        assert_eq!(polled, Poll::Pending);
        drop(seen);
        open.send(()).expect("it still waits for the gate");
        let opened = is_done.await.expect("it came to its end");
        assert_eq!(opened, Ok(()));
    }

    #[test]
    fn what_is_given_up_outside_a_runtime_ends() {
        let (open, gate) = oneshot::channel::<()>();
        drop(SeenThrough::new(gate));
        assert!(open.is_closed());
    }
}
