//! What a session costs a request, in this process: ours and its peers, each through its own middleware, with sessions in
//! memory.

#[path = "../../apps/actix_app.rs"]
mod actix_app;
#[path = "../../apps/actix_session.rs"]
mod actix_session_app;
#[path = "../../apps/axum_session.rs"]
mod axum_session_app;
#[path = "../../apps/ours.rs"]
mod ours;
#[path = "../../apps/ours_actix.rs"]
mod ours_actix;
#[path = "../../apps/tower_sessions.rs"]
mod tower_sessions_app;

use actix_session::storage::CookieSessionStore;
use actix_web::cookie::Key;
use axum_session::{SessionConfig, SessionNullPool, SessionStore};
use harness::{AxumApp, Candidate, Result, runtime};
use session_http::{MemoryStore, SessionLayer};

const CANDIDATES: &[Candidate] = &[
    Candidate {
        store: "memory",
        library: "ours",
        make: |_| {
            let app = || ours::app(MemoryStore::new());
            Ok(Box::new(AxumApp::new("ours", runtime()?, app)))
        },
    },
    Candidate {
        store: "memory",
        library: "tower-sessions",
        make: |_| {
            let app = || tower_sessions_app::app(tower_sessions::MemoryStore::default());
            Ok(Box::new(AxumApp::new("tower-sessions", runtime()?, app)))
        },
    },
    Candidate {
        store: "memory",
        library: "axum_session",
        make: |_| {
            let runtime = runtime()?;
            let config = SessionConfig::default();
            let store = runtime.block_on(SessionStore::<SessionNullPool>::new(None, config))?;
            let app = || axum_session_app::app(store);
            Ok(Box::new(AxumApp::new("axum_session", runtime, app)))
        },
    },
    Candidate {
        store: "memory",
        library: "ours-actix",
        make: |_| {
            let layer = SessionLayer::new(MemoryStore::new());
            let routes = move || ours_actix::routes(layer.clone());
            let holds_large = true;
            let runtime = runtime()?;
            Ok(actix_app::library(
                "ours-actix",
                routes,
                holds_large,
                runtime,
            ))
        },
    },
    Candidate {
        store: "cookie",
        library: "actix-session",
        make: |_| {
            let key = Key::generate();
            let routes = move || actix_session_app::routes(CookieSessionStore::default(), &key);
            // A browser keeps 4 KiB in a cookie.
            let holds_large = false;
            let runtime = runtime()?;
            Ok(actix_app::library(
                "actix-session",
                routes,
                holds_large,
                runtime,
            ))
        },
    },
];

fn main() -> Result<()> {
    harness::run(CANDIDATES)
}
