//! One request and its response: what is asked of the session's core, and what becomes of the response's headers. Knows
//! HTTP and no framework; every adapter calls it.

use std::pin::Pin;
use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use session_core::adapter::{Completion, Outcome};
use session_core::store::StoreError;
use session_core::{Renewal, SessionError};

use crate::config::Interruption;
use crate::error::{Chain, Error};
use crate::headers;
use crate::request::{Carried, CarriedSession, NoActivity};
use crate::setup::Setup;

/// What the core answered to a commit.
pub(crate) type Committed = Result<Outcome, SessionError>;
/// How far a commit is.
pub(crate) enum Commit {
    /// There was nothing to store.
    Done(Outcome),
    Pending(PendingCommit),
}

/// A commit under way.
pub(crate) type PendingCommit = Pin<Box<dyn Future<Output = Committed> + Send>>;

/// One request, from its arrival until its response is ready.
///
/// Dropped before that, because the handler panicked or the client is gone, it stores nothing; and what the request's
/// tasks still do with the session leads to no key that nobody is told of.
#[derive(Debug)]
pub(crate) struct Exchange {
    carried: Carried,
    is_safe: bool,
    is_in_the_clear: bool,
    is_asked: bool,
    /// Whether the slot knows already that the response's headers are out, or there is none.
    is_closed: bool,
}

/// Whether another response comes after this one, which is then not seen here. It carries no cookie, and so nothing may be
/// stored that needs one. After 101 the connection is no longer HTTP's, and its headers are the last.
#[inline]
pub(crate) fn is_early(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// What is sent in place of the handler's response.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) error: Error,
}

impl Exchange {
    /// Takes what the session needs from a request, and puts into it what the handler finds its session by. `None` if a
    /// layer around this one has done so under the same name.
    pub(crate) fn begin<B>(setup: &Arc<Setup>, request: &mut Request<B>) -> Option<Self> {
        let extensions = request.extensions();
        let outer = extensions.get::<Carried>();
        if outer.is_some_and(|outer| outer.serves(&setup.carrier)) {
            return None;
        }
        let outer = outer.cloned();
        let is_no_activity = extensions.get::<NoActivity>().is_some();
        let is_safe = request.method().is_safe();
        let is_in_the_clear = setup.is_in_the_clear(request.uri(), request.headers());
        let headers = request.headers_mut();
        let carried = Carried::of_headers(setup, headers, outer, is_no_activity);
        request.extensions_mut().insert(carried.clone());
        Some(Self::of(carried, is_safe, is_in_the_clear))
    }

    /// For a request that is not `http`'s: its adapter has put `carried` where the handler finds it.
    pub(crate) fn of(carried: Carried, is_safe: bool, is_in_the_clear: bool) -> Self {
        Self {
            carried,
            is_safe,
            is_in_the_clear,
            is_asked: false,
            is_closed: false,
        }
    }

    /// The response's header that tells of a key.
    #[cfg(feature = "actix-web")]
    pub(crate) fn response_header(&self) -> HeaderName {
        self.carried.0.setup().carrier.response_header()
    }

    /// Stores what the request did, now that its status is known.
    pub(crate) fn commit(&mut self, status: StatusCode) -> Commit {
        let Carried(carried) = &self.carried;
        let asked = carried.settle();
        self.is_asked = asked.is_some();
        let completion = if status.is_server_error() {
            Completion::ServerError
        } else {
            Completion::Success
        };
        let committed = match asked {
            Some(slot) => slot.commit_without_store(),
            None => {
                let policy = carried.setup().manager.policy();
                if policy.renewal() != Renewal::EveryRequest || !carried.may_have_key() {
                    return Commit::Done(Outcome::Untouched);
                }
                carried.new_slot().commit_without_store()
            }
        };
        match committed {
            Ok(outcome) => Commit::Done(outcome),
            Err(rest) => Commit::Pending(Box::pin(rest.commit(completion))),
        }
    }

    /// Tells the client and the caches, or that the handler's response must not be sent.
    pub(crate) fn finish(
        mut self,
        committed: Committed,
        headers: &mut HeaderMap,
    ) -> Result<(), Box<Refusal>> {
        // By the commit.
        self.is_closed = true;
        let setup = self.carried.0.setup();
        match committed {
            Ok(Outcome::Untouched) => Ok(()),
            Ok(Outcome::Issue { value, max_age, .. }) => {
                if self.is_in_the_clear {
                    setup.warn_of_plain_http();
                }
                let issued = setup.carrier.issue(value.expose_secret(), max_age);
                issued
                    .map(|issued| hand_out(&self.carried.0, issued, headers))
                    .map_err(|error| Box::new(self.refusal_of(error)))
            }
            Ok(Outcome::Revoke) => {
                hand_out(&self.carried.0, setup.carrier.removal(), headers);
                Ok(())
            }
            Ok(_) => {
                mark_as_used(setup, headers);
                Ok(())
            }
            Err(error) if !self.is_asked => {
                // The response owes nothing to the session, and the next request renews it as well.
                tracing::warn!(error = %Chain(&error), "a session that nobody asked for could not be renewed");
                Ok(())
            }
            Err(SessionError::Interrupted)
                if self.is_safe && setup.interruption == Interruption::ConflictUnlessSafe =>
            {
                tracing::debug!(
                    "a session ended under a request with a safe method, whose changes are dropped"
                );
                mark_as_used(setup, headers);
                Ok(())
            }
            Err(error) => Err(Box::new(self.refuse(error))),
        }
    }

    /// The handler's response is not sent, and what the layers inside have told the client by it is: their sessions are stored.
    fn refusal_of(&self, error: Error) -> Refusal {
        let mut refusal = Refusal::of(error);
        for (header, value) in self.carried.0.take_told_inside() {
            tell(&header, value, &mut refusal.headers);
        }
        refusal
    }

    fn refuse(&self, error: SessionError) -> Refusal {
        let setup = self.carried.0.setup();
        let is_interrupted = matches!(error, SessionError::Interrupted);
        // The row is gone, although a copy may still be read: the client must not present its key again.
        let is_deleted = matches!(error, SessionError::Store(StoreError::DeletedWithin { .. }));
        let mut refusal = self.refusal_of(error.into());
        if is_interrupted && setup.interruption == Interruption::BadRequest {
            refusal.status = StatusCode::BAD_REQUEST;
        }
        if is_deleted {
            hand_out(
                &self.carried.0,
                setup.carrier.removal(),
                &mut refusal.headers,
            );
        }
        refusal
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_closed
            && let Some(slot) = self.carried.0.settle()
        {
            slot.close();
        }
    }
}

impl Refusal {
    pub(crate) fn of(error: Error) -> Self {
        Self {
            status: error.status(),
            headers: error.headers(),
            error,
        }
    }
}

/// Makes of a response one that tells the client what to send from now on.
fn hand_out(carried: &CarriedSession, issued: HeaderValue, headers: &mut HeaderMap) {
    let carrier = &carried.setup().carrier;
    let header = carrier.response_header();
    if header == SET_COOKIE && headers::remove_cookie(headers, carrier.name()) {
        tracing::warn!(
            cookie = carrier.name(),
            "a handler set a cookie of the session's name, which was removed: give it another name"
        );
    }
    if header != SET_COOKIE && headers.contains_key(&header) {
        tracing::warn!(
            header = header.as_str(),
            "a handler set the header that tells of the session's key, which was replaced: give it another name"
        );
    }
    carried.note_told(&header, &issued);
    tell(&header, issued, headers);
    headers::vary_by(headers, &carrier.varies_by());
}

/// Adds what tells a client of a key, and keeps caches from handing it to others.
fn tell(header: &HeaderName, value: HeaderValue, headers: &mut HeaderMap) {
    if *header == SET_COOKIE {
        headers.append(SET_COOKIE, value);
        headers::make_private(headers);
    } else {
        headers.insert(header, value);
        headers::forbid_storing(headers);
    }
}

/// A response that depends on what the client sent.
fn mark_as_used(setup: &Setup, headers: &mut HeaderMap) {
    headers::vary_by(headers, &setup.carrier.varies_by());
    if headers::forbid_sharing(headers) {
        tracing::warn!(
            "a response that was made from a session said that shared caches may store it: `public` and `s-maxage` were removed"
        );
    }
}
