//! A browser's half of cookies, in process: for the tests of this crate and of applications. Feature `test-util`.
//!
//! A [`Jar`] keeps cookies as RFC 6265bis says that browsers do, which is stricter than the jars of HTTP clients: it refuses
//! what they would refuse, says why, and sends back only what they would send. A [`Fetch`] says where a request goes, and
//! which page makes it.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, body::Body, routing::{get, post}};
//! use session_http::browser::{Fetch, Jar};
//! use session_http::{MemoryStore, Session, SessionLayer};
//! use tower::ServiceExt;
//!
//! let app: Router = Router::new()
//!     .route("/log-in", post(async |session: Session| session.log_in("ada").map_err(session_http::Error::from)))
//!     .route("/", get(async |session: Session| session.owner().map_or("nobody".into(), |owner| owner.as_str().to_owned())))
//!     .layer(SessionLayer::new(MemoryStore::new()));
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let mut jar = Jar::new();
//! let log_in = Fetch::post("https://shop.example.org/log-in");
//! let response = app.clone().oneshot(jar.request(&log_in).body(Body::empty())?).await?;
//! assert_eq!(jar.receive(&log_in, response.headers()), [], "the browser refuses the cookie");
//!
//! let page = Fetch::get("https://shop.example.org/");
//! let response = app.clone().oneshot(jar.request(&page).body(Body::empty())?).await?;
//! let body = axum::body::to_bytes(response.into_body(), 100).await?;
//! assert_eq!(body, "ada");
//!
//! // The cookie is for this host alone, for HTTPS alone, and not for forms on other sites.
//! assert_eq!(jar.cookie_header(&Fetch::get("https://www.example.org/")), None);
//! assert_eq!(jar.cookie_header(&Fetch::get("http://shop.example.org/")), None);
//! assert_eq!(jar.cookie_header(&log_in.from_page("https://elsewhere.example/")), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Parallel requests are answered in any order. [`Jar::in_every_order`] takes their responses in all of them:
//!
//! ```
//! # use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
//! # use session_http::browser::{Fetch, Jar};
//! # let set = |text| HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static(text))]);
//! # let (log_in, late) = (set("__Host-sessionid=new; Secure; Path=/"), HeaderMap::new());
//! let page = Fetch::get("https://shop.example.org/");
//! for arrival in Jar::new().in_every_order(&[(&page, &log_in), (&page, &late)]) {
//!     assert_eq!(arrival.jar.value("__Host-sessionid"), Some("new"), "{:?}", arrival.order);
//! }
//! ```
//!
//! # What is modelled, and what is not
//!
//! - The rules for storing and sending (RFC 6265bis sections 5.6 to 5.8): 4096 bytes for name and value and 1024 for an
//!   attribute, 400 days at most, `Domain`, `Path`, `Secure`, `HttpOnly`, `SameSite` with and without a value, the prefixes
//!   `__Secure-`, `__Host-`, `__Http-` and `__Host-Http-`, and that plain HTTP replaces no `Secure` cookie.
//! - Partitions (CHIPS), eviction when a site has too many cookies, the end of the browser's session, a visitor who allows
//!   no cookies at all.
//! - The exception for `http://localhost` and `127.0.0.1`, as in Chromium and Firefox; without it as in Safari.
//! - `Origin` and `Sec-Fetch-Site`, since protection against forged requests goes by them.
//! - A site is a scheme and the last two labels of a host, as if every top-level domain were one of the public suffixes and
//!   there were no others. There is no list of them here.
//! - Redirects, service workers and scripts that set cookies are not modelled. A cookie that is not UTF-8 is refused, which
//!   browsers don't do.

mod date;
mod fetch;
mod jar;
mod set_cookie;
mod stored;

pub use fetch::Fetch;
pub use jar::{Arrival, Jar, Reason, Refused};
pub use stored::StoredCookie;
