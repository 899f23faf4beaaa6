#![doc = include_str!("../docs/crate.md")]

#[cfg(not(unix))]
compile_error!(
    "session-file is offered on Unix only: it relies on flock, on rename over an open file and on folder permissions. Use session-db with SQLite instead."
);

mod claim;
mod config;
#[cfg(test)]
mod crash_points;
mod error;
mod format;
mod hop;
mod layout;
mod lock;
mod publish;
mod reader;
mod store;
mod walk;

pub use config::{FileStoreConfig, SyncPolicy};
pub use error::Error;
pub use store::FileStore;
