//! axum_session, with any store.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use axum_session::{DatabasePool, Session, SessionLayer, SessionStore};
use harness::{CART, COUNT, EMAIL, NAME, SEEN, TOKEN, cart, gate, hello, next_number};

pub(crate) fn app<P>(store: SessionStore<P>) -> Router
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    Router::new()
        .route("/", get(hello))
        .route("/seed", get(seed::<P>))
        .route("/seed-large", get(seed_large::<P>))
        .route("/read", get(read::<P>))
        .route("/write", get(write::<P>))
        .route("/login", get(log_in::<P>))
        .route("/logout", get(log_out::<P>))
        .route("/has/{name}", get(has::<P>))
        .route("/count", get(count::<P>))
        .route("/gated/set/{name}", post(set_gated::<P>))
        .route("/gated/add", post(add_gated::<P>))
        .layer(SessionLayer::new(store))
}

async fn seed<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    for (name, value) in [NAME, EMAIL, TOKEN] {
        session.set(name, value);
    }
    "hello"
}

async fn seed_large<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    session.set(CART, cart());
    seed(session).await
}

async fn read<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let name: Option<String> = session.get(NAME.0);
    if name.is_some() { "hello" } else { "who?" }
}

async fn write<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    session.set(SEEN, next_number());
    "hello"
}

async fn log_in<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    session.renew();
    session.set("user", 7_u64);
    "hello"
}

async fn log_out<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    session.destroy();
    "hello"
}

async fn has<P>(Path(name): Path<String>, session: Session<P>) -> String
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let value: Option<serde_json::Value> = session.get(&name);
    value.is_some().to_string()
}

async fn count<P>(session: Session<P>) -> String
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    session.get::<u64>(COUNT).unwrap_or_default().to_string()
}

async fn set_gated<P>(Path(name): Path<String>, session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    gate::pass().await;
    session.set(&name, 1);
    "hello"
}

async fn add_gated<P>(session: Session<P>) -> &'static str
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let count: u64 = session.get(COUNT).unwrap_or_default();
    gate::pass().await;
    session.set(COUNT, count + 1);
    "hello"
}
