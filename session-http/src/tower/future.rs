//! Waits for the handler, then for the commit, and only then lets the response go.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use session_core::adapter::Outcome;

use crate::exchange::{Commit, Committed, Exchange, PendingCommit, Refusal, is_early};

pin_project! {
    /// The response of a [`SessionService`](crate::tower::SessionService). Nothing is boxed unless there is something to
    /// store.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the handler is done: nothing is stored but what an `.await` of the handler has acknowledged. Dropped
    /// during the commit: each of its writes has happened or not, never half.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        #[pin]
        handler: F,
        exchange: Option<Exchange>,
        // In a box, since axum moves this future about and few requests get here.
        committing: Option<Box<Committing<B>>>,
    }
}

struct Committing<B> {
    commit: PendingCommit,
    response: Response<B>,
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) fn new(handler: F, exchange: Option<Exchange>) -> Self {
        Self {
            handler,
            exchange,
            committing: None,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default + 'static,
{
    type Output = F::Output;

    // Every layer that a response passes as an argument copies it once more.
    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (committed, response) = match this.committing.take() {
            Some(mut committing) => match committing.commit.as_mut().poll(context) {
                Poll::Ready(committed) => (committed, committing.response),
                Poll::Pending => {
                    *this.committing = Some(committing);
                    return Poll::Pending;
                }
            },
            None => {
                // After an error there is no response and no cookie: nothing may be stored that needs one.
                let response = ready!(this.handler.poll(context))?;
                if is_early(response.status()) {
                    this.exchange.take();
                    return Poll::Ready(Ok(response));
                }
                let Some(exchange) = this.exchange.as_mut() else {
                    return Poll::Ready(Ok(response));
                };
                match exchange.commit(response.status()) {
                    Commit::Done(Outcome::Untouched) => return Poll::Ready(Ok(response)),
                    Commit::Done(outcome) => (Ok(outcome), response),
                    Commit::Pending(mut commit) => match commit.as_mut().poll(context) {
                        Poll::Ready(committed) => (committed, response),
                        Poll::Pending => {
                            *this.committing = Some(Box::new(Committing { commit, response }));
                            return Poll::Pending;
                        }
                    },
                }
            }
        };
        Poll::Ready(Ok(match this.exchange.take() {
            Some(exchange) => finish(exchange, committed, response),
            None => response,
        }))
    }
}

fn finish<B: Default + 'static>(
    exchange: Exchange,
    committed: Committed,
    mut response: Response<B>,
) -> Response<B> {
    match exchange.finish(committed, response.headers_mut()) {
        Ok(()) => response,
        Err(refusal) => refused(*refusal),
    }
}

/// What is sent in place of the handler's response.
pub(crate) fn refused<B: Default + 'static>(refusal: Refusal) -> Response<B> {
    let Refusal {
        status,
        headers,
        error,
    } = refusal;
    error.log(status);
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    #[cfg(feature = "axum")]
    crate::axum::explain(&mut response);
    response.extensions_mut().insert(Arc::new(error));
    response
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("is_committing", &self.committing.is_some())
            .finish_non_exhaustive()
    }
}
