//! Sessions in actix-web: [`SessionLayer`](crate::SessionLayer), [`LoginRequired`](crate::LoginRequired) and
//! [`NoActivity`](crate::NoActivity) as its middleware, [`Session`], [`LazySession`] and [`RequireOwner`] as its extractors,
//! [`Error`] as its response.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use session_http::{MemoryStore, Session, SessionLayer};
//!
//! async fn visits(session: Session) -> session_http::Result<String> {
//!     session.modify("visits", |visits: &mut u32| *visits += 1)?;
//!     let visits: u32 = session.get("visits")?.unwrap_or_default();
//!     Ok(format!("Visit number {visits}\n"))
//! }
//!
//! #[tokio::main] // or #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let sessions = SessionLayer::new(MemoryStore::new()); // one for all workers: made here, and cloned below
//!     HttpServer::new(move || App::new().wrap(sessions.clone()).route("/", web::get().to(visits)))
//!         .bind("127.0.0.1:8000")?
//!         .run()
//!         .await
//! }
//! ```
//!
//! What a request does to the store and what its response gets is the same as with every other framework. What is particular
//! to this one is on the page [`frameworks`](crate::frameworks).

mod future;
mod headers;
mod login_required;
mod middleware;
mod no_activity;

use std::future::{Ready, ready};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};

use crate::error::{Error, Result, client_text};
use crate::marked::{LazySessionOf, SessionOf};
use crate::request::Carried;
use crate::require_owner::RequireOwner;
use crate::session::{LazySession, Session};

pub use future::ResponseFuture;
pub use login_required::LoginRequiredMiddleware;
pub use middleware::SessionMiddleware;
pub use no_activity::NoActivityMiddleware;

/// One look-up in the store, if the client sent a key.
impl FromRequest for Session {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>> + Send>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = carried_by(request);
        Box::pin(async move { session?.load().await })
    }
}

impl FromRequest for LazySession {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(carried_by(request))
    }
}

impl<M: 'static> FromRequest for SessionOf<M> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>> + Send>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = LazySessionOf::carried_by(request.extensions().get());
        Box::pin(async move { session?.load().await })
    }
}

impl<M: 'static> FromRequest for LazySessionOf<M> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::carried_by(request.extensions().get()))
    }
}

impl<Id: FromStr> FromRequest for RequireOwner<Id> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>> + Send>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = carried_by(request);
        Box::pin(async move { Self::of(&session?).await })
    }
}

fn carried_by(request: &HttpRequest) -> Result<LazySession> {
    let extensions = request.extensions();
    let carried = extensions.get::<Carried>().ok_or(Error::MissingLayer)?;
    Ok(LazySession::of(carried))
}

/// [`status`](Error::status) and a fixed text. The log gets the chain. A middleware around finds the error in
/// [`HttpResponse::error`], by `as_error::<session_http::Error>()`.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        headers::status(self.status())
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status();
        self.log(status);
        let mut response = explained(HttpResponse::new(self.status_code()), status);
        headers::add(&self.headers(), response.headers_mut());
        response
    }
}

/// Gives a response the fixed text for a status.
fn explained<B>(response: HttpResponse<B>, status: http::StatusCode) -> HttpResponse {
    let mut response = response.set_body(BoxBody::new(client_text(status)));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
