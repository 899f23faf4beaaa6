#![doc = include_str!("../docs/crate.md")]

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!(
    "session-db needs a database: enable one of its features sqlite (the default), postgres and mysql"
);

mod error;
mod schema;
mod quiet;
mod dialect;
mod columns;
mod kept;
mod lent;
mod writers;
mod seen_through;
mod runner;
mod query;
mod versions;
mod table;
mod store;
mod cleaner;
mod config;
#[cfg(feature = "django")]
mod django;

pub use cleaner::ClearExpiredTask;
pub use config::{DbPool, DbStoreConfig, SyncPolicy};
#[cfg(feature = "django")]
pub use django::DjangoDbStore;
pub use error::Error;
#[cfg(feature = "mysql")]
pub use schema::MIGRATION_MYSQL;
#[cfg(feature = "postgres")]
pub use schema::MIGRATION_POSTGRES;
#[cfg(feature = "sqlite")]
pub use schema::MIGRATION_SQLITE;
pub use schema::TableName;
pub use sqlx;
pub use store::DbStore;
