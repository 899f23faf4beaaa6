//! What real Django wrote is read, what is written is what Django writes, and what differs on purpose is named.
//!
//! The cases come from `tests/data/django-sessions.json`; `tests/data/README.md` says what made it.
#![cfg(feature = "django")]

#[cfg(test)]
mod cookies;
#[cfg(test)]
mod executions;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod negatives;
#[cfg(test)]
mod payloads;
#[cfg(test)]
mod places;
#[cfg(test)]
mod settings;
#[cfg(test)]
#[cfg(feature = "conformance")]
mod sharing;
#[cfg(test)]
mod support;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod users;
