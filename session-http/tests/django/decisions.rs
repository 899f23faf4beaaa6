//! Django's decision table: what its middleware did with a request, and what the layer does with the same one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use session_core::django::DjangoSettings;
use session_core::store::{SessionStore, StoreKey, Timestamp};
use session_core::{Expiry, SessionError};
use session_http::{Error, LazySession};
use tower::ServiceExt;

use crate::deviations::DEVIATIONS;
use crate::support::{NOW, Site, VECTORS, cases};

/// One case, and the site that it happens on.
struct Case {
    vector: &'static Value,
    site: Site,
}

#[tokio::test]
async fn the_layer_answers_as_django_does_but_for_the_deviations_that_are_listed() {
    let mut reasons = BTreeMap::new();
    for deviation in DEVIATIONS {
        for name in deviation.cases {
            let known = reasons.insert(*name, (deviation.reason, deviation.here));
            assert!(known.is_none(), "{name} deviates for two reasons");
        }
    }
    for vector in cases("middleware", 138) {
        let name = vector["name"].as_str().expect("a case has a name");
        let django = outcome_of_django(vector);
        let here = outcome_here(vector).await;
        match reasons.remove(name) {
            None => assert_eq!(here, django, "\n{name}: not as Django has it"),
            Some((reason, expected)) => {
                assert_eq!(here, expected, "\n{name}, where we differ: {reason}");
                assert_ne!(
                    here, django,
                    "\n{name} is as Django has it: strike it off the list"
                );
            }
        }
    }
    assert!(
        reasons.is_empty(),
        "the list names cases that there are not: {:?}",
        reasons.keys()
    );
}

/// What Django answered, in the words in which our answers are compared with it.
fn outcome_of_django(vector: &Value) -> String {
    let error = match vector["error"].as_str() {
        None => "-",
        Some("SessionInterrupted") => "400",
        Some(other) => other,
    };
    let cookies = vector["set_cookie"].as_array().expect("a list of cookies");
    let cookies: Vec<String> = cookies
        .iter()
        .map(|cookie| words_of(cookie.as_str().expect("a cookie is text")))
        .collect();
    let rows = vector["rows_after"].as_array().expect("a list of rows");
    let rows = rows.iter().map(|row| {
        let text = |name: &str| row[name].as_str().expect("a column is text");
        row_in_words(
            text("session_key"),
            text("expire_date_text"),
            text("json_text"),
        )
    });
    in_words(error, &cookies, vector["vary"].as_str(), rows.collect())
}

async fn outcome_here(vector: &'static Value) -> String {
    let settings = settings_of(vector);
    let settings = match settings {
        Ok(settings) => settings,
        Err(_refused) => return "refused at start".to_owned(),
    };
    let site = Site::new(settings);
    let stored = &vector["stored_before"];
    if let Some(json) = stored["json_text"].as_str() {
        let saved_at = stored["saved_at"].as_i64().expect("a row was saved");
        site.put(&valid_key(), json, Timestamp::from_secs(saved_at))
            .await;
    }
    let layer = match site.layer() {
        Ok(layer) => layer,
        Err(_refused) => return "refused at start".to_owned(),
    };
    let mut request = Request::get("/");
    let brought = vector["request_cookie"].as_str();
    if let Some(value) = brought {
        let value = value.replace("<valid>", valid_key().as_str());
        let name = site.settings.cookie_name();
        request = request.header(COOKIE, format!("{name}={value}"));
    }
    let case = Arc::new(Case { vector, site });
    let app = Router::new()
        .route("/", get(handler))
        .layer(layer)
        .with_state(Arc::clone(&case));
    let request = request.body(Body::empty()).expect("this is a request");
    let Ok(response) = app.oneshot(request).await;

    let error = response.extensions().get::<Arc<Error>>();
    let error = error.map_or_else(
        || "-".to_owned(),
        |_| response.status().as_u16().to_string(),
    );
    let headers = response.headers();
    let text = |header: &http::HeaderValue| header.to_str().expect("ASCII").to_owned();
    let cookies: Vec<String> = headers
        .get_all(SET_COOKIE)
        .iter()
        .map(|cookie| words_of(&text(cookie)))
        .collect();
    let vary = headers.get(VARY).map(text);
    let rows = case.site.rows().await;
    let rows = rows
        .iter()
        .map(|(key, expires_at, json)| row_in_words(key, &date_in_words(*expires_at), json));
    in_words(&error, &cookies, vary.as_deref(), rows.collect())
}

/// Does what the view did, with the session's methods of the same name.
async fn handler(
    State(case): State<Arc<Case>>,
    lazy: LazySession,
) -> session_http::Result<Response> {
    let ops = case.vector["ops"].as_array().expect("a list of steps");
    for op in ops {
        let step = op[0].as_str().expect("a step has a name");
        // What Django does without loading the session is done without loading it.
        match step {
            "flush" => lazy.log_out(),
            // There is no such flag to set.
            "mark_modified" => {}
            "row_deleted_elsewhere" => {
                let deleted = case.site.store.delete(&valid_key()).await;
                deleted.map_err(SessionError::from)?;
            }
            "row_changed_elsewhere" => {
                let now = Timestamp::from_secs(NOW);
                case.site
                    .put(&valid_key(), r#"{"x":1,"other":9}"#, now)
                    .await;
            }
            _ => {
                let session = lazy.load().await?;
                match step {
                    "get" => drop(session.get::<Value>("x")?),
                    "set" => session.set("y", &op[2])?,
                    "del" => drop(session.remove("x")),
                    "clear" => session.clear(),
                    "cycle_key" => session.cycle_key(),
                    "set_expiry" => session.set_expiry(expiry_of(&op[1]))?,
                    "save" => session.save().await?,
                    other => panic!("a step that this test can't do: {other}"),
                }
            }
        }
    }
    let status = case.vector["status"].as_u64().expect("a status");
    let status = StatusCode::from_u16(u16::try_from(status).expect("a status")).expect("a status");
    let mut headers = HeaderMap::new();
    if let Some(vary) = case.vector["response_vary_before"].as_str() {
        headers.insert(VARY, vary.parse().expect("a header"));
    }
    Ok((status, headers).into_response())
}

fn settings_of(vector: &Value) -> Result<DjangoSettings, session_core::store::StoreError> {
    let mut given = vector["settings"].clone();
    given["SECRET_KEY"] = VECTORS["constants"]["default_secret_key"].clone();
    DjangoSettings::from_json(given.to_string().as_bytes())
}

fn valid_key() -> StoreKey {
    StoreKey::parse("valid000000000000000000000000001").expect("a key")
}

/// What Django's `set_expiry` takes, as ours takes it.
fn expiry_of(argument: &Value) -> Expiry {
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW).expect("after 1970"));
    if let Some(seconds) = argument["timedelta_seconds"].as_i64() {
        let length = Duration::from_secs(seconds.unsigned_abs());
        return Expiry::At(if seconds < 0 {
            now - length
        } else {
            now + length
        });
    }
    match argument.as_f64() {
        None => Expiry::Default,
        Some(0.0) => Expiry::AtBrowserClose,
        Some(seconds) => Expiry::OnInactivity(Duration::from_secs_f64(seconds.max(0.0))),
    }
}

/// A `Set-Cookie` in an order of its own. Django writes out when a cookie expires beside its `Max-Age`, we do not.
fn words_of(cookie: &str) -> String {
    let mut parts = cookie.split("; ");
    let (name, value) = parts
        .next()
        .and_then(|pair| pair.split_once('='))
        .expect("a cookie has a name");
    let attributes: Vec<&str> = parts.collect();
    let is_removal = attributes.contains(&"Max-Age=0") && value.trim_matches('"').is_empty();
    let mut kept: Vec<String> = attributes
        .into_iter()
        .filter(|attribute| !attribute.to_ascii_lowercase().starts_with("expires="))
        // A removal has whatever the cookie had: browsers let no cookie without Secure replace one that has it.
        .filter(|attribute| !is_removal || !matches!(*attribute, "HttpOnly" | "Secure"))
        .map(|attribute| match attribute.split_once('=') {
            Some(("SameSite", value)) => format!("SameSite={}", value.to_ascii_lowercase()),
            _ => attribute.to_owned(),
        })
        .collect();
    kept.sort_unstable();
    let value = match value {
        _ if is_removal => "",
        "valid000000000000000000000000001" => "<valid>",
        _ => "<new>",
    };
    format!("{name}={value}; {}", kept.join("; "))
}

fn row_in_words(key: &str, expires_at: &str, json: &str) -> String {
    let key = if key == valid_key().as_str() {
        "<valid>"
    } else {
        "<new>"
    };
    format!("{key} {json} until {expires_at}")
}

fn date_in_words(moment: Timestamp) -> String {
    // The dates of the vectors are few, so that this needs no calendar.
    let known = [
        (1_766_113_445, "2025-12-19 03:04:05"),
        (1_767_323_035, "2026-01-02 03:03:55"),
        (1_767_323_045, "2026-01-02 03:04:05"),
        (1_767_323_135, "2026-01-02 03:05:35"),
        (1_767_323_345, "2026-01-02 03:09:05"),
        (1_767_323_645, "2026-01-02 03:14:05"),
        (1_768_532_545, "2026-01-16 03:02:25"),
        (1_768_532_645, "2026-01-16 03:04:05"),
    ];
    let known = known.iter().find(|(secs, _)| *secs == moment.as_secs());
    known.map_or_else(
        || format!("now + {}", moment.as_secs() - NOW),
        |(_, text)| (*text).to_owned(),
    )
}

/// `error | cookies | Vary | rows`
fn in_words(error: &str, cookies: &[String], vary: Option<&str>, mut rows: Vec<String>) -> String {
    rows.sort_unstable();
    let list = |items: &[String]| match items {
        [] => "-".to_owned(),
        items => items.join(" + "),
    };
    let (cookies, rows) = (list(cookies), list(&rows));
    format!("{error} | {cookies} | {} | {rows}", vary.unwrap_or("-"))
}
