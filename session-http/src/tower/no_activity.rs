//! Marks requests that are no sign of life from their visitor.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::request;

/// Makes a route's requests no sign of life from their visitor: a page that asks for news by itself would otherwise keep its
/// session alive for ever, in an empty room. A [`tower_layer::Layer`] for routes; their handlers stay as they are.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
/// use session_http::{MemoryStore, NoActivity, Session, SessionLayer};
///
/// async fn unread(session: Session) -> session_http::Result<String> {
///     Ok(session.get::<u32>("unread")?.unwrap_or_default().to_string())
/// }
///
/// let app: Router = Router::new()
///     .route("/unread", get(unread).layer(NoActivity::new())) // asked for every ten seconds
///     .route("/", get(async || "the page that asks"))
///     .layer(SessionLayer::new(MemoryStore::new()));
/// # }
/// ```
///
/// Such a request renews no session, whatever the policy's [`Renewal`](crate::Renewal) says. What it changes is stored all the
/// same. A handler that knows better calls [`set_activity`](crate::SessionBase::set_activity), which has the last word.
///
/// It may stand inside of the [`SessionLayer`](crate::SessionLayer), as above, or around it.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "add it to a route or a service"]
pub struct NoActivity(());

impl NoActivity {
    /// The layer.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for NoActivity {
    type Service = NoActivityService<S>;

    fn layer(&self, inner: S) -> NoActivityService<S> {
        NoActivityService(inner)
    }
}

/// A service whose requests are no sign of life. Made by [`NoActivity`].
#[derive(Debug, Clone)]
pub struct NoActivityService<S>(S);

impl<S, B> Service<Request<B>> for NoActivityService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request::ignore_activity(request.extensions_mut());
        self.0.call(request)
    }
}
