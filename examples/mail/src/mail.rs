//! The mail form: it remembers the sender's name from one visit to the next.

use axum::Form;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use session_http::{Field, Session};

use crate::page::{self, NAME_LENGTH_MAX};

const SUBJECT_LENGTH_MAX: usize = 200;

const FROM_NAME: Field<String> = Field::new("from_name");

#[derive(Deserialize)]
pub(crate) struct Mail {
    from_name: String,
    subject: String,
}

pub(crate) async fn form(session: Session) -> session_http::Result<Markup> {
    mail_page(&session, None).await
}

pub(crate) async fn send(
    session: Session,
    Form(mail): Form<Mail>,
) -> session_http::Result<Response> {
    let from_name = page::filled_in(&mail.from_name, NAME_LENGTH_MAX);
    let subject = page::filled_in(&mail.subject, SUBJECT_LENGTH_MAX);
    let (Some(from_name), Some(subject)) = (from_name, subject) else {
        let message = format!(
            "A message needs a name of at most {NAME_LENGTH_MAX} characters, and a subject of at most {SUBJECT_LENGTH_MAX}."
        );
        let page = mail_page(&session, Some(&message)).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    };
    session.set(FROM_NAME, from_name)?;
    session.messages().success(format!(
        "Thank you, {from_name}. “{subject}” was not sent anywhere."
    ))?;
    Ok(Redirect::to("/").into_response())
}

async fn mail_page(session: &Session, message: Option<&str>) -> session_http::Result<Markup> {
    let from_name = session.get(FROM_NAME)?.unwrap_or_default();
    let content = html! {
        h1 { "Write a message" }
        @if let Some(message) = message { p.problem role="alert" { (message) } }
        p.lead { "Send one, and come back: the form knows your name. Nothing leaves this machine." }
        form method="post" action="/send" {
            label for="from_name" { "Your name" }
            input #from_name name="from_name" value=(from_name) autocomplete="name" maxlength=(NAME_LENGTH_MAX) required;
            label for="subject" { "Subject" }
            input #subject name="subject" maxlength=(SUBJECT_LENGTH_MAX) required;
            label for="message" { "Message" }
            textarea #message name="message" rows="5" {}
            button.primary type="submit" { "Send" }
        }
    };
    page::page(session, "Mail", &content).await
}
