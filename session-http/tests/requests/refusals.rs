//! When the handler's response must not be sent: what is sent in its place, and what the client keeps.
use std::time::Duration;

use axum::Router;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{any, get as on_get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, VARY};
use http::{Method, StatusCode};
use session_core::conformance::{Call, Operation};
use session_core::store::StoreError;
use session_http::{CookieConfig, Error, LazySession, Session, SessionError, SessionLayer};

use crate::support::{CookieChange, Reply, Site, cookie_of, get, post, send};

/// Handlers that do one thing each, and answer with a header of their own.
fn routes() -> Router {
    fn done() -> impl IntoResponse {
        (
            AppendHeaders([(SET_COOKIE, "theme=dark")]),
            "the handler's own text",
        )
    }
    Router::new()
        .route("/read", any(async |_: Session| done()))
        .route(
            "/write",
            any(async |session: Session| {
                session.set("name", "Ada")?;
                Ok::<_, Error>(done())
            }),
        )
        .route(
            "/cycle",
            any(async |session: Session| {
                session.cycle_key();
                done()
            }),
        )
        .route(
            "/flush",
            any(async |session: Session| {
                session.flush();
                done()
            }),
        )
        .route(
            "/log-out",
            any(async |session: LazySession| {
                session.log_out();
                done()
            }),
        )
        .route(
            "/log-in",
            any(async |session: Session| {
                session.log_in(7)?;
                Ok::<_, Error>(done())
            }),
        )
}

fn failed() -> StoreError {
    StoreError::failed("a store", "work", "a reason for the log")
}

fn deleted_within() -> StoreError {
    StoreError::deleted_within("a store", Duration::from_secs(60))
}

fn unavailable() -> StoreError {
    StoreError::unavailable("a store", "work", "a reason for the log")
}

fn assert_is_ours(reply: &Reply, what: &str) {
    assert!(
        !reply.body.contains("handler's own"),
        "{what}: the handler's response was sent"
    );
    assert!(!reply.body.is_empty(), "{what}: the client is told nothing");
    assert!(
        !reply.body.contains("reason"),
        "{what}: the client is told of the log's reason"
    );
    assert_eq!(reply.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    let theirs = reply.headers.get_all(SET_COOKIE).iter();
    assert_eq!(
        theirs.filter(|cookie| *cookie == "theme=dark").count(),
        0,
        "{what}: a part of the handler's response was sent"
    );
    assert!(
        reply.error.is_some(),
        "{what}: outer layers can't render the error"
    );
}

#[tokio::test]
async fn fail_01_fail_02_a_store_that_fails_fails_the_request_and_leaves_the_cookie_alone() {
    type Fails = fn() -> StoreError;
    let busy: Fails = unavailable;
    let broken: Fails = failed;
    let half_gone: Fails = deleted_within;
    #[rustfmt::skip]
    let rows: &[(&str, bool, Operation, Fails, u16, CookieChange)] = &[
        // path,     has a session, what fails,        how,      status, cookie
        ("/read",    true,  Operation::Load,   busy,      503, CookieChange::Untouched),
        ("/read",    true,  Operation::Load,   broken,    500, CookieChange::Untouched),
        ("/write",   true,  Operation::Load,   busy,      503, CookieChange::Untouched),
        ("/write",   true,  Operation::Save,   busy,      503, CookieChange::Untouched),
        ("/write",   true,  Operation::Save,   broken,    500, CookieChange::Untouched),
        ("/write",   false, Operation::Create, busy,      503, CookieChange::Untouched),
        ("/write",   false, Operation::Create, broken,    500, CookieChange::Untouched),
        ("/cycle",   true,  Operation::Rotate, busy,      503, CookieChange::Untouched),
        ("/cycle",   true,  Operation::Rotate, broken,    500, CookieChange::Untouched),
        ("/log-in",  true,  Operation::Rotate, busy,      503, CookieChange::Untouched),
        ("/log-in",  false, Operation::Create, busy,      503, CookieChange::Untouched),
        ("/flush",   true,  Operation::Delete, busy,      503, CookieChange::Untouched),
        ("/flush",   true,  Operation::Delete, broken,    500, CookieChange::Untouched),
        ("/flush",   true,  Operation::Delete, half_gone, 503, CookieChange::Removed),
        ("/log-out", true,  Operation::Delete, busy,      503, CookieChange::Untouched),
        ("/log-out", true,  Operation::Delete, half_gone, 503, CookieChange::Removed),
    ];
    for (path, has_session, operation, fails, status, cookie) in rows {
        let what = format!("{path}, {operation:?} fails, {status}");
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let app = routes().layer(site.layer());
        site.store
            .refuse_with(Call::of(*operation).and_later(), *fails);
        let header = has_session.then(|| cookie_of(&key));
        let reply = send(&app, post(path, header.as_deref())).await;
        assert!(site.store.clear_faults(), "{what}: nothing failed");
        assert_eq!(reply.status.as_u16(), *status, "{what}");
        assert_eq!(reply.cookie(), *cookie, "{what}");
        assert_is_ours(&reply, &what);
        if *cookie == CookieChange::Removed {
            assert_eq!(reply.headers[VARY], "Cookie", "{what}");
            assert_eq!(reply.headers[CACHE_CONTROL], "private", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_under_a_request_is_never_brought_back() {
    type Preset = fn(SessionLayer) -> SessionLayer;
    let ours: Preset = |layer| layer;
    // Under the usual name, so that one test reads both.
    let django: Preset = |layer| {
        layer
            .django_compatible()
            .with_cookie(CookieConfig::default())
    };
    #[rustfmt::skip]
    let rows: &[(Preset, Method, &str, u16, bool)] = &[
        // preset, method,         path,      status, the handler's response is sent
        (ours,     Method::POST,    "/write", 409, false),
        (ours,     Method::PUT,     "/write", 409, false),
        (ours,     Method::DELETE,  "/write", 409, false),
        (ours,     Method::GET,     "/write", 200, true),
        (ours,     Method::HEAD,    "/write", 200, true),
        (ours,     Method::OPTIONS, "/write", 200, true),
        (ours,     Method::POST,    "/cycle", 409, false),
        (ours,     Method::GET,     "/cycle", 200, true),
        (django,   Method::POST,    "/write", 400, false),
        (django,   Method::GET,     "/write", 400, false),
        (django,   Method::POST,    "/cycle", 400, false),
    ];
    for (preset, method, path, status, is_sent) in rows {
        let what = format!("{method} {path}, {status}");
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let cookie = cookie_of(&key);
        let app = routes().layer(preset(site.layer()));

        let gate = if *path == "/cycle" {
            site.store.hold(Operation::Rotate)
        } else {
            site.store.hold(Operation::Save)
        };
        let slow = tokio::spawn({
            let (app, cookie) = (app.clone(), cookie.clone());
            let mut request = get(path, Some(&cookie));
            *request.method_mut() = method.clone();
            async move { send(&app, request).await }
        });
        gate.reached().await;
        let log_out = send(&app, post("/log-out", Some(&cookie))).await;
        assert_eq!(log_out.cookie(), CookieChange::Removed, "{what}");
        gate.release();

        let slow = slow.await.unwrap();
        assert_eq!(slow.status.as_u16(), *status, "{what}");
        assert!(site.stored(&key).await.is_none(), "{what}: it lives again");
        assert_eq!(site.records(), 0, "{what}: something lives");
        if *is_sent {
            assert_eq!(
                slow.headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(),
                ["theme=dark"],
                "{what}: the slow request touched the session's cookie"
            );
            assert_eq!(slow.headers[VARY], "Cookie", "{what}");
        } else {
            assert_eq!(slow.cookie(), CookieChange::Untouched, "{what}");
            assert!(
                matches!(
                    slow.error.as_deref(),
                    Some(Error::Session(SessionError::Interrupted))
                ),
                "{what}: {:?}",
                slow.error
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_survives_that_its_session_ends_under_it_and_brings_nothing_of_it_back() {
    let site = Site::new();
    let key = site
        .visitor(|session| session.set("secret of old", &1).unwrap())
        .await;
    let cookie = cookie_of(&key);
    let app = routes().layer(site.layer());
    let gate = site.store.hold(Operation::Rotate);
    let slow = tokio::spawn({
        let (app, cookie) = (app.clone(), cookie.clone());
        async move { send(&app, post("/log-in", Some(&cookie))).await }
    });
    gate.reached().await;
    send(&app, post("/log-out", Some(&cookie))).await;
    gate.release();
    let reply = slow.await.unwrap();
    let session = site.stored(&reply.expect_issued()).await.unwrap();
    assert_eq!(session.owner().unwrap().as_str(), "7");
    assert!(session.is_empty(), "data of the dead session came back");
}

#[tokio::test]
async fn a_renewal_that_nobody_asked_for_fails_nobody() {
    let site = Site::with_policy(
        session_http::Policy::new().with_renewal(session_http::Renewal::EveryRequest),
    );
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route("/", on_get(async || "static"))
        .layer(site.layer());
    site.store.refuse(Call::any().and_later());
    let reply = send(&app, get("/", Some(&cookie_of(&key)))).await;
    assert!(site.store.clear_faults(), "the renewal was not tried");
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::OK, "static")
    );
}

#[tokio::test]
async fn handlers_may_answer_on_their_own_when_the_session_can_not_be_loaded() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route(
            "/",
            on_get(async |session: LazySession| match session.load().await {
                Ok(_) => "with a session",
                Err(_) => "without",
            }),
        )
        .layer(site.layer());
    site.store.refuse(Call::of(Operation::Load).and_later());
    let reply = send(&app, get("/", Some(&cookie_of(&key)))).await;
    assert!(site.store.clear_faults());
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::OK, "without")
    );
    assert_eq!(reply.cookie(), CookieChange::Untouched);
}

#[tokio::test]
async fn every_error_has_its_status_and_a_fixed_text() {
    let error = |error: SessionError| Error::from(error);
    let handle = "nonsense"
        .parse::<session_http::SessionHandle>()
        .unwrap_err();
    let cookie = CookieConfig::builder().with_name("").build();
    let short = session_core::KeyRing::from_bytes(b"too short").unwrap_err();
    for (error, status) in [
        (error(unavailable().into()), 503),
        (error(deleted_within().into()), 503),
        (error(SessionError::Contended), 503),
        (error(failed().into()), 500),
        (error(SessionError::HeadersSent), 500),
        (error(SessionError::Interrupted), 409),
        (error(SessionError::NoOwner), 403),
        (error(handle), 400),
        (error(short), 500),
        (Error::MissingLayer, 500),
        (cookie.unwrap_err(), 500),
    ] {
        let text = error.to_string();
        let reply = Reply::of(error.into_response()).await;
        assert_eq!(reply.status.as_u16(), status, "{text}");
        assert!(reply.body.ends_with(".\n"), "{text}: {}", reply.body);
        assert!(!reply.body.contains("reason"), "{text}: {}", reply.body);
        assert_eq!(reply.error.unwrap().to_string(), text);
    }
}
