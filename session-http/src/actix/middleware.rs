//! Puts a session into a request on its way in.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};

use crate::SessionLayer;
use crate::actix::{ResponseFuture, headers};
use crate::exchange::Exchange;
use crate::request::{Carried, NoActivity};
use crate::setup::Setup;

/// For `App::wrap`, and for `wrap` of a scope or a resource. All clones of a layer are one: make it outside of the closure
/// that makes an application for each worker, and clone it there.
impl<S, B> Transform<S, ServiceRequest> for SessionLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = SessionMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<SessionMiddleware<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let setup = Arc::clone(self.setup());
        ready(Ok(SessionMiddleware { inner, setup }))
    }
}

/// A service of actix-web whose requests have sessions. Made by [`SessionLayer`].
#[derive(Debug, Clone)]
pub struct SessionMiddleware<S> {
    inner: S,
    setup: Arc<Setup>,
}

impl<S, B> Service<ServiceRequest> for SessionMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), actix_web::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let exchange = begin(&self.setup, &mut request);
        ResponseFuture::new(self.inner.call(request), exchange)
    }
}

/// As [`Exchange::begin`], for a request of actix-web.
fn begin(setup: &Arc<Setup>, request: &mut ServiceRequest) -> Option<Exchange> {
    let (outer, is_no_activity) = {
        let extensions = request.extensions();
        let outer = extensions.get::<Carried>().cloned();
        (outer, extensions.contains::<NoActivity>())
    };
    if outer
        .as_ref()
        .is_some_and(|outer| outer.serves(&setup.carrier))
    {
        return None;
    }
    let is_safe = request.method().is_safe();
    let is_in_the_clear = setup.asks_how_requests_come() && {
        let uri = headers::origin(request.uri(), request.app_config().secure());
        setup.is_in_the_clear(&uri, &headers::transport(request.headers()))
    };
    let mut lines = headers::with_key(request.headers_mut(), &setup.carrier.request_header());
    let carried = Carried::of_headers(setup, &mut lines, outer, is_no_activity);
    request.extensions_mut().insert(carried.clone());
    Some(Exchange::of(carried, is_safe, is_in_the_clear))
}
