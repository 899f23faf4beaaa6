//! Sessions in a cache, and the cache that goes in front of a database.

mod slot;
mod cache;
mod forward;
mod store;
#[cfg(feature = "memory")]
mod memory;

pub use cache::{Cache, SharedCache};
#[cfg(feature = "memory")]
pub use memory::{MemoryCache, MemoryCacheConfig};
pub use slot::{Entry, Lease, Slot};
pub use store::CacheStore;
