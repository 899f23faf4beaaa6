//! In what a client brings its session's key and is told of another: a cookie, or a header that was chosen by name.

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderName, HeaderValue};

use crate::config::{COOKIE_BYTES_MAX, CookieConfig};
use crate::cookie;
use crate::error::Error;

/// What a bearer's new key comes in, since `Authorization` is a request's header alone.
const SESSION_TOKEN: HeaderName = HeaderName::from_static("session-token");
/// The longest that is sent: 400 days in seconds.
const MAX_AGE_BYTES_MAX: usize = "; Max-Age=34560000".len();
const BEARER: &[u8] = b"Bearer";

/// In what the key travels. There is one for each layer: what comes in another is not looked at.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    Cookie(CookieConfig),
    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    Bearer,
    Header(KeyHeader),
}

/// The name of a header that carries the session's key, for [`SessionLayer::with_header`](crate::SessionLayer::with_header).
///
/// ```
/// use session_http::{KeyHeader, MemoryStore, SessionLayer};
///
/// let layer = SessionLayer::new(MemoryStore::new()).with_header(KeyHeader::parse("Shop-Session")?);
/// # drop(layer);
/// assert!(KeyHeader::parse("Cookie").is_err(), "that one means something else");
/// # Ok::<(), session_http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader(HeaderName);

impl KeyHeader {
    /// The header of this name, in whatever case.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHeader`] when it is no header's name, or one that means something to clients, servers or caches.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let invalid = |advice| Err(Error::InvalidHeader { advice });
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return invalid("a name is made of letters, digits and any of !#$%&'*+-.^_`|~");
        };
        let is_taken = TAKEN.contains(&name.as_str())
            || TAKEN_BEGINNINGS
                .iter()
                .any(|beginning| name.as_str().starts_with(beginning));
        if is_taken {
            return invalid(
                "this header means something else; use one of your own, or `with_bearer_token` for `Authorization`",
            );
        }
        Ok(Self(name))
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What others act upon, whatever an application means by it.
const TAKEN: &[&str] = &[
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "cache-control",
    "clear-site-data",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "origin",
    "pragma",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];
const TAKEN_BEGINNINGS: &[&str] = &[
    "accept",
    "access-control-",
    "content-",
    "cross-origin-",
    "if-",
    "proxy-",
    "sec-",
    "strict-",
    "x-forwarded-",
];

impl Carrier {
    /// The request's header that is looked at.
    pub(crate) fn request_header(&self) -> HeaderName {
        match self {
            Self::Cookie(_) => COOKIE,
            Self::Bearer => AUTHORIZATION,
            Self::Header(KeyHeader(name)) => name.clone(),
        }
    }

    /// What a response varies by that was made from the session.
    pub(crate) fn varies_by(&self) -> HeaderValue {
        match self {
            Self::Cookie(_) => HeaderValue::from_static("Cookie"),
            Self::Bearer => HeaderValue::from_static("Authorization"),
            Self::Header(KeyHeader(name)) => HeaderValue::from(name.clone()),
        }
    }

    /// Whether browsers refuse it over plain HTTP.
    pub(crate) fn is_secure_cookie(&self) -> bool {
        matches!(self, Self::Cookie(cookie) if cookie.is_secure())
    }

    /// The authentication scheme for `WWW-Authenticate` (RFC 9110 section 11.6.1). Cookies and headers of one's own have none.
    pub(crate) fn scheme(&self) -> Option<&'static str> {
        matches!(self, Self::Bearer).then_some("Bearer")
    }

    /// What the log calls it, and by what two are told apart.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Cookie(cookie) => cookie.name(),
            Self::Bearer => "Authorization: Bearer",
            Self::Header(header) => header.as_str(),
        }
    }

    /// How many bytes a value may have. Browsers keep 4096 bytes of a cookie's name and value; some count the attributes as well, and
    /// so does this.
    pub(crate) fn value_bytes_max(&self) -> usize {
        match self {
            Self::Cookie(cookie) => {
                let around = cookie.name().len() + "=".len() + cookie.attributes().len();
                COOKIE_BYTES_MAX.saturating_sub(around + MAX_AGE_BYTES_MAX)
            }
            Self::Bearer | Self::Header(_) => COOKIE_BYTES_MAX,
        }
    }

    /// Whether two layers would read the same key.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cookie(one), Self::Cookie(other)) => one.name() == other.name(),
            (Self::Bearer, Self::Bearer) => true,
            (Self::Header(one), Self::Header(other)) => one == other,
            _ => false,
        }
    }

    /// The value of the response's header that makes the client send `value` from now on.
    pub(crate) fn issue(
        &self,
        value: &str,
        max_age: Option<Duration>,
    ) -> Result<HeaderValue, Error> {
        if let Self::Cookie(cookie) = self {
            return cookie::issue(cookie, value, max_age);
        }
        let mut header =
            HeaderValue::from_str(value).map_err(|_says_no_more| Error::InvalidHeader {
                advice: "what the session's codec gives the client to keep is not a header's value",
            })?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// What makes the client forget what it sends.
    pub(crate) fn removal(&self) -> HeaderValue {
        match self {
            Self::Cookie(cookie) => cookie::removal(cookie),
            Self::Bearer | Self::Header(_) => HeaderValue::from_static(""),
        }
    }

    /// The header of a response that tells the client.
    pub(crate) fn response_header(&self) -> HeaderName {
        match self {
            Self::Cookie(_) => SET_COOKIE,
            Self::Bearer => SESSION_TOKEN,
            Self::Header(KeyHeader(name)) => name.clone(),
        }
    }

    /// What one line of the header has to say, where it is not a cookie's.
    pub(crate) fn value_in<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Cookie(_) => None,
            Self::Bearer => token_of(line),
            Self::Header(_) => Some(line.trim_ascii()),
        }
    }
}

/// The token of `Bearer`'s credentials. The scheme's name is in any case (RFC 9110 section 11.1), and blanks follow it.
fn token_of(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.trim_ascii().split_at_checked(BEARER.len())?;
    let token = rest.trim_ascii_start();
    let is_ours = scheme.eq_ignore_ascii_case(BEARER) && token.len() < rest.len();
    is_ours.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_s_token_is_taken_from_credentials() {
        #[rustfmt::skip]
        let rows: &[(&str, Option<&str>)] = &[
            ("Bearer abc",          Some("abc")),
            ("bearer abc",          Some("abc")),
            ("BEARER   abc  ",      Some("abc")),
            ("  Bearer\tabc",       Some("abc")),
            ("Bearer abc def",      Some("abc def")),
            ("Bearer abc, x=y",     Some("abc, x=y")),
            ("Bearer",              None),
            ("Bearer ",             None),
            ("Bearerabc",           None),
            ("Bearer=abc",          None),
            ("Basic YTpi",          None),
            ("abc",                 None),
            ("",                    None),
            ("X Bearer abc",        None),
        ];
        for (credentials, expected) in rows {
            assert_eq!(
                token_of(credentials.as_bytes()),
                expected.map(str::as_bytes),
                "{credentials:?}"
            );
        }
    }

    #[test]
    fn a_header_that_means_something_else_carries_no_key() {
        for name in [
            "Cookie",
            "set-cookie",
            "AUTHORIZATION",
            "Host",
            "Content-Length",
            "Vary",
            "Proxy-Authorization",
            "Sec-Fetch-Mode",
            "Accept",
            "",
            "two words",
            "a:b",
            "é",
        ] {
            let refused = KeyHeader::parse(name).is_err();
            assert!(refused, "{name:?} was taken");
        }
        for name in ["X-Session-Key", "shop-session", "X-Auth-Token"] {
            let header = KeyHeader::parse(name).expect(name);
            assert_eq!(header.as_str(), name.to_ascii_lowercase());
        }
    }
}
