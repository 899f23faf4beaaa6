//! What happens to a session after the headers are out: streaming bodies, and tasks that outlive their request.
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get as on_get;
use bytes::Bytes;
use http_body::Frame;
use session_core::SessionError;
use session_http::{Error, LazySession, Session};
use tokio::sync::oneshot;

use crate::support::{CookieChange, Site, cookie_of, get, send};

/// A body whose only piece is made when it is read, which is after the headers are out.
#[derive(Default)]
pub(crate) struct Late(Option<Pin<Box<dyn Future<Output = String> + Send>>>);

impl Late {
    pub(crate) fn of(piece: Pin<Box<dyn Future<Output = String> + Send>>) -> Self {
        Self(Some(piece))
    }

    /// The piece, once.
    pub(crate) fn poll_text(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        let Some(piece) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let text = std::task::ready!(piece.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(text))
    }
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.poll_text(context)
            .map(|text| text.map(|text| Ok(Frame::data(text.into()))))
    }
}

fn late(piece: impl Future<Output = String> + Send + 'static) -> Body {
    Body::new(Late::of(Box::pin(piece)))
}

fn word(result: &Result<(), SessionError>) -> String {
    match result {
        Ok(()) => "stored",
        Err(SessionError::HeadersSent) => "too late",
        Err(error) => panic!("neither stored nor too late: {error}"),
    }
    .to_owned()
}

async fn write_late(session: Session) -> Body {
    late(async move {
        session.set("late", &true).unwrap();
        word(&session.save().await)
    })
}

#[tokio::test]
async fn race_09_a_stream_saves_to_the_session_that_is_there_and_can_not_make_a_new_one() {
    let site = Site::new();
    let app = Router::new()
        .route("/write", on_get(write_late))
        .route(
            "/write-lazily",
            on_get(async |session: LazySession| {
                late(async move {
                    let session = session.load().await.unwrap();
                    session.set("late", &true).unwrap();
                    word(&session.save().await)
                })
            }),
        )
        .route(
            "/write-now",
            on_get(async |session: Session| {
                late(async move {
                    let written = session.modify_now("late", |late: &mut bool| *late = true);
                    word(&written.await)
                })
            }),
        )
        .route(
            "/write-early-and-late",
            on_get(async |session: Session| -> Result<Body, Error> {
                session.set("early", &true)?;
                Ok(write_late(session).await)
            }),
        )
        .route(
            "/cycle",
            on_get(async |session: Session| {
                late(async move {
                    session.cycle_key();
                    word(&session.save().await)
                })
            }),
        )
        .route(
            "/read",
            on_get(async |session: LazySession| {
                late(async move { session.load().await.unwrap().keys().join(",") })
            }),
        )
        .layer(site.layer());
    #[rustfmt::skip]
    let rows: &[(&str, bool, &str, bool)] = &[
        // path,                  has a session, body,       a key is sent
        ("/write",                true,          "stored",   false),
        ("/write-lazily",         true,          "stored",   false),
        ("/write-now",            true,          "stored",   false),
        ("/write-early-and-late", true,          "stored",   false),
        ("/read",                 true,          "n",        false),
        ("/cycle",                true,          "too late", false),
        ("/write",                false,         "too late", false),
        ("/write-lazily",         false,         "too late", false),
        ("/write-now",            false,         "too late", false),
        ("/write-early-and-late", false,         "stored",   true),
        ("/read",                 false,         "",         false),
        ("/cycle",                false,         "stored",   false),
    ];
    for (path, has_session, body, is_sent) in rows {
        let what = format!("{path}, has a session: {has_session}");
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let records = site.records();
        let cookie = has_session.then(|| cookie_of(&key));
        let reply = send(&app, get(path, cookie.as_deref())).await;
        assert_eq!(reply.body, *body, "{what}");
        let was_sent = reply.cookie() != CookieChange::Untouched;
        assert_eq!(was_sent, *is_sent, "{what}");
        assert_eq!(
            site.records() - records,
            usize::from(*is_sent),
            "{what}: a record that no client knows of"
        );
        let of = if *is_sent { reply.expect_issued() } else { key };
        let is_late = site.stored(&of).await.unwrap().contains_key("late");
        assert_eq!(
            is_late,
            path.contains("write") && *body == "stored",
            "{what}"
        );
    }
}

#[tokio::test]
async fn race_09_a_task_may_keep_the_session_beyond_its_request() {
    let site = Site::new();
    let app = |answered: oneshot::Receiver<()>, done: oneshot::Sender<Result<(), SessionError>>| {
        let once = Arc::new(Mutex::new(Some((answered, done))));
        let handler = move |session: Session| {
            let (answered, done) = once.lock().unwrap().take().expect("one request");
            tokio::spawn(async move {
                answered.await.unwrap();
                session.set("from the task", &1).unwrap();
                done.send(session.save().await).unwrap();
            });
            std::future::ready(())
        };
        Router::new()
            .route("/", on_get(handler))
            .layer(site.layer())
    };
    for has_session in [true, false] {
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        let records = site.records();
        let (answer, answered) = oneshot::channel();
        let (done, saved) = oneshot::channel();
        let cookie = has_session.then(|| cookie_of(&key));
        send(&app(answered, done), get("/", cookie.as_deref())).await;
        answer.send(()).unwrap();
        let saved = word(&saved.await.unwrap());
        assert_eq!(saved, if has_session { "stored" } else { "too late" });
        assert_eq!(site.records(), records, "a record that no client knows of");
        let session = site.stored(&key).await.unwrap();
        assert_eq!(session.contains_key("from the task"), has_session);
    }
}
