//! What the tests of an application need: sessions for handlers, clients that are logged in, stores that fail and count, a
//! clock that is moved by hand. Feature `test-util`.
#![cfg_attr(feature = "axum", doc = "")]
#![cfg_attr(feature = "axum", doc = include_str!("../docs/testing.md"))]

mod client;
mod handlers;
mod sessions;

pub use client::TestClient;
pub use session_core::ManualClock;
pub use session_core::testing::{Call, CountingStore, FaultStore, Gate, Operation};
pub use sessions::{TestSessions, TestStore};
