//! What must not compile, one mistake to a test, and the compiler's number for it. Nightly's rustdoc looks at the number, so that no
//! test passes for a slip of its own: `cargo xtask release-check`.

/// ```compile_fail,E0308
/// use session_http::{CookieConfig, MemoryStore, SessionLayer};
/// SessionLayer::new(MemoryStore::new()).with_cookie(CookieConfig::builder().with_name("id"));
/// ```
mod cook_03_a_cookie_that_was_not_checked_is_not_used {}

/// ```compile_fail,E0616
/// let mut cookie = session_http::CookieConfig::default();
/// cookie.parts.secure = false;
/// ```
mod cook_03_a_cookie_that_was_checked_is_not_changed {}

/// ```compile_fail,E0308
/// session_http::CookieConfig::builder().with_same_site("none");
/// ```
mod cook_03_same_site_is_not_a_text {}

/// ```compile_fail,E0599
/// # fn choose(session: session_http::Session, key: session_http::SessionKey) {
/// session.set_session_key(key);
/// # }
/// ```
mod fix_01_a_handler_does_not_choose_a_key {}

/// ```compile_fail,E0599
/// # async fn open(key: session_http::SessionKey) {
/// session_http::Session::with_key(key).await;
/// # }
/// ```
mod fix_01_a_session_is_not_made_of_a_key {}

/// ```compile_fail,E0277
/// # fn show(session: session_http::Session) {
/// println!("{}", session.session_key().unwrap());
/// # }
/// ```
mod id_11_a_key_is_not_written_into_a_page {}
