#![doc = include_str!("../docs/crate.md")]

mod slot;
mod envelope;
mod cache;
mod forward;
mod cells;
mod store;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use cache::{Cache, SharedCache};
pub use cells::{CellCache, Cells, SharedCells};
#[cfg(feature = "memory")]
pub use memory::{MemoryCache, MemoryCacheConfig};
#[cfg(feature = "django")]
pub use redis::{DjangoCacheConfig, DjangoCacheStore, DjangoCachedDb};
#[cfg(feature = "redis")]
pub use redis::{RedisCache, RedisCacheConfig, RedisFinding, RedisStore, RedisSubject, Severity};
pub use slot::{Entry, Lease, Slot};
pub use store::CacheStore;
