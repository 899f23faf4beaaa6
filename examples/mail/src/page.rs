//! What all pages have in common.

use maud::{DOCTYPE, Markup, html};
use session_http::{Field, Session};

/// Shown once, on the next page.
pub(crate) const FLASH: Field<String> = Field::new("flash");

/// A whole page. Takes the flash message: of two tabs one shows it.
pub(crate) async fn page(
    session: &Session,
    title: &str,
    content: &Markup,
) -> session_http::Result<Markup> {
    let flash = session.take(FLASH).await?;
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
                        a href="/" { "Mail" }
                        a href="/counter" { "Counter" }
                        a href="/sessions" { "Your sessions" }
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
                    @if let Some(flash) = &flash { p.flash #flash role="status" { (flash) } }
                    (content)
                }
                footer { "Works without JavaScript. The cookie holds a random key and nothing else." }
            }
        }
    })
}
