//! Pages that read and write the session, each with its twin in Django's `views.py`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::Form;
use axum::response::Redirect;
use maud::{DOCTYPE, Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use session_http::{Expiry, Field, Session, SessionData};

use crate::error::{Error, Result};
use crate::users::CurrentUser;

/// Django counts under this name as well.
const COUNT: Field<u64> = Field::new("count");

pub(crate) async fn home(session: Session, CurrentUser(user): CurrentUser) -> Result<Markup> {
    let count = session.get(COUNT)?.unwrap_or_default();
    let things = things(&session.snapshot());
    Ok(page(
        "This page is Rust's",
        &html! {
            @if let Some(user) = user {
                p { "You are " strong #user { (user.name) } "." }
                form method="post" action="/rust/logout" { button { "Log out" } }
            } @else {
                p { "Nobody is logged in. " a href="/rust/login" { "Log in here" } ", or " a href="/login/" { "there" } "." }
            }
            p { "Count: " strong #count { (count) } }
            form method="post" action="/rust/count" { button { "Count one" } }
            form method="post" action="/rust/remember" {
                label { "Name " input name="name" required; } " "
                label { "Value " input name="value"; } " "
                button { "Remember" }
            }
            ul { @for (name, value) in &things { li { (name) ": " (value.as_str().map_or_else(|| value.to_string(), str::to_owned)) } } }
        },
    ))
}

/// However many press at once, every press counts: where two meet, the later one counts on from the earlier one's number.
pub(crate) async fn count(session: Session) -> Result<Redirect> {
    session.modify(COUNT, |count| *count += 1)?;
    Ok(Redirect::to("/rust/"))
}

#[derive(Deserialize)]
pub(crate) struct Thing {
    name: String,
    #[serde(default)]
    value: String,
}

pub(crate) async fn remember(
    session: Session,
    Form(Thing { name, value }): Form<Thing>,
) -> Result<Redirect> {
    session.set(&name, &value)?;
    Ok(Redirect::to("/rust/"))
}

#[derive(Deserialize)]
pub(crate) struct Lifetime {
    /// Seconds after the last change.
    r#in: Option<u64>,
    /// Unix time.
    at: Option<u64>,
}

pub(crate) async fn expire(session: Session, Form(lifetime): Form<Lifetime>) -> Result<Redirect> {
    let expiry = match lifetime {
        Lifetime { at: Some(at), .. } => SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(at))
            .map(Expiry::At)
            .ok_or(Error::Form("there is no such time"))?,
        Lifetime {
            r#in: None | Some(0),
            ..
        } => Expiry::AtBrowserClose,
        Lifetime {
            r#in: Some(seconds),
            ..
        } => Expiry::OnInactivity(Duration::from_secs(seconds)),
    };
    session.set_expiry(expiry)?;
    Ok(Redirect::to("/rust/"))
}

/// The same as Django's `/session.json`.
#[derive(Serialize)]
pub(crate) struct Contents {
    user: Option<String>,
    /// Unix time.
    expires_at: u64,
    ends_with_the_browser: bool,
    things: BTreeMap<String, Value>,
}

pub(crate) async fn session(
    session: Session,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Contents>> {
    let data = session.snapshot();
    Ok(Json(Contents {
        user: user.map(|user| user.name),
        expires_at: unix_time(session.expires_at()),
        ends_with_the_browser: session.expires_at_browser_close(),
        things: things(&data),
    }))
}

fn unix_time(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// What the visitor put there: names that begin with `_` are the framework's.
fn things(data: &SessionData) -> BTreeMap<String, Value> {
    data.iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .filter_map(|(name, json)| Some((name.to_owned(), serde_json::from_str(json).ok()?)))
        .collect()
}

/// A whole page.
pub(crate) fn page(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Rust · one session" }
                link rel="icon" href="data:,";
                style { "body { font: 1rem/1.5 system-ui; max-width: 36rem; margin: 2rem auto; padding: 0 1rem } form { margin: .5rem 0 }" }
            }
            body {
                h1 { (title) }
                p { a href="/" { "The same session in Django" } " · " a href="/admin/" { "Admin" } }
                (content)
            }
        }
    }
}
