//! Requests that have sessions, over HTTP: what is stored, and what their clients are told.

#[cfg(test)]
mod accessors;
#[cfg(test)]
mod activity;
#[cfg(test)]
mod adapters;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod cookie_config;
#[cfg(test)]
mod cookie_vectors;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod forged;
#[cfg(test)]
mod fuzzed;
#[cfg(test)]
mod jar;
#[cfg(test)]
mod key_headers;
#[cfg(test)]
mod layer;
#[cfg(test)]
mod no_secret_is_printed;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod sealed_cookies;
#[cfg(test)]
mod security;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod several_sessions;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod support;
#[cfg(test)]
mod target;
#[cfg(test)]
mod testing_kit;
#[cfg(test)]
mod who_may_enter;
#[cfg(test)]
mod views;
