//! What the session's cookie says: every setting, the presets, what browsers would refuse, and for how long it is kept.
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get as on_get;
use http::header::SET_COOKIE;
use session_http::{
    CookieConfig, CookieConfigBuilder, Error, Expiry, Policy, SameSite, Session, SessionLayer,
};

use crate::support::{Reply, Site, get, send};

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
async fn cookies_say_what_they_were_told_to_say() {
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
fn what_browsers_refuse_is_refused_when_it_is_built() {
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
        build().with_name("id").with_domain(".example.org"),
        build().with_name("id").with_secure(false),
    ] {
        builder.build().expect("browsers accept this");
    }
}

#[tokio::test]
async fn the_client_keeps_the_cookie_for_as_long_as_the_session_may_live() {
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
