//! What the tests of applications are given: clients and sessions that behave as real ones do.
use axum::Router;
use axum::routing::{get as on_get, post as on_post};
use http::StatusCode;
use session_core::{KeyRing, SealedIrrevocableCookies};
use session_http::testing::{Operation, TestClient, TestSessions};
use session_http::{
    CookieConfig, Error, KeyHeader, LazySession, MemoryStore, Owner, Policy, Session, SessionError,
    SessionLayer,
};

use crate::support::{Reply, send};

fn app(layer: SessionLayer) -> Router {
    let who = async |session: Session| {
        session
            .owner()
            .map_or("nobody".to_owned(), |owner| owner.as_str().to_owned())
    };
    let fail = async |session: Session| {
        session.set("n", &13).unwrap();
        StatusCode::BAD_GATEWAY
    };
    Router::new()
        .route("/who", on_get(who))
        .route("/fail", on_post(fail))
        .route(
            "/cycle",
            on_post(async |session: Session| session.cycle_key()),
        )
        .route(
            "/log-out",
            on_post(async |session: LazySession| session.log_out()),
        )
        .layer(layer)
}

async fn who(app: &Router, client: &TestClient) -> Reply {
    let request = client.get("/who").body(axum::body::Body::empty());
    send(app, request.expect("this is a request")).await
}

async fn post(app: &Router, client: &mut TestClient, path: &str) -> StatusCode {
    let request = client.post(path).body(axum::body::Body::empty());
    let reply = send(app, request.expect("this is a request")).await;
    client.receive(&reply.headers);
    reply.status
}

#[tokio::test]
async fn a_client_is_logged_in_followed_and_logged_out_whatever_its_key_travels_in() {
    type Change = fn(SessionLayer) -> SessionLayer;
    let rows: [(&str, Change); 5] = [
        ("the default", |layer| layer),
        ("another cookie", |layer| {
            layer.with_cookie(CookieConfig::builder().with_name("id").build().unwrap())
        }),
        ("as in Django", SessionLayer::django_compatible),
        ("a bearer token", SessionLayer::with_bearer_token),
        ("a header", |layer| {
            layer.with_header(KeyHeader::parse("Shop-Session").unwrap())
        }),
    ];
    for (what, change) in rows {
        let sessions = TestSessions::new().with_layer(change);
        let app = app(sessions.layer());
        let mut ada = sessions.client();
        assert_eq!(who(&app, &ada).await.body, "nobody", "{what}");
        assert!(ada.session().await.unwrap().is_none(), "{what}");
        ada.log_in("ada").await.unwrap();
        let drawn = ada
            .change(|session| session.set("n", &1).map(|()| "drawn"))
            .await;
        assert_eq!(drawn.unwrap(), "drawn");
        assert_eq!(who(&app, &ada).await.body, "ada", "{what}");
        let before = ada.clone();
        assert_eq!(post(&app, &mut ada, "/cycle").await, StatusCode::OK);
        assert_eq!(
            who(&app, &ada).await.body,
            "ada",
            "{what}: the new key is not taken"
        );
        assert_eq!(who(&app, &before).await.body, "nobody", "{what}");
        assert_eq!(post(&app, &mut ada, "/fail").await, StatusCode::BAD_GATEWAY);
        let session = ada.session().await.unwrap().expect("it lives");
        assert_eq!(session.get("n").unwrap(), Some(1), "{what}");
        assert_eq!(session.owner(), Some(Owner::from("ada")));
        let other_tab = ada.clone();
        assert_eq!(post(&app, &mut ada, "/log-out").await, StatusCode::OK);
        assert!(
            ada.header().is_none(),
            "{what}: the client was not told to forget"
        );
        assert!(other_tab.session().await.unwrap().is_none(), "{what}");
        assert_eq!(sessions.store().inner().inner().len(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_client_fails_as_a_request_would() {
    let sessions = TestSessions::new();
    let mut ada = sessions.client();
    let refused = ada.change(|session| session.set("_n", &1)).await;
    let is_named = matches!(
        refused,
        Err(Error::Session(SessionError::ReservedName { .. }))
    );
    assert!(is_named, "{refused:?}");
    sessions.store().refuse(Operation::Create);
    let failed = ada.log_in(7).await.unwrap_err();
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ada.header().is_none());
    ada.log_in(7).await.unwrap();
    assert!(ada.header().is_some());
}

#[tokio::test]
async fn a_client_is_made_for_any_layer_and_shows_no_key() {
    let layer = SessionLayer::new(MemoryStore::new());
    let app = app(layer.clone());
    let mut client = TestClient::new(&layer);
    client.log_in(7).await.unwrap();
    assert_eq!(who(&app, &client).await.body, "7");
    let (_, value) = client.header().unwrap();
    let key = value.to_str().unwrap().rsplit('=').next().unwrap();
    let request = client.get("/").body(()).unwrap();
    for shown in [format!("{client:?}"), format!("{request:?}")] {
        assert!(!shown.contains(key), "a failing test prints a key: {shown}");
    }
}

#[tokio::test]
async fn a_client_keeps_a_session_that_lives_in_its_cookie() {
    let key: Vec<u8> = (0..32).collect();
    let ring = KeyRing::from_bytes(&key).unwrap();
    let manager = SealedIrrevocableCookies::new(&ring).manager(Policy::new());
    let layer = SessionLayer::new(manager.unwrap());
    let app = app(layer.clone());
    let mut ada = TestClient::new(&layer);
    ada.log_in("ada").await.unwrap();
    let pushed = ada.change(|session| session.messages().info("hello"));
    pushed.await.unwrap();
    assert_eq!(who(&app, &ada).await.body, "ada");
    let shown = ada
        .change(|session| session.messages().pop())
        .await
        .unwrap();
    assert_eq!(shown.len(), 1);
    let session = ada.session().await.unwrap().expect("it lives");
    assert!(session.messages().peek().unwrap().is_empty());
    let needs_store = |refused: Result<(), SessionError>| {
        let is_named = matches!(refused, Err(SessionError::Unsupported { .. }));
        assert!(is_named, "{refused:?}");
    };
    needs_store(session.messages().take().await.map(drop));
    needs_store(session.detach().is_alive().await.map(drop));
    needs_store(session.detach().ended().await);
    assert_eq!(post(&app, &mut ada, "/log-out").await, StatusCode::OK);
    assert!(ada.header().is_none());
}

#[tokio::test]
async fn sessions_without_a_server_do_all_that_others_do() {
    let session = Session::for_test();
    assert!(session.is_empty() && session.owner().is_none());
    let drawn = session.modify_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    assert_eq!(drawn.await.unwrap(), 1);
    assert_eq!(session.take::<u32>("n").await.unwrap(), Some(1));
    session.set("m", &2).unwrap();
    session.save().await.unwrap();
    assert!(session.session_key().is_some());
    let user = Session::logged_in(7);
    assert_eq!(user.owner(), Some(Owner::from(7)));
    assert!(
        user.own_sessions().await.unwrap().is_empty(),
        "they share a store"
    );
    let lazy = LazySession::for_test();
    lazy.load().await.unwrap().set("n", &1).unwrap();
    lazy.log_out();
    assert!(lazy.load().await.unwrap().is_empty());
}

#[test]
#[should_panic(expected = "this is not the id of an owner")]
fn a_session_of_nobody_is_not_logged_in() {
    drop(Session::logged_in(""));
}

#[test]
fn a_test_that_stores_nothing_is_not_warned() {
    let ((), log) = crate::support::heard(async {
        Session::for_test().set("n", &1).unwrap();
        let sessions = TestSessions::new();
        let mut client = sessions.client();
        client.change(|session| session.set("n", &1)).await.unwrap();
        drop(client.session().await.unwrap());
    });
    assert!(!log.contains("WARN"), "{log}");
}
