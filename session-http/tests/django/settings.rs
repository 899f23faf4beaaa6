//! A project's settings, and the cookie to the letter.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use session_core::MemoryStore;
use session_core::django::{DjangoSettings, ReadableIrrevocableCookies, SameSiteSetting};
use session_core::store::{StoreKey, Timestamp};
use session_http::{CookieConfig, Error, LazySession, SessionLayer};
use tower::ServiceExt;

use crate::deviations::DEVIATIONS;
use crate::support::{NOW, Site};

const KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";
const PAGE: &str = include_str!("../../../docs/running-with-django.md");

fn project() -> DjangoSettings {
    DjangoSettings::new("a secret key")
}

/// What a visitor is sent whose session is written to, and what one whose session ends.
async fn cookies(settings: DjangoSettings) -> (String, String) {
    let site = Site::new(settings);
    let layer = site.layer().expect("a cookie that browsers accept");
    let app = Router::new()
        .route(
            "/write",
            get(async |session: LazySession| {
                session.load().await?.set("y", &2).map_err(Error::from)
            }),
        )
        .route("/end", get(async |session: LazySession| session.log_out()))
        .layer(layer);
    let mut sent = Vec::new();
    for page in ["/write", "/end"] {
        let key = StoreKey::parse(KEY).expect("a key");
        site.put(&key, "{}", Timestamp::from_secs(NOW)).await;
        let cookie = format!("{}={KEY}", site.settings.cookie_name());
        let request = Request::get(page)
            .header(COOKIE, cookie)
            .body(Body::empty());
        let request = request.expect("a request");
        let Ok(response) = app.clone().oneshot(request).await;
        sent.push(cookie_of(&response));
    }
    let end = sent.pop().expect("two answers");
    (sent.pop().expect("two answers"), end)
}

fn cookie_of(response: &Response<Body>) -> String {
    let header = response
        .headers()
        .get(SET_COOKIE)
        .expect("a cookie is sent");
    header.to_str().expect("ASCII").to_owned()
}

#[tokio::test]
async fn the_cookie_is_the_one_that_the_settings_describe() {
    let (issued, removal) = cookies(project()).await;
    assert_eq!(
        issued,
        format!("sessionid={KEY}; Path=/; HttpOnly; SameSite=Lax; Max-Age=1209600")
    );
    assert_eq!(
        removal,
        "sessionid=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    );

    let settings = project()
        .with_cookie_name("sid")
        .with_cookie_domain(".example.org")
        .with_cookie_path("/app")
        .with_cookie_secure(true)
        .with_cookie_http_only(false)
        .with_cookie_same_site(SameSiteSetting::None)
        .with_expire_at_browser_close(true);
    let (issued, removal) = cookies(settings).await;
    let attributes = "Path=/app; Domain=.example.org; Secure; SameSite=None";
    assert_eq!(issued, format!("sid={KEY}; {attributes}"));
    assert_eq!(
        removal,
        format!("sid=; {attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    );

    let settings = project()
        .with_cookie_path(None)
        .with_cookie_domain("")
        .with_cookie_same_site(SameSiteSetting::Absent);
    let (issued, _) = cookies(settings).await;
    assert_eq!(
        issued,
        format!("sessionid={KEY}; HttpOnly; Max-Age=1209600")
    );
}

#[tokio::test]
async fn a_project_that_saves_every_request_renews_what_nobody_asks_for() {
    let site = Site::new(project().with_save_every_request(true));
    let key = StoreKey::parse(KEY).expect("a key");
    let yesterday = Timestamp::from_secs(NOW - 86_400);
    site.put(&key, r#"{"x":1}"#, yesterday).await;
    let layer = site.layer().expect("Django's default cookie");
    let app = Router::new().route("/", get(async || "hello")).layer(layer);
    let request = Request::get("/").header(COOKIE, format!("sessionid={KEY}"));
    let Ok(response) = app
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    assert!(cookie_of(&response).contains("; Max-Age=1209600"));
    let renewed = site.rows().await;
    assert_eq!(
        renewed[0].1,
        Timestamp::from_secs(NOW).saturating_add(site.settings.cookie_age()),
        "the session was not renewed"
    );
}

#[test]
fn a_cookie_that_browsers_would_drop_is_refused_when_the_layer_is_made() {
    for settings in [
        project().with_cookie_name("__Host-sid"),
        project()
            .with_cookie_name("__Host-sid")
            .with_cookie_secure(true)
            .with_cookie_path(None),
        project().with_cookie_same_site(SameSiteSetting::None),
        project().with_cookie_name("session id"),
        project().with_cookie_domain("https://example.org"),
    ] {
        let refused = SessionLayer::django(&settings, MemoryStore::new());
        assert!(
            matches!(refused, Err(Error::InvalidCookie { .. })),
            "{settings:?} was accepted"
        );
    }
}

#[tokio::test]
async fn an_engine_without_a_store_is_told_apart_and_works_without_one() {
    let settings = project().with_engine("django.contrib.sessions.backends.signed_cookies");
    let refused = SessionLayer::django(&settings, MemoryStore::new());
    assert!(matches!(refused, Err(Error::Session(_))), "{refused:?}");

    let cookies = ReadableIrrevocableCookies::new(&settings);
    let manager = cookies
        .manager(settings.policy())
        .expect("no absolute timeout");
    let layer = SessionLayer::new(manager)
        .django_compatible()
        .with_cookie(CookieConfig::django(&settings).expect("Django's default cookie"));
    let write = async |session: LazySession| -> session_http::Result<String> {
        let session = session.load().await?;
        let seen: u32 = session.get("seen")?.unwrap_or_default();
        session.set("seen", &(seen + 1))?;
        Ok(seen.to_string())
    };
    let app = Router::new().route("/", get(write)).layer(layer);
    let mut cookie = "sessionid=".to_owned();
    for expected in ["0", "1", "2"] {
        let request = Request::get("/")
            .header(COOKIE, &cookie)
            .body(Body::empty());
        let Ok(response) = app.clone().oneshot(request.expect("a request")).await;
        let set = cookie_of(&response);
        cookie = set.split(';').next().expect("a pair").to_owned();
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        assert_eq!(body.expect("the body ends").to_bytes(), expected);
    }
}

#[test]
fn the_page_for_teams_that_move_names_every_deviation() {
    for deviation in DEVIATIONS {
        assert!(
            PAGE.contains(deviation.reason),
            "docs/running-with-django.md does not say: {}",
            deviation.reason
        );
    }
}
