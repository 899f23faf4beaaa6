//! Sessions in a database with a cache in front of it. Nothing is here yet: until this crate has a store, use
//! `session-file`, or write a store of your own with `session_core::store::SessionStore`.
