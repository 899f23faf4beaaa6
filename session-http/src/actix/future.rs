//! Waits for the handler, then for the commit, and only then lets the response go.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::EitherBody;
use actix_web::dev::ServiceResponse;
use http::StatusCode;
use pin_project_lite::pin_project;
use session_core::adapter::Outcome;

use crate::actix::{explained, headers};
use crate::exchange::{Commit, Committed, Exchange, PendingCommit, Refusal, is_early};

pin_project! {
    /// The response of a [`SessionMiddleware`](crate::actix::SessionMiddleware). Nothing is boxed unless there is something
    /// to store.
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
        committing: Option<Box<Committing<B>>>,
    }
}

struct Committing<B> {
    commit: PendingCommit,
    response: ServiceResponse<B>,
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn new(handler: F, exchange: Option<Exchange>) -> Self {
        Self {
            handler,
            exchange,
            committing: None,
        }
    }
}

impl<F, B> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, actix_web::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
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
                let status = status_of(&response);
                if is_early(status) {
                    this.exchange.take();
                }
                let Some(exchange) = this.exchange.as_mut() else {
                    return Poll::Ready(Ok(response.map_into_left_body()));
                };
                match exchange.commit(status) {
                    Commit::Done(Outcome::Untouched) => {
                        return Poll::Ready(Ok(response.map_into_left_body()));
                    }
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
            None => response.map_into_left_body(),
        }))
    }
}

/// A status that is none of `http`'s is no success.
fn status_of<B>(response: &ServiceResponse<B>) -> StatusCode {
    StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn finish<B>(
    exchange: Exchange,
    committed: Committed,
    mut response: ServiceResponse<B>,
) -> ServiceResponse<EitherBody<B>> {
    let key = exchange.response_header();
    let mut copy = headers::of_response(response.headers(), &key);
    match exchange.finish(committed, &mut copy) {
        Ok(()) => {
            headers::put_back(&copy, response.headers_mut(), &key);
            response.map_into_left_body()
        }
        Err(refusal) => response.into_response(refused(*refusal).map_into_right_body()),
    }
}

/// What is sent in place of the handler's response.
fn refused(refusal: Refusal) -> HttpResponse {
    let Refusal {
        status,
        headers,
        error,
    } = refusal;
    // This logs the error, and keeps it where a middleware around finds it.
    let mut response = explained(HttpResponse::from_error(error), status);
    *response.status_mut() = headers::status(status);
    headers::add(&headers, response.headers_mut());
    response
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("is_committing", &self.committing.is_some())
            .finish_non_exhaustive()
    }
}
