//! Many requests on one session at the same time, through a real server: no update is lost, no answer is wrong, and no late
//! response takes a cookie away.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get as on_get, post as on_post};
use session_core::conformance::{FourMethodStore, Operation};
use session_http::{Error, MemoryStore, Session, SessionLayer, SessionManager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{
    Browser, COOKIE_NAME, IDLE, Site, cookie_of, form, get, jar_with, post, send, visit,
};

const REQUESTS: u32 = 50;

fn pages() -> Router {
    Router::new()
        .route(
            "/set/{name}",
            on_post(async |Path(name): Path<String>, session: Session| {
                session.set(&name, &true).map_err(Error::from)
            }),
        )
        .route(
            "/add",
            on_post(async |session: Session| {
                session
                    .modify("sum", |sum: &mut u32| *sum += 1)
                    .map_err(Error::from)
            }),
        )
        .route(
            "/draw",
            on_post(async |session: Session| {
                let draw = |last: &mut u32| {
                    *last += 1;
                    *last
                };
                let drawn = session.modify_now("last", draw).await;
                drawn.map(|number| number.to_string()).map_err(Error::from)
            }),
        )
        .route(
            "/all",
            on_get(async |session: Session| -> session_http::Result<String> {
                let sum: u32 = session.get("sum")?.unwrap_or_default();
                let last: u32 = session.get("last")?.unwrap_or_default();
                let names = session
                    .keys()
                    .iter()
                    .filter(|name| name.starts_with("name"))
                    .count();
                Ok(format!("{names} names, sum {sum}, last {last}"))
            }),
        )
}

/// A server on a port of its own, for as long as the runtime lives.
async fn serve(manager: impl Into<SessionManager>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = pages().layer(SessionLayer::new(manager));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Answer {
    status: u16,
    key: Option<String>,
    body: String,
}

/// One request on a connection of its own.
async fn call(server: SocketAddr, method: &str, path: &str, key: Option<&str>) -> Answer {
    let cookie = key.map_or_else(String::new, |key| {
        format!("Cookie: {COOKIE_NAME}={key}\r\n")
    });
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let mut connection = TcpStream::connect(server)
        .await
        .expect("the server listens");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).await.unwrap();
    let (head, body) = response
        .split_once("\r\n\r\n")
        .expect("a response has a head");
    let set_cookie = head
        .lines()
        .find_map(|line| line.strip_prefix(&format!("set-cookie: {COOKIE_NAME}=")));
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        key: set_cookie.map(|rest| rest.split(';').next().unwrap_or_default().to_owned()),
        body: body.to_owned(),
    }
}

/// Fifty requests of one visitor at once, spread over `servers`. Gives the bodies; every one is answered 200, and none
/// changes the cookie.
async fn at_once(servers: &[SocketAddr], key: &str, path: impl Fn(u32) -> String) -> Vec<String> {
    let mut requests = JoinSet::new();
    for (number, server) in (0..REQUESTS).zip(servers.iter().cycle()) {
        let (server, path, key) = (*server, path(number), key.to_owned());
        requests.spawn(async move { call(server, "POST", &path, Some(&key)).await });
    }
    let answers = requests.join_all().await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .map(|answer| (answer.status, &answer.body))
        .collect();
    assert!(
        refused.is_empty(),
        "{} of {REQUESTS}: {refused:?}",
        refused.len()
    );
    assert!(
        answers.iter().all(|answer| answer.key.is_none()),
        "a request changed the cookie"
    );
    answers.into_iter().map(|answer| answer.body).collect()
}

/// What must hold on every store, over one server or several.
async fn nothing_is_lost(servers: &[SocketAddr]) {
    let first = call(servers[0], "POST", "/set/first", None).await;
    let key = first.key.expect("a new visitor gets a cookie");

    at_once(servers, &key, |number| format!("/set/name{number}")).await;
    at_once(servers, &key, |_| "/add".to_owned()).await;
    let drawn = at_once(servers, &key, |_| "/draw".to_owned()).await;

    let different: BTreeSet<u32> = drawn.iter().map(|body| body.parse().unwrap()).collect();
    assert_eq!(
        different,
        (1..=REQUESTS).collect(),
        "two requests drew the same number"
    );
    for server in servers {
        let all = call(*server, "GET", "/all", Some(&key)).await;
        assert_eq!(all.body, "50 names, sum 50, last 50", "an update is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_memory() {
    nothing_is_lost(&[serve(MemoryStore::new()).await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_a_store_of_four_methods_that_is_two_milliseconds_away() {
    let store = FourMethodStore::new().with_latency(Duration::from_millis(2));
    nothing_is_lost(&[serve(store).await]).await;
}

#[cfg(unix)]
mod on_files {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use session_file::FileStore;

    use super::{nothing_is_lost, serve};

    /// Names the folder to a process that is to serve it as well.
    const FOLDER: &str = "SESSION_HTTP_TEST_FOLDER";

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_lost_in_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path().join("sessions")).unwrap();
        nothing_is_lost(&[serve(store).await]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_lost_between_two_processes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sessions");
        let here = serve(FileStore::open(&folder).unwrap()).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "concurrency::on_files::the_other_process",
            ])
            .env(FOLDER, &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let there = output
            .by_ref()
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("serving ")?.parse().ok());
        let child = Ended(child, output);
        nothing_is_lost(&[here, there.expect("the other process serves")]).await;
        drop(child);
    }

    /// Not a test of its own: what the other process of the test above runs. Without a folder it has nothing to do.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_other_process() {
        let Some(folder) = std::env::var_os(FOLDER) else {
            return;
        };
        let address = serve(FileStore::open(folder).unwrap()).await;
        writeln!(std::io::stdout(), "\nserving {address}").unwrap();
        // Until the test closes its end.
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        closed.await.unwrap().unwrap();
    }

    /// Ends the process with the test, however that ends.
    struct Ended(Child, BufReader<ChildStdout>);

    impl Drop for Ended {
        fn drop(&mut self) {
            let Self(child, output) = self;
            drop(child.stdin.take());
            let read = output.read_to_end(&mut Vec::new());
            let ended = child.wait();
            assert!(
                read.is_ok() && ended.is_ok_and(|status| status.success()),
                "the other process ends when it is told to"
            );
        }
    }
}

/// What a browser does beside a log-in, and at which point of it the log-in overtakes.
#[derive(Debug, Clone, Copy)]
enum Held {
    BeforeLoad,
    BeforeWrite(Operation),
    AfterWrite(Operation),
}

fn shop() -> Router {
    Router::new()
        .route(
            "/read",
            on_get(async |session: Session| session.len().to_string()),
        )
        .route(
            "/write",
            on_get(async |session: Session| session.set("n", &2).map_err(Error::from))
                .post(async |session: Session| session.set("n", &2).map_err(Error::from)),
        )
        .route(
            "/log-in",
            on_post(async |session: Session| session.log_in(7).map_err(Error::from)),
        )
        .route(
            "/log-out",
            on_post(async |session: Session| session.log_out()),
        )
}

/// A slow request and a log-in of one browser; the responses arrive in both orders. Gives what the browser then holds, with
/// whether the log-in's response came first, and the key of the log-in.
async fn overtaken(
    layer: impl Fn(&Site) -> SessionLayer,
    is_post: bool,
    path: &str,
    held: Held,
) -> (Vec<(bool, Option<String>)>, String) {
    let site = Site::new();
    let app = shop().layer(layer(&site));
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(IDLE / 2); // a renewal is due
    let cookie = format!("{COOKIE_NAME}={key}");
    let gate = match held {
        Held::BeforeLoad => site.store.hold(Operation::Load),
        Held::BeforeWrite(operation) => site.store.hold(operation),
        Held::AfterWrite(operation) => site.store.hold_answer(operation),
    };
    let slow = tokio::spawn({
        let (app, cookie) = (app.clone(), cookie.clone());
        let make = if is_post { post } else { get };
        let request = make(path, Some(&cookie));
        async move { send(&app, request).await }
    });
    gate.reached().await;
    let log_in = send(&app, post("/log-in", Some(&cookie))).await;
    gate.release();
    let slow = slow.await.unwrap();

    let responses = [
        (&visit(path), &slow.headers),
        (&form("/log-in"), &log_in.headers),
    ];
    let arrivals = jar_with(&key).in_every_order(&responses);
    let keys = arrivals.into_iter().map(|arrival| {
        let key = arrival.jar.value(COOKIE_NAME).map(str::to_owned);
        (arrival.order == [1, 0], key)
    });
    (keys.collect(), log_in.expect_issued())
}

#[tokio::test(flavor = "multi_thread")]
async fn race_12_a_response_that_arrives_after_a_log_in_leaves_its_cookie_alone() {
    use Held::{AfterWrite, BeforeLoad, BeforeWrite};
    for (is_post, path, held) in [
        (false, "/read", BeforeLoad),
        (false, "/read", BeforeWrite(Operation::Save)),
        (false, "/read", AfterWrite(Operation::Save)),
        (false, "/write", BeforeLoad),
        (false, "/write", BeforeWrite(Operation::Save)),
        (false, "/write", AfterWrite(Operation::Save)),
        (true, "/write", BeforeWrite(Operation::Save)),
        (true, "/write", AfterWrite(Operation::Save)),
    ] {
        let (jars, key) = overtaken(Site::layer, is_post, path, held).await;
        assert_eq!(jars.len(), 2);
        for (log_in_is_first, kept) in jars {
            // A request that finds no session and writes starts a new one: that one is the visitor's own doing.
            if path == "/write" && matches!(held, BeforeLoad) && log_in_is_first {
                continue;
            }
            assert_eq!(
                kept.as_ref(),
                Some(&key),
                "{path}, {held:?}, the log-in arrives first: {log_in_is_first}: the visitor is logged out"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_django_preset_sends_the_old_key_again_as_it_says() {
    let layer = |site: &Site| {
        let cookie = session_http::CookieConfig::default();
        site.layer().django_compatible().with_cookie(cookie)
    };
    let held = Held::AfterWrite(Operation::Save);
    let (jars, key) = overtaken(layer, true, "/write", held).await;
    for (log_in_is_first, kept) in jars {
        assert_eq!(
            kept.as_ref() != Some(&key),
            log_in_is_first,
            "the documentation warns of something that is over"
        );
    }
}

#[tokio::test]
async fn fix_05_a_late_answer_to_an_unknown_key_takes_no_log_in_away() {
    let site = Site::new();
    let app = shop().layer(site.layer());
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let mut browser = Browser::with(&app, jar_with(&key));
    assert!(site.stored(&key).await.is_some());
    send(&app, post("/log-out", Some(&cookie_of(&key)))).await;
    // Two pages and a log-in at once, with a key that is over.
    let (page, log_in) = (visit("/read"), form("/log-in"));
    let late = [browser.send(&page).await, browser.send(&page).await];
    let new = browser.send(&log_in).await;
    let responses = [
        (&page, &late[0].headers),
        (&log_in, &new.headers),
        (&page, &late[1].headers),
    ];
    let arrivals = browser.jar.in_every_order(&responses);
    assert_eq!(arrivals.len(), 6);
    for arrival in arrivals {
        assert_eq!(
            arrival.jar.value(COOKIE_NAME),
            Some(new.expect_issued().as_str()),
            "{:?}: the visitor is logged out",
            arrival.order
        );
    }
}

#[tokio::test]
async fn race_12_once_a_log_in_has_arrived_no_other_response_changes_the_cookie() {
    let site = Site::new();
    let app = shop().layer(site.layer());
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    site.clock.advance(IDLE / 2); // a renewal is due
    let mut browser = Browser::with(&app, jar_with(&key));
    let fetches = [
        visit("/read"),
        visit("/write"),
        form("/write"),
        form("/log-in"),
    ];
    let mut replies = Vec::new();
    for fetch in &fetches {
        // All of them are sent with the cookie from before.
        replies.push(browser.send(fetch).await);
    }
    let late = browser.send(&visit("/read")).await;
    replies.push(late);
    let fetches = fetches.into_iter().chain([visit("/read")]);
    let sent: Vec<_> = fetches.zip(&replies).collect();
    let responses: Vec<_> = sent
        .iter()
        .map(|(fetch, reply)| (fetch, &reply.headers))
        .collect();
    let new = replies[3].expect_issued();
    let arrivals = browser.jar.in_every_order(&responses);
    assert_eq!(arrivals.len(), 120);
    for arrival in arrivals {
        let kept = arrival.jar.value(COOKIE_NAME);
        assert_eq!(kept, Some(new.as_str()), "{:?}", arrival.order);
    }
}
