//! The same behaviour over every adapter: each test runs once over axum's router and once over a plain tower service.
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use session_core::conformance::Operation;
use session_http::{Error, LazySession, Result, Session, SessionLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{CookieChange, Reply, Site, cookie_of, get, post};

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
/// An application behind a layer, whatever it is made of.
type App = Box<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// What both applications do, by path: `/visit`, `/log-in`, `/log-out`, `/fail`, `/`.
async fn act(path: &str, lazy: LazySession) -> Result<(StatusCode, String)> {
    let text = match path {
        "visit" => {
            let session = lazy.load().await?;
            session
                .modify_now("visits", |visits: &mut u32| {
                    *visits += 1;
                    *visits
                })
                .await?
                .to_string()
        }
        "write" => {
            let session = lazy.load().await?;
            session.modify("writes", |writes: &mut u32| *writes += 1)?;
            session
                .get::<u32>("writes")?
                .unwrap_or_default()
                .to_string()
        }
        "log-in" => {
            lazy.load().await?.log_in("ada")?;
            "hello".to_owned()
        }
        "log-out" => {
            lazy.log_out();
            "goodbye".to_owned()
        }
        "fail" => {
            lazy.load().await?.set("lost", &true)?;
            return Ok((StatusCode::BAD_GATEWAY, "failed".to_owned()));
        }
        "who" => {
            let owner = lazy.load().await?.owner();
            owner.map_or_else(|| "nobody".to_owned(), |owner| owner.as_str().to_owned())
        }
        _ => "static".to_owned(),
    };
    Ok((StatusCode::OK, text))
}

fn over_axum(layer: &SessionLayer) -> App {
    let app = Router::new()
        .route(
            "/{page}",
            any(async |Path(page): Path<String>, session: LazySession| act(&page, session).await),
        )
        .route(
            "/extracted",
            any(async |one: Session, two: Session| {
                one.set("a", &1)?;
                Ok::<_, Error>(two.len().to_string())
            }),
        )
        .layer(layer.clone());
    Box::new(move |request| {
        let app = app.clone();
        Box::pin(async move {
            let Ok(response) = app.oneshot(request).await;
            Reply::of(response).await
        })
    })
}

fn over_tower(layer: &SessionLayer) -> App {
    let service = layer.layer(service_fn(async |request: Request<Body>| {
        let extensions = request.extensions();
        let acted = match request.uri().path() {
            "/extracted" => {
                let extracted = async {
                    Session::from_extensions(extensions).await?.set("a", &1)?;
                    let session = Session::from_extensions(extensions).await?;
                    Ok((StatusCode::OK, session.len().to_string()))
                };
                extracted.await
            }
            path => match LazySession::from_extensions(extensions) {
                Ok(session) => act(path.trim_start_matches('/'), session).await,
                Err(error) => Err(error),
            },
        };
        let (status, text) = acted.unwrap_or_else(|error| (error.status(), error.to_string()));
        let mut response = Response::new(Full::<Bytes>::from(text));
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    }));
    Box::new(move |request| {
        let service = service.clone();
        Box::pin(async move {
            let Ok(response) = service.oneshot(request).await;
            Reply::of(response).await
        })
    })
}

/// One module per adapter, one test per function.
macro_rules! over_every_adapter {
    ($($test:ident),* $(,)?) => {
        over_every_adapter!(@adapter over_axum, super::over_axum, [$($test),*]);
        over_every_adapter!(@adapter over_tower, super::over_tower, [$($test),*]);
    };
    (@adapter $name:ident, $app:expr, [$($test:ident),*]) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $test() {
                    let site = crate::support::Site::new();
                    let app = $app(&site.layer());
                    super::$test(site, app).await;
                }
            )*
        }
    };
}

over_every_adapter!(
    a_visitor_is_recognized_by_the_cookie,
    a_request_that_never_asks_is_passed_on,
    everyone_in_a_request_has_the_same_session,
    a_log_in_changes_the_key_and_a_log_out_ends_it,
    a_server_error_stores_nothing,
    a_store_that_is_down_is_503,
    a_session_that_was_ended_meanwhile_is_409,
);

async fn a_visitor_is_recognized_by_the_cookie(_site: Site, app: App) {
    let first = app(get("/visit", None)).await;
    assert_eq!(first.body, "1");
    assert_eq!(first.headers["vary"], "Cookie");
    assert_eq!(first.headers["cache-control"], "private");
    let cookie = cookie_of(&first.expect_issued());
    let second = app(get("/visit", Some(&cookie))).await;
    assert_eq!(
        (second.body.as_str(), second.cookie()),
        ("2", CookieChange::Untouched)
    );
    assert_eq!(app(get("/visit", None)).await.body, "1", "somebody else");
}

async fn a_request_that_never_asks_is_passed_on(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let reply = app(get("/static", Some(&cookie_of(&key)))).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::OK, "static")
    );
    assert_eq!(reply.cookie(), CookieChange::Untouched);
    assert!(!reply.headers.contains_key("vary"));
    assert_eq!(site.store.inner().total(), 0);
}

async fn everyone_in_a_request_has_the_same_session(_site: Site, app: App) {
    assert_eq!(app(get("/extracted", None)).await.body, "1");
}

async fn a_log_in_changes_the_key_and_a_log_out_ends_it(site: Site, app: App) {
    let anonymous = app(get("/visit", None)).await.expect_issued();
    let logged_in = app(post("/log-in", Some(&cookie_of(&anonymous))))
        .await
        .expect_issued();
    assert_ne!(
        anonymous, logged_in,
        "the key that an attacker may have planted still counts"
    );
    assert!(site.stored(&anonymous).await.is_none());
    let cookie = cookie_of(&logged_in);
    assert_eq!(app(get("/who", Some(&cookie))).await.body, "ada");
    assert_eq!(
        app(get("/visit", Some(&cookie))).await.body,
        "2",
        "the visitor's data is kept"
    );
    let reply = app(post("/log-out", Some(&cookie))).await;
    assert_eq!(reply.cookie(), CookieChange::Removed);
    assert_eq!(app(get("/who", Some(&cookie))).await.body, "nobody");
    assert_eq!(site.records(), 0);
}

async fn a_server_error_stores_nothing(site: Site, app: App) {
    let reply = app(get("/fail", None)).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::BAD_GATEWAY, "failed")
    );
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

async fn a_store_that_is_down_is_503(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = cookie_of(&key);
    for operation in [Operation::Load, Operation::Save] {
        site.store
            .refuse(session_core::conformance::Call::of(operation).and_later());
        let reply = app(post("/write", Some(&cookie))).await;
        assert!(site.store.clear_faults(), "{operation:?} was not refused");
        assert_eq!(
            reply.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{operation:?}"
        );
        assert_eq!(reply.cookie(), CookieChange::Untouched, "{operation:?}");
    }
    assert_eq!(app(post("/write", Some(&cookie))).await.body, "1");
}

async fn a_session_that_was_ended_meanwhile_is_409(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = cookie_of(&key);
    let gate = site.store.hold(Operation::Save);
    let slow = app(post("/write", Some(&cookie)));
    let end = async {
        gate.reached().await;
        app(post("/log-out", Some(&cookie))).await;
        gate.release();
    };
    let (reply, ()) = tokio::join!(slow, end);
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert!(reply.error.is_some());
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

#[tokio::test]
async fn a_service_whose_body_is_not_axum_s_is_answered_with_an_empty_one() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = over_tower(&site.layer());
    site.store
        .refuse(session_core::conformance::Call::of(Operation::Save).and_later());
    let reply = app(post("/write", Some(&cookie_of(&key)))).await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body, "");
    assert!(!reply.headers.contains_key("content-type"));
}

#[tokio::test]
async fn an_error_of_the_service_itself_stores_nothing() {
    let site = Site::new();
    let service = site
        .layer()
        .layer(service_fn(async |request: Request<Body>| {
            let session = Session::from_extensions(request.extensions())
                .await
                .unwrap();
            session.set("n", &1).unwrap();
            Err::<Response<Body>, _>("the connection to the other service broke")
        }));
    let answer = service.oneshot(get("/", None)).await;
    assert_eq!(
        answer.unwrap_err(),
        "the connection to the other service broke"
    );
    assert_eq!(site.records(), 0);
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// Counts the calls that nobody asked readiness for.
    #[derive(Clone, Default)]
    struct Strict(bool);

    impl tower::Service<Request<Body>> for Strict {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<std::result::Result<Response<Body>, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::result::Result<(), Infallible>> {
            self.0 = true;
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called without being ready");
            ready(Ok(Response::default()))
        }
    }

    let service = Site::new().layer().layer(Strict::default());
    for _ in 0..2 {
        let Ok(response) = service.clone().oneshot(get("/", None)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}
