//! What an attacker, a late response or a mistake must not get over HTTP. The rows of the security requirements name these
//! tests.
use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::AppendHeaders;
use axum::routing::{any, get as on_get, post as on_post};
use bytes::Bytes;
use http::header::{AUTHORIZATION, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use session_core::conformance::{Call, Operation};
use session_http::browser::{Fetch, Jar, Reason};
use session_http::{CookieConfig, Error, LazySession, Policy, Session, SessionError, SessionKey};

use crate::support::{
    Browser, COOKIE_NAME, CookieChange, Reply, Site, cookie_of, form, get, heard, jar_with, plant,
    post, send,
};

const MINUTE: Duration = Duration::from_secs(60);

fn shop() -> Router {
    Router::new()
        .route("/who", any(who))
        .route(
            "/write",
            any(async |session: Session| session.set("n", &2).map_err(Error::from)),
        )
        .route(
            "/log-in",
            on_post(async |session: Session| session.log_in("ada").map_err(Error::from)),
        )
        .route(
            "/log-out",
            on_post(async |session: LazySession| session.log_out()),
        )
        .route(
            "/cycle",
            on_post(async |session: Session| session.cycle_key()),
        )
}

/// Whose session it is, and how much is in it.
async fn who(session: Session) -> String {
    let owner = session.owner();
    let owner = owner.as_ref().map_or("nobody", |owner| owner.as_str());
    format!("{owner} {}", session.len())
}

/// Everything of a response that a client sees.
fn seen(reply: &Reply) -> (StatusCode, Vec<(String, HeaderValue)>, String) {
    let headers = reply.headers.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    (reply.status, headers, reply.body.clone())
}

/// What clients present that no live session has.
async fn dead_keys(site: &Site) -> [(&'static str, String); 5] {
    let fresh = || SessionKey::generate().unwrap().expose_secret().to_owned();
    let revoked = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.stored(&revoked).await.unwrap().log_out();
    let app = shop().layer(site.layer());
    send(&app, post("/log-out", Some(&cookie_of(&revoked)))).await;
    let expired = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(crate::support::IDLE * 2);
    let foreign = Site::new();
    let foreign = foreign
        .visitor(|session| session.set("n", &1).unwrap())
        .await;
    [
        ("unknown", fresh()),
        ("expired", expired),
        ("revoked", revoked),
        ("malformed", "AAAA".to_owned()),
        ("another application's", foreign),
    ]
}

#[tokio::test]
async fn fix_01_fix_05_a_key_that_no_live_session_has_never_becomes_one() {
    for path in ["/who", "/write", "/log-in", "/cycle"] {
        let site = Site::new();
        let app = shop().layer(site.layer());
        for (what, key) in dead_keys(&site).await {
            let reply = send(&app, post(path, Some(&cookie_of(&key)))).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}, {what}");
            match reply.cookie() {
                CookieChange::Untouched => assert!(["/who", "/cycle"].contains(&path), "{path}"),
                CookieChange::Set(new) => assert_ne!(new, key, "{path}, {what}: adopted"),
                CookieChange::Removed => panic!("{path}, {what}: a newer log-in is taken away"),
            }
            let who = send(&app, get("/who", Some(&cookie_of(&key)))).await;
            assert_eq!(who.body, "nobody 0", "{path}, {what}");
        }
    }
}

#[tokio::test]
async fn leak_07_whatever_is_wrong_with_a_key_the_answer_is_the_same() {
    let site = Site::new();
    let app = shop().layer(site.layer());
    for path in ["/who", "/log-out", "/cycle"] {
        let mut answers = Vec::new();
        for (what, key) in dead_keys(&site).await {
            let reply = send(&app, post(path, Some(&cookie_of(&key)))).await;
            answers.push((what, seen(&reply)));
        }
        for (what, answer) in &answers {
            assert_eq!(*answer, answers[0].1, "{path}: {what} is told apart");
        }
    }
    // And while the store is down: whether there was such a session is not told either.
    let keys = dead_keys(&site).await;
    site.store.refuse(Call::of(Operation::Load).and_later());
    let mut answers = Vec::new();
    for (what, key) in &keys {
        if *what != "malformed" {
            let reply = send(&app, get("/who", Some(&cookie_of(key)))).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
            answers.push(seen(&reply));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

/// A cookie for the whole of `example.org`, which any host there can set.
fn sibling() -> Fetch {
    Fetch::get("https://blog.example.org/")
}

#[test]
fn fix_08_nobody_else_can_plant_a_cookie_under_the_default_name() {
    let key = "a".repeat(SessionKey::LEN);
    for name in [COOKIE_NAME, "__host-sessionid", "__HOST-sessionid"] {
        for (fetch, attributes) in [
            (sibling(), "Path=/; Secure; Domain=example.org"),
            (sibling(), "Path=/; Domain=example.org"),
            (Fetch::get("http://shop.example.org/"), "Path=/"),
            (Fetch::get("http://shop.example.org/"), "Path=/; Secure"),
        ] {
            let planted = plant(
                &mut Jar::new(),
                &fetch,
                &format!("{name}={key}; {attributes}"),
            );
            assert!(planted.is_err(), "{name}; {attributes}");
        }
    }
    // Without a name it would look to a server as if it had ours.
    let planted = plant(
        &mut Jar::new(),
        &sibling(),
        &format!("={COOKIE_NAME}={key}; Domain=example.org"),
    );
    assert_eq!(planted, Err(Reason::Prefix));
}

#[test]
fn fix_08_a_cookie_planted_beside_ours_makes_anonymous_in_both_orders() {
    let ((), log) = heard(async {
        let site = Site::new();
        let cookie = CookieConfig::builder().with_name("id").build().unwrap();
        let app = shop().layer(site.layer().with_cookie(cookie));
        for (path, is_planted_first, expected) in [
            // The log-in comes with the attacker's key, and ends the attacker's session.
            ("/", true, "ada 0"),
            ("/", false, "nobody 0"),
            // Sent before the visitor's own, since its path is longer.
            ("/who", true, "nobody 0"),
            ("/who", false, "nobody 0"),
        ] {
            let attacker = site
                .visitor(|session| session.log_in("mallory").unwrap())
                .await;
            let planted = format!("id={attacker}; Domain=example.org; Secure; Path={path}");
            let mut browser = Browser::new(&app);
            if !is_planted_first {
                browser.post("/log-in").await;
            }
            plant(&mut browser.jar, &sibling(), &planted).unwrap();
            if is_planted_first {
                browser.post("/log-in").await;
            }
            assert_eq!(browser.jar.cookies().count(), 2);
            let reply = browser.get("/who").await;
            assert_eq!(
                reply.body, expected,
                "{path}, planted first: {is_planted_first}"
            );
            assert_eq!(reply.cookie_named("id"), CookieChange::Untouched);
        }
    });
    assert!(log.contains("several live sessions"), "{log}");
}

#[tokio::test]
async fn id_11_a_key_counts_in_its_cookie_alone() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let app = shop().layer(site.layer());
    let pair = cookie_of(&key);
    let bare = || Request::post("/who");
    let filled = |body: &str| Body::from(body.to_owned());
    let requests = [
        (
            "query",
            Request::get(format!("/who?{COOKIE_NAME}={key}")).body(Body::empty()),
        ),
        (
            "query",
            Request::get(format!("/who?sessionid={key}&sid={key}")).body(Body::empty()),
        ),
        (
            "path",
            Request::get(format!("/who;{COOKIE_NAME}={key}")).body(Body::empty()),
        ),
        (
            "body",
            bare()
                .header("content-type", "application/x-www-form-urlencoded")
                .body(filled(&pair)),
        ),
        (
            "Authorization",
            bare()
                .header(AUTHORIZATION, format!("Bearer {key}"))
                .body(Body::empty()),
        ),
        (
            "X-Session-Id",
            bare().header("x-session-id", &key).body(Body::empty()),
        ),
        (
            "the cookie's name",
            bare().header(COOKIE_NAME, &key).body(Body::empty()),
        ),
        (
            "Cookie2",
            bare().header("cookie2", &pair).body(Body::empty()),
        ),
        (
            "Set-Cookie",
            bare().header(SET_COOKIE, &pair).body(Body::empty()),
        ),
        (
            "Set-Cookie2",
            bare().header("set-cookie2", &pair).body(Body::empty()),
        ),
    ];
    for (place, request) in requests {
        let reply = send(&app, request.unwrap()).await;
        assert_eq!(site.store.inner().total(), 0, "{place}: it is looked up");
        assert!(
            !reply.body.contains("ada"),
            "{place}: somebody is logged in"
        );
        assert_eq!(reply.cookie(), CookieChange::Untouched, "{place}");
    }
    let with_cookie = send(&app, get("/who", Some(&pair))).await;
    assert_eq!(with_cookie.body, "ada 0");
}

/// In the ways in which a key might be written.
fn spellings(key: &str) -> [String; 4] {
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    [key.to_owned(), key.to_ascii_uppercase(), hex, percent]
}

#[tokio::test]
async fn id_11_no_key_leaves_in_anything_but_set_cookie() {
    let site = Site::new();
    let app = shop()
        .route(
            "/debug",
            any(
                async |session: Session, lazy: LazySession, request: Request<Body>| {
                    let list = session.own_sessions().await;
                    format!(
                        "{session:?} {lazy:?} {request:?} {list:?} {:?}",
                        session.session_key()
                    )
                },
            ),
        )
        .route(
            "/list",
            any(async |session: Session| -> session_http::Result<String> {
                let sessions = session.own_sessions().await?;
                Ok(sessions.iter().map(|one| one.handle.to_string()).collect())
            }),
        )
        .route(
            "/fail",
            any(async |session: Session| {
                session.cycle_key();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(site.layer());
    const PATHS: [&str; 10] = [
        "/write", "/debug", "/log-in", "/list", "/debug", "/cycle", "/fail", "/who", "/log-out",
        "/who",
    ];
    let (mut keys, mut replies) = (BTreeSet::new(), Vec::new());
    let mut browser = Browser::new(&app);
    for path in PATHS {
        replies.push((path, browser.post(path).await));
        keys.extend(browser.jar.value(COOKIE_NAME).map(str::to_owned));
    }
    let mut is_met = 0;
    for path in PATHS {
        for operation in [
            Operation::Load,
            Operation::Create,
            Operation::Save,
            Operation::Rotate,
        ] {
            let mut browser = Browser::new(&app);
            browser.post("/log-in").await;
            keys.extend(browser.jar.value(COOKIE_NAME).map(str::to_owned));
            site.store.refuse(operation);
            replies.push((path, browser.send(&form(path)).await));
            // Not every page reaches each of them.
            is_met += u32::from(site.store.clear_faults());
        }
    }
    assert!(
        is_met > 10,
        "only {is_met} requests met a store that refuses"
    );
    assert!(keys.len() >= 4, "{} keys", keys.len());
    for (path, reply) in &replies {
        let others = reply.headers.iter().filter(|(name, _)| *name != SET_COOKIE);
        let others: String = others.map(|(_, value)| value.to_str().unwrap()).collect();
        let said = format!("{others} {}", reply.body);
        for spelling in keys.iter().flat_map(|key| spellings(key)) {
            assert!(!said.contains(&spelling), "{path} tells a key");
        }
    }
}

#[tokio::test]
async fn race_11_cook_12_one_response_sets_the_cookie_once_whatever_happened() {
    let site = Site::new();
    let app = Router::new()
        .route(
            "/everything",
            on_post(async |session: Session| -> session_http::Result<_> {
                session.set("n", &1)?;
                session.save().await?;
                session.cycle_key();
                session.save().await?;
                session.log_in(7)?;
                session.save().await?;
                session.flush();
                session.set("last", &1)?;
                Ok(AppendHeaders([
                    (SET_COOKIE, "theme=dark; Path=/"),
                    (
                        SET_COOKIE,
                        "__Host-sessionid=an-inner-layers; Secure; Path=/",
                    ),
                    (SET_COOKIE, "lang=en"),
                ]))
            }),
        )
        .route("/who", on_get(who))
        .layer(site.layer());
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    for cookie in [None, Some(cookie_of(&key))] {
        let reply = send(&app, post("/everything", cookie.as_deref())).await;
        // `cookie` fails for more than one of the session's.
        let CookieChange::Set(new) = reply.cookie() else {
            panic!("no key was sent: {reply:?}")
        };
        let set: Vec<_> = reply.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(
            set.len(),
            3,
            "a cookie of the handler's is lost or folded: {set:?}"
        );
        assert_eq!(
            (set[0].to_str().unwrap(), set[1].to_str().unwrap()),
            ("theme=dark; Path=/", "lang=en")
        );
        let session = site.stored(&new).await.expect("the last session is stored");
        assert_eq!(session.keys(), ["last"]);
        assert_eq!(session.owner(), None);
        site.stored(&new).await.unwrap();
    }
}

#[test]
fn race_09_a_stream_whose_change_nobody_stores_is_told_of() {
    let change = |saves: bool| {
        heard(async move {
            let site = Site::new();
            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            let app = Router::new()
                .route(
                    "/",
                    on_get(async move |session: Session| {
                        let (sent, waiting) = tokio::sync::oneshot::channel();
                        let task = tokio::spawn(async move {
                            waiting.await.unwrap();
                            session.set("late", &1).unwrap();
                            if saves {
                                session.save().await.unwrap();
                            }
                        });
                        LATE.with_borrow_mut(|late| *late = Some((sent, task)));
                    }),
                )
                .layer(site.layer());
            send(&app, get("/", Some(&cookie_of(&key)))).await;
            let (send, task) = LATE.take().expect("the handler ran");
            send.send(()).unwrap();
            task.await.unwrap();
            site.stored(&key).await.unwrap().contains_key("late")
        })
    };
    let (is_stored, log) = change(false);
    assert!(!is_stored);
    assert!(
        log.contains("session_changes_lost"),
        "a change is lost in silence: {log}"
    );
    let (is_stored, log) = change(true);
    assert!(is_stored);
    assert!(!log.contains("session_changes_lost"), "{log}");
}

type LateTask = (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
);
thread_local! {
    /// The runtime of `heard` has one thread: the test's own.
    static LATE: std::cell::RefCell<Option<LateTask>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn cook_11_a_name_that_looks_like_ours_is_nobodys_and_told_once() {
    let ((), log) = heard(async {
        let site = Site::new();
        let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
        let app = shop().layer(site.layer());
        for name in ["__host-sessionid", "__HOST-SESSIONID", "__Host-SessionId"] {
            let reply = send(&app, get("/who", Some(&format!("{name}={key}")))).await;
            assert_eq!(reply.body, "nobody 0", "{name}");
        }
        assert_eq!(site.store.inner().total(), 0, "a look-alike is looked up");
    });
    assert_eq!(log.matches("session_cookie_look_alike").count(), 1, "{log}");
}

#[test]
fn cook_15_a_browser_that_keeps_no_cookie_creates_no_more_than_its_share() {
    const BUDGET: u32 = 25;
    let ((), log) = heard(async {
        let site = Site::with_policy(Policy::new().with_new_anonymous_per_minute_max(BUDGET));
        let app = shop().layer(site.layer());
        let mut browser = Browser::with(&app, Jar::new().refusing_all());
        let (mut written, mut refused) = (0, 0);
        for _ in 0..1_000 {
            let reply = browser.post("/write").await;
            match reply.status {
                StatusCode::OK => written += 1,
                StatusCode::SERVICE_UNAVAILABLE => {
                    refused += 1;
                    assert_eq!(reply.cookie(), CookieChange::Untouched);
                    let error = reply.error.expect("the refusal is typed");
                    assert!(
                        matches!(
                            *error,
                            Error::Session(SessionError::TooManyNewSessions { .. })
                        ),
                        "{error:?}"
                    );
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!((written, refused), (BUDGET, 1_000 - BUDGET));
        assert_eq!(site.records(), BUDGET as usize);
        // Whoever only reads, or logs in, is served.
        assert_eq!(browser.get("/who").await.body, "nobody 0");
        assert_eq!(browser.post("/log-in").await.status, StatusCode::OK);
        site.clock.advance(MINUTE);
        assert_eq!(browser.post("/write").await.status, StatusCode::OK);
    });
    let errors = log.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(errors, 0, "each refusal is a line in the log");
    assert_eq!(log.matches("session_limit").count(), 1, "{log}");
}

#[tokio::test]
async fn http_11_an_early_response_carries_no_cookie_and_stores_nothing() {
    let site = Site::new();
    let answer = async |Path(status): Path<u16>, session: Session| {
        session.set("n", &1)?;
        Ok::<_, Error>(StatusCode::from_u16(status).unwrap())
    };
    let app = Router::new()
        .route("/{status}", on_get(answer))
        .layer(site.layer());
    for path in ["/100", "/102", "/103"] {
        let reply = send(&app, get(path, None)).await;
        assert!(!reply.headers.contains_key(SET_COOKIE), "{path}");
        assert_eq!(
            site.records(),
            0,
            "{path}: a session that nobody is told of"
        );
    }
    // Its headers are the last that there are.
    let upgrade = send(&app, get("/101", None)).await;
    assert!(matches!(upgrade.cookie(), CookieChange::Set(_)));
    assert_eq!(site.records(), 1);
}

#[tokio::test]
async fn http_11_trailers_stay_as_the_handler_made_them() {
    let site = Site::new();
    let app = Router::new()
        .route(
            "/",
            on_get(async |session: Session| -> session_http::Result<_> {
                session.set("n", &1)?;
                let trailers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("theirs"))]);
                let trailers = std::future::ready(Some(Ok(trailers)));
                Ok(Body::new(Empty::<Bytes>::new().with_trailers(trailers)))
            }),
        )
        .layer(site.layer());
    let Ok(response) = tower::ServiceExt::oneshot(app, get("/", None)).await;
    assert!(response.headers().contains_key(SET_COOKIE));
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().expect("the trailers arrive");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert_eq!(trailers[VARY], "theirs");
}

#[tokio::test]
async fn fail_01_no_handler_runs_without_the_session_that_it_asked_for() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let app = Router::new()
        .route(
            "/",
            on_get(move |_: Session| {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::ready("")
            }),
        )
        .layer(site.layer());
    site.store.refuse(Call::of(Operation::Load).and_later());
    let mut browser = Browser::with(&app, jar_with(&key));
    let reply = browser.get("/").await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        runs.load(Ordering::SeqCst),
        0,
        "the visitor is served as a stranger"
    );
    // The browser still has its cookie, and with it its session.
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn fail_02_no_key_is_sent_for_a_session_of_which_nobody_knows_whether_it_was_stored() {
    for (path, operation, has_session) in [
        ("/write", Operation::Create, false),
        ("/log-in", Operation::Create, false),
        ("/log-in", Operation::Rotate, true),
        ("/cycle", Operation::Rotate, true),
    ] {
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let app = shop().layer(site.layer());
        let jar = if has_session {
            jar_with(&key)
        } else {
            Jar::new()
        };
        let mut browser = Browser::with(&app, jar);
        site.store.lose_answer(operation);
        let reply = browser.post(path).await;
        assert!(site.store.clear_faults(), "{path}");
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(reply.cookie(), CookieChange::Untouched, "{path}");
    }
}

#[tokio::test]
async fn in_10_cookies_in_several_headers_are_one_list() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let app = shop().layer(site.layer());
    let pairs = [
        "a=1".to_owned(),
        "b=2".to_owned(),
        cookie_of(&key),
        "c=3".to_owned(),
    ];
    // Every way of cutting the list into headers, as HTTP/2 does.
    for cuts in 0..8_u32 {
        let mut request = get("/who", None);
        let mut header = pairs[0].clone();
        let mut headers = Vec::new();
        for (place, pair) in pairs[1..].iter().enumerate() {
            if cuts & (1 << place) == 0 {
                header = format!("{header}; {pair}");
            } else {
                headers.push(std::mem::replace(&mut header, pair.clone()));
            }
        }
        headers.push(header);
        for header in &headers {
            request
                .headers_mut()
                .append("cookie", header.parse().unwrap());
        }
        let reply = send(&app, request).await;
        assert_eq!(reply.body, "ada 0", "in {} headers", headers.len());
    }
}

#[tokio::test]
async fn in_11_the_order_of_cookies_of_one_name_does_not_matter() {
    let site = Site::new();
    let live = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let other = site.visitor(|session| session.log_in("bob").unwrap()).await;
    let unknown = "0".repeat(SessionKey::LEN);
    let app = shop().layer(site.layer());
    for (keys, expected) in [
        (vec![&live, &unknown, &live], "ada 0"),
        (vec![&live, &unknown, &other], "nobody 0"),
        (vec![&unknown, &unknown, &other], "bob 0"),
    ] {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let header = order.map(|place| cookie_of(keys[place])).join("; ");
            let reply = send(&app, get("/who", Some(&header))).await;
            assert_eq!(reply.body, expected, "{order:?}");
        }
    }
    // A thousand are not looked up at all.
    let many: Vec<String> = (0..1_000).map(|n| cookie_of(&format!("{n:032}"))).collect();
    site.store.inner().reset();
    send(&app, get("/who", Some(&many.join("; ")))).await;
    assert!(
        site.store.inner().total() <= 4,
        "{} look-ups",
        site.store.inner().total()
    );
}
