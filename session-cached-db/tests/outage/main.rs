//! Redis in front of PostgreSQL when either dies, hangs, lags or goes back in time, while two processes serve visitors: each call
//! ends within its bound, nothing that was stored is lost, and nothing that has ended is read beyond the staleness bound.

#[cfg(test)]
#[path = "../../../session-cache/tests/support/mod.rs"]
mod redis_servers;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod connection;
#[cfg(test)]
mod database;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod server;
#[cfg(test)]
mod traffic;
