//! What a request carries before anybody has asked for its session: for authors of HTTP adapters.

use std::fmt;

use triomphe::Arc;
use zeroize::Zeroizing;

use crate::change::{Content, Selection};
use crate::commit::Effect;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::key::SessionKey;
use crate::manager::SessionManager;
use crate::outcome::{Completion, IssuedValue, Outcome};
use crate::policy::Activity;
use crate::session::SessionBase;
use crate::state::{Phase, Shared, State};

/// A request's place for a session. Cheap to make and to clone; clones and sessions share one state.
///
/// An adapter makes one per request ([`SessionManager::slot`](crate::SessionManager::slot)), tells it what the client
/// sent ([`present`](Self::present)), hands out the session when the application asks ([`session`](Self::session)), and
/// commits once when the response is ready ([`commit`](Self::commit)). If nobody asked, nothing is loaded or stored.
#[derive(Clone)]
pub struct SessionSlot(pub(crate) Arc<Shared>);

impl SessionSlot {
    /// Tells the slot what the client sent under the session's name, be it a key or not. Only before the session is
    /// asked for; later calls change nothing.
    pub fn present<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) {
        let mut state = self.0.lock();
        if state.phase == Phase::Unasked && !state.was_presented {
            state.present(&self.0.manager, values);
        }
    }

    /// Whether the request can be answered without [`commit`](Self::commit): nobody asked for the session, and the
    /// policy does not renew sessions that nobody asks for.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        let state = self.0.lock();
        state.phase == Phase::Unasked && !self.0.renews_unasked(state.activity)
    }

    /// The session, loaded at the first call.
    ///
    /// An unknown or expired key, and a damaged record, give a new, empty session.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] when the store can't be asked: that is not "no session". The next call tries again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost; the next call loads.
    pub async fn session(&self) -> Result<SessionBase, SessionError> {
        if !self.0.load_only_key().await? {
            // Rare: the future of every request has room for what is not.
            Box::pin(self.0.ensure_loaded()).await?;
        }
        Ok(SessionBase(Arc::clone(&self.0)))
    }

    /// Whether this request counts as a sign of life from its visitor, as it does unless somebody says otherwise.
    pub fn set_activity(&self, activity: Activity) {
        self.0.lock().activity = activity;
    }

    /// Ends the session at the commit, without loading it first.
    pub fn log_out(&self) {
        let mut state = self.0.lock();
        if state.phase != Phase::Loaded {
            state.phase = Phase::Loaded;
            let limit = self.0.policy().limits().candidates_max;
            let keys = self.0.policy().keys();
            let ended = state
                .candidates
                .iter()
                .take(limit)
                .flat_map(|key| keys.all_store_keys(key))
                .collect();
            state.ended = ended;
            state.is_late |= state.headers_sent;
            state.let_go();
        } else {
            self.0.end_held(&mut state);
        }
    }

    /// What [`commit`](Self::commit) would answer, if it has nothing to store and nothing to wait for: most requests only
    /// read. Else what is left of the commit. Like it, called once.
    ///
    /// # Errors
    ///
    /// [`Uncommitted`] is no failure: its [`commit`](Uncommitted::commit) has to be awaited.
    pub fn commit_without_store(&self) -> Result<Outcome, Uncommitted> {
        let mut state = self.0.lock();
        let answered = match state.phase {
            Phase::Unasked if !self.0.renews_unasked(state.activity) || !state.has_candidates() => {
                Some(Outcome::Untouched)
            }
            Phase::Unasked => None,
            // It could not be loaded, and the application answered all the same.
            Phase::Asked => Some(Outcome::Accessed),
            Phase::Loaded => {
                let is_settled = state.has_nothing_to_store()
                    && !self.0.renewal_is_due(&state)
                    // Whoever talks to the store for this request may be creating what the client must be told of.
                    && self.0.is_turn_free();
                is_settled.then(|| self.0.outcome_of(&mut state, true))
            }
        };
        // A task that loads the session from here on must not store under a key that nobody is told of, and so the slot is
        // closed by the same look that finds nothing to store.
        state.headers_sent |= answered.is_some();
        answered.ok_or_else(|| Uncommitted {
            slot: self.clone(),
            is_asked: state.phase != Phase::Unasked,
        })
    }

    /// Stores what the request did, and says what the client must be told. Called once, when the response is ready and
    /// before its headers go out; afterwards, what would need a new key is [`SessionError::HeadersSent`].
    ///
    /// # Errors
    ///
    /// [`SessionError::Interrupted`] when the session was ended by another request; what the store answers; a limit that
    /// the merged data exceed. The client must then be told of no key.
    ///
    /// # Cancel safety
    ///
    /// Each write to the store has happened or not. A client that never learned of a new key leaves an orphan that
    /// expires.
    pub async fn commit(&self, completion: Completion) -> Result<Outcome, SessionError> {
        match self.commit_without_store() {
            Ok(outcome) => Ok(outcome),
            Err(rest) => rest.commit(completion).await,
        }
    }

    /// Tells the slot that the response's headers are out, or never will be: from now on, what would need a new key is
    /// [`SessionError::HeadersSent`]. For requests that end without a commit; [`commit`](Self::commit) does it by itself.
    pub fn close(&self) {
        self.0.lock().headers_sent = true;
    }
}

/// A commit that has something to store or to wait for, from [`SessionSlot::commit_without_store`].
#[derive(Debug)]
#[must_use = "what the request did is not stored yet"]
pub struct Uncommitted {
    slot: SessionSlot,
    is_asked: bool,
}

impl Uncommitted {
    /// Stores what the request did, as [`SessionSlot::commit`].
    ///
    /// # Errors
    ///
    /// Those of [`SessionSlot::commit`].
    ///
    /// # Cancel safety
    ///
    /// That of [`SessionSlot::commit`].
    pub async fn commit(self, completion: Completion) -> Result<Outcome, SessionError> {
        let outcome = self.commit_open(completion).await;
        if outcome.is_err() {
            self.slot.close();
        }
        outcome
    }

    /// Leaves the slot open if it fails.
    async fn commit_open(&self, completion: Completion) -> Result<Outcome, SessionError> {
        let SessionSlot(shared) = &self.slot;
        if !self.is_asked {
            Box::pin(shared.ensure_loaded()).await?;
        }
        if completion == Completion::ServerError {
            let mut state = shared.lock();
            state.log.clear();
            state.show_held();
        }
        // Until the end: a task of the request may be storing something at this moment, and what it creates is still told. What
        // is created from here on could not be.
        let mut deadline = Deadline::new(&shared.manager);
        let _turn = shared.take_turn(&mut deadline).await?;
        let nothing_more = |_: &mut Content| Ok(Effect::Plain(()));
        shared
            .store_in_turn(Selection::All, nothing_more, &mut deadline)
            .await?;
        let mut state = shared.lock();
        state.headers_sent = true;
        // What was changed while the commit was under way has missed it.
        state.is_late |= !state.log.is_empty();
        Ok(shared.outcome_of(&mut state, self.is_asked))
    }
}

impl State {
    /// Notes what the client sent under the session's name.
    pub(crate) fn present<'a>(
        &mut self,
        manager: &SessionManager,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) {
        let limit = manager.policy().limits().candidates_max;
        let is_with_clients = manager.client().is_some();
        for value in values {
            self.was_presented = true;
            if is_with_clients {
                let texts = &mut self.client_texts;
                let is_known = texts.iter().any(|known| known.as_slice() == value);
                if !is_known && texts.len() <= limit {
                    texts.push(Zeroizing::new(value.to_vec()));
                }
                continue;
            }
            let Some(key) = SessionKey::parse(value) else {
                continue;
            };
            // The same key twice is one candidate. One more than the limit tells that there are too many.
            let is_known = self.candidates.iter().any(|known| known.is_same(&key));
            if !is_known && self.candidates.len() <= limit {
                self.candidates.push(key);
            }
        }
    }
}

impl Shared {
    fn outcome_of(&self, state: &mut State, is_asked: bool) -> Outcome {
        let client_text = state.client_text.take();
        match &state.held {
            Some(held) if state.issue => {
                let max_age = held.terms.max_age(self.policy(), || self.manager.now());
                Outcome::Issue {
                    value: client_text.unwrap_or_else(|| IssuedValue::key(&held.key)),
                    max_age,
                }
            }
            None if state.flushed && state.was_presented => Outcome::Revoke,
            _ if is_asked => Outcome::Accessed,
            _ => Outcome::Untouched,
        }
    }
}

impl fmt::Debug for SessionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSlot")
            .field("is_asked", &self.0.is_asked())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{MemoryStore, SessionManager};

    #[test]
    fn the_future_that_every_handler_has_in_it_is_small() {
        let slot = SessionManager::new(MemoryStore::new()).slot();
        let bytes = size_of_val(&slot.session());
        assert!(
            bytes <= 320,
            "{bytes} bytes in each request's one allocation, whose fast ways end at about a thousand"
        );
    }
}
