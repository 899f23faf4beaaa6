//! The tool on PostgreSQL, MariaDB and Redis, and moves between them.
#![cfg(all(
    feature = "file",
    feature = "mysql",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]

#[cfg(test)]
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests without servers use the rest")]
mod support;
#[cfg(test)]
#[path = "../cli/writers.rs"]
mod writers;

#[cfg(test)]
mod commands;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod place;
