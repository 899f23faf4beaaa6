//! Where a visitor may be sent after a log-in: to a path of the own site, and nowhere else.

use std::fmt::Write;

/// A longer way back is not worth a longer line in every log.
const NEXT_BYTES_MAX: usize = 2048;

/// The place to which a log-in page leads back, if the visitor may be sent there: `None` unless `next` is a path of this very
/// site.
///
/// A log-in page gets `next` from its address, and so from whoever made the link that led to it. An address on another site would
/// take the visitor from your log-in to a page that looks like yours. What Django asks with `url_has_allowed_host_and_scheme` is
/// answered more strictly: no scheme and no host, not the own one either.
///
/// What is taken begins with one `/`, has no segment `.` or `..`, and is made of printable ASCII without blanks and backslashes, as
/// browsers write addresses; at most 2048 bytes. It may be put into a `Location` header as it is.
///
/// ```
/// use session_http::safe_next;
///
/// assert_eq!(safe_next("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(safe_next("https://evil.example/"), None);
/// assert_eq!(safe_next("//evil.example"), None); // another host, to a browser
/// assert_eq!(safe_next("/\\evil.example"), None); // the same
///
/// let next = "javascript:alert(1)";
/// assert_eq!(safe_next(next).unwrap_or("/"), "/");
/// ```
#[doc(alias = "url_has_allowed_host_and_scheme")]
#[must_use]
pub fn safe_next(next: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let is_safe = next.len() <= NEXT_BYTES_MAX
        && path.starts_with('/')
        && !path.starts_with("//")
        && next.bytes().all(is_plain)
        && !path.split('/').any(is_dots);
    is_safe.then_some(next)
}

/// Whether browsers take a segment for a step, which might leave `//` at the beginning. An encoded dot is a dot to them.
fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while let Some(behind) = rest.strip_prefix('.').or_else(|| {
        let (encoded, behind) = rest.split_at_checked(3)?;
        encoded.eq_ignore_ascii_case("%2e").then_some(behind)
    }) {
        rest = behind;
        dots += 1;
    }
    rest.is_empty() && (1..=2).contains(&dots)
}

/// Adds the way back to the address of a log-in page, if it is one of this site. Without the parameter's name it is left out.
pub(crate) fn with_next(login: &str, parameter: &str, next: &str) -> String {
    let mut address = login.to_owned();
    let Some(next) = safe_next(next).filter(|_| !parameter.is_empty()) else {
        return address;
    };
    address.push(if login.contains('?') { '&' } else { '?' });
    push_encoded(&mut address, parameter);
    address.push('=');
    push_encoded(&mut address, next);
    address
}

fn push_encoded(address: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            address.push(char::from(byte));
        } else {
            let written = write!(address, "%{byte:02X}");
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};
    use url::Url;

    use super::*;

    #[test]
    fn what_may_lead_to_another_site_is_refused() {
        let long = format!("/{}", "a".repeat(NEXT_BYTES_MAX));
        for next in [
            "",
            " ",
            "\n",
            "a",
            "orders",
            "./orders",
            "?page=2",
            "#top",
            "http://example.com",
            "http:///example.com",
            "http:/example.com",
            "http:example.com",
            "https://example.com",
            "HTTPS://example.com",
            "https://shop.example.org/",
            "ftp://example.com",
            "//example.com",
            "//shop.example.org/",
            "///example.com",
            "////example.com",
            "\\\\example.com",
            "\\\\\\example.com",
            "\\\\//example.com",
            "/\\example.com",
            "/\\/example.com",
            "/\\\\/example.com",
            "\\/example.com",
            "/orders\\",
            "/?a=\\",
            "http:\\\\example.com",
            "http:/\\//example.com",
            "http://user@example.com",
            "//user:pass@example.com",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "javascript:alert(1)//http://shop.example.org",
            "\njavascript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,hello",
            "vbscript:x",
            "\u{8}//example.com",
            "\u{1}/orders",
            " /orders",
            "\t/orders",
            "/\t/example.com",
            "/\n/example.com",
            "/\r/example.com",
            "/\0",
            "/orders\r\nSet-Cookie: a=b",
            "/two words",
            "/orders ",
            "/ördérs",
            "/\u{2028}",
            "/\u{ff0f}example.com",
            "/.//example.com",
            "/..//example.com",
            "/./",
            "/..",
            "/a/..//example.com",
            "/a/../..//example.com",
            "/%2e//example.com",
            "/%2E%2e//example.com",
            "/.%2e//example.com",
            "http://[::1",
            "http:999999999",
            &long,
        ] {
            assert_eq!(safe_next(next), None, "{next:?}");
        }
    }

    #[test]
    fn a_path_of_the_own_site_is_taken_as_it_is() {
        for next in [
            "/",
            "/orders",
            "/orders/",
            "/orders?page=2&sort=price",
            "/view/?param=http://example.com",
            "/view?param=//example.com",
            "/view?back=/../a",
            "/url%20with%20spaces/",
            "/orders#top",
            "/a//b",
            "/a/...",
            "/.well-known/change-password",
            "/a.b/c..d",
            "/@user",
            "/a:b",
            "/%5cexample.com",
            "/%2fexample.com",
        ] {
            assert_eq!(safe_next(next), Some(next));
        }
    }

    #[test]
    fn the_way_back_survives_the_address_of_the_log_in_page() {
        for (login, next, expected) in [
            ("/login", "/", "/login?next=/"),
            ("/login", "/a?b=c&d", "/login?next=/a%3Fb%3Dc%26d"),
            ("/login?lang=de", "/a", "/login?lang=de&next=/a"),
            ("/login", "/a%20b+c", "/login?next=/a%2520b%2Bc"),
            (
                "https://id.example.org/",
                "/a",
                "https://id.example.org/?next=/a",
            ),
            ("/login", "//example.com", "/login"),
            ("/login", "*", "/login"),
        ] {
            assert_eq!(with_next(login, "next", next), expected);
        }
        for (parameter, expected) in [
            ("return_to", "/login?return_to=/a"),
            ("a&b", "/login?a%26b=/a"),
            ("", "/login"),
        ] {
            assert_eq!(with_next("/login", parameter, "/a"), expected);
        }
    }

    /// What browsers make of an address, by the standard that they follow.
    fn arrives_at(next: &str) -> Url {
        let page = Url::parse("https://shop.example.org/account/login?next=x").unwrap();
        page.join(next).expect("a path is an address")
    }

    fn assert_stays(next: &str) {
        let Some(next) = safe_next(next) else { return };
        let target = arrives_at(next);
        let page = Url::parse("https://shop.example.org").unwrap();
        assert_eq!(target.origin(), page.origin(), "{next:?}");
        assert!(target.username().is_empty(), "{next:?}");
        // A script that goes to the path alone stays as well.
        assert!(!target.path().starts_with("//"), "{next:?}");
        assert!(http::HeaderValue::from_str(next).is_ok(), "{next:?}");
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_on_the_site(next in "[/\\\\.%2eE:@?#a\t\n -]{0,12}") {
            assert_stays(&next);
            assert_stays(&format!("/{next}"));
        }

        #[test]
        fn whatever_text_is_taken_stays_on_the_site(next: String) {
            assert_stays(&next);
            assert_stays(&format!("/{next}"));
        }

        #[test]
        fn the_way_back_is_read_as_it_was(path in "/[a-z0-9&=?%+#;,]{0,20}", lang in prop::bool::ANY) {
            let login = if lang { "/login?lang=de" } else { "/login" };
            let address = with_next(login, "next", &path);
            let read = arrives_at(&address);
            let next = read.query_pairs().find(|(name, _)| name == "next");
            assert_eq!(next.expect("it is there").1, path);
        }
    }
}
