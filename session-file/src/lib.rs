#![doc = include_str!("../docs/crate.md")]

#[cfg(not(unix))]
compile_error!(
    "session-file is offered on Unix only: it relies on flock, on rename over an open file and on folder permissions. Use session-db with SQLite instead."
);

mod config;
mod claim;
mod layout;
mod format;
mod lock;
mod swap;
mod publish;
mod reader;
mod hop;
mod store;
mod walk;
mod clear;
mod error;
#[cfg(feature = "django")]
mod django;
#[cfg(test)]
mod crash_points;

pub use config::{FileStoreConfig, SyncPolicy};
#[cfg(feature = "django")]
pub use django::DjangoFileStore;
pub use error::Error;
pub use store::FileStore;
