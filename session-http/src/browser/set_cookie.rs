//! Takes a `Set-Cookie` header apart as browsers do (RFC 6265bis section 5.6).

use std::time::{Duration, SystemTime};

use super::date;
use super::jar::Reason;
use crate::config::{ATTRIBUTE_BYTES_MAX, COOKIE_BYTES_MAX, SameSite};

/// Browsers keep no cookie for longer (RFC 6265bis section 5.5).
const AGE_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What one header says.
pub(super) struct SetCookie {
    pub(super) name: String,
    pub(super) value: String,
    /// `None`: until the browser closes.
    pub(super) expires_at: Option<SystemTime>,
    /// In lower case, without the leading dot.
    pub(super) domain: Option<String>,
    /// As it stands there. What does not begin with a slash counts as absent.
    pub(super) path: Option<String>,
    pub(super) is_secure: bool,
    pub(super) is_http_only: bool,
    pub(super) same_site: SameSite,
    pub(super) is_partitioned: bool,
}

impl SetCookie {
    /// Reads a header that arrives at `now`.
    pub(super) fn parse(header: &[u8], now: SystemTime) -> Result<Self, (String, Reason)> {
        let text = str::from_utf8(header).map_err(|_not_utf8| (String::new(), Reason::NotText))?;
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        // Without `=` it is a value without a name.
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (trim(name).to_owned(), trim(value).to_owned());
        if name.is_empty() && value.is_empty() {
            return Err((name, Reason::Empty));
        }
        if name.len() + value.len() > COOKIE_BYTES_MAX {
            return Err((name, Reason::TooLarge));
        }
        let mut cookie = Self {
            name,
            value,
            expires_at: None,
            domain: None,
            path: None,
            is_secure: false,
            is_http_only: false,
            same_site: SameSite::Absent,
            is_partitioned: false,
        };
        let (mut expires, mut max_age) = (None, None);
        for attribute in attributes.split(';') {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let value = trim(value);
            if value.len() > ATTRIBUTE_BYTES_MAX {
                continue;
            }
            // The last one of a name counts.
            match trim(name).to_ascii_lowercase().as_str() {
                "expires" => expires = date::parse(value).or(expires),
                "max-age" => max_age = parse_age(value).or(max_age),
                "domain" => {
                    let domain = value.strip_prefix('.').unwrap_or(value);
                    cookie.domain = Some(domain.to_ascii_lowercase());
                }
                "path" => cookie.path = Some(value.to_owned()).filter(|path| path.starts_with('/')),
                "secure" => cookie.is_secure = true,
                "httponly" => cookie.is_http_only = true,
                "samesite" => cookie.same_site = parse_same_site(value),
                "partitioned" => cookie.is_partitioned = true,
                _ => {}
            }
        }
        let latest = now + AGE_MAX;
        let by_age = max_age.map(|age| age.map_or(SystemTime::UNIX_EPOCH, |age| now + age));
        cookie.expires_at = by_age.or(expires).map(|moment| moment.min(latest));
        Ok(cookie)
    }
}

/// `Some(None)`: over at once.
fn parse_age(value: &str) -> Option<Option<Duration>> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if value.starts_with('-') {
        return Some(None);
    }
    // More digits than fit are more than the maximum in any case.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    let age = Duration::from_secs(seconds).min(AGE_MAX);
    Some(Some(age).filter(|age| !age.is_zero()))
}

fn parse_same_site(value: &str) -> SameSite {
    match value.to_ascii_lowercase().as_str() {
        "strict" => SameSite::Strict,
        "lax" => SameSite::Lax,
        "none" => SameSite::None,
        _ => SameSite::Absent,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
