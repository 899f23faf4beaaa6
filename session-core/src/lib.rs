#![doc = include_str!("../docs/crate.md")]

mod clock;
mod random;
#[cfg(doctest)]
mod must_not_build;
#[cfg(feature = "sealed")]
mod key_ring;
mod key;
#[cfg(feature = "sealed")]
mod seal;
mod field;
mod owner;
mod data;
mod change;
mod policy;
mod expiry;
mod record;
mod payload;
pub mod codec;
pub mod store;
mod memory;
mod outcome;
mod client;
pub mod telemetry;
mod events;
mod budget;
mod deadline;
mod turn;
mod state;
mod load;
mod commit;
mod session;
mod own_sessions;
mod reseal;
mod slot;
mod manager;
mod error;
#[cfg(feature = "django")]
pub mod django;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(feature = "conformance")]
pub mod conformance;

/// For authors of HTTP adapters: what a request carries, and what its response must say.
pub mod adapter {
    pub use crate::outcome::{Completion, IssuedValue, Outcome};
    pub use crate::slot::{SessionSlot, Uncommitted};
}

#[cfg(feature = "sealed")]
pub use client::SealedIrrevocableCookies;
pub use clock::{Clock, ManualClock, SystemClock};
pub use data::SessionData;
pub use error::SessionError;
pub use expiry::Expiry;
pub use field::{Field, Name, NameOf};
#[cfg(feature = "sealed")]
pub use key::DigestKeys;
pub use key::{KeyPolicy, SessionHandle, SessionKey};
#[cfg(feature = "sealed")]
pub use key_ring::KeyRing;
pub use manager::SessionManager;
pub use memory::MemoryStore;
pub use own_sessions::SessionInfo;
pub use owner::Owner;
pub use policy::{Activity, Limits, Policy, Reissue, Renewal};
pub use reseal::Resealed;
pub use session::{
    DetachedSession, Message, MessageLevel, Messages, OldView, SessionBase, TypedSession, View,
};
