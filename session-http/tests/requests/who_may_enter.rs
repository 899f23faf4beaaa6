//! Who may enter: extractors and a layer for visitors who are logged in, and where the others are sent.
use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE, VARY, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode, Uri};
use session_core::conformance::{Call, Operation};
use session_http::{LoginRequired, Owner, RequireOwner, Session, SessionLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Browser, Reply, Site, cookie_of, get as ask, jar_with, send, visit};

const LOGIN: &str = "/login?lang=de";

/// Everything behind a log-in, by a layer and by extractors.
fn app(site: &Site, required: LoginRequired) -> Router {
    app_behind(site.layer(), required)
}

fn app_behind(layer: SessionLayer, required: LoginRequired) -> Router {
    let inner = Router::new().route("/orders", any(async || "orders"));
    Router::new()
        .route("/members", any(async || "members"))
        .nest("/shop", Router::new().nest("/de", inner))
        .layer(required.clone())
        // Inside of a nested router the beginning of the path is gone.
        .nest(
            "/account",
            Router::new()
                .route("/devices", any(async || "devices"))
                .layer(required),
        )
        .route(
            "/number",
            get(async |RequireOwner(id): RequireOwner<u64>| id.to_string()),
        )
        .route(
            "/owner",
            get(async |RequireOwner(id): RequireOwner<Owner>| id.as_str().to_owned()),
        )
        .route(
            "/log-in",
            post(async |session: Session| session.log_in(7).map_err(session_http::Error::from)),
        )
        .layer(layer)
}

fn navigation(method: Method, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("sec-fetch-mode", "navigate");
    request.body(Body::empty()).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &http::HeaderName) -> &'a str {
    reply
        .headers
        .get(name)
        .map_or("-", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn an_extractor_gives_the_owner_as_the_application_knows_it_and_refuses_others() {
    let site = Site::new();
    let app = app(&site, LoginRequired::new());
    let seven = site.visitor(|session| session.log_in(7).unwrap()).await;
    let ada = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let nobody = site.visitor(|session| session.set("n", &1).unwrap()).await;
    for (path, key, status, body) in [
        ("/number", &seven, 200, "7"),
        ("/owner", &seven, 200, "7"),
        ("/owner", &ada, 200, "ada"),
        (
            "/number",
            &ada,
            500,
            "Something went wrong on the server.\n",
        ),
        ("/number", &nobody, 401, "Please log in first.\n"),
        ("/owner", &nobody, 401, "Please log in first.\n"),
    ] {
        let reply = send(&app, ask(path, Some(&cookie_of(key)))).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (status, body),
            "{path}"
        );
        assert_eq!(header(&reply, &VARY), "Cookie");
        let expected = if status == 401 { "no-store" } else { "-" };
        assert_eq!(header(&reply, &CACHE_CONTROL), expected, "{path}");
        assert_eq!(header(&reply, &WWW_AUTHENTICATE), "-");
        assert_eq!(reply.error.is_some(), status != 200);
        let told = reply.error.map(|error| format!("{error} {error:?}"));
        assert!(
            !told.unwrap_or_default().contains("ada"),
            "an owner is told"
        );
    }
}

#[tokio::test]
async fn a_service_without_axum_asks_the_same_by_the_request_s_extensions() {
    let site = Site::new();
    let service = site
        .layer()
        .layer(service_fn(async |request: Request<Body>| {
            let entered = RequireOwner::<u8>::from_extensions(request.extensions()).await;
            Ok::<_, std::convert::Infallible>(match entered {
                Ok(RequireOwner(id)) => id.to_string().into_response(),
                Err(error) => error.into_response(),
            })
        }));
    let seven = site.visitor(|session| session.log_in(7).unwrap()).await;
    for (cookie, status) in [(None, 401), (Some(cookie_of(&seven)), 200)] {
        let Ok(response) = service.clone().oneshot(ask("/", cookie.as_deref())).await;
        assert_eq!(response.status(), status);
    }
}

#[test]
fn what_could_be_no_owner_is_not_read_as_one() {
    for text in ["", "a\0b", &"a".repeat(257)] {
        assert!(Owner::from_str(text).is_err(), "{text:?}");
    }
    assert_eq!("ada".parse::<Owner>().unwrap().as_str(), "ada");
}

#[tokio::test]
async fn a_visitor_is_let_through_once_logged_in_and_not_after_the_log_out() {
    let site = Site::new();
    let app = app(
        &site,
        LoginRequired::redirecting_to(Uri::from_static(LOGIN)),
    );
    let mut browser = Browser::new(&app);
    assert_eq!(browser.get("/members").await.status, StatusCode::FOUND);
    browser.post("/log-in").await;
    for (path, body) in [
        ("/members", "members"),
        ("/account/devices", "devices"),
        ("/shop/de/orders", "orders"),
    ] {
        let reply = browser.get(path).await;
        assert_eq!((reply.status, &*reply.body), (StatusCode::OK, body));
        assert_eq!(header(&reply, &VARY), "Cookie", "{path}");
    }
    site.manager.end_all(&Owner::from(7)).await.unwrap();
    assert_eq!(browser.get("/members").await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn pages_lead_to_the_log_in_and_back_and_everything_else_is_401() {
    let site = Site::new();
    let app = app(
        &site,
        LoginRequired::redirecting_to(Uri::from_static(LOGIN)),
    );
    let to_page = |next: &str| format!("302 /login?lang=de&next={next}");
    let accepting = |value: &str| {
        let request = Request::get("/members").header("accept", value);
        request.body(Body::empty()).unwrap()
    };
    let mode = |mode: &str| {
        let request = Request::get("/members").header("accept", "text/html");
        let request = request.header("sec-fetch-mode", mode);
        request.body(Body::empty()).unwrap()
    };
    let refused = || "401 -".to_owned();
    for (request, expected) in [
        (navigation(Method::GET, "/members"), to_page("/members")),
        (navigation(Method::HEAD, "/members"), to_page("/members")),
        (
            navigation(Method::GET, "/members?a=b&next=//evil.example"),
            to_page("/members%3Fa%3Db%26next%3D//evil.example"),
        ),
        (
            navigation(Method::GET, "/shop/de/orders?p=2"),
            to_page("/shop/de/orders%3Fp%3D2"),
        ),
        (
            navigation(Method::GET, "/account/devices"),
            to_page("/account/devices"),
        ),
        (
            navigation(Method::GET, "https://shop.example.org/members"),
            to_page("/members"),
        ),
        (
            navigation(Method::POST, "/members"),
            "303 /login?lang=de".to_owned(),
        ),
        (
            navigation(Method::DELETE, "/members"),
            "303 /login?lang=de".to_owned(),
        ),
        (mode("cors"), refused()),
        (mode("no-cors"), refused()),
        (mode("same-origin"), refused()),
        (mode("websocket"), refused()),
        (
            accepting("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
            to_page("/members"),
        ),
        (
            accepting("application/json, Text/HTML;q=0.1"),
            to_page("/members"),
        ),
        (accepting("*/*"), refused()),
        (accepting("application/json"), refused()),
        (accepting("text/*"), refused()),
        (ask("/members", None), refused()),
    ] {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let reply = send(&app, request).await;
        let told = format!("{} {}", reply.status.as_u16(), header(&reply, &LOCATION));
        assert_eq!(told, expected, "{method} {uri}");
        assert_eq!(header(&reply, &CACHE_CONTROL), "no-store", "{method} {uri}");
        assert_eq!(header(&reply, &VARY), "Cookie", "{method} {uri}");
        assert!(!reply.headers.contains_key(SET_COOKIE));
        assert_eq!(reply.error.is_some(), expected.starts_with("401"));
    }
    assert_eq!(
        site.records(),
        0,
        "who is sent away leaves a session behind"
    );
}

#[tokio::test]
async fn an_address_that_leads_elsewhere_is_not_taken_along_to_the_log_in_page() {
    let site = Site::new();
    let required = LoginRequired::redirecting_to(Uri::from_static("/login"));
    let service = site
        .layer()
        .layer(required.layer(service_fn(async |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>("inside".into_response())
        })));
    let long = format!("/{}", "a".repeat(4000));
    for path in ["//evil.example/", "/..//evil.example/", &long] {
        let request = navigation(Method::GET, path);
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.headers()[LOCATION], "/login", "{path}");
    }
}

#[tokio::test]
async fn the_way_back_has_the_name_that_the_log_in_page_looks_for() {
    let site = Site::new();
    for (name, location) in [
        ("return_to", "/login?lang=de&return_to=/members%3Fa%3Db"),
        ("", "/login?lang=de"),
    ] {
        let required = LoginRequired::redirecting_to(Uri::from_static(LOGIN));
        let app = app(&site, required.with_next_parameter(name));
        let reply = send(&app, navigation(Method::GET, "/members?a=b")).await;
        assert_eq!(header(&reply, &LOCATION), location);
    }
}

#[tokio::test]
async fn without_a_page_to_be_sent_to_everybody_gets_401() {
    let site = Site::new();
    let reply = send(
        &app(&site, LoginRequired::new()),
        navigation(Method::GET, "/members"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.body, "Please log in first.\n");
}

#[tokio::test]
async fn a_client_with_a_bearer_token_is_told_what_it_needs() {
    let site = Site::new();
    let app = app_behind(site.layer().with_bearer_token(), LoginRequired::new());
    for path in ["/members", "/number"] {
        let reply = send(&app, ask(path, None)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(header(&reply, &WWW_AUTHENTICATE), "Bearer", "{path}");
        assert_eq!(header(&reply, &VARY), "Authorization", "{path}");
        assert_eq!(header(&reply, &CACHE_CONTROL), "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_store_that_can_not_be_asked_sends_nobody_to_the_log_in() {
    let site = Site::new();
    let app = app(
        &site,
        LoginRequired::redirecting_to(Uri::from_static(LOGIN)),
    );
    let key = site.visitor(|session| session.log_in(7).unwrap()).await;
    let mut browser = Browser::with(&app, jar_with(&key));
    site.store.refuse(Call::of(Operation::Load).and_later());
    let reply = browser.fetch(&visit("/members")).await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&reply, &LOCATION), "-");
    assert_eq!(browser.get("/members").await.body, "members");
}

#[tokio::test]
async fn a_layer_around_the_session_s_own_lets_nobody_in_and_says_why() {
    let site = Site::new();
    let app = Router::new()
        .route("/", get(async || "inside"))
        .layer(site.layer())
        .layer(LoginRequired::redirecting_to(Uri::from_static(LOGIN)));
    let key = site.visitor(|session| session.log_in(7).unwrap()).await;
    let reply = send(&app, ask("/", Some(&cookie_of(&key)))).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    let told = reply.error.expect("the error is there").to_string();
    assert!(told.contains("SessionLayer"), "{told}");
}
