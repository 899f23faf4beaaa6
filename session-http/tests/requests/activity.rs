//! Requests that are no sign of life from their visitor.
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http::StatusCode;
use session_http::{Activity, CookieConfig, Error, NoActivity, Policy, Renewal, Session};

use crate::support::{Browser, IDLE, Site, get, jar_with, send};

const MINUTE: Duration = Duration::from_secs(60);

async fn how_much(session: Session) -> String {
    session.len().to_string()
}

#[tokio::test]
async fn exp_12_a_page_that_asks_by_itself_keeps_no_session_alive() {
    const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
    let policy = || Policy::new().with_idle_timeout(TEN_MINUTES);
    for renewal in [Renewal::OnAccess, Renewal::OnSave, Renewal::EveryRequest] {
        for (path, is_inside, lives) in [
            ("/poll", true, false),
            ("/poll-unasked", true, false),
            ("/poll-and-write", true, false),
            ("/poll", false, false),
            ("/poll-unasked", false, false),
            ("/poll-and-click", true, true),
            ("/page", true, renewal != Renewal::OnSave),
            ("/static", true, renewal == Renewal::EveryRequest),
        ] {
            let site = Site::with_policy(policy().with_renewal(renewal));
            let polled = Router::new()
                .route("/poll", on_get(how_much))
                .route("/poll-unasked", on_get(async || "news"))
                .route(
                    "/poll-and-write",
                    on_get(async |session: Session| session.set("m", &1).map_err(Error::from)),
                )
                .route(
                    "/poll-and-click",
                    on_get(async |session: Session| {
                        session.set_activity(Activity::Counts);
                        session.set("m", &1).map_err(Error::from)
                    }),
                );
            let app = if is_inside {
                polled.route_layer(NoActivity::new()).layer(site.layer())
            } else {
                polled.layer(site.layer()).layer(NoActivity::new())
            };
            let pages = Router::new()
                .route("/page", on_get(how_much))
                .route("/static", on_get(async || "static"))
                .layer(site.layer());
            let app = app.merge(pages);

            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            let mut browser = Browser::with(&app, jar_with(&key));
            for _ in 0..15 {
                site.clock.advance(MINUTE);
                assert_eq!(browser.get(path).await.status, StatusCode::OK);
                if path == "/poll-and-write" && site.stored(&key).await.is_some() {
                    let session = site.stored(&key).await.unwrap();
                    assert!(
                        session.contains_key("m"),
                        "{renewal:?}: what it changes is not stored"
                    );
                }
            }
            assert_eq!(
                site.stored(&key).await.is_some(),
                lives,
                "{renewal:?}, {path}, inside: {is_inside}"
            );
        }
    }
}

#[tokio::test]
async fn exp_12_two_layers_are_both_told_that_nobody_is_there() {
    let (outer, inner) = (Site::new(), Site::new());
    let name = |name: &str| CookieConfig::builder().with_name(name).build().unwrap();
    let app = Router::new()
        .route("/", on_get(how_much))
        .layer(NoActivity::new())
        .layer(inner.layer().with_cookie(name("inner")))
        .layer(axum::middleware::from_fn(
            async |_: Session, request: axum::extract::Request, next: axum::middleware::Next| {
                next.run(request).await
            },
        ))
        .layer(outer.layer().with_cookie(name("outer")));
    let (one, two) = (
        outer.visitor(|session| session.set("n", &1).unwrap()).await,
        inner.visitor(|session| session.set("n", &1).unwrap()).await,
    );
    for site in [&outer, &inner] {
        site.clock.advance(IDLE / 2); // a renewal is due
    }
    let reply = send(&app, get("/", Some(&format!("outer={one}; inner={two}")))).await;
    assert_eq!(reply.body, "1");
    assert_eq!(
        (outer.writes().as_str(), inner.writes().as_str()),
        ("-", "-")
    );
}
