//! What caches are told, and whether a request came in the clear.

use http::header::{CACHE_CONTROL, FORWARDED, HOST, SET_COOKIE, VARY};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::cookie;

pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Adds the name of a request's header to `Vary`. What is there keeps its order; `*` says it already and stays alone.
pub(crate) fn vary_by(headers: &mut HeaderMap, name: &HeaderValue) {
    if insert_first(headers, VARY, name) {
        return;
    }
    let mut members: Vec<&[u8]> = members_of(headers, &VARY).collect();
    if members.contains(&&b"*"[..]) {
        headers.insert(VARY, HeaderValue::from_static("*"));
        return;
    }
    let is_there = members
        .iter()
        .any(|member| member.eq_ignore_ascii_case(name.as_bytes()));
    if !is_there {
        members.push(name.as_bytes());
        replace(headers, VARY, &members.join(&b", "[..]));
    }
}

/// Keeps shared caches from storing a response that hands out or removes a session's key.
pub(crate) fn make_private(headers: &mut HeaderMap) {
    let private = HeaderValue::from_static("private");
    if insert_first(headers, CACHE_CONTROL, &private) {
        return;
    }
    let mut kept: Vec<&[u8]> = members_of(headers, &CACHE_CONTROL)
        // `private="a-field"` protects that field alone.
        .filter(|directive| !is_shared(directive) && !is_named(directive, b"private"))
        .collect();
    let is_kept_by_nobody = kept
        .iter()
        .any(|directive| is_named(directive, b"no-store"));
    if !is_kept_by_nobody {
        kept.push(b"private");
    }
    replace(headers, CACHE_CONTROL, &kept.join(&b", "[..]));
}

/// Keeps all caches from storing a response that tells of a session's key in a header that they would keep with it (RFC 6749
/// section 5.1).
pub(crate) fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Removes a handler's leave for shared caches from a response that was made from a session. Says whether there was one.
pub(crate) fn forbid_sharing(headers: &mut HeaderMap) -> bool {
    // Nearly every response is done with the first look.
    if !headers.contains_key(CACHE_CONTROL) || !members_of(headers, &CACHE_CONTROL).any(is_shared) {
        return false;
    }
    let kept: Vec<&[u8]> = members_of(headers, &CACHE_CONTROL)
        .filter(|directive| !is_shared(directive))
        .collect();
    if kept.is_empty() {
        headers.remove(CACHE_CONTROL);
    } else {
        replace(headers, CACHE_CONTROL, &kept.join(&b", "[..]));
    }
    true
}

/// Makes room for our `Set-Cookie`: one response can't set a cookie twice (RFC 6265 section 4.1.1). Says whether there were
/// others of its name. Other cookies stay as they are.
pub(crate) fn remove_cookie(headers: &mut HeaderMap, name: &str) -> bool {
    let is_taken = headers.contains_key(SET_COOKIE)
        && headers
            .get_all(SET_COOKIE)
            .iter()
            .any(|other| cookie::sets(other, name));
    if is_taken {
        let others: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|other| !cookie::sets(other, name))
            .cloned()
            .collect();
        headers.remove(SET_COOKIE);
        for other in others {
            headers.append(SET_COOKIE, other);
        }
    }
    is_taken
}

/// How a request seems to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Somebody says over HTTPS.
    Https,
    /// From a browser on this machine, where most browsers accept `Secure` cookies, or there is no telling.
    Unknown,
    /// For another host, and nobody says over HTTPS.
    InTheClear,
}

/// Judges by what client and proxies say of themselves: good enough to advise the developer, and for nothing else.
pub(crate) fn transport(uri: &Uri, headers: &HeaderMap) -> Transport {
    let says_https = uri.scheme() == Some(&Scheme::HTTPS)
        || members_of(headers, &X_FORWARDED_PROTO)
            .any(|proto| proto.eq_ignore_ascii_case(b"https"))
        || headers.get_all(FORWARDED).iter().any(forwarded_says_https);
    if says_https {
        return Transport::Https;
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .map_or_else(|| uri.host(), |host| Some(without_port(host)));
    match host {
        Some(host) if !is_loopback(host) => Transport::InTheClear,
        _ => Transport::Unknown,
    }
}

/// RFC 7239: `for=…;proto=https;…`, one element for each proxy.
fn forwarded_says_https(forwarded: &HeaderValue) -> bool {
    forwarded
        .as_bytes()
        .split(|byte| matches!(byte, b',' | b';'))
        .map(<[u8]>::trim_ascii)
        .any(|pair| {
            pair.eq_ignore_ascii_case(b"proto=https")
                || pair.eq_ignore_ascii_case(b"proto=\"https\"")
        })
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_under_localhost = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    let address = name.trim_start_matches('[').trim_end_matches(']');
    is_under_localhost
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The members of a comma-separated header, over all its lines. A comma within quotes does not separate.
fn members_of<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|line| {
            let mut is_quoted = false;
            line.as_bytes().split(move |byte| {
                is_quoted ^= *byte == b'"';
                *byte == b',' && !is_quoted
            })
        })
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn is_shared(directive: &[u8]) -> bool {
    is_named(directive, b"public") || is_named(directive, b"s-maxage")
}

fn is_named(directive: &[u8], name: &[u8]) -> bool {
    let own = directive
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default();
    own.trim_ascii().eq_ignore_ascii_case(name)
}

/// Inserts a header that nobody has set before, or says that somebody has. One look at the headers is all that it costs.
fn insert_first(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) -> bool {
    // Of a header with several lines all but the first would be lost here.
    let several = headers.len() > headers.keys_len();
    if several && headers.contains_key(&name) {
        return false;
    }
    match headers.insert(name.clone(), value.clone()) {
        Some(before) => {
            headers.insert(name, before);
            false
        }
        None => true,
    }
}

fn replace(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    // Made of what was a header's value before, so that it is one again.
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        headers
    }

    fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
        let text = |line: &HeaderValue| line.to_str().unwrap().to_owned();
        headers.get_all(name).iter().map(text).collect()
    }

    #[test]
    fn http_04_vary_is_merged() {
        for (before, after) in [
            (&[][..], "Cookie"),
            (&["Accept"], "Accept, Cookie"),
            (&["Accept, Origin"], "Accept, Origin, Cookie"),
            (&["Accept", "Origin"], "Accept, Origin, Cookie"),
            (&["cookie"], "cookie"),
            (&["Accept, COOKIE, Origin"], "Accept, COOKIE, Origin"),
            (&["*"], "*"),
            (&["Accept, *"], "*"),
            (&["Accept", "*"], "*"),
            (&["Cookies"], "Cookies, Cookie"),
            (&[""], "Cookie"),
            (&[" , Accept ,"], "Accept, Cookie"),
        ] {
            let mut headers = with(&VARY, before);
            vary_by(&mut headers, &HeaderValue::from_static("Cookie"));
            assert_eq!(lines(&headers, &VARY), [after], "after {before:?}");
        }
    }

    #[test]
    fn other_headers_of_several_lines_are_left_alone() {
        let cookies = ["a=1", "b=2"];
        let mut headers = with(&SET_COOKIE, &cookies);
        vary_by(&mut headers, &HeaderValue::from_static("Cookie"));
        make_private(&mut headers);
        assert_eq!(lines(&headers, &SET_COOKIE), cookies);
        assert_eq!(lines(&headers, &VARY), ["Cookie"]);
        assert_eq!(lines(&headers, &CACHE_CONTROL), ["private"]);
    }

    #[test]
    fn http_03_a_response_that_carries_the_cookie_is_for_private_caches_at_most() {
        for (before, after) in [
            (&[][..], "private"),
            (&["max-age=60"], "max-age=60, private"),
            (&["public, max-age=60"], "max-age=60, private"),
            (&["PUBLIC", "S-MaxAge=60"], "private"),
            (
                &["s-maxage=60, must-revalidate"],
                "must-revalidate, private",
            ),
            (&["private"], "private"),
            (&["private=\"x-a, x-b\", public"], "private"),
            (&["no-store"], "no-store"),
            (&["no-store, public"], "no-store"),
            (&["no-cache"], "no-cache, private"),
        ] {
            let mut headers = with(&CACHE_CONTROL, before);
            make_private(&mut headers);
            assert_eq!(lines(&headers, &CACHE_CONTROL), [after], "after {before:?}");
        }
    }

    #[test]
    fn http_03_a_response_that_was_made_from_a_session_is_not_shared() {
        for (before, after) in [
            (&[][..], &[][..]),
            (&["max-age=60"], &["max-age=60"]),
            (&["public"], &[]),
            (&["public, max-age=60"], &["max-age=60"]),
            (&["max-age=60", "s-maxage=5"], &["max-age=60"]),
            (
                &["no-cache=\"set-cookie, vary\", public"],
                &["no-cache=\"set-cookie, vary\""],
            ),
        ] {
            let mut headers = with(&CACHE_CONTROL, before);
            assert_eq!(forbid_sharing(&mut headers), before != after, "{before:?}");
            assert_eq!(lines(&headers, &CACHE_CONTROL), after, "after {before:?}");
        }
    }

    #[test]
    fn race_11_cook_12_one_response_sets_a_cookie_once_and_keeps_the_others() {
        let mut headers = with(&SET_COOKIE, &["a=1; Path=/", "id=theirs", "idx=2", "ID=3"]);
        assert!(remove_cookie(&mut headers, "id"));
        assert_eq!(
            lines(&headers, &SET_COOKIE),
            ["a=1; Path=/", "idx=2", "ID=3"]
        );
        assert!(!remove_cookie(&mut headers, "id"));
        assert!(!remove_cookie(&mut headers, "other"));
    }

    #[test]
    fn plain_http_is_told_by_what_the_request_says() {
        use Transport::{Https, InTheClear, Unknown};
        for (uri, host, name, value, expected) in [
            ("/", "example.org", "", "", InTheClear),
            ("/", "example.org:8000", "", "", InTheClear),
            ("/", "192.168.0.7:8000", "", "", InTheClear),
            ("/", "localhost.example.org", "", "", InTheClear),
            ("/", "localhost", "", "", Unknown),
            ("/", "LocalHost:8000", "", "", Unknown),
            ("/", "shop.localhost:8000", "", "", Unknown),
            ("/", "127.0.0.1", "", "", Unknown),
            ("/", "127.8.8.8:80", "", "", Unknown),
            ("/", "[::1]:8000", "", "", Unknown),
            ("/", "[2001:db8::1]:8000", "", "", InTheClear),
            ("/", "", "", "", Unknown),
            ("http://example.org/", "", "", "", InTheClear),
            ("https://example.org/", "", "", "", Https),
            ("/", "example.org", "x-forwarded-proto", "https", Https),
            (
                "/",
                "example.org",
                "x-forwarded-proto",
                "HTTPS, http",
                Https,
            ),
            ("/", "example.org", "x-forwarded-proto", "http", InTheClear),
            (
                "/",
                "example.org",
                "forwarded",
                "for=1.2.3.4; Proto=https;by=x",
                Https,
            ),
            (
                "/",
                "example.org",
                "forwarded",
                "for=x, for=y;proto=\"https\"",
                Https,
            ),
            ("/", "example.org", "forwarded", "proto=http", InTheClear),
        ] {
            let mut headers = HeaderMap::new();
            if !host.is_empty() {
                headers.insert(HOST, host.parse().unwrap());
            }
            if !name.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
            let judged = transport(&uri.parse().unwrap(), &headers);
            assert_eq!(judged, expected, "{uri} {host} {name}: {value}");
        }
    }
}
