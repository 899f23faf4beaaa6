//! poem: a middleware of a few lines around the layer.
//!
//! poem's own `TowerLayerCompatExt` takes layers of services whose requests are `poem::Request`, and so not this one, whose
//! requests are `http::Request`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request as HttpRequest, Response as HttpResponse};
use http_body_util::combinators::BoxBody;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{
    Body, Endpoint, EndpointExt, Error, FromRequest, Middleware, Request, RequestBody,
    RequestParts, Response, Result, Route, handler,
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
    answered.map_err(refused)
}

/// The session, as an extractor.
struct Visitor(LazySession);

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let session = LazySession::from_extensions(request.extensions());
        session.map(Self).map_err(refused)
    }
}

fn refused(error: session_http::Error) -> Error {
    let status = error.status();
    Error::new(error, status)
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

    async fn call(&self, request: Request) -> Result<Response> {
        let (inner, origin) = (Arc::clone(&self.inner), Origin::of(&request));
        let service = service_fn(move |request: HttpRequest<PoemBody>| {
            let (inner, origin) = (Arc::clone(&inner), origin.clone());
            async move {
                let response = inner.get_response(origin.put_back(request)).await;
                Ok::<HttpResponse<PoemBody>, Infallible>(response.into())
            }
        });
        let service = self.sessions.layer(service);
        let Ok(response) = service.oneshot(request.into()).await;
        Ok(response.into())
    }
}

/// What a request of poem's has and one of `http`'s has not.
#[derive(Clone)]
struct Origin {
    local: LocalAddr,
    remote: RemoteAddr,
    scheme: Scheme,
}

impl Origin {
    fn of(request: &Request) -> Self {
        Self {
            local: request.local_addr().clone(),
            remote: request.remote_addr().clone(),
            scheme: request.scheme().clone(),
        }
    }

    fn put_back(self, request: HttpRequest<PoemBody>) -> Request {
        let (parts, body) = request.into_parts();
        let parts = RequestParts::from((parts, self.local, self.remote, self.scheme));
        Request::from_parts(parts, Body::from(body))
    }
}
