//! Django's sessions for Rust web applications (being written).

mod config;
mod cookie;
mod headers;
mod request;
mod exchange;
mod session;
pub mod tower;
#[cfg(feature = "axum")]
mod axum;
mod error;

pub use config::{CookieConfig, CookieConfigBuilder, Interruption, SameSite};
pub use error::{Error, Result};
pub use session::{LazySession, Session};
pub use session_core::{
    Expiry, Field, KeyPolicy, Limits, MemoryStore, Name, NameOf, Owner, Policy, Reissue, Renewal,
    SessionBase, SessionData, SessionError, SessionHandle, SessionInfo, SessionKey, SessionManager,
};
pub use tower::layer::SessionLayer;
