//! One who visits a server: keeps a connection open, knows a cookie, and believes no answer but the right one.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Payload, Result, cookie_header};

/// What every page of the applications says to a visitor whom it knows.
const GREETING: &str = "hello";

pub(crate) struct Visitor {
    stream: TcpStream,
    /// The line of the header, with its end.
    cookie: String,
    heard: Vec<u8>,
}

struct Answer<'a> {
    head: &'a str,
    body: &'a str,
}

impl Visitor {
    pub(crate) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            cookie: String::new(),
            heard: Vec::with_capacity(4096),
        })
    }

    /// Begins a session.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let path = Payload::Small.path();
        let answer = self.greeted(path, &request(path, "")).await?;
        let headers = answer.head.lines().filter_map(|line| line.split_once(':'));
        let set = headers.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let set: Vec<_> = set.map(|(_, value)| value.trim()).collect();
        if set.is_empty() {
            return Err("a server began no session".into());
        }
        let cookies = cookie_header(set.into_iter());
        self.cookie = format!("Cookie: {cookies}\r\n");
        Ok(())
    }

    /// Asks so many times in a row. What each answer took, in nanoseconds.
    pub(crate) async fn ask(mut self, path: &str, times: usize) -> Result<(Self, Vec<f64>)> {
        let request = request(path, &self.cookie);
        let mut waited = Vec::with_capacity(times);
        for _ in 0..times {
            let asked = Instant::now();
            self.greeted(path, &request).await?;
            waited.push(asked.elapsed().as_nanos() as f64);
        }
        Ok((self, waited))
    }

    /// The number that is at `path`.
    pub(crate) async fn number(&mut self, path: &str) -> Result<u64> {
        let answer = self.answer(&request(path, "")).await?;
        Ok(answer.body.parse()?)
    }

    async fn greeted(&mut self, path: &str, request: &str) -> Result<Answer<'_>> {
        let answer = self.answer(request).await?;
        if answer.body != GREETING {
            return Err(format!("a server did not know its visitor at {path}").into());
        }
        Ok(answer)
    }

    async fn answer(&mut self, request: &str) -> Result<Answer<'_>> {
        self.stream.write_all(request.as_bytes()).await?;
        self.heard.clear();
        let body = loop {
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err("a server hung up".into());
            }
            if let Some(body) = body_of_whole_answer(&self.heard)? {
                break body;
            }
        };
        let (head, body) = str::from_utf8(&self.heard)?.split_at(body);
        if !head.starts_with("HTTP/1.1 200 ") {
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("a request was answered {status}").into());
        }
        Ok(Answer { head, body })
    }
}

/// As behind a proxy that speaks HTTPS with the browser.
fn request(path: &str, cookie: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-Proto: https\r\nUser-Agent: benchmark\r\n{cookie}\r\n"
    )
}

/// Where the body begins, once all of it has been heard.
fn body_of_whole_answer(heard: &[u8]) -> Result<Option<usize>> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Ok(None) };
    let (head, _) = heard.split_at(end);
    let headers = str::from_utf8(head)?.lines();
    let mut headers = headers.filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("a server does not say how long its answer is")?;
    let length: usize = length.trim().parse()?;
    let body = end + 4;
    Ok((heard.len() >= body + length).then_some(body))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::runtime;

    /// A server that says `answers` in turn to whoever is first, and hangs up. Its port.
    pub(crate) fn server(answers: Vec<&'static str>) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            for answer in answers {
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    client.read_exact(&mut byte).unwrap();
                    heard.extend(byte);
                }
                client.write_all(answer.as_bytes()).unwrap();
            }
        });
        port
    }

    pub(crate) const RIGHT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

    fn asked(answers: Vec<&'static str>, times: usize) -> Result<usize> {
        runtime()?.block_on(async {
            let visitor = Visitor::connect(server(answers)).await?;
            Ok(visitor.ask("/read", times).await?.1.len())
        })
    }

    #[test]
    fn each_right_answer_counts_once() {
        assert_eq!(asked(vec![RIGHT, RIGHT, RIGHT], 3).unwrap(), 3);
    }

    #[test]
    fn whatever_is_no_right_answer_ends_the_measurement() {
        let cases = [
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 2000 OK\r\ncontent-length: 5\r\n\r\nhello",
            // It forgot the session.
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwho?",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            // It hung up in the middle.
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            "",
            // Nobody knows where it ends.
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
        ];
        for wrong in cases {
            let counted = asked(vec![RIGHT, wrong], 2);
            assert!(counted.is_err(), "this was counted: {wrong:?}");
        }
    }

    #[test]
    fn a_visitor_without_a_session_measures_nothing() {
        let begun = |answer| {
            runtime()?.block_on(async {
                let mut visitor = Visitor::connect(server(vec![answer])).await?;
                visitor.begin().await?;
                Ok::<_, Box<dyn std::error::Error>>(visitor.cookie)
            })
        };
        begun(RIGHT).unwrap_err();
        let cookie =
            begun("HTTP/1.1 200 OK\r\nSet-Cookie: id=1; Secure\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(
            cookie.unwrap(),
            "Cookie: theme=dark; id=1; lang=en\r\n",
            "the session's cookie is sent beside two others"
        );
    }

    #[test]
    fn an_answer_that_comes_in_pieces_is_waited_for() {
        let whole = RIGHT.as_bytes();
        for length in 0..whole.len() {
            let body = body_of_whole_answer(&whole[..length]).unwrap();
            assert_eq!(body, None, "{length} bytes were taken for the whole");
        }
        assert_eq!(body_of_whole_answer(whole).unwrap(), Some(whole.len() - 5));
    }
}
