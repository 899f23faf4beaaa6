//! Logging in here, which is logging in on Django, and logging out, which is logging out there.

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use session_http::{LazySession, Session};

use crate::error::Result;
use crate::pages::page;
use crate::users::Users;

#[derive(Deserialize)]
pub(crate) struct Credentials {
    username: String,
    password: String,
}

pub(crate) async fn form() -> Markup {
    page("Log in", &credentials(false))
}

pub(crate) async fn log_in(
    State(users): State<Users>,
    session: Session,
    Form(Credentials { username, password }): Form<Credentials>,
) -> Result<Response> {
    let Some(user) = users.with_password(&username, password).await? else {
        let page = page("Log in", &credentials(true));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    user.log_in(&session)?;
    Ok(Redirect::to("/rust/").into_response())
}

pub(crate) async fn log_out(session: LazySession) -> Redirect {
    session.log_out();
    Redirect::to("/rust/")
}

fn credentials(were_wrong: bool) -> Markup {
    html! {
        @if were_wrong { p role="alert" { "There is nobody with this name and this password." } }
        form method="post" action="/rust/login" {
            p { label { "Name " input name="username" autocomplete="username" required; } }
            p { label { "Password " input type="password" name="password" autocomplete="current-password" required; } }
            button { "Log in" }
        }
    }
}
