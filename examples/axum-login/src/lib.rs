//! A site whose users log in by axum-login, and whose sessions are ours.

pub mod bridge;
pub mod site;
