//! Opens real browsers through WebDriver, walks them through the demo, and closes both, whatever happened.

mod database;
mod demo;
mod look;
mod visitor;
mod wire;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio::sync::Semaphore;

pub(crate) use self::demo::{Demo, Store};
pub(crate) use self::visitor::{PASSWORD, Visitor};

/// Where chromedriver answers, as xtask's browser service says it.
const WEBDRIVER: &str = "SESSION_TEST_WEBDRIVER";

/// Chromium's arguments: no window, nothing that calls home, and nothing that needs more memory than a container shares.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--window-size=1200,900",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-default-browser-check",
    "--no-first-run",
];

/// What Chromium's settings call "blocked".
const BLOCKED: u32 = 2;

/// How many walks are under way at once, however many cores there are: a browser is a dozen processes.
static WALKS_MAX: Semaphore = Semaphore::const_new(2);

/// How a browser is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    Ordinary,
    RefusesCookies,
    WithoutScripts,
}

/// Starts the demo and opens browsers with empty profiles, walks the `steps`, and closes all of them. A walk that fails
/// leaves its screenshots, `name`-failed-1 and so on. Without a browser or the store's server it says so aloud and does nothing; in CI it then
/// fails.
pub(crate) async fn walk<const N: usize, Steps, Walked>(
    name: &str,
    store: Store,
    settings: [Setting; N],
    steps: Steps,
) where
    Steps: FnOnce(Demo, [Visitor; N]) -> Walked,
    Walked: Future<Output = Result<(), CmdError>> + Send + 'static,
{
    if let Some(variable) = store.missing() {
        return skipped(variable);
    }
    let Ok(webdriver) = std::env::var(WEBDRIVER) else {
        return skipped(WEBDRIVER);
    };
    let _permit = WALKS_MAX.acquire().await.unwrap();
    let demo = Demo::start(store, name).await;
    let mut browsers = Vec::with_capacity(N);
    for setting in settings {
        browsers.push(open(&webdriver, setting).await);
    }
    let visitors: [Visitor; N] =
        std::array::from_fn(|at| Visitor::new(browsers[at].clone(), &demo, &webdriver));

    // In a task of its own, so that a failed assertion does not keep the browsers from being closed.
    let walked = tokio::spawn(steps(demo, visitors)).await;
    let failed = !matches!(walked, Ok(Ok(())));
    for (number, browser) in (1..).zip(browsers) {
        if failed {
            let picture = look::screenshot(&browser, &format!("{name}-failed-{number}")).await;
            assert!(
                picture.is_ok(),
                "the walk {name} failed, and so did its screenshot: {picture:?}"
            );
        }
        browser.close().await.unwrap();
    }
    match walked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("the walk {name} met: {error}"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Says aloud that `variable`, in which xtask says where a service is, is not set. In CI that is a failure.
fn skipped(variable: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{variable} is not set, and in CI nothing may be skipped"
    );
    // Not `eprintln!`, which a test that passes keeps to itself.
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "SKIPPED: {variable} is not set; run `cargo xtask services` and export what it prints"
    )
    .unwrap();
}

async fn open(webdriver: &str, setting: Setting) -> Client {
    let mut arguments = ARGUMENTS.to_vec();
    // Chromium refuses to run its sandbox as root, which is who one is in a container.
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        arguments.push("--no-sandbox");
    }
    let preferences = match setting {
        Setting::Ordinary => json!({}),
        Setting::RefusesCookies => {
            json!({ "profile.default_content_setting_values.cookies": BLOCKED })
        }
        Setting::WithoutScripts => {
            json!({ "profile.default_content_setting_values.javascript": BLOCKED })
        }
    };
    let options = json!({ "args": arguments, "prefs": preferences });
    let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(webdriver)
        .await
        .unwrap()
}
