//! tower-sessions, with any store.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use harness::{CART, COUNT, EMAIL, NAME, SEEN, TOKEN, cart, gate, hello, next_number};
use tower_sessions::session::Error;
use tower_sessions::{Session, SessionManagerLayer, SessionStore};

type Answer = (StatusCode, &'static str);

pub(crate) fn app(store: impl SessionStore + Clone) -> Router {
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
        .layer(SessionManagerLayer::new(store))
}

fn answer(done: Result<(), Error>) -> Answer {
    match done {
        Ok(()) => (StatusCode::OK, "hello"),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    }
}

async fn seed(session: Session) -> Answer {
    for (name, value) in [NAME, EMAIL, TOKEN] {
        if let Err(error) = session.insert(name, value).await {
            return answer(Err(error));
        }
    }
    answer(Ok(()))
}

async fn seed_large(session: Session) -> Answer {
    match session.insert(CART, cart()).await {
        Ok(()) => seed(session).await,
        failed => answer(failed),
    }
}

async fn read(session: Session) -> Answer {
    answer(session.get::<String>(NAME.0).await.map(drop))
}

async fn write(session: Session) -> Answer {
    answer(session.insert(SEEN, next_number()).await)
}

async fn log_in(session: Session) -> Answer {
    match session.cycle_id().await {
        Ok(()) => answer(session.insert("user", 7_u64).await),
        failed => answer(failed),
    }
}

async fn log_out(session: Session) -> Answer {
    answer(session.flush().await)
}

async fn has(Path(name): Path<String>, session: Session) -> (StatusCode, String) {
    match session.get_value(&name).await {
        Ok(value) => (StatusCode::OK, value.is_some().to_string()),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

async fn count(session: Session) -> (StatusCode, String) {
    match session.get::<u64>(COUNT).await {
        Ok(count) => (StatusCode::OK, count.unwrap_or_default().to_string()),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

async fn set_gated(Path(name): Path<String>, session: Session) -> Answer {
    // Without this it would be loaded behind the gate.
    if let Err(error) = session.get_value(&name).await {
        return answer(Err(error));
    }
    gate::pass().await;
    answer(session.insert(&name, 1).await)
}

async fn add_gated(session: Session) -> Answer {
    let count = match session.get::<u64>(COUNT).await {
        Ok(count) => count.unwrap_or_default(),
        Err(error) => return answer(Err(error)),
    };
    gate::pass().await;
    answer(session.insert(COUNT, count + 1).await)
}
