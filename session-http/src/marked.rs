//! Several sessions in one request: which layer an extractor means.

use std::any::{TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use http::Extensions;
use session_core::SessionBase;

use crate::error::{Error, Result};
use crate::request::Carried;
use crate::session::{LazySession, Session};

/// By what a layer is told from the others that a request passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker {
    id: TypeId,
    pub(crate) name: &'static str,
}

impl Marker {
    pub(crate) fn of<M: 'static>() -> Self {
        Self {
            id: TypeId::of::<M>(),
            name: type_name::<M>(),
        }
    }

    pub(crate) fn is_same(self, other: Self) -> bool {
        self.id == other.id
    }
}

/// The session of the layer that is marked with `M`, loaded: for requests that pass several. An extractor, as [`Session`] is.
///
/// A back office beside the shop wants a cookie of its own, which ends sooner and is sent to nobody else's pages. `M` is any type,
/// such as an empty enum:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use session_http::{CookieConfig, KeyPolicy, MemoryStore, Policy, SameSite, Session, SessionLayer, SessionManager, SessionOf};
///
/// enum BackOffice {}
///
/// async fn impersonate(shop: Session, office: SessionOf<BackOffice>) -> session_http::Result<()> {
///     // Each is changed, stored and ended on its own.
///     office.set("looked_at", &17)?;
///     shop.log_out();
///     Ok(())
/// }
///
/// let store = std::sync::Arc::new(MemoryStore::new());
/// let shop = SessionLayer::new(SessionManager::new(std::sync::Arc::clone(&store)));
/// let office_policy = Policy::new()
///     .with_idle_timeout(Duration::from_secs(15 * 60))
///     .with_keys(KeyPolicy::hashed_for("back office")); // one store: no key of the one opens the other
/// let office_cookie = CookieConfig::builder()
///     .with_name("__Host-office")
///     .with_same_site(SameSite::Strict)
///     .build()?;
/// let office = SessionLayer::new(SessionManager::new(store).with_policy(office_policy))
///     .with_cookie(office_cookie)
///     .with_marker::<BackOffice>();
///
/// let app: Router = Router::new()
///     .route("/impersonate", post(impersonate))
///     .layer(shop) // the innermost, which `Session` means
///     .layer(office);
/// # }
/// # Ok::<(), session_http::Error>(())
/// ```
///
/// [The crate's page](crate#several-sessions) has what to mind.
pub struct SessionOf<M>(Session, PhantomData<fn() -> M>);

/// As [`SessionOf`], not loaded yet. An extractor that costs nothing, as [`LazySession`] is, to which it derefs.
pub struct LazySessionOf<M>(LazySession, PhantomData<fn() -> M>);

impl<M: 'static> SessionOf<M> {
    /// The session of a request with these extensions, for services that are not axum handlers.
    ///
    /// # Errors
    ///
    /// [`Error::MissingMarkedLayer`] when no layer with this mark serves the request; otherwise as for
    /// [`Session::from_extensions`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn from_extensions(extensions: &Extensions) -> Result<Self> {
        LazySessionOf::from_extensions(extensions)?.load().await
    }
}

impl<M: 'static> LazySessionOf<M> {
    /// The session of a request with these extensions, for services that are not axum handlers.
    ///
    /// # Errors
    ///
    /// [`Error::MissingMarkedLayer`] when no layer with this mark serves the request.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self> {
        Self::carried_by(extensions.get())
    }

    /// Looks through what the layers have put into the request.
    pub(crate) fn carried_by(innermost: Option<&Carried>) -> Result<Self> {
        let marker = Marker::of::<M>();
        let carried = innermost.and_then(|carried| carried.marked(marker));
        let carried = carried.ok_or(Error::MissingMarkedLayer {
            marker: marker.name,
        })?;
        Ok(Self(LazySession::of(carried), PhantomData))
    }

    /// The session, loaded at the first call.
    ///
    /// # Errors
    ///
    /// As for [`LazySession::load`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn load(&self) -> Result<SessionOf<M>> {
        Ok(SessionOf(self.0.load().await?, PhantomData))
    }
}

impl<M> Deref for SessionOf<M> {
    type Target = SessionBase;

    fn deref(&self) -> &SessionBase {
        &self.0
    }
}

impl<M> Deref for LazySessionOf<M> {
    type Target = LazySession;

    fn deref(&self) -> &LazySession {
        &self.0
    }
}

// Derived, these would ask the same of `M`, of which there is no value.
impl<M> Clone for SessionOf<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M> Clone for LazySessionOf<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M> fmt::Debug for SessionOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionOf").field(&self.0).finish()
    }
}

impl<M> fmt::Debug for LazySessionOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazySessionOf").field(&self.0).finish()
    }
}
