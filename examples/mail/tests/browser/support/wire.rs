//! One HTTP request, byte by byte, for what a browser does not let one send.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The values of all `Set-Cookie` headers.
    pub(crate) cookies: Vec<String>,
    pub(crate) body: String,
}

/// Sends `head` (the request line, and headers if there are any, all without line ends) and `body` to `url`'s host.
pub(crate) fn send(url: &str, head: &[&str], body: &str) -> Answer {
    let host = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).unwrap();
    write!(
        stream,
        "{}\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        head.join("\r\n"),
        body.len()
    )
    .unwrap();
    read(BufReader::new(stream))
}

/// Reads as much as the answer says it has: chromedriver leaves the connection open, whatever it was asked for.
fn read(mut stream: BufReader<TcpStream>) -> Answer {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut cookies = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("set-cookie", value) => cookies.push(value.to_owned()),
            ("content-length", value) => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Answer {
        status,
        cookies,
        body: String::from_utf8(body).unwrap(),
    }
}
