//! The libraries that are middleware of actix-web.

use std::net::TcpListener;

use actix_http::Request;
use actix_web::dev::{HttpServiceFactory, Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, HeaderValue, SET_COOKIE};
use actix_web::{App, Error, HttpResponse, HttpServer, test, web};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use harness::{
    BARE_PATH, CPU_PATH, IDLE_MAX, Library, OPEN_PATH, Payload, Result, Scenario, cookie_header,
    cpu,
};

/// An application with a library's middleware, beside one without.
struct ActixApp<B, L, F> {
    name: &'static str,
    holds_large: bool,
    runtime: Runtime,
    bare: B,
    layered: L,
    /// Makes the routes behind the middleware for each worker.
    routes: F,
    cookie: Option<(Payload, HeaderValue)>,
    scenario: Scenario,
    requests: Vec<Request>,
}

pub(crate) async fn hello() -> HttpResponse {
    HttpResponse::Ok().body("hello")
}

/// `routes` are those of a scope that a library's middleware is around.
pub(crate) fn library<F, R>(
    name: &'static str,
    routes: F,
    holds_large: bool,
    runtime: Runtime,
) -> Box<dyn Library>
where
    F: Fn() -> R + Clone + Send + 'static,
    R: HttpServiceFactory + 'static,
{
    // The bare handler is in a scope too, so that a scope is no part of the difference.
    let bare = App::new().service(web::scope("").route("/", web::get().to(hello)));
    let layered = App::new().service(routes());
    let (bare, layered) = LocalSet::new().block_on(&runtime, async {
        (
            test::init_service(bare).await,
            test::init_service(layered).await,
        )
    });
    Box::new(ActixApp {
        name,
        holds_large,
        runtime,
        bare,
        layered,
        routes,
        cookie: None,
        scenario: Scenario::Bare,
        requests: Vec::new(),
    })
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

impl<B, L, F, Body> ActixApp<B, L, F>
where
    L: Service<Request, Response = ServiceResponse<Body>, Error = Error>,
{
    fn seed(&self, payload: Payload) -> Result<HeaderValue> {
        let answered = self.layered.call(request(payload.path(), None));
        let response = self.runtime.block_on(answered);
        let response = response.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("{}: no session could be begun", self.name).into());
        }
        let set = response.headers().get_all(SET_COOKIE);
        let header = cookie_header(set.filter_map(|cookie| cookie.to_str().ok()));
        Ok(HeaderValue::from_str(&header)?)
    }
}

impl<B, L, F, R, BareBody, Body> Library for ActixApp<B, L, F>
where
    B: Service<Request, Response = ServiceResponse<BareBody>, Error = Error>,
    L: Service<Request, Response = ServiceResponse<Body>, Error = Error>,
    F: Fn() -> R + Clone + Send + 'static,
    R: HttpServiceFactory + 'static,
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
                if status != StatusCode::OK {
                    return Err(format!("a request was answered {status}").into());
                }
            }
            Ok(())
        })
    }

    fn serve(self: Box<Self>, listener: TcpListener) -> Result<()> {
        let Self {
            runtime, routes, ..
        } = *self;
        let server = HttpServer::new(move || {
            App::new()
                .service(web::scope(BARE_PATH).route("", web::get().to(hello)))
                .route(CPU_PATH, web::get().to(ran))
                .route(OPEN_PATH, web::post().to(hello))
                .service(routes())
        });
        // The others have their turns meanwhile, or are visited before the first request comes.
        let server = server
            .workers(1)
            .keep_alive(IDLE_MAX)
            .client_request_timeout(IDLE_MAX)
            .listen(listener)?;
        Ok(runtime.block_on(server.run())?)
    }
}

/// How long this server has kept a processor busy.
async fn ran() -> HttpResponse {
    match cpu() {
        Ok(ran) => HttpResponse::Ok().body(ran.to_string()),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
