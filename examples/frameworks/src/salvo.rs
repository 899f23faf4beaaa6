//! salvo: the layer is a `hoop`, by salvo's own adapter for tower's layers.
//!
//! The parts of salvo are named one by one to compile less; with `salvo` and its feature `tower-compat` they are
//! `salvo::prelude::*`.

use salvo_core::http::ReqBody;
use salvo_core::prelude::{Request, Response, Router, handler};
use salvo_extra::tower_compat::TowerLayerCompat;
use session_http::{Error, LazySession, SessionLayer};

/// The application. To be called within a runtime, since the adapter starts a task.
#[must_use]
pub fn app(sessions: SessionLayer) -> Router {
    Router::with_path("{**path}")
        .hoop(sessions.compat::<ReqBody>())
        .goal(page)
}

#[handler]
async fn page(request: &mut Request, response: &mut Response) {
    match text(request).await {
        Ok(text) => response.render(text),
        Err(error) => {
            response.status_code(error.status());
            response.render("Sorry\n");
        }
    }
}

async fn text(request: &Request) -> Result<String, Error> {
    let session = LazySession::from_extensions(request.extensions())?;
    crate::answer(request.uri().path(), &session).await
}
