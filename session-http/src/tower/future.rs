//! Waits for the handler, then for the commit, and only then lets the response go.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::exchange::{Commit, Exchange, Refusal};

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
        committing: Option<Committing<B>>,
    }
}

struct Committing<B> {
    commit: Commit,
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

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut committing = match this.committing.take() {
            Some(committing) => committing,
            None => {
                let response = match ready!(this.handler.poll(context)) {
                    Ok(response) => response,
                    // No response, no cookie: nothing may be stored that needs one.
                    Err(error) => return Poll::Ready(Err(error)),
                };
                let commit = this
                    .exchange
                    .as_mut()
                    .and_then(|exchange| exchange.commit(response.status()));
                match commit {
                    Some(commit) => Committing { commit, response },
                    None => return Poll::Ready(Ok(response)),
                }
            }
        };
        let Poll::Ready(committed) = committing.commit.as_mut().poll(context) else {
            *this.committing = Some(committing);
            return Poll::Pending;
        };
        let mut response = committing.response;
        if let Some(exchange) = this.exchange.take()
            && let Err(refusal) = exchange.finish(committed, response.headers_mut())
        {
            response = refused(*refusal);
        }
        Poll::Ready(Ok(response))
    }
}

/// What is sent in place of the handler's response.
fn refused<B: Default + 'static>(refusal: Refusal) -> Response<B> {
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
