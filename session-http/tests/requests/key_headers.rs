//! Sessions whose key comes in a header that was chosen by name: who is let in by what, and what responses say.
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::AppendHeaders;
use axum::routing::any;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use http::{HeaderName, Request, StatusCode};
use session_core::conformance::{Call, Operation};
use session_core::store::StoreError;
use session_core::{Policy, Renewal};
use session_http::{KeyHeader, LazySession, Session, SessionLayer};

use crate::support::{COOKIE_NAME, IDLE, Reply, Site, cookie_of, send};

const KEY_HEADER: HeaderName = HeaderName::from_static("shop-session");
const SESSION_TOKEN: HeaderName = HeaderName::from_static("session-token");

async fn act(
    Path(page): Path<String>,
    lazy: LazySession,
) -> session_http::Result<(StatusCode, String)> {
    let mut text = String::new();
    match page.as_str() {
        "log-in" => lazy.load().await?.log_in("ada")?,
        "log-out" => lazy.log_out(),
        "write" => lazy.load().await?.set("n", &1)?,
        "fail" => {
            lazy.load().await?.log_in("ada")?;
            return Ok((StatusCode::BAD_GATEWAY, text));
        }
        "who" => {
            let owner = lazy.load().await?.owner();
            text = owner.map_or_else(|| "nobody".to_owned(), |owner| owner.as_str().to_owned());
        }
        _ => {}
    }
    Ok((StatusCode::OK, text))
}

fn app(layer: SessionLayer) -> Router {
    let overruled = async |session: Session| {
        session.set("n", &1)?;
        let headers = [
            (SESSION_TOKEN, "theirs"),
            (KEY_HEADER, "theirs"),
            (CACHE_CONTROL, "public, max-age=60"),
            (VARY, "Accept"),
        ];
        Ok::<_, session_http::Error>(AppendHeaders(headers))
    };
    let shared = async |_: Session| AppendHeaders([(CACHE_CONTROL, "public, max-age=60")]);
    Router::new()
        .route("/overruled", any(overruled))
        .route("/shared", any(shared))
        .route("/{page}", any(act))
        .layer(layer)
}

/// Each way in which a key may come: the layer, the request's header, the response's, and how a key is written in the former.
fn carriers(site: &Site) -> [(SessionLayer, HeaderName, HeaderName, &'static str); 2] {
    let named = KeyHeader::parse("Shop-Session").unwrap();
    [
        (
            site.layer().with_bearer_token(),
            AUTHORIZATION,
            SESSION_TOKEN,
            "Bearer ",
        ),
        (site.layer().with_header(named), KEY_HEADER, KEY_HEADER, ""),
    ]
}

fn ask(path: &str, headers: &[(&HeaderName, &str)]) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// What a response says in a header, which comes at most once.
fn said<'a>(reply: &'a Reply, name: &HeaderName) -> Option<&'a str> {
    let mut values = reply.headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert_eq!(values.next(), None, "{name} comes twice");
    value
}

#[tokio::test]
async fn a_client_without_cookies_is_recognized_by_the_key_in_its_header() {
    let site = Site::new();
    for (layer, asked_in, told_in, prefix) in carriers(&site) {
        let app = app(layer);
        let reply = send(&app, ask("/log-in", &[])).await;
        assert_eq!(reply.status, StatusCode::OK);
        let key = said(&reply, &told_in).expect("the client is told of its key");
        assert_eq!(said(&reply, &CACHE_CONTROL), Some("no-store"));
        assert_eq!(
            said(&reply, &VARY),
            Some(if prefix.is_empty() {
                "shop-session"
            } else {
                "Authorization"
            })
        );
        assert!(reply.headers[&told_in].is_sensitive(), "a log shows it");
        assert!(site.stored(key).await.is_some());

        let credentials = format!("{prefix}{key}");
        let reply = send(&app, ask("/who", &[(&asked_in, &credentials)])).await;
        assert_eq!(reply.body, "ada");
        assert_eq!(
            said(&reply, &told_in).filter(|told| !told.is_empty()),
            None,
            "a key is told of again"
        );
        assert!(said(&reply, &VARY).is_some());
        assert!(!reply.headers.contains_key(SET_COOKIE));

        let reply = send(&app, ask("/log-in", &[(&asked_in, &credentials)])).await;
        let newer = said(&reply, &told_in).expect("a log-in changes the key");
        assert_ne!(newer, key);
        let credentials = format!("{prefix}{newer}");

        let reply = send(&app, ask("/log-out", &[(&asked_in, &credentials)])).await;
        assert_eq!(
            (said(&reply, &told_in), said(&reply, &CACHE_CONTROL)),
            (Some(""), Some("no-store")),
            "the client is not told to forget its key"
        );
        assert!(!reply.headers.contains_key(SET_COOKIE));
        let reply = send(&app, ask("/who", &[(&asked_in, &credentials)])).await;
        assert_eq!(reply.body, "nobody");
        assert_eq!(said(&reply, &told_in), None, "an unknown key is answered");
        assert_eq!(site.records(), 0);
    }
}

#[tokio::test]
async fn id_11_a_layer_has_one_way_in_which_keys_come() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let (cookie, bearer) = (cookie_of(&key), format!("Bearer {key}"));
    let all: [(&HeaderName, &str); 4] = [
        (&COOKIE, &cookie),
        (&AUTHORIZATION, &bearer),
        (&KEY_HEADER, &key),
        (&SESSION_TOKEN, &key),
    ];
    let [(by_bearer, ..), (by_header, ..)] = carriers(&site);
    let last_counts = site
        .layer()
        .with_bearer_token()
        .with_cookie(session_http::CookieConfig::default());
    for (layer, own) in [
        (site.layer(), COOKIE),
        (by_bearer, AUTHORIZATION),
        (by_header, KEY_HEADER),
        (last_counts, COOKIE),
    ] {
        let app = app(layer);
        for one in all {
            let expected = if *one.0 == own { "ada" } else { "nobody" };
            let reply = send(&app, ask("/who", &[one])).await;
            assert_eq!(reply.body, expected, "{} where {own} counts", one.0);
        }
        let reply = send(&app, ask("/who", &all)).await;
        assert_eq!(reply.body, "ada", "what is in other headers disturbs {own}");
    }
}

#[tokio::test]
async fn what_is_no_key_reaches_no_store_and_is_nobody() {
    let site = Site::new();
    let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let [(by_bearer, ..), (by_header, ..)] = carriers(&site);
    let upper = key.to_ascii_uppercase();
    for (layer, header, values) in [
        (
            by_bearer,
            AUTHORIZATION,
            [
                key.clone(),
                format!("Basic {key}"),
                format!("Bearer{key}"),
                format!("Bearer {upper}"),
                format!("Bearer \"{key}\""),
                format!("Bearer {key} {key}"),
                format!("Bearer {key},"),
                "Bearer".to_owned(),
            ],
        ),
        (
            by_header,
            KEY_HEADER,
            [
                format!("Bearer {key}"),
                format!("{key}, {key}"),
                format!("\"{key}\""),
                upper.clone(),
                format!("{key}a"),
                format!("{COOKIE_NAME}={key}"),
                String::new(),
                " ".to_owned(),
            ],
        ),
    ] {
        let app = app(layer);
        for value in values {
            let reply = send(&app, ask("/who", &[(&header, &value)])).await;
            assert_eq!(reply.body, "nobody", "{header}: {value}");
            assert_eq!(site.store.inner().count(Operation::Load), 0, "{value}");
        }
    }
}

#[tokio::test]
async fn of_several_keys_in_headers_exactly_one_live_one_counts() {
    let site = Site::new();
    let ada = site.visitor(|session| session.log_in("ada").unwrap()).await;
    let bob = site.visitor(|session| session.log_in("bob").unwrap()).await;
    let unknown = "abcdefghijklmnopqrstuvwxyz012345";
    for (layer, header, _, prefix) in carriers(&site) {
        let app = app(layer);
        let many: Vec<String> = (0..5).map(|n| format!("{n}{}", &unknown[1..])).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain([&*ada]).collect();
        for (keys, expected) in [
            (vec![unknown, &ada], "ada"),
            (vec!["no key", &ada], "ada"),
            (vec![&ada, &ada], "ada"),
            (vec![&ada, &bob], "nobody"),
            (many, "nobody"),
        ] {
            let values: Vec<String> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
            let headers: Vec<_> = values.iter().map(|value| (&header, &**value)).collect();
            let reply = send(&app, ask("/who", &headers)).await;
            assert_eq!(reply.body, expected, "{} values of {header}", keys.len());
        }
    }
}

#[tokio::test]
async fn the_session_s_own_headers_stand_and_no_cache_keeps_a_key() {
    let site = Site::new();
    for (layer, asked_in, told_in, prefix) in carriers(&site) {
        let app = app(layer);
        let reply = send(&app, ask("/overruled", &[])).await;
        let key = said(&reply, &told_in).expect("the client is told of its key");
        assert!(site.stored(key).await.is_some(), "{key} is the handler's");
        assert_eq!(said(&reply, &CACHE_CONTROL), Some("no-store"));
        let vary = said(&reply, &VARY).unwrap().to_ascii_lowercase();
        assert_eq!(vary, format!("accept, {asked_in}"));

        let credentials = format!("{prefix}{key}");
        let reply = send(&app, ask("/shared", &[(&asked_in, &credentials)])).await;
        assert_eq!(said(&reply, &CACHE_CONTROL), Some("max-age=60"));
        assert!(said(&reply, &VARY).is_some());
    }
}

#[tokio::test]
async fn a_server_error_tells_of_no_key_and_an_outage_takes_none_away() {
    let site = Site::new();
    for (layer, asked_in, told_in, prefix) in carriers(&site) {
        let app = app(layer);
        let reply = send(&app, ask("/fail", &[])).await;
        assert_eq!((reply.status, site.records()), (StatusCode::BAD_GATEWAY, 0));
        assert_eq!(said(&reply, &told_in), None);

        let key = site.visitor(|session| session.log_in("ada").unwrap()).await;
        let credentials = format!("{prefix}{key}");
        site.store.refuse(Call::of(Operation::Load).and_later());
        let reply = send(&app, ask("/who", &[(&asked_in, &credentials)])).await;
        assert!(site.store.clear_faults());
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(said(&reply, &told_in), None);
        let session = site.stored(&key).await.expect("it is still there");
        session.flush();
        session.save().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_never_asks_is_answered_without_a_look_at_its_header() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    for (layer, asked_in, told_in, prefix) in carriers(&site) {
        let credentials = format!("{prefix}{key}");
        let reply = send(&app(layer), ask("/static", &[(&asked_in, &credentials)])).await;
        assert_eq!(site.store.inner().total(), 0);
        assert_eq!((said(&reply, &VARY), said(&reply, &told_in)), (None, None));
    }
}

#[tokio::test]
async fn a_session_that_every_request_renews_is_renewed_by_its_header_too() {
    let site = Site::with_policy(Policy::new().with_renewal(Renewal::EveryRequest));
    for (layer, asked_in, _, prefix) in carriers(&site) {
        let app = app(layer);
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        for _ in 0..3 {
            site.clock.advance(IDLE / 2);
            let credentials = format!("{prefix}{key}");
            send(&app, ask("/static", &[(&asked_in, &credentials)])).await;
        }
        assert!(site.stored(&key).await.is_some(), "it was not renewed");
    }
}

#[tokio::test]
async fn two_layers_of_one_header_are_one_and_a_cookie_s_beside_them_is_another() {
    for number in 0..2 {
        let (inner, outer) = (Site::new(), Site::new());
        let [(by_inner, ..), (by_outer, _, told_in, _)] =
            [&inner, &outer].map(|site| carriers(site)[number].clone());
        let reply = send(&app(by_inner.clone()).layer(by_outer), ask("/write", &[])).await;
        assert!(said(&reply, &told_in).is_some());
        assert_eq!((inner.records(), outer.records()), (0, 1));

        let reply = send(&app(by_inner).layer(outer.layer()), ask("/write", &[])).await;
        assert!(said(&reply, &told_in).is_some());
        assert_eq!((inner.records(), outer.records()), (1, 1));
    }
}

#[tokio::test]
async fn the_request_s_header_is_marked_so_that_no_log_shows_it() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    for (layer, asked_in, _, prefix) in carriers(&site) {
        let show = async |request: Request<Body>| format!("{request:?}");
        let app = Router::new().route("/", any(show)).layer(layer);
        let credentials = format!("{prefix}{key}");
        let reply = send(&app, ask("/", &[(&asked_in, &credentials)])).await;
        assert!(reply.body.contains("Sensitive"), "{}", reply.body);
        assert!(!reply.body.contains(&key));
    }
}

#[tokio::test]
async fn a_deletion_that_may_leave_a_copy_is_told_to_the_client_in_its_header() {
    let site = Site::new();
    for (layer, asked_in, told_in, prefix) in carriers(&site) {
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let fails = || StoreError::deleted_within("a test", std::time::Duration::from_secs(60));
        site.store.refuse_with(Call::of(Operation::Delete), fails);
        let credentials = format!("{prefix}{key}");
        let reply = send(&app(layer), ask("/log-out", &[(&asked_in, &credentials)])).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(said(&reply, &told_in), Some(""));
    }
}
