//! Reads our cookie from `Cookie` headers and writes the one `Set-Cookie`, without a jar.

use std::time::Duration;

use http::HeaderValue;

use crate::config::{COOKIE_BYTES_MAX, CookieConfig};
use crate::error::Error;

/// What a `Cookie` header has to say about one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Value(&'a [u8]),
    /// A name that differs in case alone. Names are compared byte for byte, but a browser that looks at prefixes with regard
    /// to case lets anybody set `__host-`, which a laxer server would take for `__Host-`.
    LookAlike,
}

/// What a `Cookie` header has for `name`, in order. One pass; whatever is not a pair is passed over.
///
/// Servers see what any client cares to send, so that this is laxer than the grammar: blanks around names and values are
/// ignored, one pair of quotes around a value is removed, and bytes outside of ASCII are nobody's concern but the
/// value's owner's.
pub(crate) fn find<'a>(header: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = Found<'a>> {
    pairs(header).filter_map(move |pair| found_in(pair, name))
}

/// The parts between the semicolons: every byte of the header but those is in one of them, and in no other.
fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let current = rest?;
        let (pair, behind) =
            match memchr::memchr(b';', current).and_then(|end| current.split_at_checked(end)) {
                Some((pair, behind)) => (pair, behind.get(1..)),
                None => (current, None),
            };
        rest = behind;
        Some(pair)
    })
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match found_in(pair, name)? {
        Found::Value(value) => Some(value),
        Found::LookAlike => None,
    }
}

fn found_in<'a>(pair: &'a [u8], name: &[u8]) -> Option<Found<'a>> {
    let (own, rest) = pair.trim_ascii_start().split_at_checked(name.len())?;
    if !own.eq_ignore_ascii_case(name) {
        return None;
    }
    let value = rest.trim_ascii().strip_prefix(b"=")?.trim_ascii_start();
    if own != name {
        return Some(Found::LookAlike);
    }
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Some(Found::Value(unquoted.unwrap_or(value)))
}

/// The header that makes the client send `value` from now on. Marked as sensitive, so that `Debug` does not show it.
pub(crate) fn issue(
    cookie: &CookieConfig,
    value: &str,
    max_age: Option<Duration>,
) -> Result<HeaderValue, Error> {
    // RFC 6265 section 4.1.1: what would end the value, or be changed on the way.
    let is_sound =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    // Without a way out at the first wrong one, which would keep the compiler from looking at many at once.
    if !value.bytes().fold(true, |all, byte| all & is_sound(byte)) {
        return Err(Error::InvalidCookie {
            advice: "what the session's codec gives the client to keep is not a cookie's value",
        });
    }
    let name = cookie.name();
    if name.len() + value.len() > COOKIE_BYTES_MAX {
        return Err(Error::InvalidCookie {
            advice: "browsers drop a cookie whose name and value have more than 4096 bytes: keep less in a session that \
                     lives in its cookie",
        });
    }
    let attributes = cookie.attributes();
    let mut digits = itoa::Buffer::new();
    let (label, age) = match max_age {
        Some(max_age) => ("; Max-Age=", digits.format(max_age.as_secs())),
        None => ("", ""),
    };
    let parts = [name, "=", value, attributes, label, age];
    // No more than it needs: what is larger becomes a header's value by another allocation.
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        text.push_str(part);
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

    fn values<'a>(header: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        find(header, name).filter_map(|found| match found {
            Found::Value(value) => Some(value),
            Found::LookAlike => None,
        })
    }

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
    fn cook_11_a_name_that_differs_in_case_is_not_ours_and_is_noticed() {
        for (header, expected) in [
            ("ID=a", Some(Found::LookAlike)),
            ("iD = a", Some(Found::LookAlike)),
            ("id=a", Some(Found::Value(&b"a"[..]))),
            ("IDX=a", None),
            ("ID", None),
            ("XID=a", None),
        ] {
            let mut all = find(header.as_bytes(), b"id");
            assert_eq!((all.next(), all.next()), (expected, None), "{header}");
        }
    }

    #[test]
    fn dos_04_every_byte_of_a_large_header_is_in_one_pair_and_is_looked_at_there() {
        let piece = |piece: &[u8]| piece.repeat(64 * 1024 / piece.len());
        let mut last = piece(b"x=0123456789; ");
        last.extend_from_slice(b"id=a");
        let repeated = piece(b"id=");
        for (header, expected) in [
            (last, vec![&b"a"[..]]),
            (piece(b";"), vec![]),
            (piece(b"id=a;"), vec![&b"a"[..]; 64 * 1024 / 5]),
            (piece(b" "), vec![]),
            (piece(b"\""), vec![]),
            (repeated.clone(), vec![&repeated[3..]]),
        ] {
            assert_eq!(found(&header), expected);
            let ends = header.iter().filter(|byte| **byte == b';').count();
            let looked_at: Vec<&[u8]> = pairs(&header).collect();
            assert_eq!(looked_at.len(), ends + 1, "a pair is looked at again");
            assert_eq!(
                looked_at.join(&b';'),
                header,
                "a byte is skipped, or belongs to two pairs"
            );
        }
    }

    #[test]
    fn in_07_a_value_that_would_end_the_cookie_is_never_sent() {
        let cookie = CookieConfig::default();
        for value in [
            "a;b",
            "a b",
            "a,b",
            "a\"b",
            "a\\b",
            "a\r\nb",
            "a\nSet-Cookie: b",
            "é",
            "a\0",
            "a\t",
        ] {
            let refused = issue(&cookie, value, None).is_err();
            assert!(refused, "{value:?} was sent");
        }
        issue(&cookie, "AZaz09-_.~!=", None).expect("a sealed payload may look like this");
    }

    #[test]
    fn cook_05_a_cookie_that_browsers_would_drop_is_an_error_when_it_is_written() {
        let cookie = CookieConfig::default();
        let room = COOKIE_BYTES_MAX - cookie.name().len();
        let fits = issue(&cookie, &"a".repeat(room), None);
        let header = fits.expect("4096 bytes are taken");
        let pair = header.to_str().unwrap().split(';').next().unwrap();
        assert_eq!(pair.len(), 4096 + "=".len());
        let error = issue(&cookie, &"a".repeat(room + 1), None);
        let error = error.expect_err("4097 bytes are dropped without a word");
        assert!(error.to_string().contains("4096"), "{error}");
    }

    proptest! {
        #[test]
        fn in_13_no_header_makes_it_panic_or_invent_a_value(header: Vec<u8>, name in "[a-z_-]{1,8}") {
            let all = header.as_ptr_range();
            let mut from = all.start;
            for value in values(&header, name.as_bytes()) {
                assert!(!value.contains(&b';'));
                // A part of the header, behind the one before: nothing is copied, whatever is sent.
                let part = value.as_ptr_range();
                assert!(from <= part.start && part.end <= all.end);
                from = part.end;
            }
        }

        #[test]
        fn in_07_what_is_sent_is_read_back_as_it_was(
            name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}",
            value in "[a-z0-9]{32}",
        ) {
            let built = CookieConfig::builder().with_name(name.as_str()).build();
            // Prefixes have tests of their own.
            proptest::prop_assume!(built.is_ok());
            let sent = issue(&built.unwrap(), &value, None).unwrap();
            let pair = sent.as_bytes().split(|byte| *byte == b';').next().unwrap();
            assert_eq!(values(pair, name.as_bytes()).collect::<Vec<_>>(), [value.as_bytes()]);
            assert!(sets(&sent, &name));
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
