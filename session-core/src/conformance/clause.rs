//! The clauses: each function is one sentence about the behaviour of a store, and fails with what a user would have seen.

pub(super) mod setting;

pub(super) mod round_trip;
