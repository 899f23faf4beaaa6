//! What a handler can fail with, and what the visitor is told of it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use session_http::SessionError;

/// What handlers return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Session(#[from] session_http::Error),
    #[error("the users' table can't be read")]
    Users(#[from] sqlx::Error),
    #[error("a password could not be checked")]
    Password(#[from] tokio::task::JoinError),
    #[error("the form is not filled in as it should be: {0}")]
    Form(&'static str),
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Form(advice) => (StatusCode::BAD_REQUEST, advice).into_response(),
            Self::Users(_) | Self::Password(_) => {
                tracing::error!("{}", crate::chain(&self));
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }
}
