//! The mail form: it remembers the sender's name from one visit to the next.

use axum::Form;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use session_http::{Field, Session};

use crate::page::{self, FLASH};

const FROM_NAME: Field<String> = Field::new("from_name");

#[derive(Deserialize)]
pub(crate) struct Mail {
    from_name: String,
    subject: String,
}

pub(crate) async fn form(session: Session) -> session_http::Result<Markup> {
    let from_name = session.get(FROM_NAME)?.unwrap_or_default();
    let content = html! {
        h1 { "Write a message" }
        p.lead { "Send one, and come back: the form knows your name. Nothing leaves this machine." }
        form method="post" action="/send" {
            label for="from_name" { "Your name" }
            input #from_name name="from_name" value=(from_name) autocomplete="name" maxlength="100" required;
            label for="subject" { "Subject" }
            input #subject name="subject" maxlength="200" required;
            label for="message" { "Message" }
            textarea #message name="message" rows="5" {}
            button.primary type="submit" { "Send" }
        }
    };
    page::page(&session, "Mail", &content).await
}

pub(crate) async fn send(
    session: Session,
    Form(mail): Form<Mail>,
) -> session_http::Result<Redirect> {
    session.set(FROM_NAME, &mail.from_name)?;
    session.set(
        FLASH,
        &format!(
            "Thank you, {}. “{}” was not sent anywhere.",
            mail.from_name, mail.subject
        ),
    )?;
    Ok(Redirect::to("/"))
}
