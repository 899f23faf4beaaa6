//! Sessions that live in their cookie, behind a layer: what browsers keep of them, and what else layers do.
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::any;
use http::header::SET_COOKIE;
use http::{Request, StatusCode};
use session_core::{
    KeyRing, ManualClock, Policy, Renewal, SealedIrrevocableCookies, SessionManager,
};
use session_http::browser::{Fetch, Jar};
use session_http::{
    CookieConfig, KeyHeader, LazySession, LoginRequired, RequireOwner, SessionError, SessionLayer,
};

use crate::support::{Browser, COOKIE_NAME, CookieChange, IDLE, get, send};

fn manager() -> SessionManager {
    manager_under(Policy::new())
}

fn manager_under(policy: Policy) -> SessionManager {
    let key: Vec<u8> = (0..32).collect();
    let ring = KeyRing::from_bytes(&key).unwrap();
    SealedIrrevocableCookies::new(&ring)
        .manager(policy)
        .unwrap()
}

fn layer() -> SessionLayer {
    SessionLayer::new(manager())
}

async fn act(Path(page): Path<String>, lazy: LazySession) -> session_http::Result<String> {
    match page.as_str() {
        "visit" => {
            let session = lazy.load().await?;
            session.modify("visits", |visits: &mut u32| *visits += 1)?;
            return Ok(session
                .get::<u32>("visits")?
                .unwrap_or_default()
                .to_string());
        }
        "log-in" => lazy.load().await?.log_in(7)?,
        "log-out" => lazy.log_out(),
        "take" => drop(lazy.load().await?.take::<u32>("visits").await?),
        _ => {}
    }
    Ok(String::new())
}

fn app(layer: SessionLayer) -> Router {
    let whose = async |RequireOwner(id): RequireOwner<u64>| id.to_string();
    Router::new()
        .route("/whose", any(whose).layer(LoginRequired::new()))
        .route("/{page}", any(act))
        .layer(layer)
}

#[tokio::test]
async fn handlers_know_nothing_of_it() {
    let app = app(layer());
    let mut browser = Browser::new(&app);
    assert_eq!(browser.get("/visit").await.body, "1");
    assert_eq!(browser.get("/visit").await.body, "2");
    assert_eq!(browser.get("/whose").await.status, StatusCode::UNAUTHORIZED);
    browser.post("/log-in").await;
    assert_eq!(browser.get("/whose").await.body, "7");
    assert_eq!(browser.get("/visit").await.body, "3");
    assert_eq!(
        browser.get("/nothing").await.cookie(),
        CookieChange::Untouched
    );
    let reply = browser.get("/take").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reply.cookie(), CookieChange::Untouched);
    let reply = browser.post("/log-out").await;
    assert_eq!(reply.cookie(), CookieChange::Removed);
    assert_eq!(browser.get("/visit").await.body, "1");
}

#[tokio::test]
async fn a_request_that_never_asks_renews_it_if_the_policy_says_so_and_otherwise_costs_nothing() {
    for (renewal, is_told) in [(Renewal::OnAccess, false), (Renewal::EveryRequest, true)] {
        let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + IDLE * 100));
        let policy = Policy::new().with_renewal(renewal);
        let manager = manager_under(policy).with_clock(Arc::clone(&clock));
        let app = app(SessionLayer::new(manager));
        let mut browser = Browser::new(&app);
        browser.post("/log-in").await;
        clock.advance(IDLE / 2);
        let reply = browser.get("/nothing").await;
        let is_set = matches!(reply.cookie(), CookieChange::Set(_));
        assert_eq!(is_set, is_told, "{renewal:?}");
        clock.advance(IDLE / 2);
        let status = browser.get("/whose").await.status;
        assert_eq!(status == StatusCode::OK, is_told, "{renewal:?}");
    }
}

#[tokio::test]
async fn a_log_out_is_one_browser_s_as_the_page_says() {
    let app = app(layer());
    let mut browser = Browser::new(&app);
    browser.post("/log-in").await;
    let mut copy = Browser::with(&app, browser.jar.clone());
    browser.post("/log-out").await;
    assert_eq!(browser.get("/whose").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(copy.get("/whose").await.body, "7", "say so on the page");
}

/// Fills the session until nothing more is taken.
async fn fill(lazy: LazySession) -> String {
    let session = lazy.load().await.unwrap();
    let fits = |len: &usize| match session.set("fill", &"a".repeat(*len)) {
        Ok(()) => true,
        Err(SessionError::DataTooLarge { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    let longest = (0..4096).rev().find(fits).expect("something fits");
    longest.to_string()
}

#[tokio::test]
async fn a_full_session_is_a_cookie_that_browsers_keep_with_whatever_name_and_attributes() {
    let long_path = format!("/{}", "p".repeat(800));
    let builder = CookieConfig::builder;
    for (cookie, path) in [
        (builder(), "/"),
        (builder().with_name("n".repeat(500)), "/"),
        (
            builder()
                .with_name("__Secure-s")
                .with_domain("example.org")
                .with_path(long_path.as_str())
                .with_partitioned(true),
            long_path.as_str(),
        ),
    ] {
        let layer = layer().with_cookie(cookie.build().unwrap());
        let app = Router::new().fallback(fill).layer(layer);
        let fetch = Fetch::get(&format!("https://shop.example.org{path}"));
        let mut jar = Jar::new();
        let request: Request<Body> = jar.request(&fetch).body(Body::empty()).unwrap();
        let reply = send(&app, request).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        let header = reply.headers[SET_COOKIE].as_bytes();
        assert!(header.len() <= 4096, "{} bytes", header.len());
        assert!(
            header.len() > 4080,
            "there was room for more: {}",
            header.len()
        );
        let refused = jar.receive(&fetch, &reply.headers);
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[tokio::test]
async fn sep_01_a_text_is_worth_nothing_in_another_cookie() {
    let named = |name: &str| {
        let cookie = CookieConfig::builder().with_name(name).build().unwrap();
        app(layer().with_cookie(cookie))
    };
    let (shop, office) = (named("shop"), named("office"));
    let reply = send(&shop, get("/log-in", None)).await;
    let CookieChange::Set(text) = reply.cookie_named("shop") else {
        panic!("{reply:?}")
    };
    for (app, name, status) in [(&shop, "shop", 200), (&office, "office", 401)] {
        let reply = send(app, get("/whose", Some(&format!("{name}={text}")))).await;
        assert_eq!(reply.status, status, "{name}");
    }
}

#[tokio::test]
async fn it_travels_in_a_header_as_well() {
    let header = KeyHeader::parse("shop-session").unwrap();
    for (layer, asks, tells, prefix) in [
        (
            layer().with_bearer_token(),
            "authorization",
            "session-token",
            "Bearer ",
        ),
        (
            layer().with_header(header),
            "shop-session",
            "shop-session",
            "",
        ),
    ] {
        let app = app(layer);
        let reply = send(&app, get("/log-in", None)).await;
        let text = reply.headers[tells].to_str().unwrap();
        let mut request = get("/whose", None);
        let value = format!("{prefix}{text}").parse().unwrap();
        request.headers_mut().insert(asks, value);
        assert_eq!(send(&app, request).await.body, "7");
        let cookie = format!("{COOKIE_NAME}={text}");
        let reply = send(&app, get("/whose", Some(&cookie))).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
}
