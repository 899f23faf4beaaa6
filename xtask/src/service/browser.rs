//! Chromium, driven through chromedriver's WebDriver.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::{Place, Service};
use crate::Result;
use crate::process::StopSignal;

pub(super) const SERVICE: Service = Service {
    name: "browser",
    programs: &["chromedriver"],
    lacks: || None,
    packages: &["chromium", "chromium-driver"],
    variable: "SESSION_TEST_WEBDRIVER",
    behind: None,
    prepare,
    signal: StopSignal::Terminate,
    answers: |port| is_ready(port).unwrap_or(false),
    url: |place| format!("http://127.0.0.1:{}", place.port),
};

/// How long one question may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[expect(
    clippy::unnecessary_wraps,
    reason = "other services have files to prepare, which can fail"
)]
fn prepare(place: &Place) -> Result<Command> {
    let mut command = Command::new("chromedriver");
    command
        .arg(format!("--port={}", place.port))
        // Chromium keeps its profile, caches and crash reports below these.
        .env("HOME", &place.folder)
        .env("TMPDIR", &place.folder);
    Ok(command)
}

/// Asks WebDriver's `GET /status` whether a browser can be opened.
fn is_ready(port: u16) -> io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    // Chromedriver leaves the connection open, whatever it was asked for: the end of the answer is the end of its JSON.
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut part = Vec::new();
    while answer.read_until(b'}', &mut part)? > 0 {
        if String::from_utf8_lossy(&part).contains("\"ready\":true") {
            return Ok(true);
        }
        part.clear();
    }
    Ok(false)
}
