//! Sessions for every service of the `tower` family: axum's router, hyper through an adapter, your own.

mod future;
pub(crate) mod layer;
pub(crate) mod no_activity;
mod service;

pub use future::ResponseFuture;
pub use no_activity::NoActivityService;
pub use service::SessionService;
