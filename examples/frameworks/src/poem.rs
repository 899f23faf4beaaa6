//! poem: a middleware of a few lines around the layer.
//!
//! poem's own `TowerLayerCompatExt` takes layers of services whose requests are `poem::Request`, and so not this one, whose
//! requests are `http::Request` of any body.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use poem::{
    Endpoint, EndpointExt, Error, FromRequest, Middleware, Request, RequestBody, Response, Result,
    Route, handler,
};
use session_http::{LazySession, SessionLayer};
use tower::{Layer, ServiceExt, service_fn};

type PoemBody = BoxBody<Bytes, io::Error>;

/// The application.
#[must_use]
pub fn app(sessions: SessionLayer) -> impl Endpoint {
    Route::new()
        .at("/*path", page)
        .with(Sessions::from(sessions))
}

#[handler]
async fn page(request: &Request, Visitor(session): Visitor) -> Result<String> {
    let answered = crate::answer(request.uri().path(), &session).await;
    answered.map_err(|error| refused(&error))
}

/// The session, as an extractor.
struct Visitor(LazySession);

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let session = LazySession::from_extensions(request.extensions());
        session.map(Self).map_err(|error| refused(&error))
    }
}

/// poem sends an error's own text, and ours is for the log.
fn refused(error: &session_http::Error) -> Error {
    Error::from_string("Sorry\n", error.status())
}

/// The layer, as a middleware.
#[derive(Debug, Clone)]
pub struct Sessions(SessionLayer);

impl From<SessionLayer> for Sessions {
    fn from(layer: SessionLayer) -> Self {
        Self(layer)
    }
}

impl<E: Endpoint + 'static> Middleware<E> for Sessions {
    type Output = WithSessions<E>;

    fn transform(&self, inner: E) -> WithSessions<E> {
        WithSessions {
            sessions: self.0.clone(),
            inner: Arc::new(inner),
        }
    }
}

/// An endpoint whose requests have sessions.
#[derive(Debug)]
pub struct WithSessions<E> {
    sessions: SessionLayer,
    inner: Arc<E>,
}

impl<E: Endpoint + 'static> Endpoint for WithSessions<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        // The layer does not look into bodies: poem's request is the body, with all that routers have put into it.
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = std::mem::take(request.headers_mut());
        *head.extensions_mut() = std::mem::take(request.extensions_mut());
        let inner = Arc::clone(&self.inner);
        let service = service_fn(move |head: http::Request<Request>| {
            let inner = Arc::clone(&inner);
            async move {
                let (head, mut request) = head.into_parts();
                *request.headers_mut() = head.headers;
                *request.extensions_mut() = head.extensions;
                let response = inner.get_response(request).await;
                Ok::<http::Response<PoemBody>, Infallible>(response.into())
            }
        });
        let service = self.sessions.layer(service);
        let Ok(response) = service.oneshot(head.map(|()| request)).await;
        Ok(response.into())
    }
}
