//! Makes a part of our session a session of tower-sessions, which is what axum-login works on.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum_login::tower_sessions::cookie::time::PrimitiveDateTime;
use axum_login::tower_sessions::session::{Id, Record};
use axum_login::tower_sessions::{Session as TheirSession, SessionStore, session_store};
use serde_json::{Map, Value};
use session_http::{Session, SessionError};

/// Where axum-login keeps who is logged in, for `AuthManager::new`.
pub const AUTH_KEY: &str = "axum-login.data";
/// Where our session keeps theirs.
const NAME: &str = "tower_sessions";
/// There is one session in a request. Its key is ours, and nobody else is told of this.
const ID: Id = Id(1);

/// Puts their session into a request, for [`axum::middleware::from_fn`]. Inside of our `SessionLayer`, around axum-login's `AuthManager`.
///
/// # Errors
///
/// 500 when theirs can't be put into ours.
pub async fn bridge(
    ours: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let id = ours.contains_key(NAME).then_some(ID);
    let store = Arc::new(InOurs(ours.clone()));
    let theirs = TheirSession::new(id, store, None);
    request.extensions_mut().insert(theirs.clone());
    let response = next.run(request).await;
    // As their own layer does. Ours stores it, or drops it if the response is a server's error.
    if theirs.is_modified() && !theirs.is_empty().await {
        theirs
            .save()
            .await
            .map_err(|_says_too_much| StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    Ok(response)
}

/// A store with room for one session: in ours.
#[derive(Debug)]
struct InOurs(Session);

#[async_trait]
impl SessionStore for InOurs {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        record.id = ID;
        self.save(record).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let Self(ours) = self;
        let owner = record.data.get(AUTH_KEY).and_then(owner_in);
        // A log-in: another key, and nothing of another owner's is left.
        if let Some(owner) = owner
            && ours.owner().is_none_or(|present| present.as_str() != owner)
        {
            ours.log_in(owner).map_err(backend)?;
        }
        ours.set(NAME, &record.data).map_err(backend)
    }

    async fn load(&self, _: &Id) -> session_store::Result<Option<Record>> {
        let data = self.0.get::<Map<String, Value>>(NAME).map_err(backend)?;
        Ok(data.map(|data| Record {
            id: ID,
            data: data.into_iter().collect(),
            // Ours ends it.
            expiry_date: PrimitiveDateTime::MAX.assume_utc(),
        }))
    }

    /// Called for a log-out, and before a log-in gives an anonymous visitor another id, which is to keep its cart.
    async fn delete(&self, _: &Id) -> session_store::Result<()> {
        if self.0.owner().is_some() {
            self.0.log_out();
        } else {
            self.0.remove(NAME);
        }
        Ok(())
    }
}

/// The user's id in what axum-login keeps, as text.
fn owner_in(auth: &Value) -> Option<String> {
    match auth.get("user_id")? {
        Value::Null => None,
        Value::String(id) => Some(id.clone()),
        other => Some(other.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "given to `map_err`")]
fn backend(error: SessionError) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}
