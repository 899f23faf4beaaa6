//! Real Django beside us, on one session table: over HTTP, on SQLite, on PostgreSQL and on MariaDB. `cargo xtask test-all` starts both; by
//! hand: `cargo xtask services`.

#[cfg(test)]
mod support;

#[cfg(test)]
mod contents;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod files;
#[cfg(test)]
mod log_in;
#[cfg(test)]
mod secret_key;
#[cfg(test)]
mod writers;
