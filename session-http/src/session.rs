//! What a handler asks for: the session, loaded, or the promise of one.

use std::ops::Deref;

use http::Extensions;
use session_core::SessionBase;

use crate::error::{Error, Result};
use crate::request::Carried;

/// The visitor's session, loaded. An axum and actix-web extractor; derefs to [`SessionBase`], which has all its methods.
///
/// Extracting it costs one look-up in the store if the client sent a key, and none if it did not. Everything in one
/// request that asks for the session shares one state, and clones do, too: one may be moved into a task. A response whose
/// handler asked for the session gets `Vary: Cookie`, used or not; see [`LazySession`] for handlers that rarely need it.
///
/// ```
/// use session_http::Session;
///
/// async fn visits(session: Session) -> session_http::Result<String> {
///     let visits = session.modify_now("visits", |visits: &mut u32| { *visits += 1; *visits }).await?;
///     Ok(format!("Visit number {visits}"))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Session(SessionBase);

impl Session {
    async fn of(carried: &Carried) -> Result<Self> {
        Ok(Self(carried.0.slot().session().await.map_err(Error::from)?))
    }

    /// The session of a request with these extensions, for services that are not axum handlers.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`] when no [`SessionLayer`](crate::SessionLayer) has seen the request; [`Error::Session`] when
    /// the store can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn from_extensions(extensions: &Extensions) -> Result<Self> {
        Self::of(Carried::of(extensions)?).await
    }
}

impl Deref for Session {
    type Target = SessionBase;

    fn deref(&self) -> &SessionBase {
        &self.0
    }
}

/// The visitor's session, not loaded yet. An axum and actix-web extractor that costs nothing.
///
/// ```
/// use session_http::LazySession;
///
/// async fn log_out(session: LazySession) -> &'static str {
///     session.log_out(); // one round trip to the store instead of two
///     "Goodbye"
/// }
/// ```
#[derive(Debug, Clone)]
pub struct LazySession(Carried);

impl LazySession {
    /// The session that a request carries.
    pub(crate) fn of(carried: &Carried) -> Self {
        Self(carried.clone())
    }

    /// The session of a request with these extensions, for services that are not axum handlers.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use session_http::{Error, LazySession};
    ///
    /// async fn greet(request: Request<String>) -> Result<Response<String>, Error> {
    ///     let session = LazySession::from_extensions(request.extensions())?;
    ///     let name: Option<String> = match request.uri().path() {
    ///         "/" => session.load().await?.get("name")?,
    ///         _ => None,
    ///     };
    ///     Ok(Response::new(format!("Hello {}", name.unwrap_or_default())))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`] when no [`SessionLayer`](crate::SessionLayer) has seen the request.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self> {
        Carried::of(extensions).map(|carried| Self(carried.clone()))
    }

    /// The session, loaded at the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] when the store can't be asked. The next call tries again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn load(&self) -> Result<Session> {
        Session::of(&self.0).await
    }

    /// The scheme by which HTTP knows the way in which keys come here, if it does.
    pub(crate) fn scheme(&self) -> Option<&'static str> {
        self.0.0.setup().carrier.scheme()
    }

    /// Ends the session without loading it: the record dies when the response is ready, and the client is told to forget
    /// its key. Stands also if the response is a server error. Where the response is already out, as in a streaming body,
    /// nothing ends before a `load().await?.save().await?`.
    pub fn log_out(&self) {
        self.0.0.slot().log_out();
    }
}
