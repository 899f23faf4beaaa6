#![doc = include_str!("../docs/crate.md")]

mod breaker;
mod reach;
mod trust;
mod flight;
mod store;
mod index;
mod config;

pub use config::CachedDbConfig;
pub use store::CachedDbStore;
