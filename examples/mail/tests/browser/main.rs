//! Walks the demo in a real browser. `cargo xtask test-all` starts chromedriver for it; by hand: `cargo xtask services`.

#[cfg(test)]
mod support;

use fantoccini::Locator;
use serde_json::json;
use support::{Cookies, Demo, Probe, screenshot, walk};

#[tokio::test]
async fn a_host_cookie_is_kept_on_loopback_and_hidden_from_scripts() {
    walk("probe", Cookies::Accepted, async |browser| {
        let probe = Probe::start();
        browser.goto(&probe.url).await?;
        let shown = browser.find(Locator::Css("#cookie")).await?;
        assert_eq!(shown.text().await?, "none", "a new browser had a cookie");

        browser.refresh().await?;
        let shown = browser.find(Locator::Css("#cookie")).await?;
        assert_eq!(
            shown.text().await?,
            "__Host-probe=kept",
            "the browser did not send the cookie back"
        );
        let seen = browser.execute("return document.cookie", vec![]).await?;
        assert_eq!(seen, json!(""), "a script can read the cookie");
        screenshot(&browser, "probe").await
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_refuses_cookies_sends_none_back() {
    walk("probe-refused", Cookies::Refused, async |browser| {
        let probe = Probe::start();
        browser.goto(&probe.url).await?;
        browser.refresh().await?;
        let shown = browser.find(Locator::Css("#cookie")).await?;
        assert_eq!(shown.text().await?, "none", "the cookie was kept");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_demo_is_where_it_says() {
    walk("demo", Cookies::Accepted, async |browser| {
        let demo = Demo::start("memory");
        browser.goto(&demo.url).await?;
        assert!(!browser.title().await?.is_empty(), "the page has no title");
        screenshot(&browser, "demo").await
    })
    .await;
}
