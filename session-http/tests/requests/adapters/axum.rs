//! The application on axum's router.

use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::any;
use session_http::{
    Error, LazySession, NoActivity, RequireOwner, Session, SessionLayer, SessionOf,
};
use tower::ServiceExt;

use super::{App, Marked, Said, act, members_only, write_marked};
use crate::streaming::Late;
use crate::support::Reply;

impl IntoResponse for Said {
    fn into_response(self) -> axum::response::Response {
        let body = Body::new(Late::of(self.text));
        (self.status, AppendHeaders(self.headers.to_vec()), body).into_response()
    }
}

/// The application's pages, with no layer around them yet.
pub(super) fn pages() -> Router {
    let pages = || {
        Router::new().route(
            "/{page}",
            any(async |Path(page): Path<String>, session: LazySession| act(&page, session).await),
        )
    };
    let extracted = any(async |one: Session, two: Session| {
        one.set("a", &1)?;
        Ok::<_, Error>(two.len().to_string())
    });
    pages()
        .route("/extracted", extracted)
        .nest("/quiet", pages().layer(NoActivity::new()))
        .nest("/members", pages().layer(members_only()))
        .route(
            "/marked",
            any(async |session: SessionOf<Marked>| write_marked(&session)),
        )
        .route(
            "/number",
            any(async |RequireOwner(number): RequireOwner<u32>| number.to_string()),
        )
}

pub(super) fn app(layers: &[SessionLayer]) -> Pin<Box<dyn Future<Output = App>>> {
    let mut app = pages();
    for layer in layers {
        app = app.layer(layer.clone());
    }
    let app: App = Box::new(move |request| {
        let app = app.clone();
        Box::pin(async move {
            let Ok(response) = app.oneshot(request).await;
            Reply::of(response).await
        })
    });
    Box::pin(std::future::ready(app))
}
