//! The stores of this crate, and the pointers and wrappers around them, pass every clause of the contract.
#![cfg(feature = "conformance")]

use session_core::MemoryStore;

session_core::conformance_suite!(|| async { MemoryStore::new() });
