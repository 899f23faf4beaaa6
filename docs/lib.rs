//! The pages of `docs/`, so that every block of Rust on them is compiled, and run where it can be.

/// From the first page that remembers something to many servers.
#[doc = include_str!("guide.md")]
pub mod guide {}

/// For whoever comes from tower-sessions.
#[doc = include_str!("migrating-from-tower-sessions.md")]
pub mod migrating_from_tower_sessions {}

/// For whoever comes from actix-session.
#[doc = include_str!("migrating-from-actix-session.md")]
pub mod migrating_from_actix_session {}
