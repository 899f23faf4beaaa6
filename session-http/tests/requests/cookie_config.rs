//! What the session's cookie says: every setting, the presets, what browsers would refuse, and for how long it is kept.
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get as on_get;
use http::header::SET_COOKIE;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use session_http::browser::{Fetch, Jar};
use session_http::{
    CookieConfig, CookieConfigBuilder, Error, Expiry, Policy, SameSite, Session, SessionLayer,
};

use crate::support::{Browser, COOKIE_NAME, Reply, Site, get, plant, send};

/// The only `Set-Cookie`, with the key replaced by `KEY`.
fn set_cookie(reply: &Reply) -> String {
    let mut all = reply.headers.get_all(SET_COOKIE).iter();
    let header = all.next().expect("a cookie is set");
    assert_eq!(all.next(), None, "a second cookie is set");
    let text = header.to_str().unwrap();
    assert!(
        header.is_sensitive(),
        "a `Debug` of the response shows the key"
    );
    let (name, rest) = text.split_once('=').unwrap();
    match rest.split_once(';') {
        Some(("", rest)) => format!("{name}=;{rest}"),
        Some((_, rest)) => format!("{name}=KEY;{rest}"),
        None => format!("{name}=KEY"),
    }
}

/// What a layer whose cookie is `name` sends to whoever writes, and to whoever flushes.
async fn write_and_flush(layer: SessionLayer, name: &str) -> (String, String) {
    let app = Router::new()
        .route(
            "/write",
            on_get(async |session: Session| session.set("n", &1).map_err(Error::from)),
        )
        .route("/flush", on_get(async |session: Session| session.flush()))
        .layer(layer);
    let set = set_cookie(&send(&app, get("/write", None)).await);
    let header = format!("{name}=anything");
    let removed = set_cookie(&send(&app, get("/flush", Some(&header))).await);
    (set, removed)
}

fn name_in(header: &str) -> &str {
    header.split('=').next().unwrap_or_default()
}

#[tokio::test]
async fn cook_02_cook_08_cookies_say_what_they_were_told_to_say() {
    const GONE: &str = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    const LONG: &str = "Max-Age=34560000";
    let with = |builder: CookieConfigBuilder| builder.build().unwrap();
    let build = CookieConfig::builder;
    for (cookie, prefix) in [
        (
            CookieConfig::default(),
            "__Host-sessionid=KEY; Path=/; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            with(build().with_name("id")),
            "id=KEY; Path=/; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            with(
                build()
                    .with_name("__Secure-id")
                    .with_domain("example.org")
                    .with_path("/shop"),
            ),
            "__Secure-id=KEY; Path=/shop; Domain=example.org; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            with(
                build()
                    .with_same_site(SameSite::None)
                    .with_partitioned(true),
            ),
            "__Host-sessionid=KEY; Path=/; HttpOnly; Secure; SameSite=None; Partitioned",
        ),
        (
            with(
                build()
                    .with_name("id")
                    .with_secure(false)
                    .with_http_only(false),
            ),
            "id=KEY; Path=/; SameSite=Lax",
        ),
        (
            with(build().with_same_site(SameSite::Strict)),
            "__Host-sessionid=KEY; Path=/; HttpOnly; Secure; SameSite=Strict",
        ),
    ] {
        let (set, removed) =
            write_and_flush(Site::new().layer().with_cookie(cookie), name_in(prefix)).await;
        assert_eq!(set, format!("{prefix}; {LONG}"));
        let prefix = prefix.replace("=KEY", "=");
        assert_eq!(
            removed,
            format!("{prefix}; {GONE}"),
            "another cookie is removed"
        );
    }
}

#[tokio::test]
async fn presets_change_the_cookie_as_they_say() {
    let (set, removed) =
        write_and_flush(Site::new().layer().django_compatible(), "sessionid").await;
    assert_eq!(
        set,
        "sessionid=KEY; Path=/; HttpOnly; SameSite=Lax; Max-Age=1209600"
    );
    assert!(
        removed.starts_with("sessionid=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"),
        "{removed}"
    );

    for (cookie, expected) in [
        (
            CookieConfig::builder(),
            "sessionid=KEY; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            CookieConfig::builder().with_name("__secure-id"),
            "id=KEY; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            CookieConfig::builder().with_name("id"),
            "id=KEY; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            CookieConfig::builder()
                .with_same_site(SameSite::None)
                .with_partitioned(true),
            "sessionid=KEY; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            CookieConfig::builder().with_same_site(SameSite::Strict),
            "sessionid=KEY; Path=/; HttpOnly; SameSite=Strict",
        ),
    ] {
        let layer = Site::new().layer().with_cookie(cookie.build().unwrap());
        let (set, _) = write_and_flush(layer.with_insecure_plain_http(), name_in(expected)).await;
        assert_eq!(set, format!("{expected}; Max-Age=34560000"));
    }
}

#[test]
fn cook_03_cook_05_fail_08_what_browsers_refuse_is_refused_when_it_is_built() {
    let build = CookieConfig::builder;
    let long = "/".repeat(1025);
    for (builder, word) in [
        (build().with_name(""), "a name is made of"),
        (build().with_name("a b"), "a name is made of"),
        (build().with_name("a=b"), "a name is made of"),
        (build().with_name("a;b"), "a name is made of"),
        (build().with_name("é"), "a name is made of"),
        (build().with_name("a\r\nb"), "a name is made of"),
        (build().with_name("__Host-"), "behind one prefix"),
        (build().with_name("__Secure-__Host-id"), "behind one prefix"),
        (build().with_secure(false), "needs Secure"),
        (
            build().with_name("__host-id").with_secure(false),
            "needs Secure",
        ),
        (
            build().with_name("__Secure-id").with_secure(false),
            "needs Secure",
        ),
        (build().with_path("/shop"), "needs Path=/"),
        (build().with_domain("example.org"), "can't have a Domain"),
        (
            build().with_name("__Http-id").with_http_only(false),
            "needs HttpOnly",
        ),
        (
            build().with_name("__Host-Http-id").with_http_only(false),
            "needs HttpOnly",
        ),
        (
            build().with_name("__Host-Http-id").with_path("/a"),
            "needs Path=/",
        ),
        (build().with_name("id").with_path(""), "a path begins with"),
        (
            build().with_name("id").with_path("shop"),
            "a path begins with",
        ),
        (
            build().with_name("id").with_path("/a;b"),
            "a path begins with",
        ),
        (
            build().with_name("id").with_path("/a\n"),
            "a path begins with",
        ),
        (
            build().with_name("id").with_path("/ü"),
            "a path begins with",
        ),
        (build().with_name("id").with_path(long), "1024 bytes"),
        (build().with_name("id").with_domain(""), "a domain is"),
        (
            build().with_name("id").with_domain("example..org"),
            "a domain is",
        ),
        (
            build().with_name("id").with_domain("https://example.org"),
            "a domain is",
        ),
        (
            build().with_name("id").with_domain("example.org:8000"),
            "a domain is",
        ),
        (
            build().with_name("id").with_domain("münchen.example"),
            "a domain is",
        ),
        (build().with_name("a".repeat(4065)), "4096 bytes"),
        (
            build().with_name("id").with_domain("a".repeat(1025)),
            "1024 bytes",
        ),
        (
            build()
                .with_name("id")
                .with_secure(false)
                .with_same_site(SameSite::None),
            "SameSite=None needs Secure",
        ),
        (
            build()
                .with_name("id")
                .with_secure(false)
                .with_partitioned(true),
            "Partitioned needs Secure",
        ),
    ] {
        let what = format!("{builder:?}");
        let error = builder.build().expect_err(&what);
        assert!(error.to_string().contains(word), "{what}: {error}");
    }
    for builder in [
        build().with_name("__Host-Http-id"),
        build().with_name("a".repeat(4064)),
        build().with_name("id").with_domain(".example.org"),
        build().with_name("id").with_secure(false),
    ] {
        builder.build().expect("browsers accept this");
    }
}

#[tokio::test]
async fn cook_06_the_client_keeps_the_cookie_for_as_long_as_the_session_may_live() {
    type Retime = fn(&Session, SystemTime) -> Expiry;
    let hour = Duration::from_secs(3600);
    let rows: &[(Policy, Retime, Option<&str>)] = &[
        (Policy::new(), |_, _| Expiry::Default, Some("34560000")),
        (Policy::new(), |_, _| Expiry::AtBrowserClose, None),
        (
            Policy::new().with_expire_at_browser_close(true),
            |_, _| Expiry::Default,
            None,
        ),
        (
            Policy::new(),
            |_, now| Expiry::At(now + Duration::from_secs(90)),
            Some("90"),
        ),
        (
            Policy::new().with_absolute_timeout(hour),
            |_, _| Expiry::Default,
            Some("3600"),
        ),
        (
            Policy::new().with_absolute_timeout(hour),
            |_, _| Expiry::OnInactivity(Duration::from_secs(60)),
            Some("3600"),
        ),
        // Browsers keep no cookie for more than 400 days, and a longer age would promise it.
        (
            Policy::new().with_absolute_timeout(17_520 * hour),
            |_, _| Expiry::Default,
            Some("34560000"),
        ),
        (
            Policy::new().with_idle_timeout(17_520 * hour),
            |_, _| Expiry::Default,
            Some("34560000"),
        ),
        (
            Policy::new(),
            |_, now| Expiry::At(now + Duration::from_secs(63_072_000)),
            Some("34560000"),
        ),
        (
            Policy::new().with_absolute_timeout(hour),
            |_, now| Expiry::At(now + Duration::from_secs(63_072_000)),
            Some("3600"),
        ),
    ];
    for (policy, retime, max_age) in rows {
        let site = Site::with_policy(policy.clone());
        let now = SystemTime::from(session_core::Clock::now(&*site.clock));
        let retime = *retime;
        let app = Router::new()
            .route(
                "/",
                on_get(async move |session: Session| {
                    session.set_expiry(retime(&session, now))?;
                    session.set("n", &1).map_err(Error::from)
                }),
            )
            .layer(site.layer());
        let set = set_cookie(&send(&app, get("/", None)).await);
        let met = set.split_once("Max-Age=").map(|(_, age)| age);
        assert_eq!(met, *max_age, "{set}");
    }
}

/// A cookie in every configuration that is worth telling apart, and a page that it is sent to.
fn configurations() -> Vec<(CookieConfig, Fetch)> {
    let mut all = Vec::new();
    for name in [
        "id",
        "__Secure-id",
        "__Host-id",
        "__Http-id",
        "__Host-Http-id",
    ] {
        for (path, domain) in [
            (Some("/"), None),
            (Some("/shop"), None),
            (None, None),
            (Some("/"), Some("example.org")),
            (Some("/shop"), Some(".example.org")),
        ] {
            for same_site in [
                SameSite::Lax,
                SameSite::Strict,
                SameSite::None,
                SameSite::Absent,
            ] {
                for flags in 0..8 {
                    let mut builder = CookieConfig::builder()
                        .with_name(name)
                        .with_same_site(same_site)
                        .with_secure(flags & 1 == 0)
                        .with_http_only(flags & 2 == 0)
                        .with_partitioned(flags & 4 == 0);
                    builder = match path {
                        Some(path) => builder.with_path(path),
                        None => builder.without_path(),
                    };
                    if let Some(domain) = domain {
                        builder = builder.with_domain(domain);
                    }
                    if let Ok(cookie) = builder.build() {
                        all.push((cookie, Fetch::get("https://shop.example.org/shop/page")));
                    }
                }
            }
        }
    }
    all
}

fn page() -> Router {
    Router::new().route(
        "/shop/page",
        on_get(async |session: Session| -> session_http::Result<String> {
            let had = session.len();
            if had == 0 {
                session.set("n", &1)?;
            } else {
                session.flush();
            }
            Ok(had.to_string())
        }),
    )
}

#[tokio::test]
async fn cook_03_cook_08_browsers_take_every_cookie_that_can_be_built_and_forget_it_again() {
    let all = configurations();
    assert!(
        all.len() > 150,
        "only {} configurations were built",
        all.len()
    );
    for (cookie, fetch) in all {
        let site = Site::new();
        let app = page().layer(site.layer().with_cookie(cookie.clone()));
        let mut browser = Browser::new(&app);
        // `fetch` fails if the browser refuses the cookie.
        browser.fetch(&fetch).await;
        assert_eq!(browser.jar.cookies().count(), 1, "{cookie:?}");
        let reply = browser.fetch(&fetch).await;
        assert_eq!(reply.body, "1", "the browser does not send it: {cookie:?}");
        assert_eq!(browser.jar.cookies().count(), 0, "it stays: {cookie:?}");
        assert_eq!(site.records(), 0, "{cookie:?}");
    }
}

#[tokio::test]
async fn cook_08_a_partitioned_cookie_is_forgotten_in_its_own_partition() {
    let site = Site::new();
    let cookie = CookieConfig::builder()
        .with_same_site(SameSite::None)
        .with_partitioned(true)
        .build()
        .unwrap();
    let app = page().layer(site.layer().with_cookie(cookie));
    let alone = Fetch::get("https://shop.example.org/shop/page");
    let within = |site: &str| alone.clone().within_page(site);
    let mut browser = Browser::new(&app);
    for fetch in [
        alone.clone(),
        within("https://a.example/"),
        within("https://b.example/"),
    ] {
        assert_eq!(
            browser.fetch(&fetch).await.body,
            "0",
            "two partitions share a session"
        );
    }
    assert_eq!(browser.jar.cookies().count(), 3);
    assert_eq!(browser.fetch(&within("https://a.example/")).await.body, "1");
    assert_eq!(browser.jar.cookies().count(), 2);
    assert_eq!(site.records(), 2);
}

#[tokio::test]
async fn cook_02_same_site_is_always_written_out_unless_its_absence_is_asked_for() {
    for (cookie, fetch) in configurations() {
        let is_absent = format!("{cookie:?}").contains("Absent");
        let app = page().layer(Site::new().layer().with_cookie(cookie.clone()));
        let mut browser = Browser::new(&app);
        // One that sets it, one that removes it.
        for _ in 0..2 {
            let set = set_cookie(&browser.fetch(&fetch).await);
            assert_eq!(set.contains("; SameSite="), !is_absent, "{set}");
        }
    }
    for layer in [
        Site::new().layer().django_compatible(),
        Site::new().layer().with_insecure_plain_http(),
    ] {
        let mut browser = Browser::new(&page().layer(layer));
        let fetch = Fetch::get("http://127.0.0.1:8000/shop/page");
        assert!(set_cookie(&browser.fetch(&fetch).await).contains("; SameSite=Lax"));
    }
}

#[tokio::test]
async fn cook_02_a_form_on_another_site_never_brings_a_young_cookie_along() {
    let app = page().layer(Site::new().layer());
    let mut browser = Browser::new(&app);
    let fetch = Fetch::get("https://shop.example.org/shop/page");
    browser.fetch(&fetch).await;
    let forged = Fetch::post("https://shop.example.org/").from_page("https://other.example/");
    assert_eq!(browser.jar.cookie_header(&forged), None);
    // As it would be without the attribute: for two minutes.
    let mut jar = Jar::new();
    plant(&mut jar, &fetch, "id=1; Path=/").unwrap();
    assert!(
        jar.cookie_header(&forged).is_some(),
        "this test shows nothing"
    );
}

#[test]
fn cook_04_a_cookie_for_several_hosts_is_asked_for_by_name_and_its_dangers_are_told() {
    let shared = || CookieConfig::builder().with_domain("example.org");
    let error = shared()
        .build()
        .expect_err("the default name is for one host");
    assert!(error.to_string().contains("use `__Secure-`"), "{error}");
    let cookie = shared().with_name("__Secure-id").build().unwrap();
    assert!(cookie.is_secure());
    shared()
        .with_name("__Secure-id")
        .with_secure(false)
        .build()
        .expect_err("the name promises it");
    let docs = include_str!("../../src/config.rs");
    let (before, _) = docs.split_once("pub fn with_domain").unwrap();
    let (_, docs) = before.rsplit_once("\n\n").unwrap();
    for danger in [
        "read the key",
        "replace the cookie",
        "beside it",
        "`__Secure-`",
    ] {
        assert!(docs.contains(danger), "not told: {danger}\n{docs}");
    }
}

#[tokio::test]
async fn cook_05_a_name_that_leaves_just_enough_room_works_in_browsers() {
    let name = format!("{COOKIE_NAME}{}", "a".repeat(4064 - COOKIE_NAME.len()));
    let cookie = CookieConfig::builder().with_name(name).build().unwrap();
    let app = page().layer(Site::new().layer().with_cookie(cookie));
    let mut browser = Browser::new(&app);
    let fetch = Fetch::get("https://shop.example.org/shop/page");
    assert_eq!(browser.fetch(&fetch).await.body, "0");
    assert_eq!(browser.fetch(&fetch).await.body, "1");
}

proptest! {
    #[test]
    fn cook_03_in_07_whatever_is_built_is_taken_as_it_was_meant(
        name in "[!-~]{1,5}|[a-z]{1,5}|__[Hh]ost-[a-z]{1,5}|__(Secure|Http|Host-Http)-[a-z]{1,5}",
        path in "(/[ -~]{0,10}){1,3}|[ -~]{0,5}",
        domain in prop_oneof![Just(None), "example\\.org|\\.?shop\\.example\\.org|[ -~]{0,12}".prop_map(Some)],
        is_secure in any::<bool>(),
        is_http_only in any::<bool>(),
        is_partitioned in any::<bool>(),
        same_site in prop_oneof![Just(SameSite::Lax), Just(SameSite::Strict), Just(SameSite::None)],
    ) {
        let mut builder = CookieConfig::builder()
            .with_name(name.as_str())
            .with_path(path.as_str())
            .with_secure(is_secure)
            .with_http_only(is_http_only)
            .with_partitioned(is_partitioned)
            .with_same_site(same_site);
        if let Some(domain) = &domain {
            builder = builder.with_domain(domain.as_str());
        }
        let Ok(cookie) = builder.build() else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let header = runtime.block_on(async {
            let app = page().layer(Site::new().layer().with_cookie(cookie));
            send(&app, get("/shop/page", None)).await.headers
        });
        let host = match domain.as_deref().map(|domain| domain.trim_start_matches('.')) {
            None | Some("example.org") => "shop.example.org".to_owned(),
            // A name with one label is nobody's to share, but its own page may name it.
            Some(domain) => domain.to_ascii_lowercase(),
        };
        let mut jar = Jar::new();
        let refused = jar.receive(&Fetch::get(&format!("https://{host}/shop/page")), &header);
        assert_eq!(refused, [], "{header:?}");
        let kept = jar.cookies().next().expect("it was taken");
        assert_eq!(kept.name(), name);
        assert_eq!(kept.path(), path.trim());
        assert_eq!((kept.is_secure(), kept.is_http_only()), (is_secure, is_http_only));
        assert_eq!(kept.is_partitioned(), is_partitioned);
        assert_eq!(kept.same_site(), same_site);
        assert_eq!(kept.value().len(), 32);
    }
}
