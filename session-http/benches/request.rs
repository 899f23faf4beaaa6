//! What a session costs a request, as ratios to the same axum handler without the layer, in one process and one run.
//!
//! The scenarios take turns, batch by batch, so that whatever else the machine does meets all of them; the median batch of
//! each counts. `cargo bench -p session-http --bench request` prints a table in Markdown. A run without `--bench`, as under
//! `cargo test`, is short and measures nothing.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{COOKIE, HOST};
use http::{HeaderValue, Request, Uri};
use session_http::{LazySession, MemoryStore, Session, SessionLayer, SessionManager};
use tokio::runtime::Runtime;
use tower::Service;
use tower_layer::Identity;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Requests in a row before the next scenario has its turn: long against the clock's resolution, short against whatever
/// else happens on the machine.
const BATCH: u32 = 500;
const BATCHES: usize = 200;
const WARM_UP: usize = 20;

/// What is in the session of the visitor who is measured.
const VALUES: u32 = 8;
const LARGE_BYTES: usize = 64 * 1024;

struct Scenario {
    name: &'static str,
    app: Router,
    path: &'static str,
    cookie: Option<String>,
    batches: Vec<Duration>,
}

impl Scenario {
    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(self.path);
        let headers = request.headers_mut();
        // As behind a proxy that speaks HTTPS with the browser.
        headers.insert(HOST, HeaderValue::from_static("example.org"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        if let Some(cookie) = &self.cookie
            && let Ok(cookie) = cookie.parse()
        {
            headers.insert(COOKIE, cookie);
        }
        request
    }

    fn run(&mut self, runtime: &Runtime, batch: u32) -> Result<()> {
        let requests: Vec<_> = (0..batch).map(|_| self.request()).collect();
        let app = &mut self.app;
        let elapsed = runtime.block_on(async {
            let started = Instant::now();
            for request in requests {
                let Ok(response) = app.call(request).await;
                if !black_box(&response).status().is_success() {
                    return Err(format!("{} was answered {}", self.path, response.status()));
                }
            }
            Ok(started.elapsed())
        })?;
        self.batches.push(elapsed / batch);
        Ok(())
    }

    fn median(&mut self) -> Duration {
        self.batches.sort_unstable();
        self.batches
            .get(self.batches.len() / 2)
            .copied()
            .unwrap_or_default()
    }
}

async fn write(session: Session) -> session_http::Result<String> {
    session.modify("visits", |visits: &mut u32| *visits += 1)?;
    Ok(session
        .get::<u32>("visits")?
        .unwrap_or_default()
        .to_string())
}

fn pages() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route(
            "/lazy",
            get(async |session: LazySession| {
                black_box(session);
                "hello"
            }),
        )
        .route(
            "/read",
            get(async |session: Session| -> session_http::Result<String> {
                Ok(session.get("name")?.unwrap_or_default())
            }),
        )
        .route("/write", get(write))
}

/// The `Cookie` header of a visitor with eight small values, or with a large one beside them.
async fn visitor(manager: &SessionManager, is_large: bool) -> Result<Option<String>> {
    let session = manager.start();
    session.set("name", "Ada Lovelace")?;
    for number in 1..VALUES {
        session.set(&format!("name{number}"), &number)?;
    }
    if is_large {
        session.set("large", &"x".repeat(LARGE_BYTES))?;
    }
    session.save().await?;
    let key = session.session_key().ok_or("a saved session has a key")?;
    Ok(Some(format!(
        "theme=dark; __Host-sessionid={}; lang=en",
        key.expose_secret()
    )))
}

async fn scenarios() -> Result<Vec<Scenario>> {
    let manager = SessionManager::new(MemoryStore::new());
    let bare = pages();
    // A router boxes each route once more for every layer, whatever it does.
    let idle = pages().layer(Identity::new());
    let layered = pages().layer(SessionLayer::new(manager.clone()));
    let scenario = |name, app: &Router, path, cookie: &Option<String>| Scenario {
        name,
        app: app.clone(),
        path,
        cookie: cookie.clone(),
        batches: Vec::new(),
    };
    let small = visitor(&manager, false).await?;
    let large = visitor(&manager, true).await?;
    let nobody = None;
    Ok(vec![
        scenario("no layer", &bare, "/", &small),
        scenario("a layer that does nothing", &idle, "/", &small),
        scenario("layer, no cookie", &layered, "/", &nobody),
        scenario("layer, session not asked for", &layered, "/", &small),
        scenario("`LazySession`, not loaded", &layered, "/lazy", &small),
        scenario("`Session`, no cookie", &layered, "/read", &nobody),
        scenario("`Session`, read", &layered, "/read", &small),
        scenario("`Session`, read beside 64 KiB", &layered, "/read", &large),
        scenario("`Session`, written", &layered, "/write", &small),
        scenario(
            "`Session`, written beside 64 KiB",
            &layered,
            "/write",
            &large,
        ),
        scenario("`Session`, new visitor", &layered, "/write", &nobody),
    ])
}

fn main() -> Result<()> {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, batch) = if is_measured {
        (WARM_UP + BATCHES, BATCH)
    } else {
        (2, 2)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut scenarios = runtime.block_on(scenarios())?;
    for round in 0..rounds {
        for scenario in &mut scenarios {
            scenario.run(&runtime, batch)?;
            if is_measured && round < WARM_UP {
                scenario.batches.clear();
            }
        }
    }
    if !is_measured {
        return Ok(());
    }
    let medians: Vec<_> = scenarios
        .iter_mut()
        .map(|scenario| (scenario.name, scenario.median()))
        .collect();
    let bare = medians
        .first()
        .map_or(Duration::ZERO, |(_, median)| *median);
    let mut table = String::from("| request | ratio to no layer | µs |\n| --- | --- | --- |\n");
    for (name, median) in medians {
        let ratio = median.as_secs_f64() / bare.as_secs_f64();
        let micros = median.as_secs_f64() * 1e6;
        table.push_str(&format!("| {name} | {ratio:.2} | {micros:.2} |\n"));
    }
    std::io::stdout().write_all(table.as_bytes())?;
    Ok(())
}
