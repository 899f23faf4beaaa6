//! A client in a test: what it sends of its session, and what it takes from a response.

use std::fmt;
use std::sync::Arc;

use http::header::SET_COOKIE;
use http::request::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use session_core::{Owner, SessionBase, SessionError};

use crate::carrier::Carrier;
use crate::cookie;
use crate::error::{Error, Result};
use crate::exchange::{Commit, Exchange};
use crate::session::Session;
use crate::setup::Setup;
use crate::tower::layer::SessionLayer;

/// A client that keeps one session, in whatever the layer has its key travel: a cookie, or a header.
///
/// It keeps and sends what it is told, for whatever address: what a browser would refuse is the business of
/// [`browser`](crate::browser). Clones have the same session, as two tabs do.
#[derive(Clone)]
pub struct TestClient {
    setup: Arc<Setup>,
    /// The value of the request's header.
    sent: Option<HeaderValue>,
}

impl TestClient {
    /// A client without a session, for an application behind `layer`, whatever its store.
    #[must_use]
    pub fn new(layer: &SessionLayer) -> Self {
        Self {
            setup: Arc::clone(layer.setup()),
            sent: None,
        }
    }

    /// Logs in without the application's own page, as a request would that has checked the password.
    ///
    /// # Errors
    ///
    /// As for [`change`](Self::change).
    ///
    /// # Cancel safety
    ///
    /// As for [`change`](Self::change).
    pub async fn log_in(&mut self, owner: impl Into<Owner> + Send) -> Result<()> {
        let owner = owner.into();
        self.change(|session| session.log_in(owner)).await
    }

    /// Changes the client's session as a request of its own would, stores it, and keeps the key if there is a new one.
    ///
    /// # Errors
    ///
    /// What `change` returns, and whatever keeps a request from being answered.
    ///
    /// # Cancel safety
    ///
    /// The session is stored or not. The client may not know of its key.
    pub async fn change<R: Send>(
        &mut self,
        change: impl FnOnce(&SessionBase) -> Result<R, SessionError> + Send,
    ) -> Result<R> {
        let (mut exchange, session) = self.begin().await?;
        let answer = change(&session)?;
        let committed = match exchange.commit(StatusCode::OK) {
            Commit::Done(outcome) => Ok(outcome),
            Commit::Pending(commit) => commit.await,
        };
        let mut headers = HeaderMap::new();
        exchange
            .finish(committed, &mut headers)
            .map_err(|refusal| refusal.error)?;
        self.receive(&headers);
        Ok(answer)
    }

    /// Takes from a response's headers what they say of the session's key.
    pub fn receive(&mut self, headers: &HeaderMap) {
        let header = self.setup.carrier.response_header();
        let told = if header == SET_COOKIE {
            headers
                .get_all(header)
                .iter()
                .rfind(|header| cookie::sets(header, self.setup.carrier.name()))
                .and_then(|header| header.as_bytes().split(|byte| *byte == b';').next())
        } else {
            headers.get(header).map(HeaderValue::as_bytes)
        };
        if let Some(told) = told {
            self.sent = self.to_send(told);
        }
    }

    /// A `GET` request that carries the session.
    pub fn get<U: TryInto<Uri, Error: Into<http::Error>>>(&self, uri: U) -> Builder {
        self.request(Method::GET, uri)
    }

    /// A `POST` request that carries the session.
    pub fn post<U: TryInto<Uri, Error: Into<http::Error>>>(&self, uri: U) -> Builder {
        self.request(Method::POST, uri)
    }

    /// A request that carries the session.
    pub fn request<U: TryInto<Uri, Error: Into<http::Error>>>(
        &self,
        method: Method,
        uri: U,
    ) -> Builder {
        let request = Request::builder().method(method).uri(uri);
        match self.header() {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// The header that carries the session, for requests that are made otherwise; `None` for a client without one. A secret.
    #[must_use]
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = self.sent.clone()?;
        Some((self.setup.carrier.request_header(), value))
    }

    /// The client's session as it is stored now, or `None`: it never had one, or it has ended. Nobody commits it: what is changed
    /// in it is stored by its own `save`, or better by [`change`](Self::change).
    ///
    /// # Errors
    ///
    /// [`Error::Session`] when the store can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn session(&self) -> Result<Option<Session>> {
        let (_, session) = self.begin().await?;
        Ok(session.time_left().is_some().then_some(session))
    }

    /// A request without an application.
    async fn begin(&self) -> Result<(Exchange, Session)> {
        let mut request = Request::new(());
        if let Some((name, value)) = self.header() {
            request.headers_mut().insert(name, value);
        }
        let exchange = Exchange::begin(&self.setup, &mut request).ok_or(Error::MissingLayer)?;
        let session = Session::from_extensions(request.extensions()).await?;
        Ok((exchange, session))
    }

    /// What is sent from now on by a client that is told this. An empty value makes it forget.
    fn to_send(&self, told: &[u8]) -> Option<HeaderValue> {
        let value = match &self.setup.carrier {
            Carrier::Cookie(_) if told.ends_with(b"=") => return None,
            Carrier::Bearer | Carrier::Header(_) if told.is_empty() => return None,
            Carrier::Bearer => [b"Bearer ", told].concat(),
            Carrier::Cookie(_) | Carrier::Header(_) => told.to_vec(),
        };
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("has_key", &self.sent.is_some())
            .finish_non_exhaustive()
    }
}
