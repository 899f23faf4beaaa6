//! Sessions in the cache of a Django project, and beside it.
#![cfg(feature = "django")]

#[cfg(test)]
mod cache;
#[cfg(test)]
mod cached_db;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
