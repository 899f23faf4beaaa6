//! Requests that other sites make in a visitor's name, with tower-http's layer before the session's: by each value of the headers that
//! tell, and as a browser sends them.
use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::header::{HOST, ORIGIN};
use http::{HeaderValue, Method, Request, StatusCode};
use session_http::browser::{Fetch, Jar};
use session_http::{CookieConfig, Error, SameSite, Session};
use tower_http::csrf::CsrfLayer;

use crate::support::{Browser, Site, send};

fn protected(site: &Site, cookie: CookieConfig) -> Router {
    let write = async |session: Session| {
        session.modify("writes", |writes: &mut u32| *writes += 1)?;
        Ok::<_, Error>(())
    };
    let partners = CsrfLayer::new().add_trusted_origin("https://partner.example");
    Router::new()
        .route("/write", any(write))
        .layer(site.layer().with_cookie(cookie))
        .layer(partners.expect("this is an origin"))
}

#[tokio::test]
async fn http_07_origin_and_sec_fetch_site_decide_and_what_is_refused_reaches_no_session() {
    let values: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"same-origin"),
        Some(b"none"),
        Some(b"same-site"),
        Some(b"cross-site"),
        Some(b"Same-Origin"),
        Some(b"\xff"),
    ];
    let origins: [(Option<&[u8]>, bool); 9] = [
        // Whether it is our own, or none that a browser would send.
        (None, true),
        (Some(b""), true),
        (Some(b"https://shop.example.org"), true),
        (Some(b"https://shop.example.org:8443"), false),
        (Some(b"https://blog.example.org"), false),
        (Some(b"https://evil.example"), false),
        (Some(b"https://shop.example.org.evil.example"), false),
        (Some(b"null"), false),
        (Some(b"\xff"), false),
    ];
    for method in [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
    ] {
        for value in values {
            for (origin, is_own) in origins {
                let is_taken = match value {
                    _ if [Method::GET, Method::HEAD, Method::OPTIONS].contains(&method) => true,
                    Some(b"same-origin" | b"none") => true,
                    None | Some(b"") => is_own,
                    Some(_) => false,
                };
                let site = Site::new();
                let mut request = Request::builder()
                    .method(method.clone())
                    .uri("/write")
                    .header(HOST, "shop.example.org")
                    .body(Body::empty())
                    .unwrap();
                let headers = [("sec-fetch-site", value), (ORIGIN.as_str(), origin)];
                for (name, value) in headers {
                    if let Some(value) = value {
                        request
                            .headers_mut()
                            .insert(name, HeaderValue::from_bytes(value).unwrap());
                    }
                }
                let reply = send(&protected(&site, CookieConfig::default()), request).await;
                let expected = if is_taken {
                    StatusCode::OK
                } else {
                    StatusCode::FORBIDDEN
                };
                assert_eq!(reply.status, expected, "{method}, {value:?}, {origin:?}");
                assert_eq!(
                    site.records(),
                    usize::from(is_taken),
                    "{method}, {value:?}, {origin:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn http_07_a_form_on_another_site_changes_nothing_whatever_the_cookie_allows() {
    for same_site in [
        SameSite::Strict,
        SameSite::Lax,
        SameSite::None,
        SameSite::Absent,
    ] {
        let cookie = CookieConfig::builder()
            .with_same_site(same_site)
            .build()
            .unwrap();
        let name = cookie.name().to_owned();
        let site = Site::new();
        let mut browser = Browser::with(&protected(&site, cookie), Jar::new());
        let own = Fetch::post("https://shop.example.org/write");
        assert_eq!(browser.fetch(&own).await.status, StatusCode::OK);
        let key = browser.jar.value(&name).unwrap().to_owned();
        for (page, status) in [
            ("https://evil.example/", 403),
            ("https://blog.example.org/", 403),
            ("http://shop.example.org/", 403),
            ("https://shop.example.org/form", 200),
            ("https://partner.example/", 200),
        ] {
            let writes = async || {
                site.stored(&key)
                    .await
                    .unwrap()
                    .get::<u32>("writes")
                    .unwrap()
            };
            let before = writes().await;
            for forged in [own.clone().from_page(page), own.clone().within_page(page)] {
                let reply = browser.send(&forged).await;
                assert_eq!(reply.status.as_u16(), status, "{same_site:?}, {page}");
            }
            // A partner is let through. Whether the visitor's session comes along is the cookie's business.
            let comes_along = matches!(same_site, SameSite::None | SameSite::Absent);
            let is_own = page == "https://shop.example.org/form";
            let is_written = status == 200 && (is_own || comes_along);
            assert_eq!(
                writes().await != before,
                is_written,
                "{same_site:?}, {page}"
            );
        }
    }
}
