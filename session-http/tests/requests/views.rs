//! Structs of a session, over HTTP: handlers get them in their current shape or not at all.
use axum::Router;
use axum::routing::get as on_get;
use serde::{Deserialize, Serialize};
use session_http::testing::TestSessions;
use session_http::{Error, Field, OldView, Session, SessionError, SessionLayer, SessionView, View};

use crate::support::{Reply, send};

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    lines: Vec<(String, u32)>,
}

impl View for Cart {
    const FIELD: Field<Self> = Field::new("cart");
    const VERSION: u32 = 2;

    fn upgrade(old: OldView<'_>) -> Result<Self, SessionError> {
        let articles: Vec<String> = old.parse()?;
        let lines = articles.into_iter().map(|article| (article, 1)).collect();
        Ok(Self { lines })
    }
}

fn app(layer: SessionLayer) -> Router {
    let show = async |cart: SessionView<Cart>| -> session_http::Result<String> {
        let lines = cart.get()?.lines;
        let lines = lines
            .iter()
            .map(|(article, count)| format!("{count} {article};"));
        Ok(lines.collect())
    };
    let add = async |cart: SessionView<Cart>, session: Session| {
        cart.modify(|cart| cart.lines.push(("tea".to_owned(), 2)))
            .unwrap();
        session.view::<Cart>().is_set().to_string()
    };
    Router::new()
        .route("/", on_get(show))
        .route("/add", on_get(add))
        .layer(layer)
}

async fn get(app: &Router, client: &session_http::testing::TestClient, path: &str) -> Reply {
    let request = client.get(path).body(axum::body::Body::empty());
    send(app, request.expect("this is a request")).await
}

#[tokio::test]
async fn a_handler_gets_a_default_an_upgraded_or_a_current_value() {
    let sessions = TestSessions::new();
    let app = app(sessions.layer());
    let mut client = sessions.client();
    assert_eq!(get(&app, &client, "/").await.body, "");
    assert_eq!(sessions.store().inner().total(), 0, "a default is stored");
    client
        .change(|session| session.set("cart", &["coffee"]))
        .await
        .unwrap();
    assert_eq!(get(&app, &client, "/").await.body, "1 coffee;");
    let session = client.session().await.unwrap().expect("it lives");
    let stored = session.snapshot();
    let expected = r#"{"_version":2,"lines":[["coffee",1]]}"#;
    assert_eq!(stored.json("cart"), Some(expected), "the upgrade is lost");
    assert_eq!(get(&app, &client, "/add").await.body, "true");
    assert_eq!(get(&app, &client, "/").await.body, "1 coffee;2 tea;");
}

#[tokio::test]
async fn a_handler_is_not_called_with_what_can_not_be_upgraded() {
    let sessions = TestSessions::new();
    let app = app(sessions.layer());
    let mut client = sessions.client();
    client
        .change(|session| session.set("cart", &"canary"))
        .await
        .unwrap();
    let reply = get(&app, &client, "/add").await;
    assert_eq!(reply.status, 500);
    assert!(!reply.body.contains("canary"), "{}", reply.body);
    let error = reply.error.expect("an outer layer can see why");
    let is_named = matches!(
        &*error,
        Error::Session(SessionError::NotUpgradable { name, .. }) if name == "cart"
    );
    assert!(is_named, "{error:?}");
    let session = client.session().await.unwrap().expect("it lives");
    let kept: Option<String> = session.get("cart").unwrap();
    assert_eq!(kept.as_deref(), Some("canary"));
}

#[cfg(feature = "actix-web")]
#[tokio::test]
async fn a_handler_of_actix_web_gets_the_same() {
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, web};

    let show = async |cart: SessionView<Cart>| -> session_http::Result<String> {
        cart.modify(|cart| cart.lines.push(("tea".to_owned(), 2)))?;
        Ok(format!("{:?}", cart.get()?.lines))
    };
    let sessions = TestSessions::new();
    let app = App::new().route("/", web::to(show)).wrap(sessions.layer());
    let service = init_service(app).await;
    let mut client = sessions.client();
    for (before, body) in [
        (
            serde_json::json!(["coffee"]),
            r#"[("coffee", 1), ("tea", 2)]"#,
        ),
        (serde_json::json!("canary"), ""),
    ] {
        client
            .change(|session| session.set("cart", &before))
            .await
            .unwrap();
        let (name, value) = client.header().expect("it has a session");
        let request = TestRequest::default().insert_header((name.as_str(), value.as_bytes()));
        let response = call_service(&service, request.to_request()).await;
        let is_ok = response.status().is_success();
        let text = read_body(response).await;
        assert_eq!(is_ok, !body.is_empty());
        assert!(!is_ok || text == body, "{text:?}");
    }
}
