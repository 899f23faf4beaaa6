//! Where layers stand, how many there are, and how they are set: what every adapter makes of it.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HOST, VARY};
use session_core::conformance::Operation;
use session_core::{KeyRing, Policy, Renewal, SealedIrrevocableCookies};
use session_http::{CookieConfig, Interruption, KeyHeader, SessionLayer};

use super::{Adapter, Marked, over_every_adapter};
use crate::support::{CookieChange, IDLE, Site, cookie_of, get, heard, post};

over_every_adapter!(
    apps: [],
    adapters: [
        asking_without_a_layer_names_it,
        a_second_layer_of_the_same_cookie_does_nothing,
        two_layers_with_different_names_both_work_and_the_innermost_is_extracted,
        an_interruption_is_answered_as_the_layer_says,
        a_key_may_travel_in_a_header,
        a_session_may_live_in_its_cookie,
        a_marked_layer_is_asked_by_its_mark,
    ],
    logged: [
        a_browser_that_will_refuse_the_cookie_is_warned_of_once_by_all_clones,
    ],
);

async fn asking_without_a_layer_names_it(adapter: Adapter) {
    let app = adapter(&[]).await;
    for path in ["/who", "/extracted"] {
        let reply = app(get(path, None)).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let reason = reply.reason.expect("an outer layer finds the error");
        assert!(reason.contains("session_http::SessionLayer"), "{reason}");
        assert!(
            !reply.body.contains("Layer"),
            "the client is told of the code"
        );
    }
}

async fn a_second_layer_of_the_same_cookie_does_nothing(adapter: Adapter) {
    let (inner, outer) = (Site::new(), Site::new());
    let app = adapter(&[inner.layer(), outer.layer()]).await;
    let reply = app(get("/write", None)).await;
    let key = reply.expect_issued();
    assert_eq!((inner.records(), outer.records()), (0, 1));
    assert!(outer.stored(&key).await.is_some());
    assert_eq!(reply.headers.get_all(VARY).iter().count(), 1);
}

async fn two_layers_with_different_names_both_work_and_the_innermost_is_extracted(
    adapter: Adapter,
) {
    let every = || Site::with_policy(Policy::new().with_renewal(Renewal::EveryRequest));
    let (inner, outer) = (every(), every());
    let name = |name: &str| CookieConfig::builder().with_name(name).build().unwrap();
    let app = adapter(&[
        inner.layer().with_cookie(name("inner")),
        outer.layer().with_cookie(name("outer")),
    ])
    .await;
    let reply = app(get("/write", None)).await;
    assert_eq!((inner.records(), outer.records()), (1, 0));
    assert_eq!(reply.cookie_named("outer"), CookieChange::Untouched);
    let CookieChange::Set(one) = reply.cookie_named("inner") else {
        panic!("the innermost layer is the one that is asked: {reply:?}")
    };
    let two = outer.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = format!("outer={two}; inner={one}");
    for site in [&inner, &outer] {
        site.writes();
        site.clock.advance(IDLE / 2); // a renewal is due
    }
    for (path, body, writes) in [
        ("/quiet/write", "2", ("save", "-")),
        ("/write", "3", ("save", "save")),
    ] {
        let reply = app(get(path, Some(&cookie))).await;
        assert_eq!(reply.body, body, "{path}");
        let done = (inner.writes(), outer.writes());
        assert_eq!((done.0.as_str(), done.1.as_str()), writes, "{path}");
    }
}

async fn an_interruption_is_answered_as_the_layer_says(adapter: Adapter) {
    for (interruption, get_status, post_status) in [
        (Interruption::ConflictUnlessSafe, 200, 409),
        (Interruption::BadRequest, 400, 400),
    ] {
        let site = Site::new();
        let app = adapter(&[site.layer().with_interruption(interruption)]).await;
        for (request, status) in [
            (get as fn(&str, Option<&str>) -> _, get_status),
            (post, post_status),
        ] {
            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            let cookie = cookie_of(&key);
            let gate = site.store.hold(Operation::Save);
            let end = async {
                gate.reached().await;
                app(post("/log-out", Some(&cookie))).await;
                gate.release();
            };
            let (reply, ()) = tokio::join!(app(request("/write", Some(&cookie))), end);
            assert_eq!(reply.status, status, "{interruption:?}");
            assert_eq!(reply.cookie(), CookieChange::Untouched, "{interruption:?}");
        }
    }
}

async fn a_key_may_travel_in_a_header(adapter: Adapter) {
    let header = KeyHeader::parse("Shop-Session").unwrap();
    let sites = [Site::new(), Site::new()];
    let [bearer, named] = &sites;
    let rows = [
        (
            bearer,
            bearer.layer().with_bearer_token(),
            "authorization",
            "Bearer ",
            "session-token",
        ),
        (
            named,
            named.layer().with_header(header),
            "shop-session",
            "",
            "shop-session",
        ),
    ];
    for (site, layer, request_header, scheme, response_header) in rows {
        let app = adapter(&[layer]).await;
        let first = app(post("/write", None)).await;
        let key = first.headers[response_header].to_str().unwrap();
        assert!(site.stored(key).await.is_some(), "{response_header}");
        assert_eq!(first.headers[CACHE_CONTROL], "no-store");
        let mut request = post("/write", None);
        let value = format!("{scheme}{key}").parse().unwrap();
        request.headers_mut().insert(request_header, value);
        let second = app(request).await;
        assert_eq!(second.body, "2", "{request_header}");
        assert!(!second.headers.contains_key(response_header));
    }
}

async fn a_session_may_live_in_its_cookie(adapter: Adapter) {
    let secret: Vec<u8> = (0..32).collect();
    let ring = KeyRing::from_bytes(&secret).unwrap();
    let cookies = SealedIrrevocableCookies::new(&ring);
    let manager = cookies.manager(Policy::new()).unwrap();
    let app = adapter(&[SessionLayer::new(manager)]).await;
    let sealed = app(post("/log-in", None)).await.expect_issued();
    assert!(!sealed.contains("ada"), "the owner can be read");
    let written = app(post("/write", Some(&cookie_of(&sealed)))).await;
    assert_eq!(written.body, "1");
    let cookie = cookie_of(&written.expect_issued());
    assert_eq!(app(post("/write", Some(&cookie))).await.body, "2");
    assert_eq!(app(get("/members/who", Some(&cookie))).await.body, "ada");
    let reply = app(post("/log-out", Some(&cookie))).await;
    assert_eq!(reply.cookie(), CookieChange::Removed);
}

async fn a_marked_layer_is_asked_by_its_mark(adapter: Adapter) {
    let (inner, outer) = (Site::new(), Site::new());
    let name = |name: &str| CookieConfig::builder().with_name(name).build().unwrap();
    let around = outer.layer().with_cookie(name("outer"));
    let layers = [inner.layer(), around.with_marker::<Marked>()];
    let app = adapter(&layers).await;
    let reply = app(post("/marked", None)).await;
    assert_eq!((inner.records(), outer.records()), (0, 1));
    assert_eq!(reply.cookie(), CookieChange::Untouched);
    let CookieChange::Set(key) = reply.cookie_named("outer") else {
        panic!("the layer around is the one that is marked: {reply:?}")
    };
    let cookie = format!("outer={key}");
    assert_eq!(app(post("/marked", Some(&cookie))).await.body, "2");
    assert_eq!(app(post("/write", Some(&cookie))).await.body, "1");
    assert_eq!((inner.records(), outer.records()), (1, 1));
}

fn a_browser_that_will_refuse_the_cookie_is_warned_of_once_by_all_clones(adapter: Adapter) {
    let ((), log) = heard(async {
        let layer = Site::new().layer();
        for _worker in 0..3 {
            let app = adapter(std::slice::from_ref(&layer)).await;
            for host in ["localhost:8000", "example.org"] {
                let mut request = get("/write", None);
                request.headers_mut().insert(HOST, host.parse().unwrap());
                assert_eq!(app(request).await.status, StatusCode::OK);
            }
        }
    });
    assert_eq!(log.matches("with_insecure_plain_http").count(), 1);
}
