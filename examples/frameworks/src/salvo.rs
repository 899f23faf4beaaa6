//! salvo: the layer is a `hoop`, by salvo's own adapter for tower's layers.

use salvo::http::ReqBody;
use salvo::prelude::{Request, Response, Router, TowerLayerCompat, handler};
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
