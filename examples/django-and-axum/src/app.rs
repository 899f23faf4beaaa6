//! Which page is where: ours below `/rust/`, and Django's everywhere else.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use session_http::SessionLayer;

use crate::proxy::Django;
use crate::users::Users;
use crate::{login, pages};

/// The whole application. The layers serve the routes that were added before them; what Django answers passes neither.
pub(crate) fn router(users: Users, sessions: SessionLayer, django: Django) -> Router {
    Router::new()
        .route("/rust/", get(pages::home))
        .route("/rust/count", post(pages::count))
        .route("/rust/remember", post(pages::remember))
        .route("/rust/expire", post(pages::expire))
        .route("/rust/session.json", get(pages::session))
        .route("/rust/login", get(login::form).post(login::log_in))
        .route("/rust/logout", post(login::log_out))
        .with_state(users)
        .layer(sessions)
        .layer(middleware::from_fn(refuse_other_sites))
        .fallback(move |request: Request| django.answer(request))
}

/// Refuses forms that another site's page has sent, which is what Django's tokens are for. Browsers say where a request
/// comes from, and a page can't change what they say.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_from_here(request.headers()) {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

/// Clients that are no browsers say nothing, and send no cookies that somebody else told them to.
fn is_from_here(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_none_or(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_form_of_another_site_is_refused_and_one_of_ours_is_not() {
        for (site, is_ours) in [
            ("cross-site", false),
            // Another port or another name below the same domain: not this page.
            ("same-site", false),
            ("something-new", false),
            ("same-origin", true),
            // Typed by the visitor.
            ("none", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(is_from_here(&headers), is_ours, "{site}");
        }
        assert!(is_from_here(&HeaderMap::new()), "curl is refused");
    }
}
