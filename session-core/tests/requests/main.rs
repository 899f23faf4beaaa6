//! Requests on sessions, without HTTP: what they store, what their clients are told, and how they get along.
#![cfg(feature = "conformance")]

#[cfg(feature = "sealed")]
#[cfg(test)]
mod at_rest;
#[cfg(feature = "sealed")]
#[cfg(test)]
mod codec_target;
#[cfg(test)]
mod detached;
#[cfg(test)]
mod expiry_laws;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod lifetimes;
#[cfg(test)]
mod limits_and_events;
#[cfg(test)]
mod manager;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod messages;
#[cfg(feature = "sealed")]
#[cfg(test)]
mod moves;
#[cfg(test)]
mod no_secret_is_printed;
#[cfg(feature = "sealed")]
#[cfg(test)]
mod sealed_cookies;
#[cfg(test)]
mod observed;
#[cfg(feature = "sealed")]
#[cfg(test)]
mod release_0_1;
#[cfg(test)]
mod security;
#[cfg(test)]
mod support;
#[cfg(test)]
mod views;
