//! Clients that go away, handlers that panic: nothing is half stored, and nothing is stuck.
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::routing::{get as on_get, post as on_post};
use http::{Request, StatusCode};
use session_core::conformance::{DefaultBodies, Operation};
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};
use session_core::{MemoryStore, SessionBase, SessionKey, SessionManager};
use session_http::{Error, LazySession, Session, SessionLayer};
use tokio::task::yield_now;
use tower::ServiceExt;

use crate::support::{Site, cookie_of, get, post, send};

/// A store in which every call waits once before its work and once after, so that there is an await to be dropped at.
#[derive(Debug, Default)]
struct Halting(MemoryStore);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for Halting {
    fn system_name(&self) -> &'static str {
        self.0.system_name()
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        yield_now().await;
        let answer = self.0.load(key, now).await;
        yield_now().await;
        answer
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        yield_now().await;
        let answer = self.0.create(key, new, now).await;
        yield_now().await;
        answer
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        yield_now().await;
        let answer = self.0.save(key, expected, change, now).await;
        yield_now().await;
        answer
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        yield_now().await;
        let answer = self.0.delete(key).await;
        yield_now().await;
        answer
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        yield_now().await;
        let answer = self.0.touch(key, expires_at, now).await;
        yield_now().await;
        answer
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        yield_now().await;
        let answer = self.0.rotate(from, expected, to, change, now).await;
        yield_now().await;
        answer
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.0.clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.scan()
    }
}

/// What a visitor with the session `{"n": 1}` can do, one page each.
fn pages() -> Router {
    Router::new()
        .route(
            "/write",
            on_post(async |session: Session| session.set("n", &2).map_err(Error::from)),
        )
        .route(
            "/modify-now",
            on_post(async |session: Session| {
                session
                    .modify_now("n", |n: &mut u32| *n += 1)
                    .await
                    .map_err(Error::from)
            }),
        )
        .route(
            "/take",
            on_post(async |session: Session| {
                session
                    .take::<u32>("n")
                    .await
                    .map(drop)
                    .map_err(Error::from)
            }),
        )
        .route(
            "/cycle",
            on_post(async |session: Session| session.cycle_key()),
        )
        .route(
            "/log-in",
            on_post(async |session: Session| {
                session.set("n", &2)?;
                session.log_in(7).map_err(Error::from)
            }),
        )
        .route("/flush", on_post(async |session: Session| session.flush()))
        .route(
            "/log-out",
            on_post(async |session: LazySession| session.log_out()),
        )
        .route(
            "/flush-and-write",
            on_post(async |session: Session| {
                session.flush();
                session.set("n", &2).map_err(Error::from)
            }),
        )
}

/// Polls the request `polls` times and drops it. Gives the status if it was answered before that.
fn drop_after(app: &Router, request: Request<Body>, polls: usize) -> Option<StatusCode> {
    let mut answer = pin!(app.clone().oneshot(request));
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).find_map(|_| match answer.as_mut().poll(&mut context) {
        Poll::Ready(Ok(response)) => Some(response.status()),
        Poll::Pending => None,
    })
}

async fn value_of(manager: &SessionManager, key: &str) -> Option<u32> {
    let key = SessionKey::parse(key.as_bytes()).unwrap();
    let session = manager.load(&key).await.unwrap()?;
    Some(session.get::<u32>("n").unwrap().unwrap_or(0))
}

/// Drops each kind of request after every number of polls, until it is answered.
async fn drop_everywhere<S: SessionStore>(make: impl Fn() -> S + Send + Sync) {
    // What the visitor's own key may lead to afterwards: `n`, or nothing.
    #[rustfmt::skip]
    let rows: &[(&str, &[Option<u32>])] = &[
        ("/write",           &[Some(1), Some(2)]),
        ("/modify-now",      &[Some(1), Some(2)]),
        ("/take",            &[Some(1), Some(0)]),
        ("/cycle",           &[Some(1), None]),
        ("/log-in",          &[Some(1), None]),
        ("/flush",           &[Some(1), None]),
        ("/log-out",         &[Some(1), None]),
        ("/flush-and-write", &[Some(1), None]),
    ];
    for (path, allowed) in rows {
        let mut seen = Vec::new();
        for polls in 0.. {
            assert!(polls < 100, "{path} is never answered");
            let manager = SessionManager::new(make());
            let app = pages().layer(SessionLayer::new(manager.clone()));
            let session = manager.start();
            session.set("n", &1).unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap().expose_secret().to_owned();

            let cookie = cookie_of(&key);
            let answered = drop_after(&app, post(path, Some(&cookie)), polls);
            let value = value_of(&manager, &key).await;
            assert!(
                allowed.contains(&value),
                "{path}, gone after {polls} polls: the session is {value:?}"
            );
            seen.push(value);
            // The visitor comes back, and nothing is stuck.
            let reply = send(&app, post("/write", Some(&cookie))).await;
            assert!(
                reply.status.is_success(),
                "{path}, gone after {polls} polls: {reply:?}"
            );
            if let Some(status) = answered {
                assert!(status.is_success(), "{path}: {status}");
                break;
            }
        }
        seen.dedup();
        assert_eq!(seen, *allowed, "{path}: it happens at once, and not half");
    }
}

#[tokio::test]
async fn fail_07_a_client_that_is_gone_at_any_await_leaves_all_or_nothing() {
    drop_everywhere(Halting::default).await;
}

#[tokio::test]
async fn fail_07_a_client_that_is_gone_at_any_await_leaves_all_or_nothing_on_a_store_of_four_methods()
 {
    drop_everywhere(|| DefaultBodies::new(Halting::default())).await;
}

#[tokio::test]
async fn fail_07_a_new_visitor_who_is_gone_leaves_one_orphan_at_most() {
    let mut seen = Vec::new();
    for polls in 0..100 {
        let store = Arc::new(Halting::default());
        let app = pages().layer(SessionLayer::new(Arc::clone(&store)));
        let answered = drop_after(&app, post("/write", None), polls);
        seen.push(store.0.len());
        if answered.is_some() {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen, [0, 1]);
}

#[tokio::test]
async fn what_a_dropped_request_leaves_behind_can_not_make_a_session_that_nobody_knows_of() {
    let site = Site::new();
    let (send_session, mut kept) = tokio::sync::mpsc::channel::<Session>(1);
    let app = Router::new()
        .route(
            "/",
            on_get(move |session: Session| {
                send_session.try_send(session).unwrap();
                std::future::pending::<()>()
            }),
        )
        .layer(site.layer());
    let request = tokio::spawn({
        let app = app.clone();
        async move { send(&app, get("/", None)).await }
    });
    let session = kept.recv().await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    session.set("n", &1).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(
        matches!(error, session_http::SessionError::HeadersSent),
        "{error}"
    );
    assert_eq!(site.records(), 0);
}

#[tokio::test]
async fn fail_06_a_handler_that_panics_stores_only_what_was_acknowledged() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let app = Router::new()
        .route(
            "/",
            on_get(async |session: Session| {
                session
                    .modify_now("acknowledged", |n: &mut u32| *n += 1)
                    .await
                    .unwrap();
                session.set("pending", &1).unwrap();
                session.cycle_key();
                if session.contains_key("n") {
                    panic!("the handler's own trouble");
                }
            }),
        )
        .layer(site.layer());
    let cookie = cookie_of(&key);
    let request = tokio::spawn(async move { send(&app, get("/", Some(&cookie))).await });
    assert!(request.await.unwrap_err().is_panic());
    let session = site.stored(&key).await.expect("the key was not changed");
    assert_eq!(session.keys(), ["n", "acknowledged"]);
    site.store.inner().reset();
}

#[tokio::test]
async fn a_modify_closure_that_panics_changes_nothing_and_blocks_nobody() {
    let site = Site::new();
    let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let app = Router::new()
        .route(
            "/at-once",
            on_post(async |session: Session| {
                session.set("pending", &1).unwrap();
                drop(session.modify("n", |_: &mut u32| panic!("the closure's own trouble")));
            }),
        )
        .route(
            "/when-merging",
            on_post(async move |session: Session| {
                let count = Arc::clone(&count);
                let change = move |n: &mut u32| {
                    *n += 1;
                    assert!(
                        count.fetch_add(1, Ordering::SeqCst) < 1,
                        "the closure's own trouble"
                    );
                };
                session.modify("n", change).map_err(Error::from)
            }),
        )
        .route(
            "/write",
            on_post(async |session: Session| session.set("other", &1).map_err(Error::from)),
        )
        .layer(site.layer());
    let cookie = cookie_of(&key);
    let request = |path: &'static str| {
        let (app, cookie) = (app.clone(), cookie.clone());
        tokio::spawn(async move { send(&app, post(path, Some(&cookie))).await })
    };
    let stored = async || {
        let session: SessionBase = site.stored(&key).await.unwrap();
        (session.get::<u32>("n").unwrap(), session.keys().len())
    };

    assert!(request("/at-once").await.unwrap_err().is_panic());
    assert_eq!(stored().await, (Some(1), 1));

    let gate = site.store.hold(Operation::Save);
    let slow = request("/when-merging");
    gate.reached().await;
    assert!(request("/write").await.unwrap().status.is_success());
    gate.release();
    assert!(
        slow.await.unwrap_err().is_panic(),
        "ran {} times",
        runs.load(Ordering::SeqCst)
    );
    assert_eq!(stored().await, (Some(1), 2));
    assert!(
        request("/write").await.unwrap().status.is_success(),
        "a lock is stuck"
    );
}
