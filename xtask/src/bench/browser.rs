//! As much of a browser as a test of sessions needs: one request on a connection, and the cookies that answers set.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A server on this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) port: u16,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// The values of its `Set-Cookie` headers.
    pub(super) set_cookies: Vec<String>,
    pub(super) body: String,
}

/// Names and values. The names tell nothing, the values everything: so no `Debug`.
#[derive(Default, Clone)]
pub(super) struct Cookies(Vec<(String, String)>);

impl Node {
    pub(super) fn get(&self, path: &str, cookies: &Cookies) -> Result<Answer> {
        self.ask("GET", path, cookies)
    }

    pub(super) fn post(&self, path: &str, cookies: &Cookies) -> Result<Answer> {
        self.ask("POST", path, cookies)
    }

    /// What the node says to something that is not about sessions.
    pub(super) fn say(&self, path: &str) -> Result<String> {
        Ok(self.post(path, &Cookies::default())?.body)
    }

    fn ask(&self, method: &str, path: &str, cookies: &Cookies) -> Result<Answer> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let cookie = cookies.header();
        // As behind a proxy that speaks HTTPS with the browser.
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-Proto: https\r\n\
             Connection: close\r\nContent-Length: 0\r\n{cookie}\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Answer::parse(&String::from_utf8_lossy(&bytes))
    }
}

impl Answer {
    fn parse(text: &str) -> Result<Self> {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or("a server broke off its answer")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Ok(Self {
            status: status.ok_or("a server does not speak HTTP")?,
            set_cookies: headers
                .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
                .map(|(_, value)| value.trim().to_owned())
                .collect(),
            body: body.to_owned(),
        })
    }
}

impl Cookies {
    /// Does as `Set-Cookie` says.
    pub(super) fn take(&mut self, set_cookies: &[String]) {
        for set in set_cookies {
            let mut parts = set.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            self.0.retain(|(held, _)| held != name);
            let is_over = |part: &str| {
                let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
                (attribute.eq_ignore_ascii_case("max-age")
                    && value.parse().is_ok_and(|age: i64| age <= 0))
                    || (attribute.eq_ignore_ascii_case("expires") && value.contains(" 1970 "))
            };
            if !parts.any(is_over) {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The header with its line's end, or nothing.
    fn header(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let pairs: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("Cookie: {}\r\n", pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_cookies() {
        let text = "HTTP/1.1 409 Conflict\r\nset-cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n\r\nno";
        let answer = Answer::parse(text).unwrap();
        assert_eq!(answer.status, 409);
        assert_eq!(answer.set_cookies, ["a=1; Path=/", "b=2"]);
        assert_eq!(answer.body, "no");
        for broken in ["", "HTTP/1.1 200 OK\r\n", "hello\r\n\r\n"] {
            assert!(Answer::parse(broken).is_err_and(|error| !error.to_string().is_empty()));
        }
    }

    #[test]
    fn cookies_are_set_replaced_and_removed_as_the_answers_say() {
        let mut cookies = Cookies::default();
        let cases: [(&str, &str); 5] = [
            ("a=1; Path=/; Max-Age=60", "Cookie: a=1\r\n"),
            ("b=2", "Cookie: a=1; b=2\r\n"),
            ("a=3; Secure", "Cookie: b=2; a=3\r\n"),
            ("b=; Max-Age=0", "Cookie: a=3\r\n"),
            ("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ""),
        ];
        for (set, header) in cases {
            cookies.take(&[set.to_owned()]);
            assert_eq!(cookies.header(), header, "after {set}");
        }
    }
}
