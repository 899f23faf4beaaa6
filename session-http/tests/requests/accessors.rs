//! `Vary: Cookie` after each thing that a handler can ask of its session. What is public is read from the sources, so that a
//! new method without a line here fails.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use futures_util::FutureExt;
use http::header::VARY;
use session_http::{Activity, Error, Expiry, Field, LazySession, Session, SessionHandle, View};

use crate::support::{IDLE, Site, cookie_of, get, send};

type Asked<'a> = Pin<Box<dyn Future<Output = session_http::Result<()>> + Send + 'a>>;
type Ask = fn(&LazySession) -> Asked<'_>;

/// What asks the session one thing, whatever the answer: an error of the session's own is one as well.
macro_rules! ask {
    ($session:ident => $what:expr) => {
        (|lazy: &LazySession| -> Asked<'_> {
            Box::pin(async move {
                let $session = lazy.load().await?;
                // In a box, since much of it is `Copy`.
                drop(Box::new($what));
                Ok(())
            })
        }) as Ask
    };
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Count(u32);

impl View for Count {
    const FIELD: Field<Self> = Field::new("n");
}

fn handle() -> SessionHandle {
    "0123456789abcdef01234567".parse().unwrap()
}

/// Every public method of a session, with one way of calling it.
fn methods() -> BTreeMap<&'static str, Ask> {
    let lazily: [(&str, Ask); 2] = [
        ("load", |lazy| {
            Box::pin(async move { lazy.load().await.map(drop) })
        }),
        ("log_out", |lazy| {
            Box::pin(async move {
                lazy.log_out();
                Ok(())
            })
        }),
    ];
    let asks: [(&str, Ask); 54] = [
        ("get", ask!(s => s.get::<u32>("n"))),
        ("set", ask!(s => s.set("n", &2))),
        ("contains_key", ask!(s => s.contains_key("n"))),
        ("remove", ask!(s => s.remove("n"))),
        ("pop", ask!(s => s.pop::<u32>("n"))),
        (
            "get_or_insert_with",
            ask!(s => s.get_or_insert_with("n", || 1_u32)),
        ),
        ("set_all", ask!(s => s.set_all(&BTreeMap::from([("n", 1)])))),
        ("modify", ask!(s => s.modify("n", |n: &mut u32| *n += 1))),
        (
            "modify_now",
            ask!(s => s.modify_now("n", |n: &mut u32| *n += 1).await),
        ),
        (
            "try_modify_now",
            ask!(s => s.try_modify_now("n", |_: &mut u32| Err::<(), _>(())).await),
        ),
        ("take", ask!(s => s.take::<u32>("n").await)),
        ("clear", ask!(s => s.clear())),
        ("keys", ask!(s => s.keys())),
        ("snapshot", ask!(s => s.snapshot())),
        ("len", ask!(s => s.len())),
        ("is_empty", ask!(s => s.is_empty())),
        ("save", ask!(s => s.save().await)),
        ("reload", ask!(s => s.reload().await)),
        ("is_accessed", ask!(s => s.is_accessed())),
        ("is_modified", ask!(s => s.is_modified())),
        ("session_key", ask!(s => s.session_key())),
        ("set_test_cookie", ask!(s => s.set_test_cookie())),
        ("test_cookie_worked", ask!(s => s.test_cookie_worked())),
        ("delete_test_cookie", ask!(s => s.delete_test_cookie())),
        ("log_in", ask!(s => s.log_in(7))),
        ("log_out of a loaded session", ask!(s => s.log_out())),
        ("flush", ask!(s => s.flush())),
        ("cycle_key", ask!(s => s.cycle_key())),
        ("owner", ask!(s => s.owner())),
        ("set_label", ask!(s => s.set_label("phone"))),
        ("label", ask!(s => s.label())),
        (
            "set_expiry",
            ask!(s => s.set_expiry(Expiry::AtBrowserClose)),
        ),
        (
            "set_absolute_timeout",
            ask!(s => s.set_absolute_timeout(Duration::from_secs(60))),
        ),
        ("set_activity", ask!(s => s.set_activity(Activity::Ignore))),
        ("time_left", ask!(s => s.time_left())),
        ("expiry", ask!(s => s.expiry())),
        ("expiry_age", ask!(s => s.expiry_age())),
        ("expires_at", ask!(s => s.expires_at())),
        (
            "expires_at_browser_close",
            ask!(s => s.expires_at_browser_close()),
        ),
        ("own_sessions", ask!(s => s.own_sessions().await)),
        ("end", ask!(s => s.end(&handle()).await)),
        ("end_others", ask!(s => s.end_others().await)),
        ("end_all", ask!(s => s.end_all().await)),
        ("messages", ask!(s => s.messages().peek())),
        ("messages, pushed", ask!(s => s.messages().info("hello"))),
        ("messages, taken", ask!(s => s.messages().take().await)),
        ("view", ask!(s => s.view::<Count>().get())),
        ("detach", ask!(s => s.detach())),
        (
            "detach, is it alive",
            ask!(s => s.detach().is_alive().await),
        ),
        (
            "detach, wait for the end",
            ask!(s => s.detach().ended().now_or_never()),
        ),
        ("Clone", ask!(s => s.clone())),
        ("Debug", ask!(s => format!("{s:?}"))),
        ("Deref", ask!(s => session_http::SessionBase::clone(&s))),
        ("the extractor alone", ask!(s => s)),
    ];
    asks.into_iter().chain(lazily).collect()
}

/// Whatever gives a session methods in the sources under this folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources are where they were") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let types = ["SessionBase {", "Session {", "LazySession {"];
            let blocks = source.split("\nimpl ").skip(1);
            let own = blocks.filter(|block| types.iter().any(|of| block.starts_with(of)));
            found.extend(own.map(|block| block.split("\n}").next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// The names of the public methods in these sources.
fn public_methods(sources: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        for start in ["pub fn ", "pub const fn ", "pub async fn "] {
            for part in source.split(start).skip(1) {
                let (signature, parameters) = part.split_once('(').unwrap_or_default();
                let name = signature.split('<').next().unwrap_or_default();
                if parameters.trim_start().starts_with("&self") {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    names
}

#[test]
fn http_02_every_public_method_of_a_session_has_a_line_here() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = sources(&own.join("../session-core/src"));
    found.extend(sources(&own.join("src")));
    let public = public_methods(&found);
    assert!(public.len() > 40, "only {public:?} were found");
    let asked = methods();
    let missing: Vec<_> = public
        .iter()
        .filter(|name| !asked.contains_key(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "nobody looks whether these say `Vary: Cookie`: {missing:?}"
    );
}

#[tokio::test]
async fn http_02_whatever_is_asked_of_a_session_the_response_varies_by_cookie() {
    for (name, ask) in methods() {
        for (is_due, has_cookie) in [(false, false), (false, true), (true, true)] {
            let site = Site::new();
            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            if is_due {
                site.clock.advance(IDLE / 2);
            }
            let name = Arc::new(name);
            let app = Router::new()
                .route("/", on_get(async move |lazy: LazySession| ask(&lazy).await))
                .layer(site.layer());
            for key in [Some(&key), Some(&"0".repeat(32))] {
                let cookie = key.filter(|_| has_cookie).map(|key| cookie_of(key));
                let reply = send(&app, get("/", cookie.as_deref())).await;
                assert_eq!(
                    reply.headers.get(VARY).map(|vary| vary.as_bytes()),
                    Some(&b"Cookie"[..]),
                    "{name}, a cookie is sent: {has_cookie}, a renewal is due: {is_due}: {reply:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn http_02_an_extractor_counts_also_if_the_handler_does_nothing_with_it() {
    let site = Site::new();
    let app = Router::new()
        .route("/session", on_get(async |_: Session| ""))
        .route("/lazy", on_get(async |_: LazySession| ""))
        .route(
            "/error",
            on_get(async |lazy: LazySession| {
                lazy.load().await?;
                Err::<(), _>(Error::from(session_http::SessionError::Interrupted))
            }),
        )
        .layer(site.layer());
    for (path, varies) in [("/session", true), ("/lazy", false), ("/error", true)] {
        let reply = send(&app, get(path, None)).await;
        assert_eq!(reply.headers.contains_key(VARY), varies, "{path}");
    }
}
