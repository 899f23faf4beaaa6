//! Lets in who is logged in, and sends the others to the log-in page or away.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCEPT, CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;
use crate::exchange::Refusal;
use crate::marked::LazySessionOf;
use crate::next::with_next;
use crate::request::Carried;
use crate::require_owner::owner_of;
use crate::session::LazySession;
use crate::tower::future::refused;

/// Finds a layer's session in what the innermost layer has put into a request.
type FindSession = fn(Option<&Carried>) -> Result<LazySession, Error>;

pub(crate) const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Lets only those requests through whose visitor is logged in. A [`tower_layer::Layer`] for routes, inside of the
/// [`SessionLayer`](crate::SessionLayer).
///
/// The others get 401. With [`redirecting_to`](Self::redirecting_to) a visitor who opens a page is sent to the log-in page, which
/// finds the way back in the parameter `next`; a script that asks for data still gets 401, since it can't do anything with a
/// log-in page. Nothing of this is kept by a cache. Django's `login_required` and `LoginRequiredMiddleware`.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// use axum::{Form, Router, body::Body, extract::Query, response::Redirect, routing::get};
/// use http::{Request, StatusCode, Uri};
/// use session_http::{LoginRequired, MemoryStore, RequireOwner, Session, SessionLayer, safe_next};
/// # use tower::ServiceExt;
///
/// #[derive(serde::Deserialize)]
/// struct Login { user_id: u64, next: Option<String> }
///
/// async fn log_in(session: Session, Form(form): Form<Login>) -> session_http::Result<Redirect> {
///     // … after the password was checked:
///     session.log_in(form.user_id)?;
///     // The parameter comes from the address, and so from anybody.
///     let next = form.next.as_deref().and_then(safe_next).unwrap_or("/");
///     Ok(Redirect::to(next))
/// }
///
/// let members: Router = Router::new()
///     .route("/orders", get(async |RequireOwner(user_id): RequireOwner<u64>| user_id.to_string()))
///     .layer(LoginRequired::redirecting_to(Uri::from_static("/login")));
/// let app = Router::new()
///     .route("/login", get(async || "a form that sends `next` along").post(log_in))
///     .merge(members)
///     .layer(SessionLayer::new(MemoryStore::new()));
///
/// let page = Request::get("/orders?page=2").header("sec-fetch-mode", "navigate").body(Body::empty())?;
/// let response = app.clone().oneshot(page).await?;
/// assert_eq!(response.status(), StatusCode::FOUND);
/// assert_eq!(response.headers()["location"], "/login?next=/orders%3Fpage%3D2");
///
/// let script = Request::get("/orders?page=2").header("sec-fetch-mode", "cors").body(Body::empty())?;
/// assert_eq!(app.oneshot(script).await?.status(), StatusCode::UNAUTHORIZED);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// | the request | the answer |
/// | --- | --- |
/// | GET or HEAD of a page | 302 to the log-in page with `next` |
/// | another method, from a page's form | 303 to the log-in page, without `next`: what was sent is lost, and coming back would not send it again |
/// | anything else | 401 |
///
/// A browser opens a page if it says `Sec-Fetch-Mode: navigate`; one that has no such header, if it accepts `text/html` by name.
///
/// It says nothing of what a visitor may do: that stays with the handlers, which find out who it is by
/// [`RequireOwner`](crate::RequireOwner). A preflight of CORS carries no session: put the layer that answers those around this one.
#[doc(alias = "login_required")]
#[derive(Debug, Clone, Default)]
#[must_use = "add it to routes or a service"]
pub struct LoginRequired {
    page: Option<Arc<str>>,
    /// What the way back is called in the page's address, if it is not `next`.
    parameter: Option<Arc<str>>,
    /// Whose session counts, if it is not the innermost layer's.
    marked: Option<FindSession>,
}

impl LoginRequired {
    /// 401 for everybody who is not logged in.
    pub const fn new() -> Self {
        Self {
            page: None,
            parameter: None,
            marked: None,
        }
    }

    /// The log-in page for visitors of pages, and 401 for the rest. A page of this site is named by its path alone; on another
    /// site it is for that site to know what `next` means. Django's `LOGIN_URL`.
    #[doc(alias = "LOGIN_URL")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the page is made for this call"
    )]
    pub fn redirecting_to(page: Uri) -> Self {
        Self {
            page: Some(Arc::from(page.to_string())),
            parameter: None,
            marked: None,
        }
    }

    /// What the way back is called in the address of the log-in page: `next` by default. An empty name leaves it out. Django's
    /// `REDIRECT_FIELD_NAME`.
    ///
    /// ```
    /// use http::Uri;
    /// use session_http::LoginRequired;
    ///
    /// let page = Uri::from_static("/login");
    /// let members = LoginRequired::redirecting_to(page).with_next_parameter("return_to"); // /login?return_to=/orders
    /// # drop(members);
    /// ```
    ///
    /// Whatever it is called, the log-in page puts it through [`safe_next`](crate::safe_next).
    #[doc(alias = "REDIRECT_FIELD_NAME")]
    #[doc(alias = "redirect_field_name")]
    pub fn with_next_parameter(mut self, name: &str) -> Self {
        self.parameter = Some(Arc::from(name));
        self
    }

    /// Asks the session of the layer that is marked with `M`, as [`SessionOf`](crate::SessionOf) does, and not the innermost.
    pub fn in_session_of<M: 'static>(mut self) -> Self {
        self.marked = Some(|innermost| {
            LazySessionOf::<M>::carried_by(innermost).map(|session| (*session).clone())
        });
        self
    }

    /// The session that counts.
    pub(crate) fn session_in(&self, innermost: Option<&Carried>) -> Result<LazySession, Error> {
        match self.marked {
            Some(find) => find(innermost),
            None => innermost.map(LazySession::of).ok_or(Error::MissingLayer),
        }
    }

    /// Where to send the visitor who made this request, if it is one that can be sent somewhere.
    fn redirection<B>(&self, request: &Request<B>) -> Option<(StatusCode, HeaderValue)> {
        let page = self.page.as_deref()?;
        if !opens_page(request.headers()) {
            return None;
        }
        let (status, address) = if request.method().is_safe() {
            let path = target(request).path_and_query();
            let next = path.map_or("", |path| path.as_str());
            let parameter = self.parameter.as_deref().unwrap_or("next");
            (StatusCode::FOUND, with_next(page, parameter, next))
        } else {
            (StatusCode::SEE_OTHER, page.to_owned())
        };
        Some((status, HeaderValue::try_from(address).ok()?))
    }
}

impl<S> Layer<S> for LoginRequired {
    type Service = LoginRequiredService<S>;

    fn layer(&self, inner: S) -> LoginRequiredService<S> {
        LoginRequiredService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service for visitors who are logged in. Made by [`LoginRequired`].
#[derive(Debug, Clone)]
pub struct LoginRequiredService<S> {
    inner: S,
    layer: LoginRequired,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for LoginRequiredService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Send + 'static,
    ResponseBody: Default + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The one that was polled ready is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let entered = match layer.session_in(request.extensions().get()) {
                Ok(lazy) => owner_of(&lazy).await,
                Err(error) => Err(error),
            };
            match entered {
                Ok(_owner) => inner.call(request).await,
                Err(error) => Ok(layer.answer(error, &request)),
            }
        })
    }
}

impl LoginRequired {
    fn answer<Q, B: Default + 'static>(&self, error: Error, request: &Request<Q>) -> Response<B> {
        self.redirect(&error, request)
            .unwrap_or_else(|| refused(Refusal::of(error)))
    }

    /// What sends the visitor to the log-in page, if that is what this error asks for.
    pub(crate) fn redirect<Q, B: Default>(
        &self,
        error: &Error,
        request: &Request<Q>,
    ) -> Option<Response<B>> {
        let Error::NotLoggedIn { .. } = error else {
            return None;
        };
        let (status, location) = self.redirection(request)?;
        let mut response = Response::new(B::default());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}

/// What the client asked for, also where a router has cut off the beginning for those inside of it.
fn target<B>(request: &Request<B>) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = request.extensions().get() {
        return uri;
    }
    request.uri()
}

/// Whether a browser asks for a page to show, and not a script for something to work with.
fn opens_page(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(SEC_FETCH_MODE) {
        return mode == "navigate";
    }
    headers.get_all(ACCEPT).iter().any(|accepted| {
        accepted
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|range| {
                let mut parts = range.split(|byte| *byte == b';');
                let kind = parts.next().unwrap_or_default();
                kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
            })
    })
}
