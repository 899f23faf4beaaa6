//! Marked values and real keys go through requests of all kinds while everything is logged: none of it is in the log, an
//! error, its sources, a `Debug` or a response that is not the visitor's own.
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get as on_get, post as on_post};
use session_core::conformance::{Call, Operation};
use session_http::{Error, LazySession, Session, SessionKey};
use tower::{Layer, Service, ServiceExt, service_fn};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{CookieChange, Reply, Site, cookie_of, get, keep_events_on, post};

const CANARY: &str = "CANARY-8f1d";

/// Everything that was printed anywhere.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn debug(&self, value: &impl std::fmt::Debug) {
        self.add(&format!("{value:?} {value:#?}\n"));
    }

    fn error(&self, error: &dyn std::error::Error) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(&format!("{error} {error:?}\n"));
            next = error.source();
        }
    }

    fn add(&self, text: &str) {
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn leak_01_no_key_and_no_value_is_printed_whatever_a_request_meets() {
    let printed = Printed::default();
    let writer = printed.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    keep_events_on();
    let keys = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(send_everything(&printed))
    });

    let text = printed.text();
    for expected in [
        "a request failed over its session",
        "a request was refused over its session",
        "several live sessions",
        "too many session keys",
        "unknown or expired session key",
        "shared caches",
        "with_insecure_plain_http",
        "is not of the type",
    ] {
        assert!(
            text.contains(expected),
            "nothing was captured of: {expected}\n{text}"
        );
    }
    for secret in keys.iter().map(String::as_str).chain([CANARY]) {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret was printed");
    }
}

fn pages(printed: &Printed) -> Router {
    let show = printed.clone();
    Router::new()
        .route(
            "/write",
            on_post(async move |lazy: LazySession, request: Request| {
                show.debug(&lazy);
                show.debug(&request);
                show.debug(request.extensions());
                let session = lazy.load().await?;
                session.set("secret", CANARY)?;
                session.log_in(CANARY)?;
                session.set_label(CANARY)?;
                show.debug(&session);
                Ok::<_, Error>([("cache-control", "public")])
            }),
        )
        .route(
            "/read",
            on_get(async |session: Session| session.get::<String>("secret").is_ok().to_string()),
        )
        .route(
            "/shared",
            on_get(async |_: Session| [("cache-control", "public")]),
        )
        .route(
            "/wrong-type",
            on_get(async |session: Session| {
                session
                    .get::<u32>("secret")
                    .map(|_| ())
                    .map_err(Error::from)
            }),
        )
        .route(
            "/cycle",
            on_post(async |session: Session| session.cycle_key()),
        )
        .route(
            "/log-out",
            on_post(async |session: LazySession| session.log_out()),
        )
}

async fn send_everything(printed: &Printed) -> Vec<String> {
    let site = Site::new();
    let layer = site.layer();
    printed.debug(&layer);
    let mut service = layer.layer(service_fn(async |_: Request| {
        Ok::<Response, Infallible>(Response::default())
    }));
    printed.debug(&service);
    let key = SessionKey::generate().unwrap().expose_secret().to_owned();
    printed.debug(&service.call(get("/", Some(&cookie_of(&key)))));
    let app = pages(printed)
        .layer(layer)
        .route("/without-the-layer", on_get(async |_: Session| ""));
    let mut keys = vec![key];
    let mut request = async |method: &str, path: &str, cookies: &[&String], host: &str| {
        let cookie = cookies
            .iter()
            .map(|key| cookie_of(key))
            .collect::<Vec<_>>()
            .join("; ");
        let make = if method == "POST" { post } else { get };
        let mut request = make(path, Some(&cookie));
        request.headers_mut().insert("host", host.parse().unwrap());
        printed.add(&format!("{method} {path}\n"));
        let Ok(response) = app.clone().oneshot(request).await;
        printed.debug(&response.headers());
        printed.debug(&response.extensions());
        let reply = Reply::of(response).await;
        printed.add(&reply.body);
        if let Some(error) = &reply.error {
            printed.error(&**error);
        }
        if let CookieChange::Set(key) = reply.cookie() {
            keys.push(key.clone());
            return key;
        }
        String::new()
    };

    let one = request("POST", "/write", &[], "example.org").await;
    let two = request("POST", "/write", &[], "localhost").await;
    let unknown = SessionKey::generate().unwrap().expose_secret().to_owned();
    request("GET", "/read", &[&one], "localhost").await;
    request("GET", "/shared", &[&one], "localhost").await;
    request("GET", "/wrong-type", &[&one], "localhost").await;
    request("GET", "/read", &[&unknown], "localhost").await;
    request("GET", "/read", &[&one, &two], "localhost").await;
    let many: Vec<String> = (0..6)
        .map(|_| SessionKey::generate().unwrap().expose_secret().to_owned())
        .collect();
    request(
        "GET",
        "/read",
        &many.iter().collect::<Vec<_>>(),
        "localhost",
    )
    .await;
    request("GET", "/without-the-layer", &[&one], "localhost").await;
    for operation in [Operation::Load, Operation::Rotate] {
        site.store.refuse(Call::of(operation).and_later());
        request("POST", "/write", &[&one], "localhost").await;
        assert!(site.store.clear_faults(), "{operation:?} was not refused");
    }
    let two = request("POST", "/cycle", &[&two], "localhost").await;

    // One that ends under a request.
    let gate = site.store.hold(Operation::Rotate);
    let slow = tokio::spawn({
        let (app, cookie) = (app.clone(), cookie_of(&two));
        async move { app.oneshot(post("/cycle", Some(&cookie))).await }
    });
    gate.reached().await;
    request("POST", "/log-out", &[&two], "localhost").await;
    gate.release();
    let Ok(response) = slow.await.unwrap();
    assert_eq!(response.status(), 409);
    printed.debug(&response);

    assert!(keys.len() >= 3 && keys.iter().all(|key| key.len() == SessionKey::LEN));
    keys.push(unknown);
    keys.extend(many);
    keys
}
