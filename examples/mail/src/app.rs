//! Which page is where, and which of them share the session.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use session_http::SessionLayer;
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::{account, counter, devices, mail, page};

/// The whole application. The session's layer comes after the routes, since it serves those that were added before it, and
/// the one that looks at where a form was sent from comes last: what it refuses reaches no session.
pub(crate) fn router(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(mail::form))
        .route("/send", post(mail::send))
        .route("/login", get(account::form).post(account::log_in))
        .route("/logout", post(account::log_out))
        .route("/sessions", get(devices::list))
        .route("/sessions/end", post(devices::end))
        .route("/sessions/end-others", post(devices::end_others))
        .route("/counter", get(counter::show).post(counter::add))
        .route("/style.css", get(style))
        .fallback(page::not_found)
        .layer(layer)
        .layer(CsrfLayer::new().with_rejection_response(refuse))
}

/// Another site has sent the visitor's browser here with a form of its own.
fn refuse(_: ProtectionError) -> Response {
    let text =
        "This form was not sent from this site. Please go to its page and send it from there.\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Never asks for the session, and so costs none.
async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, include_str!("style.css"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{HeaderMap, Request, StatusCode, header};
    use session_http::MemoryStore;
    use session_http::browser::{Fetch, Jar};
    use tower::ServiceExt as _;

    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn demo() -> Router {
        router(SessionLayer::new(MemoryStore::new()))
    }

    async fn answer(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap) {
        let Ok(response) = app.clone().oneshot(request).await;
        (response.status(), response.headers().clone())
    }

    /// Whether it was refused for where it comes from, and not for what it asks.
    async fn is_refused(app: &Router, request: Request<Body>) -> bool {
        let Ok(response) = app.clone().oneshot(request).await;
        let has_cookie = response.headers().contains_key(header::SET_COOKIE);
        let error = response.extensions().get::<ProtectionError>();
        let is_refused = error.is_some();
        assert!(!is_refused || response.status() == StatusCode::FORBIDDEN);
        assert!(
            !(is_refused && has_cookie),
            "what is refused reaches the session"
        );
        is_refused
    }

    #[tokio::test]
    async fn http_07_a_form_is_taken_by_what_the_browser_says_of_where_it_comes_from() {
        #[rustfmt::skip]
        let rows: &[(&str, Option<&str>, Option<&str>, bool)] = &[
            // method, Sec-Fetch-Site,   Origin,                                is taken
            ("POST", Some("same-origin"), Some("https://mail.example.org"),     true),
            ("POST", Some("none"),        None,                                 true),
            ("POST", Some("same-site"),   Some("https://blog.example.org"),     false),
            ("POST", Some("cross-site"),  Some("https://evil.example"),         false),
            ("POST", Some("cross-site"),  Some("null"),                         false),
            ("POST", Some("cross-site"),  None,                                 false),
            ("POST", Some("nonsense"),    Some("https://mail.example.org"),     false),
            ("POST", Some("Same-Origin"), None,                                 false),
            // Browsers from before 2023, some of which send no more than `Origin`.
            ("POST", None,                Some("https://mail.example.org"),     true),
            ("POST", None,                Some("https://mail.example.org:444"), false),
            ("POST", None,                Some("https://evil.example"),         false),
            ("POST", None,                Some("https://mail.example.org.evil.example"), false),
            ("POST", None,                Some("null"),                         false),
            // No browser: nobody's cookie goes along with it.
            ("POST", None,                None,                                 true),
            // A link from anywhere leads here, and changes nothing.
            ("GET",  Some("cross-site"),  None,                                 true),
            ("HEAD", Some("cross-site"),  Some("https://evil.example"),         true),
        ];
        for (method, site, origin, is_taken) in rows {
            for path in [
                "/send",
                "/login",
                "/logout",
                "/sessions/end",
                "/sessions/end-others",
                "/counter",
            ] {
                let mut request = Request::builder()
                    .method(*method)
                    .uri(path)
                    .header(header::HOST, "mail.example.org")
                    .header(header::CONTENT_TYPE, FORM);
                if let Some(site) = site {
                    request = request.header("sec-fetch-site", *site);
                }
                if let Some(origin) = origin {
                    request = request.header(header::ORIGIN, *origin);
                }
                let request = request.body(Body::empty()).unwrap();
                let is_refused = is_refused(&demo(), request).await;
                assert_eq!(
                    !is_refused, *is_taken,
                    "{method} {path}, {site:?}, {origin:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn http_07_nobody_is_logged_in_or_out_by_another_site() {
        let app = demo();
        let mut jar = Jar::new();
        let page = Fetch::get("https://mail.example.org/login");
        let (_, headers) = answer(&app, jar.request(&page).body(Body::empty()).unwrap()).await;
        assert_eq!(jar.receive(&page, &headers), []);
        let log_in = Fetch::post("https://mail.example.org/login");
        let send = async |jar: &mut Jar, fetch: &Fetch, form: &'static str| {
            let request = jar.request(fetch).header(header::CONTENT_TYPE, FORM);
            let (status, headers) = answer(&app, request.body(form.into()).unwrap()).await;
            jar.receive(fetch, &headers);
            status
        };
        let elsewhere = [
            "https://evil.example/",
            "https://blog.example.org/",
            "http://mail.example.org/",
            "https://mail.example.org:8443/",
        ];
        let theirs = "name=mallory&password=session";
        for page in elsewhere {
            let forged = log_in.clone().from_page(page);
            let status = send(&mut jar, &forged, theirs).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{page} logs visitors in");
        }
        let status = send(&mut jar, &log_in, "name=ada&password=session").await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        let sessions = Fetch::get("https://mail.example.org/sessions");
        for page in elsewhere {
            let forged = Fetch::post("https://mail.example.org/logout").from_page(page);
            assert_eq!(send(&mut jar, &forged, "").await, StatusCode::FORBIDDEN);
            let status = send(&mut jar, &sessions, "").await;
            assert_eq!(status, StatusCode::OK, "{page} logs visitors out");
        }
        let log_out = Fetch::post("https://mail.example.org/logout");
        assert_eq!(send(&mut jar, &log_out, "").await, StatusCode::SEE_OTHER);
        assert_eq!(send(&mut jar, &sessions, "").await, StatusCode::SEE_OTHER);
    }
}
