//! The least that a session costs which is kept in a store and found by a cookie: what ours can be held against.
//!
//! It has what nobody can do without: a layer and an extractor, a store behind a trait whose methods may wait, keys that are
//! hashed, values that are shared and not parsed until somebody reads them, `Vary` for who has asked, and an index of owners.
//! Nothing else: a write replaces what another has written meanwhile, nothing expires or is limited, a key is any text, and a
//! log-in keeps whatever was there.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use harness::{CART, EMAIL, NAME, SEEN, TOKEN, cart, hello, next_number};
use pin_project_lite::pin_project;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tower::{Layer, Service};

pub(crate) fn app() -> Router {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/login", get(log_in))
        .route("/logout", get(log_out))
        .layer(LeastLayer(store))
}

async fn seed(session: Session) -> &'static str {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.set(name, &value);
    }
    "hello"
}

async fn seed_large(session: Session) -> &'static str {
    session.set(CART, &cart());
    seed(session).await
}

async fn read(session: Session) -> &'static str {
    let name: Option<String> = session.get(NAME.0);
    if name.is_some() { "hello" } else { "who?" }
}

async fn write(session: Session) -> &'static str {
    session.set(SEEN, &next_number());
    "hello"
}

async fn log_in(session: Session) -> &'static str {
    session.lock().becomes = Some(7);
    "hello"
}

async fn log_out(visit: Visit) -> &'static str {
    visit.lock().is_over = true;
    "hello"
}

type Key = [u8; 32];

/// Names and what they hold, as JSON.
type Data = Arc<Vec<(Arc<str>, Arc<str>)>>;

#[async_trait]
trait Store: Send + Sync {
    async fn load(&self, key: &Key) -> Option<Data>;
    async fn save(&self, key: &Key, data: Data);
    async fn rotate(&self, from: &Key, to: &Key, data: Data, owner: u64);
    async fn delete(&self, key: &Key);
}

#[derive(Default)]
struct Memory(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    sessions: HashMap<Key, (Data, Option<u64>)>,
    owners: HashMap<u64, HashSet<Key>>,
}

impl Kept {
    fn take(&mut self, key: &Key) {
        let taken = self.sessions.remove(key);
        if let Some(owner) = taken.and_then(|(_, owner)| owner)
            && let Some(keys) = self.owners.get_mut(&owner)
        {
            keys.remove(key);
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self, key: &Key) -> Option<Data> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.sessions.get(key).map(|(data, _)| Arc::clone(data))
    }

    async fn save(&self, key: &Key, data: Data) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.sessions.entry(*key).or_default().0 = data;
    }

    async fn rotate(&self, from: &Key, to: &Key, data: Data, owner: u64) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.take(from);
        kept.sessions.insert(*to, (data, Some(owner)));
        kept.owners.entry(owner).or_default().insert(*to);
    }

    async fn delete(&self, key: &Key) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.take(key);
    }
}

/// What is known of the session in one request.
#[derive(Clone)]
struct Visit(Arc<Carried>);

struct Carried {
    store: Arc<dyn Store>,
    cookie: Option<HeaderValue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_asked: bool,
    key: Option<Key>,
    data: Data,
    is_changed: bool,
    becomes: Option<u64>,
    is_over: bool,
}

/// What the session has come to, once stored.
enum Told {
    Nothing,
    Key(String),
    End,
}

impl Visit {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn presented(&self) -> Option<Key> {
        let cookie = self.0.cookie.as_ref()?.to_str().ok()?;
        let mut pairs = cookie.split(';').map(str::trim);
        let text = pairs.find_map(|pair| pair.strip_prefix("__Host-sessionid="))?;
        Some(Sha256::digest(text).into())
    }

    async fn load(&self) {
        let key = self.presented();
        let data = match &key {
            Some(key) => self.0.store.load(key).await,
            None => None,
        };
        let mut state = self.lock();
        state.is_asked = true;
        state.key = key.filter(|_| data.is_some());
        state.data = data.unwrap_or_default();
    }

    async fn store(self) -> Told {
        let store = &self.0.store;
        let (key, data, becomes, is_over) = {
            let state = self.lock();
            let data = Arc::clone(&state.data);
            (state.key, data, state.becomes, state.is_over)
        };
        if is_over {
            if let Some(key) = self.presented() {
                store.delete(&key).await;
            }
            return Told::End;
        }
        match (key, becomes) {
            (Some(key), None) => {
                store.save(&key, data).await;
                Told::Nothing
            }
            (Some(from), Some(owner)) => {
                let (text, to) = new_key();
                store.rotate(&from, &to, data, owner).await;
                Told::Key(text)
            }
            (None, _) => {
                let (text, key) = new_key();
                store.save(&key, data).await;
                Told::Key(text)
            }
        }
    }
}

fn new_key() -> (String, Key) {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has random bytes");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(32);
    for byte in random {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    let key = Sha256::digest(&text).into();
    (text, key)
}

impl<S: std::marker::Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let visit = parts.extensions.get::<Self>();
        visit.cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

struct Session(Visit);

impl<S: std::marker::Sync> FromRequestParts<S> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let visit = Visit::from_request_parts(parts, state).await?;
        visit.load().await;
        Ok(Self(visit))
    }
}

impl Session {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock()
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let state = self.lock();
        let (_, json) = state.data.iter().find(|(known, _)| **known == *name)?;
        serde_json::from_str(json).ok()
    }

    fn set(&self, name: &str, value: &impl Serialize) {
        let json: Arc<str> = serde_json::to_string(value).expect("JSON").into();
        let mut state = self.lock();
        state.is_changed = true;
        let data = Arc::make_mut(&mut state.data);
        match data.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, held)) => *held = json,
            None => data.push((name.into(), json)),
        }
    }
}

#[derive(Clone)]
struct LeastLayer(Arc<dyn Store>);

impl<S> Layer<S> for LeastLayer {
    type Service = LeastService<S>;

    fn layer(&self, inner: S) -> LeastService<S> {
        LeastService {
            inner,
            store: Arc::clone(&self.0),
        }
    }
}

#[derive(Clone)]
struct LeastService<S> {
    inner: S,
    store: Arc<dyn Store>,
}

impl<S> Service<Request> for LeastService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = LeastFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let visit = Visit(Arc::new(Carried {
            store: Arc::clone(&self.store),
            cookie: request.headers().get(COOKIE).cloned(),
            state: Mutex::default(),
        }));
        request.extensions_mut().insert(visit.clone());
        LeastFuture {
            handler: self.inner.call(request),
            visit,
            storing: None,
        }
    }
}

/// What is being stored, and the response that waits for it.
type Storing = (Pin<Box<dyn Future<Output = Told> + Send>>, Response);

pin_project! {
    struct LeastFuture<F> {
        #[pin]
        handler: F,
        visit: Visit,
        storing: Option<Box<Storing>>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for LeastFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(mut storing) = this.storing.take() {
            if let Poll::Ready(told) = storing.0.as_mut().poll(context) {
                return Poll::Ready(Ok(tell(told, storing.1)));
            }
            *this.storing = Some(storing);
            return Poll::Pending;
        }
        let response = ready!(this.handler.poll(context))?;
        let (is_asked, is_to_store) = {
            let state = this.visit.lock();
            let is_to_store = state.is_changed || state.becomes.is_some() || state.is_over;
            (state.is_asked, is_to_store)
        };
        if !is_to_store {
            return Poll::Ready(Ok(if is_asked {
                tell(Told::Nothing, response)
            } else {
                response
            }));
        }
        let mut store: Pin<Box<dyn Future<Output = Told> + Send>> =
            Box::pin(this.visit.clone().store());
        match store.as_mut().poll(context) {
            Poll::Ready(told) => Poll::Ready(Ok(tell(told, response))),
            Poll::Pending => {
                *this.storing = Some(Box::new((store, response)));
                Poll::Pending
            }
        }
    }
}

fn tell(told: Told, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Cookie"));
    let value = match told {
        Told::Nothing => return response,
        Told::Key(key) => key,
        Told::End => String::new(),
    };
    let mut cookie = String::with_capacity(128);
    let attributes = "; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=";
    let age = if value.is_empty() { 0 } else { 1_209_600 };
    let written = write!(cookie, "__Host-sessionid={value}{attributes}{age}");
    if let (Ok(()), Ok(cookie)) = (written, HeaderValue::try_from(cookie)) {
        headers.append(SET_COOKIE, cookie);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    response
}
