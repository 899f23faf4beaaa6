//! The clauses: each function is one sentence about the behaviour of a store, and fails with what a user would have
//! seen.

pub(super) mod setting;

pub(super) mod cancel;
pub(super) mod create;
pub(super) mod default_bodies;
pub(super) mod delete;
pub(super) mod expiry;
pub(super) mod gone;
pub(super) mod maintenance;
pub(super) mod model;
pub(super) mod owner_index;
pub(super) mod rotate;
pub(super) mod round_trip;
pub(super) mod save;
pub(super) mod touch;
