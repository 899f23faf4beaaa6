//! Several sessions in one request, each with a cookie of its own: a shop's, and the back office's beside it.
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::any;
use http::header::{CACHE_CONTROL, LOCATION, VARY};
use http::{Request, StatusCode, Uri};
use session_core::conformance::{Call, Operation};
use session_core::{KeyPolicy, MemoryStore, Policy, SessionManager};
use session_http::{
    CookieConfig, Error, LazySessionOf, LoginRequired, Result, Session, SessionLayer, SessionOf,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{CookieChange, Reply, Site, get, send};

const SHOP: &str = "__Host-shop";
const OFFICE: &str = "__Host-office";

enum Office {}
enum Nobody {}

fn named(layer: SessionLayer, cookie: &str) -> SessionLayer {
    let cookie = CookieConfig::builder().with_name(cookie).build();
    layer.with_cookie(cookie.unwrap())
}

async fn act(Path(page): Path<String>, shop: Session, office: SessionOf<Office>) -> Result<String> {
    let (mut first, mut second): (u32, u32) = (0, 0);
    match page.as_str() {
        "both" => {
            shop.modify("n", |n: &mut u32| *n += 1)?;
            office.modify("n", |n: &mut u32| *n += 10)?;
            first = shop.get("n")?.unwrap_or_default();
            second = office.get("n")?.unwrap_or_default();
        }
        "log-in" => {
            shop.log_in("ada")?;
            office.log_in("adams")?;
        }
        "leave-shop" => shop.log_out(),
        "leave-office" => office.log_out(),
        _ => {
            first = shop.get("n")?.unwrap_or_default();
            second = office.get("n")?.unwrap_or_default();
        }
    }
    Ok(format!("{first} {second}"))
}

fn app(shop: SessionLayer, office: SessionLayer) -> Router {
    Router::new()
        .route("/{page}", any(act))
        .layer(named(shop, SHOP))
        .layer(named(office, OFFICE).with_marker::<Office>())
}

/// What a browser that got both cookies sends from then on.
fn both(reply: &Reply) -> String {
    let value = |name| match reply.cookie_named(name) {
        CookieChange::Set(value) => value,
        other => panic!("{name}: {other:?}"),
    };
    format!("{SHOP}={}; {OFFICE}={}", value(SHOP), value(OFFICE))
}

#[tokio::test]
async fn one_request_changes_both_and_each_has_a_cookie_and_a_store_of_its_own() {
    let (shop, office) = (Site::new(), Site::new());
    let app = app(shop.layer(), office.layer());
    let reply = send(&app, get("/both", None)).await;
    assert_eq!(reply.body, "1 10");
    assert_eq!(reply.headers[VARY], "Cookie");
    assert_eq!(reply.headers[CACHE_CONTROL], "private");
    assert_eq!((shop.records(), office.records()), (1, 1));
    let cookies = both(&reply);

    let reply = send(&app, get("/both", Some(&cookies))).await;
    assert_eq!(reply.body, "2 20");
    for name in [SHOP, OFFICE] {
        assert_eq!(reply.cookie_named(name), CookieChange::Untouched);
    }
    assert_eq!(
        (shop.writes(), office.writes()),
        ("create+save".to_owned(), "create+save".to_owned())
    );
}

#[tokio::test]
async fn the_log_out_of_one_leaves_the_other() {
    for (leave, gone, left, after) in [
        ("/leave-shop", SHOP, OFFICE, "0 10"),
        ("/leave-office", OFFICE, SHOP, "1 0"),
    ] {
        let (shop, office) = (Site::new(), Site::new());
        let app = app(shop.layer(), office.layer());
        let cookies = both(&send(&app, get("/both", None)).await);
        let reply = send(&app, get(leave, Some(&cookies))).await;
        assert_eq!(reply.cookie_named(gone), CookieChange::Removed, "{leave}");
        assert_eq!(reply.cookie_named(left), CookieChange::Untouched, "{leave}");
        let reply = send(&app, get("/look", Some(&cookies))).await;
        assert_eq!(reply.body, after, "after {leave}");
        assert_eq!(shop.records() + office.records(), 1);
    }
}

#[tokio::test]
async fn each_ends_by_its_own_policy() {
    let (shop, office) = (
        Site::new(),
        Site::with_policy(Policy::new().with_idle_timeout(Duration::from_secs(900))),
    );
    let app = app(shop.layer(), office.layer());
    let cookies = both(&send(&app, get("/both", None)).await);
    for site in [&shop, &office] {
        site.clock.advance(Duration::from_secs(1000));
    }
    let reply = send(&app, get("/look", Some(&cookies))).await;
    assert_eq!(reply.body, "1 0");
}

/// An application with both kinds of sessions in one store.
fn in_one_store(office_keys: KeyPolicy) -> Router {
    let store = Arc::new(MemoryStore::new());
    let shop = SessionManager::new(Arc::clone(&store));
    let office = SessionManager::new(store).with_policy(Policy::new().with_keys(office_keys));
    app(SessionLayer::new(shop), SessionLayer::new(office))
}

#[tokio::test]
async fn sep_01_a_key_of_one_is_unknown_to_the_other_if_their_stores_or_their_key_policies_differ()
{
    let two_stores = app(Site::new().layer(), Site::new().layer());
    let named = in_one_store(KeyPolicy::hashed_for("office"));
    // What the page warns of: whoever has a session in the shop has the same one in the office.
    let mistaken = in_one_store(KeyPolicy::Hashed);
    for (app, expected) in [(two_stores, "0 0"), (named, "0 0"), (mistaken, "10 1")] {
        let cookies = both(&send(&app, get("/both", None)).await);
        let swapped = cookies.replace(SHOP, "both").replace(OFFICE, SHOP);
        let swapped = swapped.replace("both", OFFICE);
        let reply = send(&app, get("/look", Some(&swapped))).await;
        assert_eq!(reply.body, expected);
        let reply = send(&app, get("/look", Some(&cookies))).await;
        assert_eq!(reply.body, "1 10", "each opens its own");
    }
}

/// Who logs in gets a second cookie, of another name, and what the first one opens has nobody logged in.
#[tokio::test]
async fn fix_09_with_a_cookie_for_members_alone_the_anonymous_one_never_opens_a_record_with_an_owner()
 {
    let store = Arc::new(MemoryStore::new());
    let visitors = SessionManager::new(Arc::clone(&store));
    let keys = KeyPolicy::hashed_for("members");
    let members = SessionManager::new(store).with_policy(Policy::new().with_keys(keys));
    let log_in = async |visitor: Session, member: SessionOf<Office>| {
        visitor.set("n", &1)?;
        member.log_in("ada")?;
        Ok::<_, Error>("in")
    };
    let look = async |visitor: Session, member: SessionOf<Office>| {
        let owner = |is_there: bool| if is_there { "somebody" } else { "nobody" };
        let (first, second) = (visitor.owner(), member.owner());
        format!("{} {}", owner(first.is_some()), owner(second.is_some()))
    };
    let app = Router::new()
        .route("/log-in", any(log_in))
        .route("/look", any(look))
        .layer(named(SessionLayer::new(visitors), SHOP))
        .layer(named(SessionLayer::new(members), OFFICE).with_marker::<Office>());
    let cookies = both(&send(&app, get("/log-in", None)).await);
    let swapped = cookies.replace(SHOP, "both").replace(OFFICE, SHOP);
    let swapped = swapped.replace("both", OFFICE);
    for (cookies, expected) in [(cookies, "nobody somebody"), (swapped, "nobody nobody")] {
        let reply = send(&app, get("/look", Some(&cookies))).await;
        assert_eq!(reply.body, expected);
    }
}

#[tokio::test]
async fn what_was_stored_of_one_is_told_although_the_other_could_not_be_stored() {
    let (shop, office) = (Site::new(), Site::new());
    let app = app(shop.layer(), office.layer());
    let cookies = both(&send(&app, get("/both", None)).await);
    office.store.refuse(Call::of(Operation::Rotate).and_later());
    let reply = send(&app, get("/log-in", Some(&cookies))).await;
    assert!(office.store.clear_faults());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let CookieChange::Set(key) = reply.cookie_named(SHOP) else {
        panic!("the shop's old key is dead, and its new one was not sent: {reply:?}")
    };
    assert_eq!(reply.headers[CACHE_CONTROL], "private");
    assert!(shop.stored(&key).await.is_some());
    assert_eq!(reply.cookie_named(OFFICE), CookieChange::Untouched);
}

#[tokio::test]
async fn an_extractor_of_a_layer_that_is_not_there_says_what_is_missing() {
    let site = Site::new();
    let ask = async |_: LazySessionOf<Nobody>| "found";
    let inner = Router::new().route("/", any(ask));
    for app in [
        inner.clone().layer(site.layer()),
        inner.clone().layer(site.layer().with_marker::<Office>()),
        // Of two layers with one cookie the inner one does nothing.
        inner
            .layer(site.layer().with_marker::<Nobody>())
            .layer(site.layer().with_marker::<Office>()),
    ] {
        let reply = send(&app, get("/", None)).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        let told = reply.error.expect("the error is there").to_string();
        assert!(
            told.contains("Nobody") && told.contains("with_marker"),
            "{told}"
        );
        assert!(told.contains("a cookie or header of its own"), "{told}");
    }
}

#[tokio::test]
async fn everyone_who_names_a_layer_has_the_same_session_and_loads_it_once() {
    let (shop, office) = (Site::new(), Site::new());
    let inside = async |one: SessionOf<Office>, lazy: LazySessionOf<Office>, shop: Session| {
        one.set("n", &1)?;
        let two = lazy.load().await?.clone();
        assert!(shop.is_empty());
        Ok::<_, Error>(format!(
            "{:?} {}",
            two.get::<u32>("n")?,
            lazy.clone().load().await?.len()
        ))
    };
    let app = Router::new()
        .route("/", any(inside))
        .layer(named(shop.layer(), SHOP))
        .layer(named(office.layer(), OFFICE).with_marker::<Office>());
    let key = office
        .visitor(|session| session.set("m", &1).unwrap())
        .await;
    let reply = send(&app, get("/", Some(&format!("{OFFICE}={key}")))).await;
    assert_eq!(reply.body, "Some(1) 2");
    assert_eq!(office.store.inner().count(Operation::Load), 1);
    assert_eq!(shop.store.inner().total(), 0);
}

#[tokio::test]
async fn a_service_without_axum_names_a_layer_by_the_request_s_extensions() {
    let site = Site::new();
    let layer = site.layer().with_marker::<Office>();
    let service = layer.layer(service_fn(async |request: Request<Body>| {
        let office = SessionOf::<Office>::from_extensions(request.extensions()).await;
        Ok::<_, std::convert::Infallible>(
            match office.and_then(|office| Ok(office.set("n", &1)?)) {
                Ok(()) => StatusCode::OK.into_response(),
                Err(error) => error.into_response(),
            },
        )
    }));
    let Ok(response) = service.oneshot(get("/", None)).await;
    assert_eq!((response.status(), site.records()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_log_in_is_required_in_the_session_that_is_named() {
    let (shop, office) = (Site::new(), Site::new());
    let required = LoginRequired::redirecting_to(Uri::from_static("/office/log-in"));
    let app = Router::new()
        .route("/", any(async || "inside"))
        .layer(required.in_session_of::<Office>())
        .layer(named(shop.layer(), SHOP))
        .layer(named(office.layer(), OFFICE).with_marker::<Office>());
    let of_shop = shop.visitor(|session| session.log_in(7).unwrap()).await;
    let of_office = office.visitor(|session| session.log_in(7).unwrap()).await;
    for (cookie, status) in [
        (format!("{SHOP}={of_shop}"), 302),
        (format!("{OFFICE}={of_office}"), 200),
    ] {
        let mut request = get("/", Some(&cookie));
        let mode = http::HeaderValue::from_static("navigate");
        request.headers_mut().insert("sec-fetch-mode", mode);
        let reply = send(&app, request).await;
        assert_eq!(reply.status, status, "{cookie}");
        assert_eq!(reply.headers.contains_key(LOCATION), status == 302);
    }
}

#[cfg(feature = "actix-web")]
#[tokio::test]
async fn over_actix_web_the_same_extractors_find_both_and_refuse_who_is_not_logged_in() {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::web;
    use session_http::RequireOwner;

    let (shop, office) = (Site::new(), Site::new());
    let both = async |shop: Session, office: SessionOf<Office>, lazy: LazySessionOf<Office>| {
        shop.set("n", &1)?;
        office.set("n", &2)?;
        Ok::<_, Error>(lazy.load().await?.len().to_string())
    };
    let whose = async |RequireOwner(id): RequireOwner<u64>| id.to_string();
    let app = actix_web::App::new()
        .route("/both", web::to(both))
        .route("/whose", web::to(whose))
        .wrap(named(shop.layer(), SHOP))
        .wrap(named(office.layer(), OFFICE).with_marker::<Office>());
    let app = init_service(app).await;

    let reply = call_service(&app, TestRequest::get().uri("/both").to_request()).await;
    assert_eq!((shop.records(), office.records()), (1, 1));
    let set: Vec<_> = reply.headers().get_all("set-cookie").collect();
    assert_eq!(set.len(), 2, "{set:?}");

    let seven = shop.visitor(|session| session.log_in(7).unwrap()).await;
    for (cookie, status) in [(SHOP, 200), (OFFICE, 401)] {
        let request = TestRequest::get().uri("/whose");
        let request = request.insert_header(("cookie", format!("{cookie}={seven}")));
        let reply = call_service(&app, request.to_request()).await;
        assert_eq!(reply.status().as_u16(), status, "{cookie}");
        let cache = reply.headers().get("cache-control");
        assert_eq!(cache.is_some_and(|said| said == "no-store"), status == 401);
    }
}
