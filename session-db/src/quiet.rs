//! Keeps a statement out of the log that has a visitor's data in its text.

use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::dispatcher::{self, Dispatch};

/// A future that logs nothing, also when it is given up: the driver logs the text of a statement when it ends.
pub(crate) struct Quiet<F>(Option<Pin<Box<F>>>);

impl<F> Quiet<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match &mut self.0 {
            Some(future) => quietly(|| future.as_mut().poll(context)),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Quiet<F> {
    fn drop(&mut self) {
        quietly(|| drop(self.0.take()));
    }
}

fn quietly<T>(does: impl FnOnce() -> T) -> T {
    // The first subscriber, be it one that hears nothing, takes what tracing has to say from the `log` crate, for good.
    if !dispatcher::has_been_set() {
        return does();
    }
    dispatcher::with_default(&Dispatch::none(), does)
}
