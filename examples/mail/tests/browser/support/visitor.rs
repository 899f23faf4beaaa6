//! What a visitor does: opens pages, fills in forms, presses buttons, reads.

use std::time::{Duration, Instant};

use fantoccini::cookies::Cookie;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use super::demo::{COOKIE, Demo};
use super::look::{self, SCHEMES, SCREENS};

/// The demo's.
pub(crate) const PASSWORD: &str = "session";

/// How long a page may take until it is as it should be.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Somebody at a browser of their own.
pub(crate) struct Visitor {
    pub(crate) browser: Client,
    url: String,
    webdriver: String,
}

impl Visitor {
    pub(super) fn new(browser: Client, demo: &Demo, webdriver: &str) -> Self {
        Self {
            browser,
            url: demo.url.clone(),
            webdriver: webdriver.to_owned(),
        }
    }

    /// The same browser, calling the demo by another of this machine's names.
    pub(crate) fn at_host(&self, host: &str) -> Self {
        Self {
            browser: self.browser.clone(),
            url: self.url.replace("127.0.0.1", host),
            webdriver: self.webdriver.clone(),
        }
    }

    pub(crate) async fn open(&self, path: &str) -> Result<(), CmdError> {
        let url = format!("{}{}", self.url, path.trim_start_matches('/'));
        self.browser.goto(&url).await?;
        self.find("footer").await.map(drop)
    }

    /// Opens a page in a new tab, and stays there.
    pub(crate) async fn open_in_new_tab(&self, path: &str) -> Result<(), CmdError> {
        let tab = self.browser.new_window(true).await?;
        self.browser.switch_to_window(tab.handle).await?;
        self.open(path).await
    }

    /// Goes to the first tab, or the second.
    pub(crate) async fn switch_to_tab(&self, at: usize) -> Result<(), CmdError> {
        let tabs = self.browser.windows().await?;
        self.browser.switch_to_window(tabs[at].clone()).await
    }

    pub(crate) async fn fill_in(&self, field: &str, text: &str) -> Result<(), CmdError> {
        let field = self.find(field).await?;
        field.clear().await?;
        field.send_keys(text).await
    }

    /// Presses a button that leads to another page, and waits until that is there.
    pub(crate) async fn press(&self, button: &str) -> Result<(), CmdError> {
        let old_page = self.find("html").await?.element_id();
        self.find(button).await?.click().await?;
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match self.browser.find(Locator::Css("html")).await {
                Ok(page) if page.element_id() != old_page => break,
                Ok(_old_page) => {}
                // Chromium has many words for one page giving way to another, and not all are WebDriver's.
                Err(error) if error.is_no_such_element() || error.is_unknown_error() => {}
                Err(error) => return Err(error),
            }
            assert!(
                Instant::now() < deadline,
                "pressing {button} led to no other page"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.find("footer").await.map(drop)
    }

    /// Sends a message with the form on this page.
    pub(crate) async fn send_mail(&self, from_name: &str, subject: &str) -> Result<(), CmdError> {
        self.fill_in("#from_name", from_name).await?;
        self.fill_in("#subject", subject).await?;
        self.press("main form button").await
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Result<(), CmdError> {
        self.open("/login").await?;
        self.fill_in("#name", name).await?;
        self.fill_in("#password", password).await?;
        self.press("main form button").await
    }

    /// What is written there, once it is there.
    pub(crate) async fn text(&self, css: &str) -> Result<String, CmdError> {
        self.find(css).await?.text().await
    }

    /// The number that is written there.
    pub(crate) async fn number(&self, css: &str) -> Result<u64, CmdError> {
        Ok(self.text(css).await?.parse().unwrap())
    }

    /// What is filled in there.
    pub(crate) async fn filled_in(&self, field: &str) -> Result<String, CmdError> {
        let field = self.find(field).await?;
        Ok(field.prop("value").await?.unwrap_or_default())
    }

    /// How many of these are on the page, as it is now.
    pub(crate) async fn count(&self, css: &str) -> Result<usize, CmdError> {
        Ok(self.browser.find_all(Locator::Css(css)).await?.len())
    }

    /// Whose session it is, as the page says.
    pub(crate) async fn owner(&self) -> Result<Option<String>, CmdError> {
        let account = self.find(".account").await?;
        if account.tag_name().await? == "a" {
            return Ok(None);
        }
        self.text("#owner").await.map(Some)
    }

    /// The session's cookie, as the browser keeps it.
    pub(crate) async fn cookie(&self) -> Result<Option<Cookie<'static>>, CmdError> {
        let cookies = self.browser.get_all_cookies().await?;
        Ok(cookies.into_iter().find(|cookie| cookie.name() == COOKIE))
    }

    /// The key in the cookie. Not to be printed.
    pub(crate) async fn key(&self) -> Result<Option<String>, CmdError> {
        let cookie = self.cookie().await?;
        Ok(cookie.map(|cookie| cookie.value().to_owned()))
    }

    /// Runs a script of the test's in the page.
    pub(crate) async fn run(&self, script: &str, arguments: &[&str]) -> Result<Value, CmdError> {
        let arguments = arguments.iter().map(|text| json!(text)).collect();
        self.browser.execute(script, arguments).await
    }

    /// Takes pictures of this page on each screen, in each colour scheme, and hands each look to `judge`.
    pub(crate) async fn look(&self, name: &str) -> Result<Vec<Look>, CmdError> {
        let mut looks = Vec::new();
        for screen in &SCREENS {
            for scheme in SCHEMES {
                look::look_as(&self.browser, &self.webdriver, screen, scheme).await?;
                let picture = format!("{name}-{}-{scheme}", screen.name);
                look::screenshot(&self.browser, &picture).await?;
                let measured = self.run(MEASURE, &[]).await?;
                looks.push(Look {
                    picture,
                    scheme,
                    is_too_wide: measured["isTooWide"] == json!(true),
                    brightness: measured["brightness"].as_u64().unwrap(),
                });
            }
        }
        Ok(looks)
    }

    async fn find(&self, css: &str) -> Result<Element, CmdError> {
        let wait = self.browser.wait().at_most(WAIT_MAX).every(LOOK_AGAIN);
        let found = wait.for_element(Locator::Css(css)).await;
        assert!(
            !matches!(found, Err(CmdError::WaitTimeout)),
            "the page has no {css}"
        );
        found
    }
}

/// What one picture of a page shows.
pub(crate) struct Look {
    pub(crate) picture: String,
    pub(crate) scheme: &'static str,
    /// Whether one must scroll sideways.
    pub(crate) is_too_wide: bool,
    /// Of the ground, from 0 to 255.
    pub(crate) brightness: u64,
}

const MEASURE: &str = "
    const colour = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
    return {
        isTooWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        brightness: Math.max(...colour.slice(0, 3)),
    };
";
