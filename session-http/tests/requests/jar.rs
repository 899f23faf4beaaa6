//! The browser model itself: what it takes, what it refuses and why, what it sends back, and for how long.
use std::time::Duration;

use http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request};
use session_http::browser::{Fetch, Jar, Reason};

use crate::support::plant;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the jar sends with a request, in the header's own words.
fn sent(jar: &mut Jar, fetch: &Fetch) -> String {
    jar.cookie_header(fetch)
        .map(|header| header.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[test]
fn it_takes_what_browsers_take_and_refuses_the_rest() {
    const SECURE: &str = "https://shop.example.org/a/b";
    const PLAIN: &str = "http://shop.example.org/a/b";
    let long = |bytes: usize| format!("x={}", "v".repeat(bytes - 1));
    #[rustfmt::skip]
    let rows: &[(&str, &str, Result<(), Reason>)] = &[
        (SECURE, "id=1",                                               Ok(())),
        (SECURE, "id=1; Path=/; HttpOnly; Secure; SameSite=Lax",       Ok(())),
        (SECURE, "id",                                                 Ok(())),
        (SECURE, "=",                                                  Err(Reason::Empty)),
        (SECURE, "; Path=/",                                           Err(Reason::Empty)),
        (SECURE, &long(4096),                                          Ok(())),
        (SECURE, &long(4097),                                          Err(Reason::TooLarge)),
        (PLAIN,  "id=1",                                               Ok(())),
        (PLAIN,  "id=1; Secure",                                       Err(Reason::PlainHttp)),
        ("http://localhost:8000/", "__Host-id=1; Secure; Path=/",      Ok(())),
        ("http://a.localhost/",    "__Host-id=1; Secure; Path=/",      Ok(())),
        ("http://127.0.0.1/",      "__Host-id=1; Secure; Path=/",      Ok(())),
        ("http://[::1]:8000/",     "__Host-id=1; Secure; Path=/",      Ok(())),
        ("http://192.168.0.7/",    "__Host-id=1; Secure; Path=/",      Err(Reason::PlainHttp)),
        // Domains.
        (SECURE, "id=1; Domain=example.org",                           Ok(())),
        (SECURE, "id=1; Domain=.EXAMPLE.org",                          Ok(())),
        (SECURE, "id=1; Domain=shop.example.org",                      Ok(())),
        (SECURE, "id=1; Domain=www.example.org",                       Err(Reason::Domain)),
        (SECURE, "id=1; Domain=ample.org",                             Err(Reason::Domain)),
        (SECURE, "id=1; Domain=org",                                   Err(Reason::Domain)),
        (SECURE, "id=1; Domain=",                                      Ok(())),
        ("http://localhost/", "id=1; Domain=localhost",                Ok(())),
        ("https://127.0.0.1/", "id=1; Domain=0.0.1",                   Err(Reason::Domain)),
        // Prefixes.
        (SECURE, "__Secure-id=1; Secure",                              Ok(())),
        (SECURE, "__Secure-id=1",                                      Err(Reason::Prefix)),
        (SECURE, "__SECURE-id=1",                                      Err(Reason::Prefix)),
        (SECURE, "__Host-id=1; Secure; Path=/",                        Ok(())),
        (SECURE, "__Host-id=1; Secure",                                Err(Reason::Prefix)),
        (SECURE, "__Host-id=1; Secure; Path=/a",                       Err(Reason::Prefix)),
        (SECURE, "__Host-id=1; Path=/",                                Err(Reason::Prefix)),
        (SECURE, "__Host-id=1; Secure; Path=/; Domain=example.org",    Err(Reason::Prefix)),
        (SECURE, "__host-id=1; Secure; Path=/; Domain=example.org",    Err(Reason::Prefix)),
        (SECURE, "__Http-id=1; Secure; HttpOnly",                      Ok(())),
        (SECURE, "__Http-id=1; Secure",                                Err(Reason::Prefix)),
        (SECURE, "__Host-Http-id=1; Secure; HttpOnly; Path=/",         Ok(())),
        (SECURE, "__Host-Http-id=1; Secure; Path=/",                   Err(Reason::Prefix)),
        (SECURE, "=__Host-id=1; Path=/a",                              Err(Reason::Prefix)),
        // An attribute that is too long is as if it were not there.
        (SECURE, &format!("__Host-id=1; Secure; Path=/{}", " ".repeat(1025)), Ok(())),
        (SECURE, &format!("__Host-id=1; Secure; Path=/{}", "a".repeat(1024)), Err(Reason::Prefix)),
        // What only works with `Secure`.
        (SECURE, "id=1; SameSite=None",                                Err(Reason::NeedsSecure)),
        (SECURE, "id=1; SameSite=None; Secure",                        Ok(())),
        (SECURE, "id=1; Partitioned",                                  Err(Reason::NeedsSecure)),
        (SECURE, "id=1; Partitioned; Secure",                          Ok(())),
    ];
    for (url, header, expected) in rows {
        let (mut jar, fetch) = (Jar::new(), Fetch::get(url));
        assert_eq!(
            plant(&mut jar, &fetch, header),
            *expected,
            "{url}: {header}"
        );
        let kept = jar.cookies().count();
        assert_eq!(kept, usize::from(expected.is_ok()), "{url}: {header}");
        let (mut jar, fetch) = (Jar::new().refusing_all(), Fetch::get(url));
        assert!(plant(&mut jar, &fetch, header).is_err(), "{header}");
    }
    let mut safari = Jar::new().without_trust_in_loopback();
    let fetch = Fetch::get("http://localhost/");
    let planted = plant(&mut safari, &fetch, "__Host-id=1; Secure; Path=/");
    assert_eq!(planted, Err(Reason::PlainHttp));
}

#[test]
fn what_is_no_text_is_refused() {
    let header = HeaderValue::from_bytes(b"id=\xff").unwrap();
    let headers = HeaderMap::from_iter([(SET_COOKIE, header)]);
    let refused = Jar::new().receive(&Fetch::get("https://shop.example.org/"), &headers);
    assert_eq!(refused[0].reason, Reason::NotText);
}

#[test]
#[should_panic(expected = "no absolute http or https address")]
fn an_address_that_leads_nowhere_fails_the_test_that_names_it() {
    drop(Fetch::get("/cart"));
}

#[test]
fn it_sends_a_cookie_to_whom_it_is_for() {
    const PAGE: &str = "https://shop.example.org/a/b";
    let get = Fetch::get;
    let other = "https://other.example/";
    #[rustfmt::skip]
    let rows: &[(&str, Fetch, bool)] = &[
        ("id=1",                       get(PAGE),                                           true),
        ("id=1",                       get("https://shop.example.org/a"),                   true),
        ("id=1",                       get("https://shop.example.org/ab"),                  false),
        ("id=1",                       get("https://shop.example.org/"),                    false),
        ("id=1; Path=/",               get("https://shop.example.org/x"),                   true),
        ("id=1; Path=/a/",             get("https://shop.example.org/a"),                   false),
        ("id=1; Path=nonsense",        get("https://shop.example.org/a"),                   true),
        ("id=1; Path=/; Domain=example.org", get("https://example.org/"),                   true),
        ("id=1; Path=/; Domain=example.org", get("https://www.shop.example.org/"),          true),
        ("id=1; Path=/; Domain=example.org", get("https://example.com/"),                   false),
        ("id=1; Path=/",               get("https://www.shop.example.org/"),                false),
        ("id=1; Path=/",               get("http://shop.example.org/"),                     true),
        ("id=1; Path=/; Secure",       get("http://shop.example.org/"),                     false),
        ("id=1; SameSite=Lax",         get(PAGE).from_page(other),                          true),
        ("id=1; SameSite=Lax",         Fetch::post(PAGE).from_page(other),                  false),
        ("id=1; SameSite=Lax",         Fetch::post(PAGE),                                   true),
        ("id=1; SameSite=Lax",         get(PAGE).within_page(other),                        false),
        ("id=1; SameSite=Lax",         get(PAGE).within_page("https://www.example.org/"),   true),
        ("id=1; SameSite=Lax",         get(PAGE).within_page("http://www.example.org/"),    false),
        ("id=1; SameSite=Strict",      get(PAGE),                                           true),
        ("id=1; SameSite=Strict",      get(PAGE).from_page(other),                          false),
        ("id=1; SameSite=Strict",      get(PAGE).from_page("https://www.example.org/"),     true),
        ("id=1; SameSite=None; Secure", Fetch::post(PAGE).from_page(other),                 true),
        ("id=1; SameSite=None; Secure", get(PAGE).within_page(other),                       true),
        // A young cookie that does not say goes along with forms from elsewhere.
        ("id=1",                       Fetch::post(PAGE).from_page(other),                  true),
        ("id=1",                       get(PAGE).within_page(other),                        false),
        ("id=1; Partitioned; Secure; SameSite=None", get(PAGE).within_page(other),          false),
        ("id=1; Partitioned; Secure; SameSite=None", get(PAGE).from_page(other),            true),
        ("id=1; Max-Age=0",            get(PAGE),                                           false),
        ("id=1; Max-Age=-1",           get(PAGE),                                           false),
        ("id=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", get(PAGE),                          false),
        ("id=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", get(PAGE),              true),
        ("id=1; Max-Age=nonsense",     get(PAGE),                                           true),
    ];
    for (header, fetch, is_sent) in rows {
        let mut jar = Jar::new();
        plant(&mut jar, &get(PAGE), header).unwrap();
        let expected = if *is_sent { "id=1" } else { "" };
        assert_eq!(sent(&mut jar, fetch), expected, "{header}, {fetch:?}");
    }
    let mut jar = Jar::new();
    plant(&mut jar, &get(PAGE), "id=1").unwrap();
    jar.advance(Duration::from_secs(121));
    assert_eq!(sent(&mut jar, &Fetch::post(PAGE).from_page(other)), "");
}

#[test]
fn a_part_of_another_sites_page_sets_no_cookie_that_is_kept_at_home() {
    let embedded = Fetch::get("https://shop.example.org/").within_page("https://other.example/");
    for (header, expected) in [
        ("id=1; SameSite=Lax", Err(Reason::OtherSite)),
        ("id=1; SameSite=Strict", Err(Reason::OtherSite)),
        ("id=1", Err(Reason::OtherSite)),
        ("id=1; SameSite=None; Secure", Ok(())),
    ] {
        assert_eq!(
            plant(&mut Jar::new(), &embedded, header),
            expected,
            "{header}"
        );
    }
}

#[test]
fn each_top_level_site_has_a_partition_of_its_own() {
    let shop = Fetch::get("https://shop.example.org/");
    let within = |site: &str| shop.clone().within_page(site);
    let mut jar = Jar::new();
    for (number, fetch) in [
        shop.clone(),
        within("https://a.example/"),
        within("https://b.example/"),
    ]
    .iter()
    .enumerate()
    {
        let header = format!("__Host-id={number}; Secure; Path=/; SameSite=None; Partitioned");
        plant(&mut jar, fetch, &header).unwrap();
    }
    assert_eq!(sent(&mut jar, &shop), "__Host-id=0");
    assert_eq!(
        sent(&mut jar, &within("https://www.a.example/")),
        "__Host-id=1"
    );
    assert_eq!(sent(&mut jar, &within("https://b.example/")), "__Host-id=2");
    assert_eq!(sent(&mut jar, &within("https://c.example/")), "");
    assert!(jar.cookies().all(|cookie| cookie.is_partitioned()));
}

#[test]
fn plain_http_replaces_no_secure_cookie_and_stands_before_none() {
    let (secure, plain) = (
        Fetch::get("https://shop.example.org/a/b"),
        Fetch::get("http://shop.example.org/a/b"),
    );
    let sibling = Fetch::get("http://www.example.org/a/b");
    let mut jar = Jar::new();
    plant(&mut jar, &secure, "id=1; Secure; Path=/a").unwrap();
    for (fetch, header, expected) in [
        (&plain, "id=2; Path=/a", Err(Reason::ReplacesSecure)),
        (&plain, "id=2; Path=/a/b", Err(Reason::ReplacesSecure)),
        (
            &sibling,
            "id=2; Path=/a; Domain=example.org",
            Err(Reason::ReplacesSecure),
        ),
        // Sent behind the one that is there.
        (&plain, "id=2; Path=/", Ok(())),
        (&plain, "other=2; Path=/a", Ok(())),
        (&secure, "id=3; Path=/a", Ok(())),
    ] {
        assert_eq!(plant(&mut jar, fetch, header), expected, "{header}");
    }
    assert_eq!(sent(&mut jar, &secure), "id=3; other=2; id=2");
}

#[test]
fn longer_paths_go_before_shorter_ones_and_older_cookies_before_newer() {
    let fetch = Fetch::get("https://shop.example.org/a/b/c");
    let mut jar = Jar::new();
    for header in [
        "x=1; Path=/",
        "y=2; Path=/a",
        "z=3; Path=/",
        "y=4; Path=/a/b",
        "x=5; Path=/",
    ] {
        plant(&mut jar, &fetch, header).unwrap();
    }
    // A cookie that is set again keeps its place.
    assert_eq!(sent(&mut jar, &fetch), "y=4; y=2; x=5; z=3");
    assert_eq!(jar.value("x"), Some("5"));
    assert_eq!(jar.value("y"), None, "there are two of that name");
}

#[test]
fn cookies_end_with_their_age_with_the_browser_or_after_400_days() {
    let fetch = Fetch::get("https://shop.example.org/");
    let start = Jar::new();
    let ages = |headers: &[&str], pass: &dyn Fn(&mut Jar)| {
        let mut jar = start.clone();
        for header in headers {
            plant(&mut jar, &fetch, header).unwrap();
        }
        pass(&mut jar);
        sent(&mut jar, &fetch)
    };
    let all = [
        "session=1",
        "hour=1; Max-Age=3600",
        "year=1; Max-Age=31536000",
        "ever=1; Max-Age=99999999999999999999999",
        "date=1; Expires=Fri, 31 Dec 2199 00:00:00 GMT",
    ];
    assert_eq!(
        ages(&all, &|_| {}),
        "session=1; hour=1; year=1; ever=1; date=1"
    );
    let closed = ages(&all, &Jar::close_browser);
    assert_eq!(closed, "hour=1; year=1; ever=1; date=1");
    let day = ages(&all, &|jar| jar.advance(DAY));
    assert_eq!(day, "session=1; year=1; ever=1; date=1");
    let before = ages(&all, &|jar| jar.advance(400 * DAY - Duration::from_secs(1)));
    assert_eq!(before, "session=1; ever=1; date=1");
    assert_eq!(ages(&all, &|jar| jar.advance(400 * DAY)), "session=1");
    assert_eq!(ages(&all, &Jar::clear), "");
}

#[test]
fn a_site_with_too_many_cookies_loses_those_without_secure_and_those_not_used() {
    let fetch = Fetch::get("https://shop.example.org/");
    let mut jar = Jar::new().with_cookies_per_site_max(3);
    let put = |jar: &mut Jar, header: &str| plant(jar, &fetch, header).unwrap();
    put(&mut jar, "a=1; Secure; Path=/old");
    put(&mut jar, "b=1; Secure");
    put(&mut jar, "c=1");
    assert_eq!(sent(&mut jar, &fetch), "b=1; c=1");
    put(&mut jar, "d=1; Secure");
    assert_eq!(sent(&mut jar, &fetch), "b=1; d=1", "c has no Secure");
    put(&mut jar, "e=1; Secure");
    let names: Vec<&str> = jar.cookies().map(|cookie| cookie.name()).collect();
    assert_eq!(names, ["b", "d", "e"], "a was not sent for longest");
    // Another site's cookies are no concern of this one's.
    let other = Fetch::get("https://other.example/");
    plant(&mut jar, &other, "f=1").unwrap();
    assert_eq!(jar.cookies().count(), 4);
}

#[test]
fn a_partition_holds_ten_kilobytes() {
    let fetch = Fetch::get("https://shop.example.org/");
    let mut jar = Jar::new();
    for name in ["a", "b", "c"] {
        let value = "v".repeat(4000);
        plant(
            &mut jar,
            &fetch,
            &format!("{name}={value}; Secure; Partitioned"),
        )
        .unwrap();
    }
    let names: Vec<&str> = jar.cookies().map(|cookie| cookie.name()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn a_request_says_what_browsers_say_of_it() {
    let page = "https://shop.example.org/page?q=1";
    #[rustfmt::skip]
    let rows: &[(Fetch, &str, Option<&str>, Option<&str>)] = &[
        // request                                                        method, Sec-Fetch-Site,       Origin
        (Fetch::get(page),                                                "GET",  Some("none"),         None),
        (Fetch::post(page),                                               "POST", Some("same-origin"),  Some("https://shop.example.org")),
        (Fetch::post(page).from_page("https://shop.example.org:443/x"),   "POST", Some("same-origin"),  Some("https://shop.example.org")),
        (Fetch::post(page).from_page("https://shop.example.org:8443/x"),  "POST", Some("same-site"),    Some("https://shop.example.org:8443")),
        (Fetch::post(page).from_page("https://www.example.org/"),         "POST", Some("same-site"),    Some("https://www.example.org")),
        (Fetch::post(page).from_page("http://shop.example.org/"),         "POST", Some("cross-site"),   Some("http://shop.example.org")),
        (Fetch::post(page).from_page("https://other.example/"),           "POST", Some("cross-site"),   Some("https://other.example")),
        (Fetch::get(page).from_page("https://other.example/"),            "GET",  Some("cross-site"),   None),
        (Fetch::get(page).with_method(Method::DELETE).within_page(page),  "DELETE", Some("same-origin"), Some("https://shop.example.org")),
        (Fetch::post("http://plain.example/"),                            "POST", None,                 Some("http://plain.example")),
        (Fetch::post("http://localhost:8000/"),                           "POST", Some("same-origin"),  Some("http://localhost:8000")),
    ];
    for (fetch, method, site, origin) in rows {
        let request: Request<()> = Jar::new().request(fetch).body(()).unwrap();
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(request.method().as_str(), *method, "{fetch:?}");
        assert_eq!(header("sec-fetch-site"), *site, "{fetch:?}");
        assert_eq!(header(ORIGIN.as_str()), *origin, "{fetch:?}");
        let mode = match *method {
            "DELETE" => "cors", // the one that the page itself makes
            _ => "navigate",
        };
        assert_eq!(header("sec-fetch-mode"), site.map(|_| mode), "{fetch:?}");
        assert_eq!(
            header(HOST.as_str()),
            request.uri().authority().map(|host| host.as_str())
        );
        assert_eq!(header(COOKIE.as_str()), None);
    }
}

#[test]
fn responses_are_delivered_in_every_order_and_each_once() {
    let fetch = Fetch::get("https://shop.example.org/");
    let headers = ["x=1", "x=2", "x=3"]
        .map(|text| HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static(text))]));
    let responses: Vec<_> = headers.iter().map(|headers| (&fetch, headers)).collect();
    let arrivals = Jar::new().in_every_order(&responses);
    let orders: std::collections::BTreeSet<_> = arrivals
        .iter()
        .map(|arrival| arrival.order.clone())
        .collect();
    assert_eq!((arrivals.len(), orders.len()), (6, 6));
    for arrival in arrivals {
        let last = arrival.order[2] + 1;
        assert_eq!(arrival.jar.value("x"), Some(last.to_string().as_str()));
    }
}

#[test]
fn it_prints_no_value() {
    let mut jar = Jar::new();
    let fetch = Fetch::get("https://shop.example.org/");
    plant(&mut jar, &fetch, "id=a-value").unwrap();
    let arrivals = jar.in_every_order(&[]);
    let request = jar.request(&fetch).body(()).unwrap();
    for text in [
        format!("{jar:?}"),
        format!("{arrivals:?}"),
        format!("{request:?}"),
    ] {
        assert!(!text.contains("a-value"), "{text}");
    }
    assert!(format!("{jar:?}").contains("\"id\""));
}
