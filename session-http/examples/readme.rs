//! A page that counts its visits: the smallest application with sessions, kept in files.

use axum::{Router, routing::get};
use session_file::FileStore;
use session_http::{Session, SessionLayer};

async fn visits(session: Session) -> session_http::Result<String> {
    session.modify("visits", |visits: &mut u32| *visits += 1)?;
    let visits: u32 = session.get("visits")?.unwrap_or_default();
    Ok(format!("Visit number {visits}\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = FileStore::open("target/readme-sessions")?;
    let app = Router::new()
        .route("/", get(visits))
        .layer(SessionLayer::new(store)); // after the routes that need it
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
