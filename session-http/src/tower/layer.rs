//! Which services get sessions, and with what settings.

use std::sync::Arc;

use session_core::{Reissue, Renewal, SessionManager};
use tower_layer::Layer;

use crate::config::{CookieConfig, Interruption};
use crate::setup::Setup;
use crate::tower::SessionService;

/// Gives every request a session. A [`tower_layer::Layer`]; cheap to clone, and it can't fail.
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
/// If a request passes two layers of the same cookie name, the inner one does nothing. With different names both work, and
/// extractors give the innermost layer's session.
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
        self.with(|setup| setup.cookie = cookie)
    }

    /// What a request is answered whose session another request has ended under it.
    pub fn with_interruption(self, interruption: Interruption) -> Self {
        self.with(|setup| setup.interruption = interruption)
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
            setup.cookie = CookieConfig::django_default();
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
        self.with(|setup| setup.cookie = setup.cookie.clone().into_insecure())
    }

    /// What all requests that pass this layer and its clones have in common.
    #[cfg(feature = "actix-web")]
    pub(crate) fn setup(&self) -> &Arc<Setup> {
        &self.0
    }

    fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, Arc::clone(&self.0))
    }
}
