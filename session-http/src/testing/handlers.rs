//! Sessions that are handed to a handler as any other argument: without a layer, a request or a server.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::Extensions;
use session_core::{MemoryStore, Owner, SessionManager};

use crate::request::Carried;
use crate::session::{LazySession, Session};
use crate::setup::Setup;

impl Session {
    /// A new visitor's session, for the test of a handler. Feature `test-util`. It has a store of its own, in memory, and what
    /// is set in it is seen by its clones at once:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// use session_http::Session;
    ///
    /// async fn add(session: Session) -> session_http::Result<String> {
    ///     session.modify("visits", |visits: &mut u32| *visits += 1)?;
    ///     Ok("added".to_owned())
    /// }
    ///
    /// let session = Session::for_test();
    /// assert_eq!(add(session.clone()).await?, "added");
    /// assert_eq!(session.get("visits")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn for_test() -> Self {
        loaded(&LazySession::for_test())
    }

    /// The session of somebody who is logged in, for the test of a handler. Feature `test-util`.
    ///
    /// ```
    /// # use session_http::{Owner, Session};
    /// let session = Session::logged_in(7);
    /// assert_eq!(session.owner(), Some(Owner::from(7)));
    /// ```
    ///
    /// # Panics
    ///
    /// If the owner's id is empty, longer than 256 bytes, or has a NUL in it.
    #[must_use]
    pub fn logged_in(owner: impl Into<Owner>) -> Self {
        let session = Self::for_test();
        let logged_in = session.log_in(owner);
        assert!(logged_in.is_ok(), "this is not the id of an owner");
        session
    }
}

impl LazySession {
    /// A new visitor's session, not loaded yet, for the test of a handler. Feature `test-util`.
    #[must_use]
    pub fn for_test() -> Self {
        let manager = SessionManager::new(MemoryStore::new());
        let mut extensions = Extensions::new();
        extensions.insert(Carried::of_headers(
            &Arc::new(Setup::new(manager)),
            &mut http::HeaderMap::new(),
            None,
            false,
        ));
        found(Self::from_extensions(&extensions).ok())
    }
}

/// Loading the session of somebody who brings no key waits for nothing.
fn loaded(session: &LazySession) -> Session {
    let mut loading = pin!(session.load());
    match loading
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(loaded) => found(loaded.ok()),
        Poll::Pending => found(None),
    }
}

#[expect(
    clippy::expect_used,
    reason = "for tests alone, and a session without a key is made without asking anybody"
)]
fn found<S>(session: Option<S>) -> S {
    session.expect("a session without a key waits for no store")
}
