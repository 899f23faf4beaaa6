//! Sessions in signed cookies: what Django's middleware did with each request, and what the layer does with the same one.

use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{Request, StatusCode};
use serde_json::Value;
use session_core::django::{DjangoSettings, ReadableIrrevocableCookies};
use session_core::{Expiry, ManualClock};
use session_http::{CookieConfig, LazySession, SessionLayer};
use tower::ServiceExt;

use crate::support::{NOW, VECTORS, cases};

/// Both reasons are in `docs/running-with-django.md`, with the other deviations.
const LEFT_ALONE: &str =
    "a cookie of no session is left alone: the browser may already hold a newer one";
const NEVER_EMPTY: &str = "no empty session is ever stored";

/// The case, what happens here, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("no cookie, cycle_key", "- | Cookie", NEVER_EMPTY),
    ("tampered cookie, read", "- | Cookie", LEFT_ALONE),
    ("tampered cookie, clear", "- | Cookie", NEVER_EMPTY),
    ("tampered cookie, cycle_key", "- | Cookie", NEVER_EMPTY),
    ("short cookie, untouched", "- | -", LEFT_ALONE),
    ("short cookie, read", "- | Cookie", LEFT_ALONE),
    ("short cookie, clear", "- | Cookie", NEVER_EMPTY),
    ("short cookie, cycle_key", "- | Cookie", NEVER_EMPTY),
    (
        "tampered cookie, untouched, save_every",
        "- | -",
        LEFT_ALONE,
    ),
];

#[tokio::test]
async fn the_layer_answers_as_django_does_with_signed_cookies_but_for_the_deviations_that_are_listed()
 {
    let mut left: Vec<&str> = DEVIATIONS.iter().map(|(name, ..)| *name).collect();
    let mut wrong = Vec::new();
    for vector in cases("middleware_signed_cookies", 31) {
        let name = vector["name"].as_str().expect("a case has a name");
        let django = outcome_of_django(vector);
        let here = outcome_here(vector).await;
        match DEVIATIONS.iter().find(|(deviating, ..)| *deviating == name) {
            None if here == django => {}
            None => wrong.push(format!("{name}\n  Django: {django}\n  here:   {here}")),
            Some((_, expected, why)) => {
                left.retain(|deviating| *deviating != name);
                if here != *expected || here == django {
                    wrong.push(format!("{name}, where we differ: {why}\n  Django: {django}\n  listed: {expected}\n  here:   {here}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        left.is_empty(),
        "the list names cases that there are not: {left:?}"
    );
}

fn outcome_of_django(vector: &Value) -> String {
    let cookies = vector["set_cookie"].as_array().expect("a list of cookies");
    let cookies = cookies
        .iter()
        .map(|cookie| cookie.as_str().expect("a cookie is text"));
    in_words(cookies, vector["vary"].as_str())
}

async fn outcome_here(vector: &'static Value) -> String {
    let mut given = vector["settings"].clone();
    given["SECRET_KEY"] = VECTORS["constants"]["default_secret_key"].clone();
    let settings = DjangoSettings::from_json(given.to_string().as_bytes()).expect("the settings");
    let seconds = u64::try_from(NOW).expect("it is after 1970");
    let manager = ReadableIrrevocableCookies::new(&settings)
        .manager(settings.policy())
        .expect("a policy of Django's own")
        .with_clock(ManualClock::at(UNIX_EPOCH + Duration::from_secs(seconds)));
    let layer = SessionLayer::new(manager)
        .django_compatible()
        .with_cookie(CookieConfig::django(&settings).expect("a cookie"));
    let mut request = Request::get("/");
    if let Some(value) = vector["request_cookie"].as_str() {
        request = request.header(COOKIE, format!("{}={value}", settings.cookie_name()));
    }
    let app = Router::new()
        .route("/", get(handler))
        .layer(layer)
        .with_state(vector);
    let request = request.body(Body::empty()).expect("this is a request");
    let Ok(response) = app.oneshot(request).await;
    let headers = response.headers();
    let text = |header: &'_ http::HeaderValue| header.to_str().expect("ASCII").to_owned();
    let cookies: Vec<String> = headers.get_all(SET_COOKIE).iter().map(text).collect();
    let vary = headers.get(VARY).map(text);
    in_words(cookies.iter().map(String::as_str), vary.as_deref())
}

/// Does what the view did, with the session's methods of the same name.
async fn handler(
    State(vector): State<&'static Value>,
    lazy: LazySession,
) -> session_http::Result<StatusCode> {
    for op in vector["ops"].as_array().expect("a list of steps") {
        let step = op[0].as_str().expect("a step has a name");
        if step == "flush" {
            lazy.log_out();
            continue;
        }
        let session = lazy.load().await?;
        match step {
            "get" => drop(session.get::<Value>("x")?),
            "set" => session.set("y", &op[2])?,
            "clear" => session.clear(),
            "cycle_key" => session.cycle_key(),
            "set_expiry" => {
                let seconds = op[1].as_u64().expect("a number of seconds");
                session.set_expiry(Expiry::OnInactivity(Duration::from_secs(seconds)))?;
            }
            other => panic!("a step that this test can't do: {other}"),
        }
    }
    let status = vector["status"].as_u64().expect("a status");
    Ok(StatusCode::from_u16(u16::try_from(status).expect("a status")).expect("a status"))
}

/// `cookies | Vary`, the values of the cookies to the letter.
fn in_words<'a>(cookies: impl Iterator<Item = &'a str>, vary: Option<&str>) -> String {
    let cookies: Vec<String> = cookies.map(words_of).collect();
    let cookies = if cookies.is_empty() {
        "-".to_owned()
    } else {
        cookies.join(" + ")
    };
    format!("{cookies} | {}", vary.unwrap_or("-"))
}

/// A `Set-Cookie` in an order of its own. Django writes out when a cookie expires beside its `Max-Age`, we do not; and a removal
/// has whatever the cookie had.
fn words_of(cookie: &str) -> String {
    let mut parts = cookie.split("; ");
    let pair = parts
        .next()
        .expect("a cookie has a name")
        .replace("\"\"", "");
    let attributes: Vec<&str> = parts.collect();
    let is_removal = attributes.contains(&"Max-Age=0");
    let mut kept: Vec<&str> = attributes
        .into_iter()
        .filter(|attribute| !attribute.to_ascii_lowercase().starts_with("expires="))
        .filter(|attribute| !(is_removal && *attribute == "HttpOnly"))
        .collect();
    kept.sort_unstable();
    format!("{pair}; {}", kept.join("; "))
}
