//! One site made of two services, one on axum and one on actix-web, each with its own view of the same folder.

use std::net::SocketAddr;
use std::path::Path;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use session_file::FileStore;
use session_http::SessionLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{actix, axum};
use crate::support::COOKIE_NAME;

fn layer(folder: &Path) -> SessionLayer {
    SessionLayer::new(FileStore::open(folder).expect("a folder"))
}

async fn serve_axum(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::pages().layer(layer(folder));
    tokio::spawn(async move { ::axum::serve(listener, app).await });
    address
}

/// With two workers, each of which has a clone of the layer.
fn serve_actix(folder: &Path) -> (SocketAddr, ServerHandle) {
    let layer = layer(folder);
    let server = HttpServer::new(move || App::new().wrap(layer.clone()).configure(actix::pages))
        .workers(2)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    (address, handle)
}

/// Somebody with one cookie and no idea of how many services there are.
#[derive(Default)]
struct Visitor {
    key: Option<String>,
}

impl Visitor {
    async fn post(&mut self, server: SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(server).await.unwrap();
        let request = request(path, self.key.as_deref(), "close");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let cookie = format!("set-cookie: {COOKIE_NAME}=");
        if let Some(rest) = head.lines().find_map(|line| line.strip_prefix(&cookie)) {
            let key = rest.split(';').next().filter(|key| !key.is_empty());
            self.key = key.map(str::to_owned);
        }
        // In one chunk, since it is made after the headers are out: a length, the text, and the end.
        body.lines().nth(1).expect("a text").to_owned()
    }
}

fn request(path: &str, key: Option<&str>, connection: &str) -> String {
    let cookie = key.map_or_else(String::new, |key| {
        format!("Cookie: {COOKIE_NAME}={key}\r\n")
    });
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}Content-Length: 0\r\nConnection: {connection}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_session_goes_from_axum_to_actix_web_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let axum = serve_axum(folder.path()).await;
    let (actix, handle) = serve_actix(folder.path());
    for (one, other) in [(axum, actix), (actix, axum)] {
        let mut visitor = Visitor::default();
        assert_eq!(visitor.post(one, "/log-in").await, "hello");
        assert_eq!(visitor.post(other, "/who").await, "ada");
        for writes in ["1", "3", "5"] {
            assert_eq!(visitor.post(one, "/write").await, writes);
            let more: u32 = visitor.post(other, "/write").await.parse().unwrap();
            assert_eq!(more, writes.parse::<u32>().unwrap() + 1);
        }
        let before = visitor.key.clone();
        visitor.post(other, "/log-in").await;
        assert_ne!(visitor.key, before, "a log-in changes the key");
        let mut thief = Visitor { key: before };
        assert_eq!(thief.post(one, "/who").await, "nobody");
        assert_eq!(visitor.post(one, "/who").await, "ada");
        assert_eq!(visitor.post(other, "/log-out").await, "goodbye");
        assert_eq!(visitor.key, None, "the cookie is removed");
        assert_eq!(visitor.post(one, "/who").await, "nobody");
    }
    handle.stop(false).await;
}

#[tokio::test]
async fn requests_on_one_connection_have_no_session_in_common() {
    let folder = tempfile::tempdir().unwrap();
    let (actix, handle) = serve_actix(folder.path());
    let mut ada = Visitor::default();
    ada.post(actix, "/log-in").await;
    let key = ada.key.as_deref();
    let requests = [
        request("/who", key, "keep-alive"),
        request("/who", None, "keep-alive"),
        request("/who", key, "keep-alive"),
        request("/who", None, "close"),
    ];
    let mut connection = TcpStream::connect(actix).await.unwrap();
    connection
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    let mut responses = String::new();
    connection.read_to_string(&mut responses).await.unwrap();
    let bodies: Vec<&str> = responses
        .lines()
        .filter(|line| ["ada", "nobody"].contains(line))
        .collect();
    assert_eq!(bodies, ["ada", "nobody", "ada", "nobody"], "{responses}");
    handle.stop(false).await;
}
