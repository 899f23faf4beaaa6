//! The layer: what it makes of a handler's headers, what happens without it, and with two of it.
use axum::Router;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::get as on_get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HOST, SET_COOKIE, VARY};
use session_core::store::Timestamp;
use session_http::{CookieConfig, Error, LazySession, Session};

use crate::support::{Browser, CookieChange, IDLE, Site, cookie_of, get, heard, send};

#[tokio::test]
async fn http_03_http_04_cook_12_what_a_handler_says_about_caches_and_cookies_is_kept_where_it_is_safe()
 {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    fn says() -> impl IntoResponse {
        AppendHeaders([
            (VARY, "Accept"),
            (CACHE_CONTROL, "public, max-age=60"),
            (SET_COOKIE, "theme=dark"),
            (SET_COOKIE, "__Host-sessionid=from-the-handler"),
        ])
    }
    let app = Router::new()
        .route("/untouched", on_get(async || says()))
        .route("/read", on_get(async |_: Session| says()))
        .route(
            "/cycle",
            on_get(async |session: Session| {
                session.cycle_key();
                says()
            }),
        )
        .layer(site.layer());
    for (path, vary, cache, cookies) in [
        ("/untouched", "Accept", "public, max-age=60", 2),
        ("/read", "Accept, Cookie", "max-age=60", 2),
        ("/cycle", "Accept, Cookie", "max-age=60, private", 2),
    ] {
        let reply = send(&app, get(path, Some(&cookie_of(&key)))).await;
        assert_eq!(reply.headers[VARY], vary, "{path}");
        assert_eq!(reply.headers[CACHE_CONTROL], cache, "{path}");
        let set: Vec<_> = reply.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(set.len(), cookies, "{path}: {set:?}");
        assert_eq!(set[0], "theme=dark", "{path}");
        let is_ours = set[1] != "__Host-sessionid=from-the-handler";
        assert_eq!(
            is_ours,
            path == "/cycle",
            "{path}: ours wins where there is one"
        );
    }
}

#[tokio::test]
async fn asking_without_the_layer_names_it_and_the_usual_mistake() {
    let site = Site::new();
    let app: Router = Router::new()
        .route("/before", on_get(async |_: Session| "found"))
        .layer(site.layer())
        .route("/after", on_get(async |_: Session| "found"))
        .route("/after-lazy", on_get(async |_: LazySession| "found"));
    assert_eq!(send(&app, get("/before", None)).await.body, "found");
    for path in ["/after", "/after-lazy"] {
        let reply = send(&app, get(path, None)).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let error = reply.error.expect("the error is in the extensions");
        assert!(matches!(*error, Error::MissingLayer), "{path}: {error:?}");
        for word in [
            "session_http::SessionLayer",
            "Router::layer",
            "before",
            "ServiceBuilder",
        ] {
            assert!(
                error.to_string().contains(word),
                "{word} is not in: {error}"
            );
        }
        assert!(
            !reply.body.contains("Layer"),
            "the client is told of the code"
        );
    }
}

#[tokio::test]
async fn a_second_layer_of_the_same_cookie_does_nothing() {
    let (outer, inner) = (Site::new(), Site::new());
    let app = Router::new()
        .route(
            "/",
            on_get(async |session: Session| session.set("n", &1).is_ok().to_string()),
        )
        .layer(inner.layer())
        .layer(outer.layer());
    let reply = send(&app, get("/", None)).await;
    let key = reply.expect_issued();
    assert_eq!((outer.records(), inner.records()), (1, 0));
    assert!(outer.stored(&key).await.is_some());
    assert_eq!(reply.headers.get_all(VARY).iter().count(), 1);
}

#[tokio::test]
async fn two_layers_with_different_names_both_work_and_the_innermost_is_extracted() {
    let (outer, inner) = (Site::new(), Site::new());
    let name = |name: &str| CookieConfig::builder().with_name(name).build().unwrap();
    let count = async |session: Session| {
        session.modify("n", |n: &mut u32| *n += 1)?;
        Ok::<_, Error>(session.get::<u32>("n")?.unwrap_or_default().to_string())
    };
    let app = Router::new()
        .route("/both", on_get(count))
        .layer(inner.layer().with_cookie(name("inner")))
        .route("/outer", on_get(count))
        .layer(outer.layer().with_cookie(name("outer")));
    let mut browser = Browser::new(&app);
    for (path, body, counts) in [
        ("/both", "1", (0, 1)),
        ("/outer", "1", (1, 1)),
        ("/both", "2", (1, 1)),
        ("/outer", "2", (1, 1)),
    ] {
        assert_eq!(browser.get(path).await.body, body, "{path}");
        assert_eq!((outer.records(), inner.records()), counts, "{path}");
    }
    assert!(browser.jar.value("inner").is_some() && browser.jar.value("outer").is_some());
}

#[tokio::test]
async fn two_extractors_in_one_handler_share_one_session() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route(
            "/",
            on_get(async |one: Session, lazy: LazySession, two: Session| {
                one.set("a", &1)?;
                two.set("b", &2)?;
                let three = lazy.load().await?;
                Ok::<_, Error>(three.keys().join(","))
            }),
        )
        .layer(site.layer());
    let reply = send(&app, get("/", Some(&cookie_of(&key)))).await;
    assert_eq!(reply.body, "n,a,b");
    assert_eq!(site.writes(), "save", "one request is one save");
}

#[tokio::test]
async fn a_request_whose_session_nobody_asks_for_costs_no_round_trip_and_others_what_they_should() {
    use session_core::conformance::Operation::Load;
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route("/untouched", on_get(async |_: LazySession| ""))
        .route(
            "/read",
            on_get(async |session: Session| session.len().to_string()),
        )
        .route(
            "/write",
            on_get(async |session: Session| session.set("n", &1).is_ok().to_string()),
        )
        .route(
            "/log-in",
            on_get(async |session: Session| session.log_in(7).is_ok().to_string()),
        )
        .route(
            "/log-out",
            on_get(async |session: LazySession| session.log_out()),
        )
        .layer(site.layer());
    let counts = site.store.inner();
    for (path, cookie, loads, total) in [
        ("/untouched", Some(&key), 0, 0),
        ("/read", Some(&key), 1, 1),
        ("/read", None, 0, 0),
        ("/write", Some(&key), 1, 2),
        ("/write", None, 0, 1),
        ("/log-in", Some(&key), 1, 2),
        ("/log-in", None, 0, 1),
    ] {
        counts.reset();
        send(&app, get(path, cookie.map(|key| cookie_of(key)).as_deref())).await;
        assert_eq!(
            (counts.count(Load), counts.total()),
            (loads, total),
            "{path}, {}",
            cookie.is_some()
        );
    }
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    send(&app, get("/log-out", Some(&cookie_of(&key)))).await;
    assert_eq!((counts.count(Load), counts.total()), (0, 1), "/log-out");
}

#[test]
fn a_browser_that_will_refuse_the_cookie_is_warned_of_once() {
    #[rustfmt::skip]
    let rows: &[(bool, &[&str], usize)] = &[
        (false, &["localhost:8000", "127.0.0.1"],                0),
        (false, &["example.org"],                                1),
        (false, &["example.org", "example.org", "192.168.0.7"],  1),
        (false, &["localhost", "example.org"],                   1),
        (true,  &["example.org"],                                0),
    ];
    for (is_insecure, hosts, warnings) in rows {
        let ((), log) = heard(async {
            let mut layer = Site::new().layer();
            if *is_insecure {
                layer = layer.with_insecure_plain_http();
            }
            let write = async |session: Session| session.set("n", &1).is_ok().to_string();
            let app = Router::new()
                .route("/", on_get(write))
                .route("/other", on_get(async || ""))
                .layer(layer);
            for host in *hosts {
                let mut request = get("/", None);
                request.headers_mut().insert(HOST, host.parse().unwrap());
                let reply = send(&app, request).await;
                assert_eq!(reply.status, StatusCode::OK);
            }
        });
        let told = log.matches("with_insecure_plain_http").count();
        assert_eq!(told, *warnings, "{hosts:?}");
    }
}

#[tokio::test]
async fn fix_05_an_expired_key_is_nobody_s_and_its_cookie_stays() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route(
            "/",
            on_get(async |session: Session| session.len().to_string()),
        )
        .layer(site.layer());
    site.clock
        .set(Timestamp::from_secs(1_767_323_045).saturating_add(IDLE));
    let reply = send(&app, get("/", Some(&cookie_of(&key)))).await;
    assert_eq!(
        (reply.body.as_str(), reply.cookie()),
        ("0", CookieChange::Untouched)
    );
}
