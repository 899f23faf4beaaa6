//! Lets in who is logged in, and sends the others to the log-in page or away.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{HttpMessage, HttpResponse};

use crate::LoginRequired;
use crate::actix::headers;
use crate::error::Error;
use crate::require_owner::owner_of;

/// For `wrap` of a scope or a resource, inside of the [`SessionLayer`](crate::SessionLayer).
impl<S, B> Transform<S, ServiceRequest> for LoginRequired
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = LoginRequiredMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<LoginRequiredMiddleware<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(LoginRequiredMiddleware {
            inner: Rc::new(inner),
            layer: self.clone(),
        }))
    }
}

/// A service of actix-web for visitors who are logged in. Made by [`LoginRequired`].
#[derive(Debug)]
pub struct LoginRequiredMiddleware<S> {
    inner: Rc<S>,
    layer: LoginRequired,
}

impl<S, B> Service<ServiceRequest> for LoginRequiredMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, actix_web::Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), actix_web::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (inner, layer) = (Rc::clone(&self.inner), self.layer.clone());
        Box::pin(async move {
            let session = layer.session_in(request.extensions().get());
            let entered = match session {
                Ok(lazy) => owner_of(&lazy).await,
                Err(error) => Err(error),
            };
            match entered {
                Ok(_owner) => Ok(inner.call(request).await?.map_into_left_body()),
                Err(error) => {
                    let response = answer(&layer, error, &request).map_into_right_body();
                    // `ServiceRequest::into_response` would lose the error.
                    Ok(ServiceResponse::new(request.into_parts().0, response))
                }
            }
        })
    }
}

fn answer(layer: &LoginRequired, error: Error, request: &ServiceRequest) -> HttpResponse {
    let question = headers::question(request.head());
    let Some(redirection) = layer.redirect::<(), ()>(&error, &question) else {
        return HttpResponse::from_error(error);
    };
    let mut response = HttpResponse::new(headers::status(redirection.status()));
    headers::add(redirection.headers(), response.headers_mut());
    response
}
