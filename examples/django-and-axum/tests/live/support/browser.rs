//! A browser without a window: it keeps cookies, and fills in forms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// One visitor. Clones share their cookies, as tabs do.
#[derive(Clone)]
pub(crate) struct Browser {
    origin: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    client: Client<HttpConnector, Body>,
}

/// What a side says of the session.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Said {
    pub(crate) user: Option<String>,
    pub(crate) expires_at: u64,
    pub(crate) ends_with_the_browser: bool,
    pub(crate) things: BTreeMap<String, Value>,
}

/// What an answer was.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The `Set-Cookie` of the session, if there was one.
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn at(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            cookies: Arc::default(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Another browser with the cookies as they are now: what somebody has who copied them, or the same one after the
    /// services moved.
    pub(crate) fn at_another(&self, origin: &str) -> Self {
        Self {
            cookies: Arc::new(Mutex::new(self.cookies())),
            ..Self::at(origin)
        }
    }

    /// Whoever has copied the cookies.
    pub(crate) fn thief(&self) -> Self {
        self.at_another(&self.origin)
    }

    /// What Django says of the session.
    pub(crate) async fn django(&self) -> Said {
        self.read("/session.json").await
    }

    /// What we say of it.
    pub(crate) async fn rust(&self) -> Said {
        self.read("/rust/session.json").await
    }

    /// What both say of it, which has to be the same.
    pub(crate) async fn both(&self) -> Said {
        let (django, rust) = (self.django().await, self.rust().await);
        assert_eq!(
            (&django.user, &django.things),
            (&rust.user, &rust.things),
            "Django and Rust see different sessions"
        );
        rust
    }

    /// Fills in a form, and is led on to another page.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let answer = self.post_any(path, form).await;
        let status = answer.status;
        assert!(status.is_redirection(), "{path} answered {status}");
        answer
    }

    /// Fills in a form, whatever comes of it.
    pub(crate) async fn post_any(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        if !path.starts_with("/rust/") && !self.cookies().contains_key("csrftoken") {
            self.get("/login/").await;
        }
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let response = self.send(Method::POST, path, form.join("&")).await;
        let cookie = set_cookies(&response).find(|cookie| cookie.starts_with("sessionid="));
        Answer {
            status: response.status(),
            cookie: cookie.map(str::to_owned),
        }
    }

    /// Logs in on the page at `path`.
    pub(crate) async fn log_in(&self, path: &str, name: &str) {
        let form = [("username", name), ("password", name)];
        self.post(path, &form).await;
    }

    /// The session's key, which no test prints.
    pub(crate) fn key(&self) -> Option<String> {
        self.cookies().get("sessionid").cloned()
    }

    async fn read(&self, path: &str) -> Said {
        let body = self.get(path).await.into_body();
        let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let response = self.send(Method::GET, path, String::new()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response
    }

    async fn send(&self, method: Method, path: &str, form: String) -> Response<Body> {
        let cookies = self.cookies();
        let token = cookies.get("csrftoken").cloned().unwrap_or_default();
        let cookies: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-csrftoken", token)
            .body(Body::from(form))
            .unwrap();
        let response = self.client.request(request).await.unwrap().map(Body::new);
        let mut jar = self.jar();
        for cookie in set_cookies(&response) {
            let (name, rest) = cookie.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            if attributes.contains("Max-Age=0") || attributes.contains("Max-Age=-") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        drop(jar);
        response
    }

    fn cookies(&self) -> BTreeMap<String, String> {
        self.jar().clone()
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_cookies<B>(response: &Response<B>) -> impl Iterator<Item = &str> {
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    cookies.map(|cookie| cookie.to_str().unwrap())
}

/// As a form encodes it, only that nothing is left as it is.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
