//! Which page is where, and which of them share the session.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use session_http::SessionLayer;

use crate::{account, counter, devices, mail, page};

/// The whole application. The layer comes last: it serves the routes that were added before it.
pub(crate) fn router(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(mail::form))
        .route("/send", post(mail::send))
        .route("/login", get(account::form).post(account::log_in))
        .route("/logout", post(account::log_out))
        .route("/sessions", get(devices::list))
        .route("/sessions/end", post(devices::end))
        .route("/sessions/end-others", post(devices::end_others))
        .route("/counter", get(counter::show).post(counter::add))
        .route("/style.css", get(style))
        .fallback(page::not_found)
        .layer(layer)
}

/// Never asks for the session, and so costs none.
async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, include_str!("style.css"))
}
