//! One application and its clients, without a network: a store that can be held up, a clock that can be moved, a jar.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use session_core::conformance::{CountingStore, FaultStore, Operation};
use session_core::{ManualClock, MemoryStore, Policy, SessionBase, SessionKey, SessionManager};
use session_http::browser::{Fetch, Jar, Reason, Refused};
use session_http::{Error, SessionLayer};
use tower::ServiceExt;

/// The default cookie's name.
pub(crate) const COOKIE_NAME: &str = "__Host-sessionid";
/// Two weeks: the default idle timeout.
pub(crate) const IDLE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A store that can be held up and that counts what reaches it.
pub(crate) type TestStore = Arc<FaultStore<CountingStore<MemoryStore>>>;

/// One application's sessions: a manager, and a hand on its store and clock.
pub(crate) struct Site {
    pub(crate) manager: SessionManager,
    pub(crate) store: TestStore,
    pub(crate) clock: Arc<ManualClock>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_policy(Policy::new())
    }

    pub(crate) fn with_policy(policy: Policy) -> Self {
        let store: TestStore = Arc::new(FaultStore::new(CountingStore::new(MemoryStore::new())));
        let clock = Arc::new(ManualClock::at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045),
        ));
        let manager = SessionManager::new(Arc::clone(&store))
            .with_policy(policy)
            .with_clock(Arc::clone(&clock));
        Self {
            manager,
            store,
            clock,
        }
    }

    pub(crate) fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.manager.clone())
    }

    /// A visitor whose session holds what `fill` puts there; the key is what the visitor's cookie holds.
    pub(crate) async fn visitor(&self, fill: impl FnOnce(&SessionBase)) -> String {
        let session = self.manager.start();
        fill(&session);
        session.save().await.expect("the store answers");
        self.store.inner().reset();
        let key = session.session_key().expect("a saved session has a key");
        key.expose_secret().to_owned()
    }

    /// What is stored under the key of a cookie.
    pub(crate) async fn stored(&self, key: &str) -> Option<SessionBase> {
        let key = SessionKey::parse(key.as_bytes()).expect("this is a key");
        self.manager.load(&key).await.expect("the store answers")
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> usize {
        self.store.inner().inner().len()
    }

    /// Which operations have changed something in the store since the last question: `-` for none, `save`,
    /// `create+delete`.
    pub(crate) fn writes(&self) -> String {
        let counts = self.store.inner();
        let writes: Vec<&str> = Operation::ALL
            .into_iter()
            .filter(|operation| *operation != Operation::Load && counts.count(*operation) > 0)
            .map(Operation::as_str)
            .collect();
        counts.reset();
        if writes.is_empty() {
            "-".to_owned()
        } else {
            writes.join("+")
        }
    }
}

/// A GET request that carries `cookie` as its `Cookie` header.
pub(crate) fn get(path: &str, cookie: Option<&str>) -> Request<Body> {
    let mut request = Request::get(path);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    request.body(Body::empty()).expect("this is a request")
}

/// A POST request that carries `cookie` as its `Cookie` header.
pub(crate) fn post(path: &str, cookie: Option<&str>) -> Request<Body> {
    let mut request = get(path, cookie);
    *request.method_mut() = http::Method::POST;
    request
}

/// The header of a client that has the session of `key`.
pub(crate) fn cookie_of(key: &str) -> String {
    format!("{COOKIE_NAME}={key}")
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Reply {
    let Ok(response) = app.clone().oneshot(request).await;
    Reply::of(response).await
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) error: Option<Arc<Error>>,
    /// The error's text, in which every framework gives it to an outer layer.
    pub(crate) reason: Option<String>,
    pub(crate) body: String,
}

/// What a response did to a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CookieChange {
    Untouched,
    Set(String),
    Removed,
}

impl Reply {
    pub(crate) async fn of<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Error: std::fmt::Debug>,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends").to_bytes();
        let error: Option<Arc<Error>> = head.extensions.get().cloned();
        Self {
            status: head.status,
            headers: head.headers,
            reason: error.as_ref().map(ToString::to_string),
            error,
            body: String::from_utf8(body.to_vec()).expect("the body is text"),
        }
    }

    /// What became of the session's cookie.
    pub(crate) fn cookie(&self) -> CookieChange {
        self.cookie_named(COOKIE_NAME)
    }

    pub(crate) fn cookie_named(&self, name: &str) -> CookieChange {
        let ours: Vec<(String, bool)> = set_cookies(&self.headers)
            .filter(|(set, ..)| set == name)
            .map(|(_, value, is_removal)| (value, is_removal))
            .collect();
        match &ours[..] {
            [] => CookieChange::Untouched,
            [(value, true)] => {
                assert_eq!(value, "", "a removal sends a value");
                CookieChange::Removed
            }
            [(value, false)] => CookieChange::Set(value.clone()),
            _ => panic!("the session's cookie is set twice: {ours:?}"),
        }
    }

    /// The key that the client was given.
    pub(crate) fn expect_issued(&self) -> String {
        let CookieChange::Set(key) = self.cookie() else {
            panic!("no key was sent: {self:?}")
        };
        key
    }

    /// In three words, for tables: what the cookie, `Vary` and the cache guard say.
    pub(crate) fn words(&self, cookie: &str) -> String {
        let change = match self.cookie_named(cookie) {
            CookieChange::Untouched => "-",
            CookieChange::Set(_) => "set",
            CookieChange::Removed => "remove",
        };
        let varies = if self.headers.contains_key(VARY) {
            "vary"
        } else {
            "-"
        };
        let is_private = self
            .headers
            .get("cache-control")
            .is_some_and(|value| value == "private");
        assert_eq!(
            is_private,
            change != "-",
            "a response that carries the cookie is private, no other is: {self:?}"
        );
        format!("{change} {varies}")
    }
}

/// Name, value and whether it is a removal, of every `Set-Cookie`.
fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = (String, String, bool)> {
    headers.get_all(SET_COOKIE).iter().map(|header| {
        let text = header.to_str().expect("a cookie is ASCII");
        let (name, rest) = text.split_once('=').expect("a cookie has a name");
        let value = rest.split(';').next().unwrap_or_default();
        let is_removal = text.contains("; Max-Age=0");
        (name.to_owned(), value.to_owned(), is_removal)
    })
}

/// Where visitors find the application.
pub(crate) const HOME: &str = "https://shop.example.org";

/// A request from a page of the application, or from its visitor's address bar.
pub(crate) fn visit(path: &str) -> Fetch {
    Fetch::get(&format!("{HOME}{path}"))
}

/// A form of the application's own.
pub(crate) fn form(path: &str) -> Fetch {
    Fetch::post(&format!("{HOME}{path}"))
}

/// A jar that holds the session of `key`, as if this application had set it.
pub(crate) fn jar_with(key: &str) -> Jar {
    let mut jar = Jar::new();
    let header = format!("{}; Secure; Path=/", cookie_of(key));
    plant(&mut jar, &visit("/"), &header).expect("the default cookie is taken");
    jar
}

/// Makes the browser receive a `Set-Cookie` header, and says whether it was taken.
pub(crate) fn plant(jar: &mut Jar, fetch: &Fetch, set_cookie: &str) -> Result<(), Reason> {
    let value = HeaderValue::from_str(set_cookie).expect("this is a header");
    let refused = jar.receive(fetch, &HeaderMap::from_iter([(SET_COOKIE, value)]));
    refused
        .first()
        .map_or(Ok(()), |refused| Err(refused.reason))
}

/// Somebody who clicks through an application, one page after the other.
pub(crate) struct Browser {
    app: Router,
    pub(crate) jar: Jar,
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self::with(app, Jar::new())
    }

    pub(crate) fn with(app: &Router, jar: Jar) -> Self {
        Self {
            app: app.clone(),
            jar,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.fetch(&visit(path)).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Reply {
        self.fetch(&form(path)).await
    }

    /// Makes the request and takes its response, which no browser may refuse.
    pub(crate) async fn fetch(&mut self, fetch: &Fetch) -> Reply {
        let reply = self.send(fetch).await;
        let refused = self.jar.receive(fetch, &reply.headers);
        let is_allowed = |refused: &Refused| refused.reason == Reason::NoCookies;
        assert!(refused.iter().all(is_allowed), "{refused:?}");
        reply
    }

    /// Makes the request. Its response does not arrive.
    pub(crate) async fn send(&mut self, fetch: &Fetch) -> Reply {
        let request = self.jar.request(fetch).body(Body::empty());
        send(&self.app, request.expect("this is a request")).await
    }
}

/// What was logged while `work` ran, at every level.
pub(crate) fn heard<T>(work: impl Future<Output = T>) -> (T, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    keep_events_on();
    let done = tracing::subscriber::with_default(subscriber, || runtime.block_on(work));
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    (done, text)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets a test hear every event of its own thread. While there is one listener in the process, `tracing` asks the thread that
/// meets an event first, which may be another test's, whether anybody listens, and keeps the answer for all.
pub(crate) fn keep_events_on() {
    static SECOND: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}
