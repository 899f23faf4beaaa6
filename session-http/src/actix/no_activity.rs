//! Marks requests that are no sign of life from their visitor.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::dev::{Service, ServiceRequest, Transform};

use crate::NoActivity;
use crate::request::{self, Carried};

/// For `wrap` of an application, a scope or a resource.
impl<S> Transform<S, ServiceRequest> for NoActivity
where
    S: Service<ServiceRequest>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Transform = NoActivityMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<NoActivityMiddleware<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(NoActivityMiddleware(inner)))
    }
}

/// A service of actix-web whose requests are no sign of life. Made by [`NoActivity`].
#[derive(Debug, Clone)]
pub struct NoActivityMiddleware<S>(S);

impl<S> Service<ServiceRequest> for NoActivityMiddleware<S>
where
    S: Service<ServiceRequest>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> S::Future {
        let mut extensions = request.extensions_mut();
        if let Some(carried) = extensions.get::<Carried>() {
            carried.ignore_activity();
        }
        extensions.insert(request::NoActivity);
        drop(extensions);
        self.0.call(request)
    }
}
