//! Sessions in Redis and in bounded memory. Nothing is here yet: until this crate has a store, use `session-file`,
//! or write a store of your own with `session_core::store::SessionStore`.
