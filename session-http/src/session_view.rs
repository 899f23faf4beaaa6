//! A struct of the visitor's session, as a handler asks for it.

use std::fmt;
use std::ops::Deref;

use http::Extensions;
use session_core::{TypedSession, View};

use crate::error::Result;
use crate::session::Session;

/// One struct of the visitor's session, loaded and of the current version. An extractor of axum and of actix-web; derefs to
/// [`TypedSession`].
///
/// A value that can't be upgraded is an error before the handler runs, and stays as it is. Costs what [`Session`] costs, and
/// shares its state with every other extractor of the request; what the handler changes is stored when the response is ready.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use session_http::{Field, SessionView, View};
///
/// #[derive(Default, Serialize, Deserialize)]
/// #[serde(default)]
/// struct Settings {
///     page_size: u32,
/// }
///
/// impl View for Settings {
///     const FIELD: Field<Self> = Field::new("settings");
/// }
///
/// async fn larger(settings: SessionView<Settings>) -> session_http::Result<String> {
///     settings.modify(|settings| settings.page_size += 10)?;
///     Ok(format!("{} on a page", settings.get()?.page_size))
/// }
/// # #[cfg(feature = "axum")]
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # use tower::ServiceExt;
/// # let layer = session_http::SessionLayer::new(session_http::MemoryStore::new());
/// # let app = axum::Router::new().route("/", axum::routing::get(larger)).layer(layer);
/// # let response = app.oneshot(http::Request::new(axum::body::Body::empty())).await?;
/// # assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, "10 on a page");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SessionView<T>(TypedSession<T>);

impl<T: View> SessionView<T> {
    /// The struct in the session of a request with these extensions, for services that have no extractors.
    ///
    /// # Errors
    ///
    /// As for [`Session::from_extensions`] and [`TypedSession::get`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn from_extensions(extensions: &Extensions) -> Result<Self> {
        Self::of(&Session::from_extensions(extensions).await?)
    }

    fn of(session: &Session) -> Result<Self> {
        let view = session.view::<T>();
        drop(view.get()?);
        Ok(Self(view))
    }
}

impl<T> Deref for SessionView<T> {
    type Target = TypedSession<T>;

    fn deref(&self) -> &TypedSession<T> {
        &self.0
    }
}

impl<T> Clone for SessionView<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: View> fmt::Debug for SessionView<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionView").field(&self.0).finish()
    }
}

#[cfg(feature = "axum")]
impl<T: View, S: Send + Sync> axum_core::extract::FromRequestParts<S> for SessionView<T> {
    type Rejection = crate::error::Error;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self> {
        Self::from_extensions(&parts.extensions).await
    }
}

#[cfg(feature = "actix-web")]
impl<T: View> actix_web::FromRequest for SessionView<T> {
    type Error = crate::error::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self>> + Send>>;

    fn from_request(
        request: &actix_web::HttpRequest,
        payload: &mut actix_web::dev::Payload,
    ) -> Self::Future {
        let session = Session::from_request(request, payload);
        Box::pin(async move { Self::of(&session.await?) })
    }
}
