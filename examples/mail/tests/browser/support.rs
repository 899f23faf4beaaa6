//! Opens real browsers through WebDriver, keeps their pictures, and serves what they look at.

use std::fs;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

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

/// What a browser does with cookies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookies {
    Accepted,
    Refused,
}

/// Opens a new browser with an empty profile, walks it through `steps`, and closes it, whatever happened. A walk that
/// fails leaves the screenshot `name`-failed. Without a browser it says so aloud and does nothing; in CI it then fails.
pub(crate) async fn walk<Steps, Walked>(name: &str, cookies: Cookies, steps: Steps)
where
    Steps: FnOnce(Client) -> Walked,
    Walked: Future<Output = Result<(), CmdError>> + Send + 'static,
{
    let Some(browser) = open(cookies).await else {
        return;
    };
    // In a task of its own, so that a failed assertion does not keep the browser from being closed.
    let walked = tokio::spawn(steps(browser.clone())).await;
    if !matches!(walked, Ok(Ok(()))) {
        let picture = screenshot(&browser, &format!("{name}-failed")).await;
        assert!(
            picture.is_ok(),
            "the walk {name} failed, and so did its screenshot: {picture:?}"
        );
    }
    browser.close().await.unwrap();
    match walked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("the walk {name} met: {error}"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Writes what the browser shows to `name`.png in the folder screenshots of the target folder.
pub(crate) async fn screenshot(browser: &Client, name: &str) -> Result<(), CmdError> {
    let picture = browser.screenshot().await?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("screenshots");
    fs::create_dir_all(&folder).unwrap();
    let mut file = fs::File::create(folder.join(format!("{name}.png"))).unwrap();
    file.write_all(&picture).unwrap();
    Ok(())
}

async fn open(cookies: Cookies) -> Option<Client> {
    let Ok(webdriver) = std::env::var(WEBDRIVER) else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{WEBDRIVER} is not set, and in CI nothing may be skipped"
        );
        // Not `eprintln!`, which a test that passes keeps to itself.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED: {WEBDRIVER} is not set; run `cargo xtask services` and export what it prints"
        )
        .unwrap();
        return None;
    };
    let mut arguments = ARGUMENTS.to_vec();
    // Chromium refuses to run its sandbox as root, which is who one is in a container.
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        arguments.push("--no-sandbox");
    }
    let mut options = json!({ "args": arguments });
    if cookies == Cookies::Refused {
        options["prefs"] = json!({ "profile.default_content_setting_values.cookies": 2 });
    }
    let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
    let browser = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&webdriver)
        .await
        .unwrap();
    Some(browser)
}

/// The demo itself, serving for one walk. It is stopped when this is dropped.
pub(crate) struct Demo {
    /// Ends with a slash.
    pub(crate) url: String,
    process: Child,
    // Kept open: a program that can't print panics.
    _output: BufReader<ChildStdout>,
}

impl Demo {
    /// Starts the demo on a free port, with sessions where `store` says (`memory`, `file:DIR`).
    pub(crate) fn start(store: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_mail"))
            .args(["--port", "0", "--store", store])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints its address once it listens.
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in the line: {line}"));
        Self {
            url: url.to_owned(),
            process,
            _output: output,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A page that sets a cookie and shows which one it was sent: proves the browser, without the demo.
pub(crate) struct Probe {
    pub(crate) url: String,
}

impl Probe {
    /// Serves until the test program ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The browser also opens connections that it then does not use, and those would block all others.
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { url }
    }
}

fn answer(mut stream: TcpStream) {
    let mut cookie = "none".to_owned();
    let request = BufReader::new(stream.try_clone().unwrap());
    for line in request.lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("cookie")
        {
            value.clone_into(&mut cookie);
        }
    }
    let page = format!("<!doctype html><title>Probe</title><p id=cookie>{cookie}</p>");
    // A browser that closed the connection gets no answer, and needs none.
    drop(write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\
         Set-Cookie: __Host-probe=kept; Path=/; Secure; HttpOnly; SameSite=Lax\r\n\r\n{page}",
        page.len()
    ));
}
