//! What is thrown at the scanning of cookies: for the tests here and for cargo-fuzz, which includes this file.
//!
//! No input may make it panic, log somebody in who did not present a live key, or log out who did.

use std::convert::Infallible;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Response, StatusCode};
use session_http::{MemoryStore, Session, SessionLayer, SessionManager};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};

const NAME: &str = "__Host-sessionid";
const OWNER: &str = "ada";
/// More keys than that in one request are nobody's.
const KEYS_MAX: usize = 4;

/// A site with one visitor.
pub(crate) struct Target {
    runtime: Runtime,
    layer: SessionLayer,
    key: String,
}

impl Target {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let manager = SessionManager::new(MemoryStore::new());
        let session = manager.start();
        session.log_in(OWNER).expect("the owner is short");
        runtime.block_on(session.save()).expect("memory answers");
        let key = session.session_key().expect("a saved session has a key");
        Self {
            runtime,
            layer: SessionLayer::new(manager),
            key: key.expose_secret().to_owned(),
        }
    }

    /// Whatever a client may send in its `Cookie` headers, one for each line of the input. The first byte says whether the
    /// visitor's own cookie is among it, and the second where.
    pub(crate) fn cookie_header(&self, input: &[u8]) {
        let [how, place, noise @ ..] = input else {
            return;
        };
        let has_key = how % 2 == 1;
        let mut bytes = noise.to_vec();
        if has_key {
            let at = usize::from(*place) % (noise.len() + 1);
            let pair = format!(";{NAME}={};", self.key);
            bytes.splice(at..at, pair.into_bytes());
        }
        let mut request = Request::new(());
        for line in bytes.split(|byte| *byte == b'\n') {
            // A server does not let anything else through.
            if let Ok(value) = HeaderValue::from_bytes(line) {
                request.headers_mut().append(COOKIE, value);
            } else if has_key {
                return;
            }
        }
        let service = self.layer.layer(service_fn(whose));
        let Ok(response) = self.runtime.block_on(service.oneshot(request));
        assert_eq!(response.status(), StatusCode::OK);
        assert!(
            !response.headers().contains_key(SET_COOKIE),
            "a request that only reads changes the cookie"
        );
        let others = noise
            .windows(NAME.len())
            .filter(|part| part == &NAME.as_bytes())
            .count();
        if response.body() == OWNER {
            assert!(has_key, "somebody is logged in without the key");
        } else if has_key {
            assert!(others >= KEYS_MAX, "the visitor's cookie is not seen");
        }
    }
}

async fn whose(request: Request<()>) -> Result<Response<String>, Infallible> {
    let session = Session::from_extensions(request.extensions()).await;
    let mut response = Response::default();
    match session {
        Ok(session) => {
            *response.body_mut() = session
                .owner()
                .map(|owner| owner.as_str().to_owned())
                .unwrap_or_default();
        }
        Err(error) => *response.status_mut() = error.status(),
    }
    Ok(response)
}
