//! Reads our cookie from `Cookie` headers and writes the one `Set-Cookie`, without a jar.

use std::time::Duration;

use http::HeaderValue;

use crate::config::CookieConfig;
use crate::error::Error;

/// The values that a `Cookie` header has for `name`, in order. One pass; whatever is not a pair is passed over.
///
/// Servers see what any client cares to send, so that this is laxer than the grammar: blanks around names and values are
/// ignored, one pair of quotes around a value is removed, and bytes outside of ASCII are nobody's concern but the
/// value's owner's.
pub(crate) fn values<'a>(header: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(header);
    let pairs = std::iter::from_fn(move || {
        let current = rest?;
        let (pair, behind) =
            match memchr::memchr(b';', current).and_then(|end| current.split_at_checked(end)) {
                Some((pair, behind)) => (pair, behind.get(1..)),
                None => (current, None),
            };
        rest = behind;
        Some(pair)
    });
    pairs.filter_map(move |pair| value_of(pair, name))
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pair = pair.trim_ascii();
    let rest = pair.strip_prefix(name)?.trim_ascii_start();
    let value = rest.strip_prefix(b"=")?.trim_ascii_start();
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value))
}

/// The header that makes the client send `value` from now on. Marked as sensitive, so that `Debug` does not show it.
pub(crate) fn issue(
    cookie: &CookieConfig,
    value: &str,
    max_age: Option<Duration>,
) -> Result<HeaderValue, Error> {
    // RFC 6265 section 4.1.1: what would end the value, or be changed on the way.
    let is_sound = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    if !is_sound {
        return Err(Error::InvalidCookie {
            advice: "what the session's codec gives the client to keep is not a cookie's value",
        });
    }
    let name = cookie.name();
    let attributes = cookie.attributes();
    let mut text = String::with_capacity(name.len() + value.len() + attributes.len() + 32);
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    text.push_str(attributes);
    if let Some(max_age) = max_age {
        text.push_str("; Max-Age=");
        text.push_str(&max_age.as_secs().to_string());
    }
    Ok(sensitive(text))
}

/// The header that makes the client forget the cookie: the same name, path and domain, since another one would not be
/// replaced, and the same attributes, since browsers refuse to let a cookie without `Secure` replace one that has it.
pub(crate) fn removal(cookie: &CookieConfig) -> HeaderValue {
    let name = cookie.name();
    let attributes = cookie.attributes();
    sensitive(format!(
        "{name}={attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    ))
}

/// Whether a `Set-Cookie` header sets the cookie `name`.
pub(crate) fn sets(header: &HeaderValue, name: &str) -> bool {
    let pair = header
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    value_of(pair, name.as_bytes()).is_some()
}

#[expect(
    clippy::expect_used,
    reason = "names, attributes and values are checked to be printable ASCII before they get here"
)]
fn sensitive(text: String) -> HeaderValue {
    let mut header = HeaderValue::try_from(text).expect("printable ASCII is a header's value");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn found(header: &[u8]) -> Vec<&[u8]> {
        values(header, b"id").collect()
    }

    #[test]
    fn a_header_gives_the_values_of_our_name_and_of_no_other() {
        #[rustfmt::skip]
        let rows: &[(&[u8], &[&[u8]])] = &[
            (b"",                             &[]),
            (b"id=a",                         &[b"a"]),
            (b"id=",                          &[b""]),
            (b"id",                           &[]),
            (b"=a",                           &[]),
            (b"=id=a",                        &[]),
            (b"id=a; id=b",                   &[b"a", b"b"]),
            (b"x=1; id=a; y=2",               &[b"a"]),
            (b"x=1;id=a;y=2",                 &[b"a"]),
            (b"  id = a  ",                   &[b"a"]),
            (b"\tid\t=\ta\t",                 &[b"a"]),
            (b"id=a b",                       &[b"a b"]),
            (b"id=a=b==",                     &[b"a=b=="]),
            (b"id=\"a\"",                     &[b"a"]),
            (b"id=\"\"",                      &[b""]),
            (b"id=\"",                        &[b"\""]),
            (b"id=\"a",                       &[b"\"a"]),
            (b"id=a\"",                       &[b"a\""]),
            (b"id=\"\"a\"\"",                 &[b"\"a\""]),
            (b"id=\"a;b\"",                   &[b"\"a"]),
            (b"ID=a; Id=b; iD=c",             &[]),
            (b"xid=a; id2=b; i=c; id-=d",     &[]),
            (b"id;id=a;id",                   &[b"a"]),
            (b";;; ;id=a;;",                  &[b"a"]),
            (b"id=a,id=b",                    &[b"a,id=b"]),
            (b"id=\0a\0",                     &[b"\0a\0"]),
            (b"i\0d=a",                       &[]),
            (b"id=\xff\xfe; id=\xc3\xa9",     &[b"\xff\xfe", b"\xc3\xa9"]),
            (b"\xff=a; id=b",                 &[b"b"]),
        ];
        for (header, expected) in rows {
            assert_eq!(found(header), *expected, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn a_large_header_is_read_in_one_pass() {
        let mut header = b"x=0123456789; ".repeat(64 * 1024 / 14);
        header.extend_from_slice(b"id=a");
        assert_eq!(found(&header), [b"a"]);
        let header = b";".repeat(64 * 1024);
        assert!(found(&header).is_empty());
        let header = b"id=".repeat(64 * 1024 / 3);
        assert_eq!(found(&header), [&header[3..]]);
    }

    #[test]
    fn a_value_that_would_end_the_cookie_is_never_sent() {
        let cookie = CookieConfig::default();
        for value in ["a;b", "a b", "a,b", "a\"b", "a\\b", "a\r\nb", "é", "a\0"] {
            let refused = issue(&cookie, value, None).is_err();
            assert!(refused, "{value:?} was sent");
        }
        issue(&cookie, "AZaz09-_.~!=", None).expect("a sealed payload may look like this");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_or_invent_a_value(header: Vec<u8>, name in "[a-z_-]{1,8}") {
            for value in values(&header, name.as_bytes()) {
                assert!(value.is_empty() || header.windows(value.len()).any(|part| part == value));
                assert!(!value.contains(&b';'));
            }
        }

        #[test]
        fn what_a_client_sends_is_found_among_whatever_else_it_sends(
            value in "[a-z0-9]{1,40}",
            before in prop::collection::vec("[^;]{0,20}", 0..5),
            after in prop::collection::vec("[^;]{0,20}", 0..5),
            is_quoted in any::<bool>(),
        ) {
            let ours = if is_quoted { format!("id=\"{value}\"") } else { format!("id={value}") };
            let pairs: Vec<String> = before.into_iter().chain([ours]).chain(after).collect();
            let header = pairs.join("; ");
            assert!(values(header.as_bytes(), b"id").any(|found| found == value.as_bytes()), "{header:?}");
        }
    }
}
