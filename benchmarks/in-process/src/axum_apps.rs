//! The libraries that are layers around axum.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use axum::routing::get;
use tokio::runtime::Runtime;
use tower::Service as _;

use crate::Result;
use crate::scenario::{
    CART, EMAIL, Library, NAME, Payload, SEEN, Scenario, TOKEN, cart, cookie_header, next_number,
};

pub(crate) struct AxumApp {
    name: &'static str,
    runtime: Runtime,
    bare: Router,
    layered: Router,
    cookie: Option<(Payload, HeaderValue)>,
    scenario: Scenario,
    requests: Vec<Request<Body>>,
}

impl AxumApp {
    fn new(name: &'static str, runtime: Runtime, layered: Router) -> Self {
        Self {
            name,
            runtime,
            bare: Router::new().route("/", get(hello)).with_state(()),
            layered,
            cookie: None,
            scenario: Scenario::Bare,
            requests: Vec::new(),
        }
    }

    /// The cookies of a new visitor.
    fn seed(&mut self, payload: Payload) -> Result<HeaderValue> {
        let app = &mut self.layered;
        let response = self
            .runtime
            .block_on(app.call(request(payload.path(), None)))?;
        if response.status() != StatusCode::OK {
            return Err(format!("{}: no session could be begun", self.name).into());
        }
        let set = response.headers().get_all(SET_COOKIE).iter();
        let header = cookie_header(set.filter_map(|cookie| cookie.to_str().ok()));
        Ok(HeaderValue::from_str(&header)?)
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?)
}

fn request(path: &'static str, cookie: Option<&HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    // As behind a proxy that speaks HTTPS with the browser.
    headers.insert(HOST, HeaderValue::from_static("example.org"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    headers.insert("user-agent", HeaderValue::from_static("benchmark"));
    if let Some(cookie) = cookie {
        headers.insert(COOKIE, cookie.clone());
    }
    request
}

impl Library for AxumApp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn holds(&self, _: Payload) -> bool {
        true
    }

    fn prepare(&mut self, scenario: Scenario, payload: Payload, count: usize) -> Result<()> {
        if self
            .cookie
            .as_ref()
            .is_none_or(|(held, _)| *held != payload)
        {
            self.cookie = Some((payload, self.seed(payload)?));
        }
        self.scenario = scenario;
        self.requests.clear();
        for _ in 0..count {
            let one = scenario
                .needs_a_session_each()
                .then(|| self.seed(payload))
                .transpose()?;
            let shared = self.cookie.as_ref().map(|(_, cookie)| cookie);
            let cookie = scenario.has_cookie().then_some(one.as_ref().or(shared));
            self.requests
                .push(request(scenario.path(), cookie.flatten()));
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let app = if self.scenario == Scenario::Bare {
            &mut self.bare
        } else {
            &mut self.layered
        };
        let requests = &mut self.requests;
        self.runtime.block_on(async {
            for request in requests.drain(..) {
                let response = app.call(request).await?;
                if response.status() != StatusCode::OK {
                    return Err(format!("a request was answered {}", response.status()).into());
                }
            }
            Ok(())
        })
    }
}

async fn hello() -> &'static str {
    "hello"
}

pub(crate) fn ours() -> Result<AxumApp> {
    use session_http::{MemoryStore, Session, SessionLayer};

    async fn seed(session: Session) -> session_http::Result<&'static str> {
        for (name, value) in [NAME, EMAIL, TOKEN] {
            session.set(name, value)?;
        }
        Ok("hello")
    }

    async fn seed_large(session: Session) -> session_http::Result<&'static str> {
        session.set(CART, &cart())?;
        seed(session).await
    }

    async fn read(session: Session) -> session_http::Result<&'static str> {
        let name: Option<String> = session.get(NAME.0)?;
        Ok(if name.is_some() { "hello" } else { "who?" })
    }

    async fn write(session: Session) -> session_http::Result<&'static str> {
        session.set(SEEN, &next_number())?;
        Ok("hello")
    }

    async fn log_in(session: Session) -> session_http::Result<&'static str> {
        session.log_in(7_u64)?;
        Ok("hello")
    }

    let app = Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/login", get(log_in))
        .layer(SessionLayer::new(MemoryStore::new()));
    Ok(AxumApp::new("ours", runtime()?, app))
}

pub(crate) fn tower_sessions() -> Result<AxumApp> {
    use tower_sessions::session::Error;
    use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

    fn answer(done: std::result::Result<(), Error>) -> (StatusCode, &'static str) {
        match done {
            Ok(()) => (StatusCode::OK, "hello"),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        }
    }

    async fn seed(session: Session) -> (StatusCode, &'static str) {
        for (name, value) in [NAME, EMAIL, TOKEN] {
            if let Err(error) = session.insert(name, value).await {
                return answer(Err(error));
            }
        }
        answer(Ok(()))
    }

    async fn seed_large(session: Session) -> (StatusCode, &'static str) {
        match session.insert(CART, cart()).await {
            Ok(()) => seed(session).await,
            failed => answer(failed),
        }
    }

    async fn read(session: Session) -> (StatusCode, &'static str) {
        answer(session.get::<String>(NAME.0).await.map(drop))
    }

    async fn write(session: Session) -> (StatusCode, &'static str) {
        answer(session.insert(SEEN, next_number()).await)
    }

    async fn log_in(session: Session) -> (StatusCode, &'static str) {
        match session.cycle_id().await {
            Ok(()) => answer(session.insert("user", 7_u64).await),
            failed => answer(failed),
        }
    }

    let app = Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/login", get(log_in))
        .layer(SessionManagerLayer::new(MemoryStore::default()));
    Ok(AxumApp::new("tower-sessions", runtime()?, app))
}

pub(crate) fn axum_session() -> Result<AxumApp> {
    use axum_session::{SessionConfig, SessionLayer, SessionNullPool, SessionStore};

    type Session = axum_session::Session<SessionNullPool>;

    async fn seed(session: Session) -> &'static str {
        for (name, value) in [NAME, EMAIL, TOKEN] {
            session.set(name, value);
        }
        "hello"
    }

    async fn seed_large(session: Session) -> &'static str {
        session.set(CART, cart());
        seed(session).await
    }

    async fn read(session: Session) -> &'static str {
        let name: Option<String> = session.get(NAME.0);
        if name.is_some() { "hello" } else { "who?" }
    }

    async fn write(session: Session) -> &'static str {
        session.set(SEEN, next_number());
        "hello"
    }

    async fn log_in(session: Session) -> &'static str {
        session.renew();
        session.set("user", 7_u64);
        "hello"
    }

    let runtime = runtime()?;
    let store = runtime.block_on(SessionStore::<SessionNullPool>::new(
        None,
        SessionConfig::default(),
    ))?;
    // The layer spawns a task when it is put around a route.
    let entered = runtime.enter();
    let app = Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/login", get(log_in))
        .layer(SessionLayer::new(store));
    drop(entered);
    Ok(AxumApp::new("axum_session", runtime, app))
}
