//! The visitor's own sessions, and ending them.

use std::time::SystemTime;

use axum::Form;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use session_http::{Session, SessionHandle};

use crate::page;

#[derive(Deserialize)]
pub(crate) struct Chosen {
    handle: String,
}

pub(crate) async fn list(session: Session) -> session_http::Result<Response> {
    if session.owner().is_none() {
        return Ok(Redirect::to("/login").into_response());
    }
    let sessions = session.own_sessions().await?;
    let has_others = sessions.iter().any(|one| !one.is_current);
    let content = html! {
        h1 { "Your sessions" }
        p.lead { "Log in from another browser, and it appears here. Its key never does." }
        ul.sessions {
            @for one in &sessions {
                li {
                    div {
                        strong { (one.label.as_deref().unwrap_or("Unknown device")) }
                        @if one.is_current { span.badge { "this one" } }
                        br;
                        small { "logged in " (ago(one.created_at)) }
                    }
                    @if !one.is_current {
                        form method="post" action="/sessions/end" {
                            input type="hidden" name="handle" value=(one.handle);
                            button type="submit" { "End" }
                        }
                    }
                }
            }
        }
        @if has_others {
            form method="post" action="/sessions/end-others" {
                button #end-others.primary type="submit" { "End all others" }
            }
        }
    };
    Ok(page::page(&session, "Your sessions", &content)
        .await?
        .into_response())
}

pub(crate) async fn end(
    session: Session,
    Form(chosen): Form<Chosen>,
) -> session_http::Result<Redirect> {
    if session.owner().is_none() {
        return Ok(Redirect::to("/login"));
    }
    let ended = match chosen.handle.parse::<SessionHandle>() {
        Ok(handle) => session.end(&handle).await?,
        Err(_not_a_handle) => false,
    };
    if ended {
        session.messages().success("That session has ended.")?;
    } else {
        let gone = "That session had ended already.";
        session.messages().warning(gone)?;
    }
    Ok(Redirect::to("/sessions"))
}

pub(crate) async fn end_others(session: Session) -> session_http::Result<Redirect> {
    if session.owner().is_none() {
        return Ok(Redirect::to("/login"));
    }
    let ended = session.end_others().await?;
    session
        .messages()
        .success(format!("Sessions ended: {ended}."))?;
    Ok(Redirect::to("/sessions"))
}

fn ago(moment: Option<SystemTime>) -> String {
    let Some(moment) = moment else {
        return "some time ago".to_owned();
    };
    // A clock that was set back gives no age.
    let age = moment.elapsed().unwrap_or_default();
    let (count, unit) = match age.as_secs() {
        0..60 => return "just now".to_owned(),
        seconds @ 60..3600 => (seconds / 60, "minute"),
        seconds @ 3600..86_400 => (seconds / 3600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
