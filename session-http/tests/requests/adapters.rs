//! The same behaviour over every adapter: each test runs once over axum's router, once over a plain tower service, and once
//! over actix-web.
#![expect(
    clippy::future_not_send,
    reason = "actix-web's services stay on their thread, and so do the tests of all"
)]

#[cfg(feature = "actix-web")]
mod actix;
mod axum;
mod layers;
mod same;
#[cfg(all(unix, feature = "actix-web"))]
mod side_by_side;
mod tower;

use std::future::{pending, ready};
use std::pin::Pin;

use ::axum::body::Body;
use http::{Request, StatusCode, Uri};
use session_core::SessionError;
use session_http::{LazySession, LoginRequired, Result, SessionLayer, SessionOf};

use crate::support::Reply;

type Answer = Pin<Box<dyn Future<Output = Reply>>>;
/// An application behind its layers, whatever it is made of. actix-web's never leave their thread.
type App = Box<dyn Fn(Request<Body>) -> Answer>;
/// Makes the application. The first layer is the innermost; there are two at most.
type Adapter = fn(&[SessionLayer]) -> Pin<Box<dyn Future<Output = App>>>;

/// What the application answers, in no framework's words.
struct Said {
    status: StatusCode,
    headers: &'static [(&'static str, &'static str)],
    /// The body's text, which is made after the headers are out.
    text: Pin<Box<dyn Future<Output = String> + Send>>,
}

impl Said {
    fn text(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: &[],
            text: Box::pin(ready(text.into())),
        }
    }

    fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// What a handler says that knows nothing of sessions.
const HEADERS: &[(&str, &str)] = &[
    ("vary", "Accept"),
    ("cache-control", "public, max-age=60"),
    ("set-cookie", "theme=dark"),
    ("set-cookie", "__Host-sessionid=from-the-handler"),
];

/// Marks a layer whose session `/marked` writes to.
enum Marked {}

/// What `/marked` does.
fn write_marked(session: &SessionOf<Marked>) -> Result<Said> {
    session.modify("writes", |writes: &mut u32| *writes += 1)?;
    let writes: u32 = session.get("writes")?.unwrap_or_default();
    Ok(Said::text(writes.to_string()))
}

/// Stands around what is below `/members`.
fn members_only() -> LoginRequired {
    LoginRequired::redirecting_to(Uri::from_static("/log-in"))
}

/// What all applications do, by path. Below `/quiet` they do the same for clients that nobody sits in front of, and below
/// `/members` for those who are logged in; `/number` is for owners who have a number.
async fn act(path: &str, lazy: LazySession) -> Result<Said> {
    let said = match path {
        "visit" => {
            let session = lazy.load().await?;
            let visits = session.modify_now("visits", |visits: &mut u32| {
                *visits += 1;
                *visits
            });
            Said::text(visits.await?.to_string())
        }
        "write" => {
            let session = lazy.load().await?;
            session.modify("writes", |writes: &mut u32| *writes += 1)?;
            let writes: u32 = session.get("writes")?.unwrap_or_default();
            Said::text(writes.to_string())
        }
        "log-in" => {
            lazy.load().await?.log_in("ada")?;
            Said::text("hello")
        }
        "log-out" => {
            lazy.log_out();
            Said::text("goodbye")
        }
        "fail" => {
            lazy.load().await?.set("lost", &true)?;
            Said::text("failed").with_status(StatusCode::BAD_GATEWAY)
        }
        "announce" => {
            lazy.load().await?.set("lost", &true)?;
            Said::text("").with_status(StatusCode::EARLY_HINTS)
        }
        "who" => {
            let owner = lazy.load().await?.owner();
            Said::text(owner.map_or_else(|| "nobody".to_owned(), |owner| owner.as_str().to_owned()))
        }
        "stream" => {
            let session = lazy.load().await?;
            let late = async move {
                session.set("late", &true).unwrap();
                match session.save().await {
                    Ok(()) => "stored".to_owned(),
                    Err(SessionError::HeadersSent) => "too late".to_owned(),
                    Err(error) => panic!("neither stored nor too late: {error}"),
                }
            };
            Said {
                text: Box::pin(late),
                ..Said::text("")
            }
        }
        "panic" | "wait" => {
            let session = lazy.load().await?;
            session
                .modify_now("acknowledged", |n: &mut u32| *n += 1)
                .await?;
            session.set("pending", &1)?;
            session.cycle_key();
            assert_ne!(path, "panic", "the handler's own trouble");
            pending().await
        }
        "says" | "reads-and-says" | "cycles-and-says" => {
            if path == "reads-and-says" {
                drop(lazy.load().await?);
            } else if path == "cycles-and-says" {
                lazy.load().await?.cycle_key();
            }
            Said {
                headers: HEADERS,
                ..Said::text("")
            }
        }
        _ => Said::text("static"),
    };
    Ok(said)
}

/// One test per adapter and function. `apps` are given a site and its application, `adapters` make their own; `logged` have a
/// runtime of their own, so that their log can be read.
macro_rules! over_every_adapter {
    (@over $name:ident, $adapter:expr,
        apps: [$($app:ident),* $(,)?], adapters: [$($made:ident),* $(,)?], logged: [$($logged:ident),* $(,)?] $(,)?) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $app() {
                    let site = crate::support::Site::new();
                    let app = $adapter(&[site.layer()]).await;
                    super::$app(site, app).await;
                }
            )*
            $(
                #[tokio::test]
                async fn $made() {
                    super::$made($adapter).await;
                }
            )*
            $(
                #[test]
                fn $logged() {
                    super::$logged($adapter);
                }
            )*
        }
    };
    ($($rest:tt)*) => {
        over_every_adapter!(@over over_axum, crate::adapters::axum::app, $($rest)*);
        over_every_adapter!(@over over_tower, crate::adapters::tower::app, $($rest)*);
        #[cfg(feature = "actix-web")]
        over_every_adapter!(@over over_actix, crate::adapters::actix::app, $($rest)*);
    };
}
use over_every_adapter;
