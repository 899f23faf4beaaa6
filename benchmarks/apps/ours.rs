//! Our sessions, with any store.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use harness::{CART, COUNT, EMAIL, NAME, SEEN, TOKEN, cart, gate, hello, next_number};
use session_http::{LazySession, Result, Session, SessionLayer, SessionManager};

pub(crate) fn app(manager: impl Into<SessionManager>) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/login", get(log_in))
        .route("/logout", get(log_out))
        .route("/has/{name}", get(has))
        .route("/count", get(count))
        .route("/gated/set/{name}", post(set_gated))
        .route("/gated/add", post(add_gated))
        .layer(SessionLayer::new(manager))
}

async fn seed(session: Session) -> Result<&'static str> {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.set(name, value)?;
    }
    Ok("hello")
}

async fn seed_large(session: Session) -> Result<&'static str> {
    session.set(CART, &cart())?;
    seed(session).await
}

async fn read(session: Session) -> Result<&'static str> {
    let name: Option<String> = session.get(NAME.0)?;
    Ok(if name.is_some() { "hello" } else { "who?" })
}

async fn write(session: Session) -> Result<&'static str> {
    session.set(SEEN, &next_number())?;
    Ok("hello")
}

async fn log_in(session: Session) -> Result<&'static str> {
    session.log_in(7_u64)?;
    Ok("hello")
}

async fn log_out(session: LazySession) -> &'static str {
    session.log_out();
    "hello"
}

async fn has(Path(name): Path<String>, session: Session) -> String {
    session.contains_key(&name).to_string()
}

async fn count(session: Session) -> Result<String> {
    Ok(session.get::<u64>(COUNT)?.unwrap_or_default().to_string())
}

async fn set_gated(Path(name): Path<String>, session: Session) -> Result<&'static str> {
    gate::pass().await;
    session.set(&name, &1)?;
    Ok("hello")
}

async fn add_gated(session: Session) -> Result<&'static str> {
    gate::pass().await;
    session.modify(COUNT, |count: &mut u64| *count += 1)?;
    Ok("hello")
}
