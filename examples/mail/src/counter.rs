//! A counter that several tabs can hammer without losing a count.

use axum::extract::Query;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use session_http::{Field, Session};

use crate::page;

const COUNT: Field<u64> = Field::new("count");

#[derive(Deserialize)]
pub(crate) struct Drawn {
    drew: Option<u64>,
}

pub(crate) async fn show(
    session: Session,
    Query(Drawn { drew }): Query<Drawn>,
) -> session_http::Result<Markup> {
    let count = session.get(COUNT)?.unwrap_or_default();
    let content = html! {
        h1 { "Counter" }
        p.lead { "Open this page in a second tab and press in both: every press counts, and no two draw the same number." }
        p.count #count { (count) }
        @if let Some(drew) = drew { p #drew { "You drew number " strong { (drew) } "." } }
        form method="post" action="/counter" {
            button.primary type="submit" { "Count one" }
        }
    };
    page::page(&session, "Counter", &content).await
}

/// Stored at once, so that the number that is shown is the one that was drawn.
pub(crate) async fn add(session: Session) -> session_http::Result<Redirect> {
    let drew = session
        .modify_now(COUNT, |count| {
            *count += 1;
            *count
        })
        .await?;
    Ok(Redirect::to(&format!("/counter?drew={drew}")))
}
