//! Django's sessions for Rust web applications: a tower layer and actix-web middleware, extractors, and nothing else to wire up.
#![cfg_attr(feature = "axum", doc = include_str!("../docs/crate.md"))]

mod error;
mod config;
mod cookie;
mod carrier;
mod headers;
mod setup;
mod request;
mod exchange;
mod session;
mod session_view;
mod marked;
mod require_owner;
mod next;
pub mod tower;
mod settings;
#[cfg(feature = "actix-web")]
pub mod actix;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "django")]
mod django;
#[cfg(feature = "test-util")]
pub mod browser;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(doctest)]
mod must_not_build;
#[cfg(all(feature = "axum", any(doc, doctest)))]
pub mod recipes;
#[cfg(any(doc, doctest))]
pub mod frameworks;

/// The page for teams that move from Django, whose code is tested.
#[cfg(all(doctest, unix, feature = "axum", feature = "django"))]
#[doc = include_str!("../../docs/running-with-django.md")]
mod running_with_django {}

pub use carrier::KeyHeader;
pub use config::{CookieConfig, CookieConfigBuilder, Interruption, SameSite};
pub use error::{Error, Result};
pub use marked::{LazySessionOf, SessionOf};
pub use next::safe_next;
pub use require_owner::RequireOwner;
pub use session::{LazySession, Session};
#[cfg(feature = "metrics")]
pub use session_core::telemetry::describe_metrics;
pub use session_core::{
    Activity, Clock, DetachedSession, Expiry, Field, KeyPolicy, Limits, ManualClock, MemoryStore,
    Message, MessageLevel, Messages, Name, NameOf, OldView, Owner, Policy, Reissue, Renewal,
    Resealed, SessionBase, SessionData, SessionError, SessionHandle, SessionInfo, SessionKey,
    SessionManager, SystemClock, TypedSession, View,
};
#[cfg(feature = "sealed")]
pub use session_core::{
    DigestKeys, KeyRing, SealedIrrevocableCookies,
    codec::{JsonCodec, SealedCodec},
};
pub use session_view::SessionView;
pub use settings::SessionSettings;
pub use tower::layer::SessionLayer;
pub use tower::login_required::LoginRequired;
pub use tower::no_activity::NoActivity;
