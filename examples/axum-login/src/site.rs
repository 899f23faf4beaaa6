//! The site: its users, as axum-login asks for them, and its pages.

use std::convert::Infallible;

use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_login::{AuthManager, AuthSession, AuthUser, AuthnBackend, login_required};
use session_http::{RequireOwner, Session, SessionLayer};
use tower_layer::layer_fn;

use crate::bridge::{AUTH_KEY, bridge};

/// A user's row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct User {
    id: u64,
    name: &'static str,
    /// Stands for a hash of the password: when it changes, axum-login logs the user out everywhere.
    secret: &'static str,
}

/// What the log-in form sends.
#[derive(Debug, Clone, serde::Deserialize)]
#[non_exhaustive]
pub struct Credentials {
    name: String,
    password: String,
}

/// The users' table.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Users;

const USERS: [User; 2] = [
    User {
        id: 7,
        name: "ada",
        secret: "analytical",
    },
    User {
        id: 8,
        name: "bob",
        secret: "engine",
    },
];

impl AuthUser for User {
    type Id = u64;

    fn id(&self) -> u64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.secret.as_bytes()
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(&self, given: Credentials) -> Result<Option<User>, Infallible> {
        let is_theirs = |user: &User| user.name == given.name && user.secret == given.password;
        Ok(USERS.into_iter().find(is_theirs))
    }

    async fn get_user(&self, id: &u64) -> Result<Option<User>, Infallible> {
        Ok(USERS.into_iter().find(|user| user.id == *id))
    }
}

async fn log_in(mut auth: AuthSession<Users>, Form(given): Form<Credentials>) -> Response {
    match auth.authenticate(given).await {
        Ok(Some(user)) => match auth.login(&user).await {
            Ok(()) => Redirect::to("/account").into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        _ => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
    }
}

async fn log_out(mut auth: AuthSession<Users>) -> Response {
    match auth.logout().await {
        Ok(_user) => Redirect::to("/").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn account(auth: AuthSession<Users>) -> String {
    auth.user.map_or("nobody", |user| user.name).to_owned()
}

/// The same visitor, asked of our session.
async fn orders(RequireOwner(id): RequireOwner<u64>, session: Session) -> String {
    let cart: Vec<u32> = session.get("cart").ok().flatten().unwrap_or_default();
    format!("user {id}, {} in the cart", cart.len())
}

async fn add(session: Session) -> session_http::Result<()> {
    session.modify("cart", |cart: &mut Vec<u32>| cart.push(1))?;
    Ok(())
}

async fn devices(session: Session) -> session_http::Result<String> {
    Ok(session.own_sessions().await?.len().to_string())
}

async fn log_out_everywhere(session: Session) -> session_http::Result<()> {
    session.end_all().await?;
    Ok(())
}

/// The pages, with everything that they need around them. The last layer is met first.
pub fn site(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/account", get(account))
        .route_layer(login_required!(Users, login_url = "/log-in"))
        .route("/log-in", post(log_in))
        .route("/log-out", post(log_out))
        .route("/log-out-everywhere", post(log_out_everywhere))
        .route("/orders", get(orders))
        .route("/cart", post(add))
        .route("/devices", get(devices))
        .layer(layer_fn(|inner| AuthManager::new(inner, Users, AUTH_KEY)))
        .layer(from_fn(bridge))
        .layer(sessions)
}
