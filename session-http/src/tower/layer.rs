//! Which services get sessions, and with what settings.

use std::sync::Arc;

use session_core::{Reissue, Renewal, SessionManager};
use tower_layer::Layer;

use crate::carrier::{Carrier, KeyHeader};
use crate::config::{CookieConfig, Interruption};
use crate::marked::Marker;
use crate::setup::Setup;
use crate::tower::SessionService;

/// Gives every request a session. A [`tower_layer::Layer`], and with the feature `actix-web` a middleware of actix-web's; cheap to
/// clone, and it can't fail.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
/// use session_http::{MemoryStore, Session, SessionLayer};
///
/// let app: Router = Router::new()
///     .route("/", get(async |session: Session| session.len().to_string()))
///     .layer(SessionLayer::new(MemoryStore::new())); // after the routes that need it
/// # }
/// ```
///
/// A request that nobody asks for its session is passed on and answered without a look at its cookies. For others the
/// changes are stored when the response is ready and before its headers go out; the crate's documentation has a table of
/// what a response gets.
///
/// If a request passes two layers of the same cookie name (or the same header), the inner one does nothing. With different names both work, and
/// extractors give the innermost layer's session; [`SessionOf`](crate::SessionOf) names another.
#[derive(Debug, Clone)]
#[must_use = "add it to a router or a service"]
pub struct SessionLayer(Arc<Setup>);

impl SessionLayer {
    /// Sessions of `manager`, or of a store under the default policy.
    pub fn new(manager: impl Into<SessionManager>) -> Self {
        Self(Arc::new(Setup::new(manager.into())))
    }

    /// What the cookie looks like.
    pub fn with_cookie(self, cookie: CookieConfig) -> Self {
        self.with(|setup| setup.carrier = Carrier::Cookie(cookie))
    }

    /// Takes the session's key from `Authorization: Bearer …` (RFC 6750 section 2.1) in place of a cookie: for apps and other
    /// programs that call an API.
    ///
    /// A client that gets a new key finds it in the response's header `Session-Token`, and is to send it from then on; an empty one
    /// says that the session has ended. No `Set-Cookie` is sent, and cookies are not looked at: a layer has one way in which keys
    /// come, and the last call that chooses one counts. [The crate's page](crate#keys-in-a-header) says more.
    ///
    /// ```
    /// # #[cfg(feature = "axum")]
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// use axum::{Router, body::Body, routing::{get, post}};
    /// use http::Request;
    /// use session_http::{MemoryStore, Session, SessionLayer};
    /// # use tower::ServiceExt;
    ///
    /// let app: Router = Router::new()
    ///     .route("/log-in", post(async |session: Session| session.log_in("ada").map_err(session_http::Error::from)))
    ///     .route("/is-logged-in", get(async |session: Session| session.owner().is_some().to_string()))
    ///     .layer(SessionLayer::new(MemoryStore::new()).with_bearer_token());
    ///
    /// let response = app.clone().oneshot(Request::post("/log-in").body(Body::empty())?).await?;
    /// let token = response.headers()["session-token"].to_str()?;
    ///
    /// let request = Request::get("/is-logged-in").header("authorization", format!("Bearer {token}"));
    /// let response = app.oneshot(request.body(Body::empty())?).await?;
    /// assert_eq!(axum::body::to_bytes(response.into_body(), 10).await?, "true");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_bearer_token(self) -> Self {
        self.with(|setup| setup.carrier = Carrier::Bearer)
    }

    /// Takes the session's key from a header of this name in place of a cookie, and tells of another key in a header of the same
    /// name. Otherwise as [`with_bearer_token`](Self::with_bearer_token).
    pub fn with_header(self, header: KeyHeader) -> Self {
        self.with(|setup| setup.carrier = Carrier::Header(header))
    }

    /// What a request is answered whose session another request has ended under it.
    pub fn with_interruption(self, interruption: Interruption) -> Self {
        self.with(|setup| setup.interruption = interruption)
    }

    /// Marks the layer, so that [`SessionOf<M>`](crate::SessionOf) means this one among several that a request passes. `M` is any
    /// type. Give each layer a cookie of its own.
    pub fn with_marker<M: 'static>(self) -> Self {
        self.with(|setup| setup.marker = Some(Marker::of::<M>()))
    }

    /// As Django behaves with its default settings, all at once:
    ///
    /// | | otherwise | here |
    /// | --- | --- | --- |
    /// | the cookie | `__Host-sessionid; Path=/; HttpOnly; Secure; SameSite=Lax` | `sessionid; Path=/; HttpOnly; SameSite=Lax` |
    /// | what renews a session | reading and writing it | writing it ([`Renewal::OnSave`]) |
    /// | a client gets its key again | when it was created, rotated or re-timed | with every save ([`Reissue::OnSave`]) |
    /// | a request whose session ended under it | 409, or its response if its method is safe | 400 |
    ///
    /// [`Renewal::EveryRequest`], Django's `SESSION_SAVE_EVERY_REQUEST`, stays if the manager's policy has it.
    ///
    /// This brings Django's risk along: a slow response may put an old key back in the place of the one that a parallel
    /// log-in has just sent, and that visitor is logged out. And the cookie travels over plain HTTP as well: add
    /// [`with_cookie`](Self::with_cookie) behind this call for `Secure`.
    pub fn django_compatible(self) -> Self {
        self.with(|setup| {
            let mut policy = setup.manager.policy().clone();
            if policy.renewal() != Renewal::EveryRequest {
                policy = policy.with_renewal(Renewal::OnSave);
            }
            policy = policy.with_reissue(Reissue::OnSave);
            setup.manager = setup.manager.clone().with_policy(policy);
            setup.carrier = Carrier::Cookie(CookieConfig::django_default());
            setup.interruption = Interruption::BadRequest;
        })
    }

    /// For development on another host than `localhost`, without HTTPS: takes from the cookie whatever makes browsers refuse
    /// it there. `Secure` and `Partitioned` go, and so does a prefix such as `__Host-`; `SameSite=None` becomes `Lax`. To be
    /// called after [`with_cookie`](Self::with_cookie).
    ///
    /// Whoever listens on the way can then take over every session, and so can a sister domain. You owe it to your visitors
    /// that this call is never made in production; tie it to a build or a setting that production does not have.
    pub fn with_insecure_plain_http(self) -> Self {
        self.with(|setup| {
            if let Carrier::Cookie(cookie) = &setup.carrier {
                setup.carrier = Carrier::Cookie(cookie.clone().into_insecure());
            }
        })
    }

    /// What all requests that pass this layer and its clones have in common.
    #[cfg(any(feature = "actix-web", feature = "test-util"))]
    pub(crate) fn setup(&self) -> &Arc<Setup> {
        &self.0
    }

    fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        let setup = Arc::make_mut(&mut self.0);
        change(setup);
        setup.fit_to_carrier();
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, Arc::clone(&self.0))
    }
}
