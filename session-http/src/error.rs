//! What can go wrong between a handler and its session, and what a client is told of it.

use std::fmt;

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use session_core::SessionError;

/// What handlers return: `async fn handler(session: Session) -> session_http::Result<String>`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no session, or why it could not be used.
///
/// As a response it is [`status`](Self::status) and a fixed text, which tells the client nothing else. What happened is
/// for the log, which gets the whole chain, and for outer layers, which find an `Arc<session_http::Error>` in the
/// response's extensions. No part of it holds a session's key or data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session could not be read, changed or stored.
    #[error("the session can't be used")]
    Session(#[from] SessionError),
    /// A handler asked for the session, and no [`SessionLayer`](crate::SessionLayer) has seen the request.
    #[error(
        "no `session_http::SessionLayer` has seen this request: add it after the routes that need it, since `Router::layer` \
         and `Router::route_layer` apply only to routes that were added before; in a `ServiceBuilder`, put it above whatever \
         asks for the session; with actix-web, `wrap` it around the application or the scope"
    )]
    MissingLayer,
    /// The session has no owner, and what was asked for is for visitors who are logged in.
    #[error("nobody is logged in: this is for visitors who are")]
    #[non_exhaustive]
    NotLoggedIn {
        /// The scheme by which a client may prove who it is, if it is one that HTTP knows: `Bearer`.
        scheme: Option<&'static str>,
    },
    /// The session's owner can't be read as the type that a handler asked for. Who is logged in must not be taken for somebody else.
    #[error(
        "the session's owner can't be read as {expected}: ask for the type that `log_in` is given"
    )]
    #[non_exhaustive]
    OwnerOfAnotherType {
        /// The type's name.
        expected: &'static str,
    },
    /// A handler asked for the session of one of several layers, and no layer with that mark serves the request.
    #[error(
        "no `session_http::SessionLayer` that is marked with `{marker}` serves this request: call `with_marker` on the layer, add \
         it after the routes that need it, and give it a cookie or header of its own, since of two layers with the same one the \
         inner one does nothing"
    )]
    #[non_exhaustive]
    MissingMarkedLayer {
        /// The type that was asked for.
        marker: &'static str,
    },
    /// A cookie's configuration is not valid, or contradicts itself.
    #[error("the session cookie is not configured correctly: {advice}")]
    #[non_exhaustive]
    InvalidCookie {
        /// What is wrong, and what to do about it.
        advice: &'static str,
    },
    /// A setting of [`SessionSettings`](crate::SessionSettings) can't be used, or is none.
    #[error("the session setting {setting} {advice}")]
    #[non_exhaustive]
    InvalidSetting {
        /// Its name, as it was written.
        setting: String,
        /// What is wrong, and what to do about it. Nothing of what the setting holds.
        advice: String,
    },
    /// The header that is to carry a session's key can't.
    #[error("the header for the session's key is not configured correctly: {advice}")]
    #[non_exhaustive]
    InvalidHeader {
        /// What is wrong, and what to do about it.
        advice: &'static str,
    },
}

impl Error {
    /// The status to answer with.
    ///
    /// | error | status |
    /// | --- | --- |
    /// | the store can't be asked, or others were always faster ([`SessionError::is_unavailable`]) | 503 |
    /// | [`SessionError::TooManyNewSessions`]: the minute's budget is used up, by whomever | 503 |
    /// | [`SessionError::Interrupted`] | 409 |
    /// | [`NotLoggedIn`](Self::NotLoggedIn) | 401 |
    /// | [`SessionError::InvalidHandle`] | 400 |
    /// | [`SessionError::NoOwner`] | 403 |
    /// | everything else, a server's secret that can't be used ([`SessionError`]'s `InvalidKey`) included | 500 |
    ///
    /// ```
    /// use http::StatusCode;
    /// use session_http::{Error, SessionError};
    ///
    /// assert_eq!(Error::from(SessionError::Interrupted).status(), StatusCode::CONFLICT);
    /// assert_eq!(Error::MissingLayer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    /// ```
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Session(error) if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Session(SessionError::Interrupted) => StatusCode::CONFLICT,
            Self::Session(SessionError::InvalidHandle) => StatusCode::BAD_REQUEST,
            Self::Session(SessionError::NoOwner) => StatusCode::FORBIDDEN,
            Self::NotLoggedIn { .. } => StatusCode::UNAUTHORIZED,
            Self::Session(_)
            | Self::MissingLayer
            | Self::MissingMarkedLayer { .. }
            | Self::OwnerOfAnotherType { .. }
            | Self::InvalidCookie { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidHeader { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What its response says beside the status and the text.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Self::NotLoggedIn { scheme } = self {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            if let Some(scheme) = scheme {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        headers
    }

    /// Tells the log, where somebody can do something about it. A client's own doing is no error of the server.
    pub(crate) fn log(&self, status: StatusCode) {
        let chain = Chain(self);
        // A flood: the core tells of it once a minute, and a line for each refusal would make it a flood of the log as well.
        let is_told_already =
            matches!(self, Self::Session(SessionError::TooManyNewSessions { .. }));
        if status.is_server_error() && !is_told_already {
            tracing::error!(status = status.as_u16(), error = %chain, "a request failed over its session");
        } else {
            tracing::debug!(status = status.as_u16(), error = %chain, "a request was refused over its session");
        }
    }
}

/// The fixed text that a client gets.
#[cfg(any(feature = "actix-web", feature = "axum"))]
pub(crate) fn client_text(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            "The service is not available at the moment. Please try again.\n"
        }
        StatusCode::CONFLICT => {
            "Your session ended while this request was being answered. Please start again.\n"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Please log in first.\n",
        _ if status.is_client_error() => "This request can't be answered. Please start again.\n",
        _ => "Something went wrong on the server.\n",
    }
}

/// An error and its causes in one line, since not every subscriber prints causes.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
