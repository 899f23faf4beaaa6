//! Sessions for every service of the `tower` family: axum's router, hyper through an adapter, your own.

pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod login_required;
pub(crate) mod no_activity;
mod service;

pub use future::ResponseFuture;
pub use login_required::LoginRequiredService;
pub use no_activity::NoActivityService;
pub use service::SessionService;
