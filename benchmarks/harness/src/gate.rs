//! Holds requests between their read of a session and their write, so that a test of races depends on no chance.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use tokio::sync::watch;

/// Opens the gate. A server that answers here is ready.
pub const OPEN_PATH: &str = "/gate/open";

static IS_OPEN: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(true));
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Returns once the gate is open.
pub async fn pass() {
    WAITING.fetch_add(1, Ordering::SeqCst);
    drop(IS_OPEN.subscribe().wait_for(|is_open| *is_open).await);
    WAITING.fetch_sub(1, Ordering::SeqCst);
}

/// What whoever tests says to the gate. No session is near.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(OPEN_PATH, post(async || turn(true)))
        .route("/gate/close", post(async || turn(false)))
        .route(
            "/gate/waiting",
            post(async || WAITING.load(Ordering::SeqCst).to_string()),
        )
}

fn turn(is_open: bool) -> &'static str {
    IS_OPEN.send_replace(is_open);
    "done"
}
