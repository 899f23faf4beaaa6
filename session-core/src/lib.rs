//! Django's sessions for Rust (being written).

mod clock;
pub mod codec;
mod data;
mod error;
mod key;
mod memory;
mod owner;
mod payload;
mod policy;
mod record;
pub mod store;

pub use clock::{Clock, ManualClock, SystemClock};
pub use data::SessionData;
pub use error::SessionError;
pub use key::{KeyPolicy, SessionHandle, SessionKey};
pub use memory::MemoryStore;
pub use owner::Owner;
pub use policy::{Limits, Policy, Reissue, Renewal};
