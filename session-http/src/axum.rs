//! Sessions as axum extractors, errors as axum responses.

use std::any::Any;
use std::str::FromStr;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::error::{Error, client_text};
use crate::marked::{LazySessionOf, SessionOf};
use crate::require_owner::RequireOwner;
use crate::session::{LazySession, Session};

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LazySession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

impl<M: 'static, S: Send + Sync> FromRequestParts<S> for SessionOf<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions).await
    }
}

impl<M: 'static, S: Send + Sync> FromRequestParts<S> for LazySessionOf<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

impl<Id, S> FromRequestParts<S> for RequireOwner<Id>
where
    Id: FromStr,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions).await
    }
}

/// [`status`](Error::status), a fixed text, and the error in the extensions as an `Arc<Error>`. The log gets the chain.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        self.log(status);
        let mut response = (status, self.headers(), client_text(status)).into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Gives a response the fixed text for its status, if its body is axum's. Of other bodies the layer knows how to make an
/// empty one, and no more.
pub(crate) fn explain<B: 'static>(response: &mut http::Response<B>) {
    let text = client_text(response.status());
    if let Some(body) = (response.body_mut() as &mut dyn Any).downcast_mut::<Body>() {
        *body = Body::from(text);
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    }
}
