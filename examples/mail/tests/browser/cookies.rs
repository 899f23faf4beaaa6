//! The cookie: how browsers keep it, who sees it, and what happens without.

use fantoccini::cookies::Cookie;
use serde_json::json;

use crate::support::{PASSWORD, Setting, Store, Visitor, walk};

#[tokio::test]
async fn loopback_keeps_a_host_cookie_that_no_script_can_read() {
    walk(
        "cookie",
        Store::Files,
        [Setting::Ordinary],
        async |_demo, [visitor]: [Visitor; 1]| {
            for host in ["127.0.0.1", "localhost"] {
                let visitor = visitor.at_host(host);
                visitor.log_in("ada", PASSWORD).await?;
                assert_eq!(
                    visitor.owner().await?.as_deref(),
                    Some("ada"),
                    "the browser did not keep the cookie of http://{host}"
                );
                let cookie = visitor.cookie().await?.unwrap();
                judge(&cookie, host);
                assert_eq!(
                    visitor.run("return document.cookie", &[]).await?,
                    json!(""),
                    "a script on http://{host} can read the cookie"
                );
            }
            Ok(())
        },
    )
    .await;
}

/// Not by comparing cookies, which would print the key.
fn judge(cookie: &Cookie<'_>, host: &str) {
    assert_eq!(cookie.name(), "__Host-sessionid");
    assert_eq!(cookie.secure(), Some(true), "{host}: Secure is missing");
    assert_eq!(
        cookie.http_only(),
        Some(true),
        "{host}: HttpOnly is missing"
    );
    let same_site = cookie.same_site().map(|same_site| same_site.to_string());
    assert_eq!(same_site.as_deref(), Some("Lax"), "{host}: wrong SameSite");
    assert_eq!(cookie.path(), Some("/"), "{host}: wrong Path");
    // WebDriver names the host here; after a Domain attribute it would have a dot in front.
    assert_eq!(cookie.domain(), Some(host), "{host}: there is a Domain");
    assert!(
        cookie.expires().is_some(),
        "{host}: the cookie ends with the browser"
    );
}

#[tokio::test]
async fn a_browser_that_refuses_cookies_is_told_so() {
    walk(
        "refused",
        Store::Files,
        [Setting::RefusesCookies],
        async |_demo, [visitor]: [Visitor; 1]| {
            visitor.log_in("ada", PASSWORD).await?;
            let problem = visitor.text(".problem").await?;
            assert!(
                problem.contains("Please allow cookies"),
                "the message was: {problem}"
            );
            assert_eq!(visitor.owner().await?, None);
            assert!(
                visitor.key().await?.is_none(),
                "the browser was to refuse the cookie"
            );
            visitor.look("refused").await?;

            visitor.open("/counter").await?;
            for _press in 0..2 {
                visitor.press("main form button").await?;
                assert_eq!(
                    visitor.text("#drew strong").await?,
                    "1",
                    "without cookies every press is the first"
                );
            }
            Ok(())
        },
    )
    .await;
}
