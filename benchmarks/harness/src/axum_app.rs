//! The libraries that are layers around axum.

use std::net::TcpListener;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use axum::routing::get;
use tokio::runtime::Runtime;
use tower::Service as _;

use crate::load::{self, BARE_PATH, CPU_PATH};
use crate::{Library, Payload, Result, Scenario, cookie_header, gate};

/// A router with a library's layer, beside one without.
pub struct AxumApp {
    name: &'static str,
    runtime: Runtime,
    bare: Router,
    layered: Router,
    cookie: Option<(Payload, HeaderValue)>,
    scenario: Scenario,
    requests: Vec<Request<Body>>,
}

impl AxumApp {
    /// `app` is called inside `runtime`, since some layers spawn a task.
    pub fn new(name: &'static str, runtime: Runtime, app: impl FnOnce() -> Router) -> Self {
        // A server gives a router its state before the first request. Without that, each request would build its route
        // and put the layers around it.
        let layered = {
            let _entered = runtime.enter();
            app().with_state(())
        };
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

/// A runtime of one thread.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
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

    fn serve(self: Box<Self>, listener: TcpListener) -> Result<()> {
        let app = self.layered.merge(gate::routes()).merge(outside());
        listener.set_nonblocking(true)?;
        self.runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(axum::serve(listener, app).await?)
        })
    }
}

/// What a generator of load asks beside the layer.
fn outside() -> Router {
    let cpu = || async {
        let failed = |error: std::io::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        load::cpu().map(|ran| ran.to_string()).map_err(failed)
    };
    Router::new()
        .route(BARE_PATH, get(hello))
        .route(CPU_PATH, get(cpu))
}

/// The handler of a page that needs no session.
pub async fn hello() -> &'static str {
    "hello"
}
