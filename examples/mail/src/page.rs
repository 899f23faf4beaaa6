//! What all pages have in common.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use session_http::Session;

/// How long a visitor's name may be, as `maxlength` counts: in UTF-16 code units. Each is at most 3 bytes of UTF-8, so
/// that a name also fits where 256 bytes are the limit: it becomes the owner of a session.
pub(crate) const NAME_LENGTH_MAX: usize = 80;

/// Where the links at the top of each page lead. A page whose title is a link's text is the current one.
const LINKS: [(&str, &str); 3] = [
    ("/", "Mail"),
    ("/counter", "Counter"),
    ("/sessions", "Your sessions"),
];

/// A whole page. Takes the messages: of two tabs one shows each.
pub(crate) async fn page(
    session: &Session,
    title: &str,
    content: &Markup,
) -> session_http::Result<Markup> {
    let messages = session.messages().take().await?;
    let owner = session.owner();
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · sessions demo" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
            }
            body {
                header {
                    nav aria-label="Pages" {
                        @for (href, text) in LINKS {
                            a href=(href) aria-current=[(text == title).then_some("page")] { (text) }
                        }
                    }
                    @if let Some(owner) = &owner {
                        form.account method="post" action="/logout" {
                            span #owner { (owner.as_str()) }
                            button #logout type="submit" { "Log out" }
                        }
                    } @else {
                        a.account href="/login" { "Log in" }
                    }
                }
                main {
                    @if !messages.is_empty() {
                        div #messages role="status" {
                            @for message in &messages { p class={ "message " (message.tags()) } { (message.text()) } }
                        }
                    }
                    (content)
                }
                footer { p { "Works without JavaScript. The cookie holds a random key and nothing else." } }
            }
        }
    })
}

/// What was posted, without the spaces around it, if a form with this `maxlength` could have posted it.
pub(crate) fn filled_in(text: &str, length_max: usize) -> Option<&str> {
    let text = text.trim();
    (1..=length_max)
        .contains(&text.encode_utf16().count())
        .then_some(text)
}

/// What is at an address that leads nowhere.
pub(crate) async fn not_found(session: Session) -> session_http::Result<(StatusCode, Markup)> {
    let content = html! {
        h1 { "There is no such page" }
        p.lead { "The links at the top lead to those that there are." }
    };
    let page = page(&session, "Not found", &content).await?;
    Ok((StatusCode::NOT_FOUND, page))
}
