//! Sessions for every service of the `tower` family: axum's router, hyper through an adapter, your own.

mod future;
pub(crate) mod layer;
mod service;

pub use future::ResponseFuture;
pub use service::SessionService;
