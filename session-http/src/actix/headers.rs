//! Carries the few headers that sessions are about from one `http` crate to the other, and back.
//!
//! actix-web 4 stands on `http` 0.2, everything else here on `http` 1. Neither gives away the bytes behind its values, so
//! that each value has to be copied; and so only those are that somebody looks at.

use actix_web::dev::RequestHead;
use actix_web::http::header::{self as theirs, HeaderMap as TheirHeaders, HeaderName};
use actix_web::http::{StatusCode as TheirStatus, Uri as TheirUri};
use http::header as ours;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};

use crate::headers::X_FORWARDED_PROTO;
use crate::tower::login_required::SEC_FETCH_MODE;

type Names = (HeaderName, ours::HeaderName);

/// What a response's cookie and caches depend on. A header that tells of a key in place of the cookie comes on top.
const OF_RESPONSES: [Names; 3] = [
    (theirs::VARY, ours::VARY),
    (theirs::CACHE_CONTROL, ours::CACHE_CONTROL),
    (theirs::SET_COOKIE, ours::SET_COOKIE),
];
/// What a request says of how it came.
const OF_TRANSPORT: [Names; 3] = [
    (theirs::HOST, ours::HOST),
    (theirs::FORWARDED, ours::FORWARDED),
    (theirs::X_FORWARDED_PROTO, X_FORWARDED_PROTO),
];

/// A copy of a request's headers of this name, in which its session's key may be. The request's own are marked as sensitive, so
/// that its `Debug` does not show them.
pub(super) fn with_key(headers: &mut TheirHeaders, name: &ours::HeaderName) -> HeaderMap {
    let mut copy = HeaderMap::new();
    if !headers.contains_key(name.as_str()) {
        return copy;
    }
    let Some(their_name) = their_name(name) else {
        return copy;
    };
    for mut line in headers.remove(&their_name) {
        if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
            copy.append(name, value);
        }
        line.set_sensitive(true);
        headers.append(their_name.clone(), line);
    }
    copy
}

/// The same bytes make a name in both crates.
fn their_name(name: &ours::HeaderName) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_str().as_bytes()).ok()
}

/// The header that tells of a key, where it is none of those that every response may have.
fn of_key(name: &ours::HeaderName) -> Option<Names> {
    let is_known = OF_RESPONSES.iter().any(|(_, known)| known == name);
    let their_name = their_name(name).filter(|_| !is_known)?;
    Some((their_name, name.clone()))
}

/// A copy of what a request says of how it came.
pub(super) fn transport(headers: &TheirHeaders) -> HeaderMap {
    copied(headers, &OF_TRANSPORT)
}

/// What a request's target says of how it came.
pub(super) fn origin(uri: &TheirUri, is_secure: bool) -> Uri {
    let mut parts = http::uri::Parts::default();
    let authority = uri.authority().map(|authority| authority.as_str());
    let authority = authority.and_then(|authority| authority.parse::<Authority>().ok());
    if is_secure || authority.is_some() {
        let is_https = is_secure || uri.scheme_str() == Some("https");
        parts.scheme = Some(if is_https {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        parts.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    }
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}

/// A copy of what a request says of what it is for. A copy of its target is made by the way of its text.
pub(super) fn question(request: &RequestHead) -> Request<()> {
    let mut copy = Request::new(());
    if let Ok(method) = Method::from_bytes(request.method.as_str().as_bytes()) {
        *copy.method_mut() = method;
    }
    let target = request.uri.path_and_query();
    if let Some(Ok(uri)) = target.map(|target| target.as_str().parse()) {
        *copy.uri_mut() = uri;
    }
    let sec_fetch_mode = HeaderName::from_static("sec-fetch-mode");
    let names = [
        (theirs::ACCEPT, ours::ACCEPT),
        (sec_fetch_mode, SEC_FETCH_MODE),
    ];
    *copy.headers_mut() = copied(&request.headers, &names);
    copy
}

/// A copy of a response's headers, as far as sessions are concerned with them. `key` tells of a key in place of the cookie.
pub(super) fn of_response(headers: &TheirHeaders, key: &ours::HeaderName) -> HeaderMap {
    let mut copy = copied(headers, &OF_RESPONSES);
    copy.extend(copied(headers, of_key(key).as_slice()));
    copy
}

/// Makes a response's headers say what their copy says by now.
pub(super) fn put_back(copy: &HeaderMap, headers: &mut TheirHeaders, key: &ours::HeaderName) {
    for (their_name, our_name) in OF_RESPONSES.into_iter().chain(of_key(key)) {
        let lines = copy.get_all(our_name);
        let before = headers.get_all(&their_name);
        if before
            .map(theirs::HeaderValue::as_bytes)
            .eq(lines.iter().map(HeaderValue::as_bytes))
        {
            continue;
        }
        headers.remove(&their_name);
        for line in lines {
            // The same bytes make a value in both crates.
            if let Ok(mut value) = theirs::HeaderValue::from_bytes(line.as_bytes()) {
                value.set_sensitive(line.is_sensitive());
                headers.append(their_name.clone(), value);
            }
        }
    }
}

/// Adds headers to those of a response that is ours.
pub(super) fn add(more: &HeaderMap, headers: &mut TheirHeaders) {
    for (name, value) in more {
        let copy = theirs::HeaderValue::from_bytes(value.as_bytes());
        if let (Some(name), Ok(mut copy)) = (their_name(name), copy) {
            copy.set_sensitive(value.is_sensitive());
            if name == theirs::SET_COOKIE {
                headers.append(name, copy);
            } else {
                headers.insert(name, copy);
            }
        }
    }
}

/// The same status.
pub(super) fn status(status: StatusCode) -> TheirStatus {
    // Both crates take three digits, so that this is what was said.
    TheirStatus::from_u16(status.as_u16()).unwrap_or(TheirStatus::INTERNAL_SERVER_ERROR)
}

fn copied(headers: &TheirHeaders, names: &[Names]) -> HeaderMap {
    let mut copy = HeaderMap::new();
    for (their_name, our_name) in names {
        for line in headers.get_all(their_name) {
            if let Ok(mut value) = HeaderValue::from_bytes(line.as_bytes()) {
                value.set_sensitive(line.is_sensitive());
                copy.append(our_name.clone(), value);
            }
        }
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{Transport, transport as judged};

    #[test]
    fn plain_http_is_told_from_https_as_with_other_frameworks() {
        use Transport::{Https, InTheClear, Unknown};
        #[rustfmt::skip]
        let rows = [
            // target,               TLS,   header,              value,         judged
            ("/page?x=1",            false, "host",              "example.org", InTheClear),
            ("/page",                true,  "host",              "example.org", Https),
            ("/page",                false, "host",              "localhost",   Unknown),
            ("/page",                false, "x-forwarded-proto", "https",       Https),
            ("/page",                false, "forwarded",         "proto=https", Https),
            ("http://example.org/",  false, "accept",            "*/*",         InTheClear),
            ("https://example.org/", false, "accept",            "*/*",         Https),
            ("https://example.org",  true,  "host",              "example.org", Https),
            ("*",                    false, "host",              "example.org", InTheClear),
        ];
        for (target, has_tls, name, value, expected) in rows {
            let mut headers = TheirHeaders::new();
            headers.insert(
                HeaderName::from_static(name),
                theirs::HeaderValue::from_static(value),
            );
            let uri = origin(&target.parse().unwrap(), has_tls);
            let judged = judged(&uri, &transport(&headers));
            assert_eq!(judged, expected, "{target} {has_tls} {name}: {value}");
        }
    }

    #[test]
    fn lines_that_nobody_changed_stay_as_they_are_and_others_keep_their_order_and_secrecy() {
        let mut headers = TheirHeaders::new();
        let mut add = |name: HeaderName, value: &'static [u8], is_sensitive: bool| {
            let mut value = theirs::HeaderValue::from_bytes(value).unwrap();
            value.set_sensitive(is_sensitive);
            headers.append(name, value);
        };
        add(theirs::SET_COOKIE, b"a=1", true);
        add(theirs::SET_COOKIE, b"b=\xff", false);
        add(theirs::VARY, b"Accept", false);
        add(theirs::ETAG, b"\"x\"", false);
        let mut copy = of_response(&headers, &ours::SET_COOKIE);
        assert!(
            !copy.contains_key(ours::ETAG),
            "more is copied than is needed"
        );
        let mut ours_too = HeaderValue::from_static("id=key");
        ours_too.set_sensitive(true);
        copy.append(ours::SET_COOKIE, ours_too);
        copy.remove(ours::VARY);
        put_back(&copy, &mut headers, &ours::SET_COOKIE);
        let cookies: Vec<_> = headers
            .get_all(theirs::SET_COOKIE)
            .map(|line| (line.as_bytes(), line.is_sensitive()))
            .collect();
        let expected: [(&[u8], bool); 3] = [(b"a=1", true), (b"b=\xff", false), (b"id=key", true)];
        assert_eq!(cookies, expected);
        assert!(!headers.contains_key(theirs::VARY));
        assert_eq!(headers.get(theirs::ETAG).unwrap(), "\"x\"");
    }
}
