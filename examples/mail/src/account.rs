//! Logging in and out, and finding out whether the browser accepts cookies.

use axum::Form;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use session_http::{LazySession, Session};

use crate::page::{self, NAME_LENGTH_MAX};

const PASSWORD: &str = "session";

#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

/// The first step of the cookie check: set something that the next request can look for.
pub(crate) async fn form(session: Session) -> session_http::Result<Markup> {
    session.set_test_cookie()?;
    login_page(&session, "", None).await
}

/// The second step: without it there is no use in logging anybody in.
pub(crate) async fn log_in(
    session: Session,
    headers: HeaderMap,
    Form(Credentials { name, password }): Form<Credentials>,
) -> session_http::Result<Response> {
    if !session.test_cookie_worked() {
        let message = "Your browser did not send back the cookie of this page. Please allow cookies and try again. \
            (Safari keeps this cookie only where there is https: here, please take Firefox or Chromium.)";
        return refuse(&session, &name, message).await;
    }
    let Some(name) = page::filled_in(&name, NAME_LENGTH_MAX) else {
        let message = format!("Please give a name of at most {NAME_LENGTH_MAX} characters.");
        return refuse(&session, "", &message).await;
    };
    if password != PASSWORD {
        return refuse(&session, name, "That is not the password.").await;
    }
    session.delete_test_cookie();
    session.log_in(name)?;
    session.set_label(device(&headers))?;
    let welcome = "You are logged in, and your session has a new key.";
    session.messages().success(welcome)?;
    Ok(Redirect::to("/sessions").into_response())
}

/// Ends the session without looking into it.
pub(crate) async fn log_out(session: LazySession) -> Redirect {
    session.log_out();
    Redirect::to("/")
}

async fn refuse(session: &Session, name: &str, message: &str) -> session_http::Result<Response> {
    let page = login_page(session, name, Some(message)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn login_page(
    session: &Session,
    name: &str,
    message: Option<&str>,
) -> session_http::Result<Markup> {
    let content = html! {
        h1 { "Log in" }
        @if let Some(message) = message { p.problem role="alert" { (message) } }
        p.lead { "Any name will do. The password is " code { (PASSWORD) } "." }
        form method="post" action="/login" {
            label for="name" { "Name" }
            input #name name="name" value=(name) autocomplete="username" maxlength=(NAME_LENGTH_MAX) required;
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button.primary type="submit" { "Log in" }
        }
    };
    page::page(session, "Log in", &content).await
}

/// What the visitor calls the thing that the browser runs on.
fn device(headers: &HeaderMap) -> &'static str {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let known = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "Mac"),
        ("Linux", "Linux"),
    ];
    known
        .iter()
        .find(|(mark, _)| agent.contains(mark))
        .map_or("Unknown device", |(_, name)| name)
}
