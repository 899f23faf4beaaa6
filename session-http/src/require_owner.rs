//! Who may enter: whoever is logged in, by the name under which the application knows them.

use std::any::type_name;
use std::str::FromStr;

use http::Extensions;
use session_core::Owner;

use crate::error::{Error, Result};
use crate::session::{LazySession, Session};

/// Whose session it is. An axum and actix-web extractor, for handlers that are for visitors who are logged in: others get 401.
///
/// What [`log_in`](crate::SessionBase::log_in) was given is read back as `Id`, which is any type that can be read from text: a
/// number, a UUID, a type of your own, or the [`Owner`] itself. Costs what [`Session`] costs, and nothing beside one.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// use axum::{Router, body::Body, routing::{get, post}};
/// use http::{Request, StatusCode};
/// use session_http::{MemoryStore, RequireOwner, Session, SessionLayer};
/// # use tower::ServiceExt;
///
/// async fn orders(RequireOwner(user_id): RequireOwner<u64>, session: Session) -> String {
///     format!("The orders of user {user_id}; {} names in the session", session.len())
/// }
///
/// let app: Router = Router::new()
///     .route("/orders", get(orders))
///     .route("/login", post(async |session: Session| session.log_in(7_u64).map_err(session_http::Error::from)))
///     .layer(SessionLayer::new(MemoryStore::new()));
///
/// let response = app.clone().oneshot(Request::get("/orders").body(Body::empty())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # let response = app.clone().oneshot(Request::post("/login").body(Body::empty())?).await?;
/// # let cookie = response.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default();
/// # let response = app.oneshot(Request::get("/orders").header("cookie", cookie).body(Body::empty())?).await?;
/// # let text = axum::body::to_bytes(response.into_body(), 100).await?;
/// # assert_eq!(text, "The orders of user 7; 0 names in the session");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To send visitors of pages to the log-in, add [`LoginRequired`](crate::LoginRequired) to the routes. That somebody is logged in
/// says nothing of what they may do: who may see whose orders is for the handler to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "handlers take it apart in their arguments"
)]
pub struct RequireOwner<Id = Owner>(pub Id);

impl<Id: FromStr> RequireOwner<Id> {
    /// The owner of the session of a request with these extensions, for services that are not axum handlers.
    ///
    /// # Errors
    ///
    /// [`Error::NotLoggedIn`] when the session has no owner; [`Error::OwnerOfAnotherType`] when it is no `Id`; otherwise as for
    /// [`Session::from_extensions`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn from_extensions(extensions: &Extensions) -> Result<Self> {
        Self::of(&LazySession::from_extensions(extensions)?).await
    }

    pub(crate) async fn of(lazy: &LazySession) -> Result<Self> {
        let owner = owner_of(lazy).await?;
        owner
            .as_str()
            .parse()
            .map(Self)
            .map_err(|_may_quote_it| Error::OwnerOfAnotherType {
                expected: type_name::<Id>(),
            })
    }
}

/// The session's owner, or the error that is the answer to others.
pub(crate) async fn owner_of(lazy: &LazySession) -> Result<Owner> {
    let session: Session = lazy.load().await?;
    session.owner().ok_or(Error::NotLoggedIn {
        scheme: lazy.scheme(),
    })
}
