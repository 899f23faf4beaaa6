//! actix-session, in a service of actix-web, above actix-web's own bare handler. It publishes no store in memory; where the
//! others are measured with theirs, it keeps its sessions in encrypted cookies.

use std::net::TcpListener;

use actix_http::Request;
use actix_session::storage::SessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{COOKIE, HeaderValue, SET_COOKIE};
use actix_web::{App, Error, HttpResponse, test, web};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use harness::{
    CART, EMAIL, Library, NAME, Payload, Result, SEEN, Scenario, TOKEN, cart, cookie_header,
    next_number,
};

pub(crate) struct ActixApp<B, L> {
    name: &'static str,
    holds_large: bool,
    runtime: Runtime,
    bare: B,
    layered: L,
    cookie: Option<(Payload, HeaderValue)>,
    scenario: Scenario,
    requests: Vec<Request>,
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().body("hello")
}

async fn seed(session: Session) -> std::result::Result<HttpResponse, Error> {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.insert(name, value)?;
    }
    Ok(HttpResponse::Ok().body("hello"))
}

async fn seed_large(session: Session) -> std::result::Result<HttpResponse, Error> {
    session.insert(CART, cart())?;
    seed(session).await
}

async fn read(session: Session) -> std::result::Result<HttpResponse, Error> {
    let name: Option<String> = session.get(NAME.0)?;
    let text = if name.is_some() { "hello" } else { "who?" };
    Ok(HttpResponse::Ok().body(text))
}

async fn write(session: Session) -> std::result::Result<HttpResponse, Error> {
    session.insert(SEEN, next_number())?;
    Ok(HttpResponse::Ok().body("hello"))
}

async fn log_in(session: Session) -> std::result::Result<HttpResponse, Error> {
    session.renew();
    session.insert("user", 7_u64)?;
    Ok(HttpResponse::Ok().body("hello"))
}

async fn log_out(session: Session) -> HttpResponse {
    session.purge();
    HttpResponse::Ok().body("hello")
}

fn request(path: &str, cookie: Option<&HeaderValue>) -> Request {
    let mut request = test::TestRequest::get()
        .uri(path)
        .insert_header(("host", "example.org"))
        .insert_header(("x-forwarded-proto", "https"))
        .insert_header(("user-agent", "benchmark"));
    if let Some(cookie) = cookie {
        request = request.insert_header((COOKIE, cookie.clone()));
    }
    request.to_request()
}

/// An application whose sessions are in `store`, which was made inside `runtime`.
pub(crate) fn library(
    name: &'static str,
    store: impl SessionStore + 'static,
    holds_large: bool,
    runtime: Runtime,
) -> Result<impl Library> {
    let local = LocalSet::new();
    let bare = App::new().route("/", web::get().to(hello));
    let layered = App::new()
        .wrap(SessionMiddleware::new(store, Key::generate()))
        .route("/", web::get().to(hello))
        .route("/seed", web::get().to(seed))
        .route("/seed-large", web::get().to(seed_large))
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/login", web::get().to(log_in))
        .route("/logout", web::get().to(log_out));
    let (bare, layered) = local.block_on(&runtime, async {
        (
            test::init_service(bare).await,
            test::init_service(layered).await,
        )
    });
    Ok(ActixApp {
        name,
        holds_large,
        runtime,
        bare,
        layered,
        cookie: None,
        scenario: Scenario::Bare,
        requests: Vec::new(),
    })
}

impl<B, L, Body> ActixApp<B, L>
where
    L: Service<Request, Response = ServiceResponse<Body>, Error = Error>,
{
    fn seed(&self, payload: Payload) -> Result<HeaderValue> {
        let answered = self.layered.call(request(payload.path(), None));
        let response = self.runtime.block_on(answered);
        let response = response.map_err(|error| error.to_string())?;
        let set = response.headers().get_all(SET_COOKIE);
        let header = cookie_header(set.filter_map(|cookie| cookie.to_str().ok()));
        Ok(HeaderValue::from_str(&header)?)
    }
}

impl<B, L, BareBody, Body> Library for ActixApp<B, L>
where
    B: Service<Request, Response = ServiceResponse<BareBody>, Error = Error>,
    L: Service<Request, Response = ServiceResponse<Body>, Error = Error>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn holds(&self, payload: Payload) -> bool {
        payload == Payload::Small || self.holds_large
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
        let is_bare = self.scenario == Scenario::Bare;
        let requests = std::mem::take(&mut self.requests);
        self.runtime.block_on(async {
            for request in requests {
                let status = if is_bare {
                    self.bare
                        .call(request)
                        .await
                        .map(|response| response.status())
                } else {
                    self.layered
                        .call(request)
                        .await
                        .map(|response| response.status())
                };
                let status = status.map_err(|error| error.to_string())?;
                if !status.is_success() {
                    return Err(format!("a request was answered {status}").into());
                }
            }
            Ok(())
        })
    }

    fn serve(self: Box<Self>, _: TcpListener) -> Result<()> {
        Err("this is measured in the process alone".into())
    }
}
