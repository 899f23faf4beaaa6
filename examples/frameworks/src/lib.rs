//! One page that counts its visitors' visits, in four frameworks. Each module is what it takes in one of them.
//!
//! The page `frameworks` of session-http's documentation says what is particular to each.

pub mod hyper;
pub mod poem;
pub mod salvo;
pub mod tonic;

use session_http::LazySession;

/// What the page answers, whatever the framework: the number of the visit at `/`, and a farewell at `/log-out`.
///
/// # Errors
///
/// When the session can't be used.
pub async fn answer(path: &str, session: &LazySession) -> session_http::Result<String> {
    if path == "/log-out" {
        session.log_out();
        return Ok("Goodbye\n".to_owned());
    }
    let session = session.load().await?;
    session.modify("visits", |visits: &mut u32| *visits += 1)?;
    let visits: u32 = session.get("visits")?.unwrap_or_default();
    Ok(format!("Visit number {visits}\n"))
}
