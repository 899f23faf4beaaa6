//! WebSockets and event streams that outlive their request, and end when their session does.
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get as on_get};
use axum::serve::Listener;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use session_core::conformance::{Call, Operation};
use session_http::{LazySession, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::{Site, cookie_of, get, send};

/// Connections within the process, so that time stands still while somebody is at work.
struct Connections(mpsc::Receiver<DuplexStream>);

impl Listener for Connections {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(connection) => (connection, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The client's end of a socket at `/socket`, once its handshake is done.
async fn connect(app: &Router, key: &str) -> DuplexStream {
    let (connections, listener) = mpsc::channel(1);
    let app = app.clone();
    tokio::spawn(async move { axum::serve(Connections(listener), app).await });
    let (mut client, server) = tokio::io::duplex(4096);
    connections.send(server).await.unwrap();
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {}\r\n\r\n",
        cookie_of(key)
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("a whole head"));
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    client
}

/// Sends a short text, masked as RFC 6455 section 5.3 asks of clients; with a mask of zeros it stays as it is.
async fn say(client: &mut DuplexStream, text: &str) {
    let len = u8::try_from(text.len()).unwrap();
    client
        .write_all(&[0x81, 0x80 | len, 0, 0, 0, 0])
        .await
        .unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
}

/// The next short frame from the server: `text saved`, `close`.
async fn hear(client: &mut DuplexStream) -> String {
    let kind = client.read_u8().await.expect("a frame");
    let len = client.read_u8().await.expect("its length");
    let mut payload = vec![0; usize::from(len)];
    client.read_exact(&mut payload).await.expect("its payload");
    match kind {
        0x81 => format!("text {}", String::from_utf8(payload).unwrap()),
        0x88 => "close".to_owned(),
        other => panic!("a frame of kind {other:#x}"),
    }
}

fn app(site: &Site) -> Router {
    let socket = async |session: Session, upgrade: WebSocketUpgrade| {
        let session = session.detach();
        upgrade.on_upgrade(async move |mut socket| {
            let mut ended = pin!(session.ended());
            loop {
                let message = tokio::select! {
                    message = socket.recv() => message,
                    _ended = &mut ended => break,
                };
                let Some(Ok(Message::Text(text))) = message else {
                    break;
                };
                let saved = session.save(|session| session.set("said", text.as_str()));
                if saved.await.is_err() {
                    break;
                }
                let _sent = socket.send(Message::Text("saved".into())).await;
            }
            let _sent = socket.send(Message::Close(None)).await;
        })
    };
    let events = async |session: Session| {
        let session = session.detach();
        let ended = {
            let session = session.clone();
            async move { session.ended().await }
        };
        let said = stream::unfold(session, async |session| {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let said = session.get::<String>("said").ok()??;
            Some((
                Ok::<_, std::convert::Infallible>(Event::default().data(said)),
                session,
            ))
        });
        Sse::new(said.take_until(ended))
    };
    Router::new()
        .route("/socket", any(socket))
        .route("/events", on_get(events))
        .route(
            "/log-out",
            on_get(async |session: LazySession| session.log_out()),
        )
        .layer(site.layer())
}

async fn visitor(site: &Site) -> String {
    let fill = |session: &session_core::SessionBase| {
        session.log_in(7).unwrap();
        session.set("said", "nothing").unwrap();
    };
    site.visitor(fill).await
}

#[tokio::test(start_paused = true)]
async fn a_socket_stores_what_it_is_told_and_closes_within_the_interval_after_a_log_out() {
    let site = Site::new();
    let app = app(&site);
    let key = visitor(&site).await;
    let mut socket = connect(&app, &key).await;
    say(&mut socket, "hello").await;
    assert_eq!(hear(&mut socket).await, "text saved");
    let stored = site.stored(&key).await.unwrap();
    assert_eq!(stored.get("said").unwrap(), Some("hello".to_owned()));
    let logged_out = tokio::time::Instant::now();
    send(&app, get("/log-out", Some(&cookie_of(&key)))).await;
    assert_eq!(hear(&mut socket).await, "close");
    assert!(
        logged_out.elapsed() <= Duration::from_secs(30),
        "a log-out leaves the socket open for {:?}",
        logged_out.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_socket_whose_session_is_gone_stores_nothing_and_says_so() {
    let site = Site::new();
    let app = app(&site);
    let key = visitor(&site).await;
    let mut socket = connect(&app, &key).await;
    send(&app, get("/log-out", Some(&cookie_of(&key)))).await;
    say(&mut socket, "hello").await;
    assert_eq!(
        hear(&mut socket).await,
        "close",
        "what is lost counts as saved"
    );
    assert_eq!(site.records(), 0, "a socket has brought a session back");
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_shows_what_other_requests_store_and_ends_after_a_log_out() {
    let site = Site::new();
    let app = app(&site);
    let key = visitor(&site).await;
    let cookie = cookie_of(&key);
    let Ok(response) = app.clone().oneshot(get("/events", Some(&cookie))).await;
    let mut body = response.into_body();
    let mut next = async || match body.frame().await {
        Some(frame) => String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap(),
        None => "the end".to_owned(),
    };
    assert_eq!(next().await, "data: nothing\n\n");
    let session = site.stored(&key).await.unwrap();
    session.set("said", "news").unwrap();
    session.save().await.unwrap();
    // It looks every thirty seconds and tells every twenty.
    assert_eq!(next().await, "data: news\n\n");
    send(&app, get("/log-out", Some(&cookie))).await;
    assert_eq!(next().await, "the end", "a dead session's stream goes on");
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_a_stream_and_not_its_session() {
    let site = Site::new();
    let app = app(&site);
    let key = visitor(&site).await;
    let Ok(response) = app
        .clone()
        .oneshot(get("/events", Some(&cookie_of(&key))))
        .await;
    site.store.refuse(Call::of(Operation::Load).and_later());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        body.is_empty(),
        "a stream goes on that nobody can vouch for"
    );
    assert!(site.store.clear_faults());
    assert!(site.stored(&key).await.is_some());
}
