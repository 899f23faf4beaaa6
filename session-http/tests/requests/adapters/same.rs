//! One request, one layer: what every adapter does with it.

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE, VARY};
use http::{HeaderValue, StatusCode};
use session_core::conformance::{Call, Operation};
use session_core::store::StoreError;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::{App, over_every_adapter};
use crate::support::{CookieChange, IDLE, Site, cookie_of, get, post};

over_every_adapter!(
    apps: [
        a_visitor_is_recognized_by_the_cookie,
        a_request_that_never_asks_is_passed_on,
        everyone_in_a_request_has_the_same_session,
        a_log_in_changes_the_key_and_a_log_out_ends_it,
        a_server_error_stores_nothing,
        an_announced_response_is_no_answer_and_stores_nothing,
        a_store_that_is_down_is_503,
        a_session_that_may_still_be_read_is_503_and_its_cookie_is_removed,
        a_session_that_was_ended_meanwhile_is_409,
        a_read_of_a_session_that_was_ended_meanwhile_is_answered,
        a_stream_saves_to_the_session_that_is_there_and_can_not_make_a_new_one,
        a_handler_that_panics_stores_only_what_was_acknowledged,
        a_client_that_is_gone_leaves_only_what_was_acknowledged,
        what_a_handler_says_about_caches_and_cookies_is_kept_where_it_is_safe,
        a_page_that_asks_by_itself_renews_nothing,
        pages_for_members_lead_to_the_log_in_and_back,
        a_handler_may_ask_for_an_owner,
    ],
    adapters: [],
    logged: [],
);

async fn a_visitor_is_recognized_by_the_cookie(_site: Site, app: App) {
    let first = app(get("/visit", None)).await;
    assert_eq!(first.body, "1");
    assert_eq!(first.headers["vary"], "Cookie");
    assert_eq!(first.headers["cache-control"], "private");
    let cookie = cookie_of(&first.expect_issued());
    let second = app(get("/visit", Some(&cookie))).await;
    assert_eq!(
        (second.body.as_str(), second.cookie()),
        ("2", CookieChange::Untouched)
    );
    assert_eq!(app(get("/visit", None)).await.body, "1", "somebody else");
}

async fn a_request_that_never_asks_is_passed_on(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let reply = app(get("/static", Some(&cookie_of(&key)))).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::OK, "static")
    );
    assert_eq!(reply.cookie(), CookieChange::Untouched);
    assert!(!reply.headers.contains_key("vary"));
    assert_eq!(site.store.inner().total(), 0);
}

async fn everyone_in_a_request_has_the_same_session(_site: Site, app: App) {
    assert_eq!(app(get("/extracted", None)).await.body, "1");
}

async fn a_log_in_changes_the_key_and_a_log_out_ends_it(site: Site, app: App) {
    let anonymous = app(get("/visit", None)).await.expect_issued();
    let logged_in = app(post("/log-in", Some(&cookie_of(&anonymous))))
        .await
        .expect_issued();
    assert_ne!(
        anonymous, logged_in,
        "the key that an attacker may have planted still counts"
    );
    assert!(site.stored(&anonymous).await.is_none());
    let cookie = cookie_of(&logged_in);
    assert_eq!(app(get("/who", Some(&cookie))).await.body, "ada");
    assert_eq!(
        app(get("/visit", Some(&cookie))).await.body,
        "2",
        "the visitor's data is kept"
    );
    let reply = app(post("/log-out", Some(&cookie))).await;
    assert_eq!(reply.cookie(), CookieChange::Removed);
    assert_eq!(app(get("/who", Some(&cookie))).await.body, "nobody");
    assert_eq!(site.records(), 0);
}

async fn a_server_error_stores_nothing(site: Site, app: App) {
    let reply = app(get("/fail", None)).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (StatusCode::BAD_GATEWAY, "failed")
    );
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

async fn a_store_that_is_down_is_503(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = cookie_of(&key);
    for operation in [Operation::Load, Operation::Save] {
        site.store.refuse(Call::of(operation).and_later());
        let reply = app(post("/write", Some(&cookie))).await;
        assert!(site.store.clear_faults(), "{operation:?} was not refused");
        assert_eq!(
            reply.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{operation:?}"
        );
        assert_eq!(reply.cookie(), CookieChange::Untouched, "{operation:?}");
    }
    assert_eq!(app(post("/write", Some(&cookie))).await.body, "1");
}

async fn a_session_that_was_ended_meanwhile_is_409(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = cookie_of(&key);
    let gate = site.store.hold(Operation::Save);
    let slow = app(post("/write", Some(&cookie)));
    let end = async {
        gate.reached().await;
        app(post("/log-out", Some(&cookie))).await;
        gate.release();
    };
    let (reply, ()) = tokio::join!(slow, end);
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert!(reply.reason.is_some());
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

async fn an_announced_response_is_no_answer_and_stores_nothing(site: Site, app: App) {
    let reply = app(get("/announce", None)).await;
    assert_eq!(reply.status, StatusCode::EARLY_HINTS);
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

async fn a_session_that_may_still_be_read_is_503_and_its_cookie_is_removed(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let half_gone = || StoreError::deleted_within("a store", IDLE);
    site.store
        .refuse_with(Call::of(Operation::Delete).and_later(), half_gone);
    let reply = app(post("/log-out", Some(&cookie_of(&key)))).await;
    assert!(site.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.cookie(), CookieChange::Removed);
    assert_eq!(reply.headers[CACHE_CONTROL], "private");
    assert!(
        !reply.body.contains("goodbye"),
        "the handler's response was sent"
    );
}

async fn a_read_of_a_session_that_was_ended_meanwhile_is_answered(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let cookie = cookie_of(&key);
    let gate = site.store.hold(Operation::Save);
    let slow = app(get("/write", Some(&cookie)));
    let end = async {
        gate.reached().await;
        app(post("/log-out", Some(&cookie))).await;
        gate.release();
    };
    let (reply, ()) = tokio::join!(slow, end);
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, "1"));
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 0)
    );
}

async fn a_stream_saves_to_the_session_that_is_there_and_can_not_make_a_new_one(
    site: Site,
    app: App,
) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let reply = app(get("/stream", Some(&cookie_of(&key)))).await;
    assert_eq!(reply.body, "stored");
    assert!(site.stored(&key).await.unwrap().contains_key("late"));
    let reply = app(get("/stream", None)).await;
    assert_eq!(reply.body, "too late");
    assert_eq!(
        (reply.cookie(), site.records()),
        (CookieChange::Untouched, 1)
    );
}

async fn a_handler_that_panics_stores_only_what_was_acknowledged(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let request = app(get("/panic", Some(&cookie_of(&key))));
    let thread = LocalSet::new();
    let panicked = thread.run_until(async { spawn_local(request).await }).await;
    assert!(panicked.unwrap_err().is_panic());
    let session = site.stored(&key).await.expect("the key was not changed");
    assert_eq!(session.keys(), ["n", "acknowledged"]);
}

async fn a_client_that_is_gone_leaves_only_what_was_acknowledged(site: Site, app: App) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let acknowledged = async {
        while !site
            .stored(&key)
            .await
            .unwrap()
            .contains_key("acknowledged")
        {
            yield_now().await;
        }
    };
    tokio::select! {
        biased;
        reply = app(get("/wait", Some(&cookie_of(&key)))) => panic!("it waits: {reply:?}"),
        () = acknowledged => {}
    }
    let session = site.stored(&key).await.expect("the key was not changed");
    assert_eq!(session.keys(), ["n", "acknowledged"]);
}

async fn what_a_handler_says_about_caches_and_cookies_is_kept_where_it_is_safe(
    site: Site,
    app: App,
) {
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    for (path, vary, cache) in [
        ("/says", "Accept", "public, max-age=60"),
        ("/reads-and-says", "Accept, Cookie", "max-age=60"),
        ("/cycles-and-says", "Accept, Cookie", "max-age=60, private"),
    ] {
        let reply = app(get(path, Some(&cookie_of(&key)))).await;
        assert_eq!(reply.headers[VARY], vary, "{path}");
        assert_eq!(reply.headers[CACHE_CONTROL], cache, "{path}");
        let set: Vec<_> = reply.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(
            (set.len(), set[0].as_bytes()),
            (2, &b"theme=dark"[..]),
            "{path}"
        );
        assert_eq!(
            set[1] != "__Host-sessionid=from-the-handler",
            path == "/cycles-and-says",
            "{path}: ours wins where there is one"
        );
    }
}

async fn a_page_that_asks_by_itself_renews_nothing(site: Site, app: App) {
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let cookie = cookie_of(&key);
    site.clock.advance(IDLE / 2);
    for (path, writes) in [("/quiet/who", "-"), ("/who", "save")] {
        let reply = app(get(path, Some(&cookie))).await;
        assert_eq!(reply.body, "ada", "{path}");
        assert_eq!(site.writes(), writes, "{path}");
    }
}

async fn pages_for_members_lead_to_the_log_in_and_back(_site: Site, app: App) {
    let page = |key: Option<&str>, mode: &'static str| {
        let mut request = get("/members/who?a=b&c=d", key.map(cookie_of).as_deref());
        let mode = HeaderValue::from_static(mode);
        request.headers_mut().insert("sec-fetch-mode", mode);
        request
    };
    let reply = app(page(None, "navigate")).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(
        reply.headers[LOCATION],
        "/log-in?next=/members/who%3Fa%3Db%26c%3Dd"
    );
    assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
    let reply = app(page(None, "cors")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
    let reason = reply.reason.expect("an outer layer finds the error");
    assert!(reason.contains("nobody is logged in"), "{reason}");
    let key = app(post("/log-in", None)).await.expect_issued();
    assert_eq!(app(page(Some(&key), "navigate")).await.body, "ada");
}

async fn a_handler_may_ask_for_an_owner(site: Site, app: App) {
    let seven = site.visitor(|session| session.log_in(7).unwrap()).await;
    let ada = site.visitor(|session| session.log_in("ada").unwrap()).await;
    for (key, status) in [(Some(&seven), 200), (Some(&ada), 500), (None, 401)] {
        let cookie = key.map(|key| cookie_of(key));
        let reply = app(get("/number", cookie.as_deref())).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.body == "7", status == 200, "{reply:?}");
        assert_eq!(reply.reason.is_some(), status != 200);
    }
}
