//! The application on actix-web, and what its middleware has of its own.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::error::ErrorUnauthorized;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App as ActixApp, HttpRequest, HttpResponse, Responder};
use axum::body::Body;
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use session_core::conformance::{Call, Operation};
use session_http::{
    Error, LazySession, NoActivity, RequireOwner, Result, Session, SessionLayer, SessionOf,
};

use super::{App, Marked, Said, act, members_only, write_marked};
use crate::streaming::Late;
use crate::support::{Reply, Site, cookie_of, get, post};

impl MessageBody for Late {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Bytes, Infallible>>> {
        let text = ready!(self.poll_text(context));
        Poll::Ready(text.map(|text| Ok(text.into())))
    }
}

impl From<Said> for HttpResponse {
    fn from(said: Said) -> Self {
        let status = said.status.as_u16().try_into().expect("three digits");
        let mut response = Self::build(status);
        for header in said.headers {
            response.append_header(*header);
        }
        response.body(BoxBody::new(Late::of(said.text)))
    }
}

async fn page(page: web::Path<String>, session: LazySession) -> Result<HttpResponse> {
    act(&page, session).await.map(HttpResponse::from)
}

async fn extracted(one: Session, two: Session) -> Result<impl Responder> {
    one.set("a", &1)?;
    Ok(two.len().to_string())
}

/// The application's pages, with no layer around them yet.
pub(super) fn pages(config: &mut ServiceConfig) {
    let quiet = web::scope("/quiet")
        .wrap(NoActivity::new())
        .route("/{page}", web::to(page));
    let members = web::scope("/members")
        .wrap(members_only())
        .route("/{page}", web::to(page));
    let marked = async |session: SessionOf<Marked>| write_marked(&session).map(HttpResponse::from);
    let number = async |RequireOwner(number): RequireOwner<u32>| number.to_string();
    config
        .service(quiet)
        .service(members)
        .route("/marked", web::to(marked))
        .route("/number", web::to(number))
        .route("/extracted", web::to(extracted))
        .route("/{page}", web::to(page));
}

pub(super) fn app(layers: &[SessionLayer]) -> Pin<Box<dyn Future<Output = App>>> {
    let app = ActixApp::new().configure(pages);
    let layers = layers.to_vec();
    Box::pin(async move {
        let finish = TestRequest::to_request;
        match &layers[..] {
            [] => of(init_service(app).await, finish),
            [one] => of(init_service(app.wrap(one.clone())).await, finish),
            [inner, outer] => {
                let app = app.wrap(inner.clone()).wrap(outer.clone());
                of(init_service(app).await, finish)
            }
            _ => panic!("two layers at most"),
        }
    })
}

/// What calls a service of actix-web without a network. The type of its requests has no name outside of it.
fn of<S, R, B>(service: S, finish: fn(TestRequest) -> R) -> App
where
    S: Service<R, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    R: 'static,
    B: MessageBody + 'static,
{
    let service = Rc::new(service);
    Box::new(move |request| {
        let service = Rc::clone(&service);
        Box::pin(async move {
            let answered = service.call(finish(translated(&request))).await;
            reply_of(answered.expect("a response")).await
        })
    })
}

fn translated(request: &Request<Body>) -> TestRequest {
    let method = request.method().as_str().parse().expect("a method");
    let mut translated = TestRequest::with_uri(&request.uri().to_string()).method(method);
    for (name, value) in request.headers() {
        translated = translated.append_header((name.as_str(), value.as_bytes()));
    }
    translated
}

async fn reply_of<B: MessageBody>(response: ServiceResponse<B>) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers() {
        let name: HeaderName = name.as_str().parse().expect("a name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.append(name, value);
    }
    let status = StatusCode::from_u16(response.status().as_u16()).expect("three digits");
    let reason = session_error(&response).map(ToString::to_string);
    let body = to_bytes(response.into_body()).await.ok();
    let body = body.expect("the body ends");
    Reply {
        status,
        headers,
        error: None,
        reason,
        body: String::from_utf8(body.to_vec()).expect("the body is text"),
    }
}

/// What a middleware around finds.
fn session_error<B>(response: &ServiceResponse<B>) -> Option<&Error> {
    response.response().error()?.as_error::<Error>()
}

#[tokio::test]
async fn an_error_of_a_middleware_inside_stores_nothing() {
    let site = Site::new();
    let refuse = from_fn(
        async |mut request: ServiceRequest, _: Next<BoxBody>| -> Result<ServiceResponse, _> {
            let session = request.extract::<Session>().await?;
            session.set("n", &1).map_err(Error::from)?;
            Err(ErrorUnauthorized("log in first"))
        },
    );
    let app = ActixApp::new()
        .route("/", web::to(async || "not reached"))
        .wrap(refuse)
        .wrap(site.layer());
    let service = init_service(app).await;
    let answered = service.call(translated(&get("/", None)).to_request()).await;
    let error = answered.expect_err("the error is passed on");
    assert_eq!(error.error_response().status().as_u16(), 401);
    assert_eq!(site.records(), 0, "a record that no client knows of");
}

#[tokio::test]
async fn a_middleware_inside_shares_the_handler_s_session_and_one_around_reads_the_error() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let before = from_fn(
        async |mut request: ServiceRequest, next: Next<BoxBody>| -> Result<_, actix_web::Error> {
            let session = request.extract::<Session>().await?;
            session.set("before", &1).map_err(Error::from)?;
            next.call(request).await
        },
    );
    let render = from_fn(async |request, next: Next<EitherBody<BoxBody>>| {
        let response = next.call(request).await?;
        let sorry = session_error(&response).map(|error| format!("sorry: {}", error.status()));
        Ok::<_, actix_web::Error>(match sorry {
            Some(sorry) => {
                let status = response.status();
                response.into_response(HttpResponse::build(status).body(sorry))
            }
            None => response.map_into_boxed_body(),
        })
    });
    let handler = async |session: Session| session.keys().join(",");
    let app = ActixApp::new()
        .route("/", web::to(handler))
        .wrap(before)
        .wrap(site.layer())
        .wrap(render);
    let app = of(init_service(app).await, TestRequest::to_request);
    let cookie = cookie_of(&key);
    assert_eq!(app(get("/", Some(&cookie))).await.body, "n,before");
    assert_eq!(site.writes(), "save", "one request is one save");
    site.store.refuse(Call::of(Operation::Save).and_later());
    let reply = app(get("/", Some(&cookie))).await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body, "sorry: 503 Service Unavailable");
}

#[tokio::test]
async fn a_refusal_has_a_text_for_the_client() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = app(&[site.layer()]).await;
    for operation in [Operation::Load, Operation::Save] {
        site.store.refuse(Call::of(operation).and_later());
        let reply = app(post("/write", Some(&cookie_of(&key)))).await;
        assert!(site.store.clear_faults(), "{operation:?} was not refused");
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.body.contains("try again"), "{operation:?}: {reply:?}");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        let reason = reply.reason.expect("a middleware around finds the error");
        assert_eq!(reason, "the session can't be used", "{operation:?}");
    }
}

#[tokio::test]
async fn a_handler_may_hold_what_can_not_leave_its_thread() {
    let site = Site::new();
    let gate = site.store.hold(Operation::Create);
    let handler = async |session: Session| {
        let local = Rc::new(Cell::new(1));
        session.set("n", &local.get())?;
        session.save().await?;
        local.set(local.get() + 1);
        session.set("n", &local.get())?;
        Ok::<_, Error>(local.get().to_string())
    };
    let app = ActixApp::new()
        .route("/", web::to(handler))
        .wrap(site.layer());
    let app = of(init_service(app).await, TestRequest::to_request);
    let release = async {
        gate.reached().await;
        gate.release();
    };
    let (reply, ()) = tokio::join!(app(get("/", None)), release);
    assert_eq!(reply.body, "2");
    let session = site.stored(&reply.expect_issued()).await.unwrap();
    assert_eq!(session.get::<u32>("n").unwrap(), Some(2));
}

#[tokio::test]
async fn every_cookie_line_is_read_and_none_is_shown() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let shown = Rc::new(RefCell::new(String::new()));
    let show = {
        let shown = Rc::clone(&shown);
        from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
            *shown.borrow_mut() = format!("{request:?}");
            next.call(request)
        })
    };
    let lines = async |request: HttpRequest, session: Session| {
        let lines = request.headers().get_all("cookie");
        let owner = session.owner().map(|owner| owner.as_str().to_owned());
        format!("{} {}", lines.count(), owner.unwrap_or_default())
    };
    let app = ActixApp::new()
        .route("/", web::to(lines))
        .wrap(show)
        .wrap(site.layer());
    let app = of(init_service(app).await, TestRequest::to_request);
    let mut request = get("/", Some("theme=dark"));
    let line = HeaderValue::from_str(&cookie_of(&key)).unwrap();
    request.headers_mut().append(COOKIE, line);
    assert_eq!(app(request).await.body, "2 ada");
    let shown = shown.take();
    assert!(shown.contains("cookie"), "{shown}");
    assert!(!shown.contains(&key), "the key is shown");
}
