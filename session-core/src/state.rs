//! What one request knows of its session, shared by everything in the request that asks for it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use triomphe::Arc;
use zeroize::Zeroizing;

use crate::change::{ChangeLog, Content, Entry, EntryIds, Modifier};
use crate::clock::Timestamp;
use crate::data::SessionData;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events;
use crate::expiry::Terms;
use crate::key::{SessionKey, StoreKey};
use crate::manager::SessionManager;
use crate::outcome::IssuedValue;
use crate::policy::{Activity, CLOSURE_TRIES_MAX, Limits, Policy};
use crate::record::Version;
use crate::turn::{Taken, Turn};

/// The one allocation behind a slot and all sessions that come from it.
pub(crate) struct Shared {
    pub(crate) manager: SessionManager,
    state: Mutex<State>,
    /// Held by whoever talks to the store for this request, so that one write is under way at a time.
    turn: Turn,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Whether the client sent anything under our name, be it a key or not.
    pub(crate) was_presented: bool,
    pub(crate) candidates: Candidates,
    /// What it sent, if sessions live with their clients: there are no keys then.
    pub(crate) client_texts: Vec<Zeroizing<Vec<u8>>>,
    pub(crate) held: Option<Arc<Held>>,
    /// What the application sees, the held record with the pending changes, unless that is the held record as it is.
    pub(crate) changed: Option<Content>,
    /// Whether the view may be something else than the pending changes on the held record make of it.
    pub(crate) is_view_stale: bool,
    pub(crate) log: ChangeLog,
    pub(crate) cycle: bool,
    /// Records to delete at the next commit, because this request ended them.
    pub(crate) ended: Vec<StoreKey>,
    pub(crate) flushed: bool,
    /// Whether the client has to be told of the held key.
    pub(crate) issue: bool,
    /// What the client has to be told in place of a key, if the session lives with it.
    pub(crate) client_text: Option<IssuedValue>,
    pub(crate) accessed: bool,
    pub(crate) modified: bool,
    pub(crate) headers_sent: bool,
    /// Whether something was changed after the request's commit, or too late for it, or where there is no request: only a
    /// `save` of its own stores it.
    pub(crate) is_late: bool,
    pub(crate) activity: Activity,
    pub(crate) in_doubt: Option<Doubt>,
    /// Grows with every change of the view, so that a closure that ran without the lock can tell.
    pub(crate) generation: u64,
    /// Grows when the held session is let go, so that a write that was under way can tell.
    pub(crate) epoch: u64,
}

/// The keys among what a client sent. Nearly always one, and then nothing is allocated.
#[derive(Default)]
pub(crate) struct Candidates {
    first: Option<SessionKey>,
    others: Vec<SessionKey>,
}

impl Candidates {
    pub(crate) fn push(&mut self, key: SessionKey) {
        if self.first.is_none() {
            self.first = Some(key);
        } else {
            self.others.push(key);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SessionKey> {
        self.first.iter().chain(&self.others)
    }

    /// The key, if there is only one.
    pub(crate) fn only(&self) -> Option<&SessionKey> {
        self.first.as_ref().filter(|_| self.others.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl Clone for Candidates {
    fn clone(&self) -> Self {
        Self {
            first: self.first.as_ref().map(SessionKey::duplicate),
            others: self.others.iter().map(SessionKey::duplicate).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Unasked,
    /// Asked for, and not loaded: under way, or failed.
    Asked,
    Loaded,
}

/// A write of which nobody knows whether it happened.
pub(crate) struct Doubt {
    pub(crate) entries: EntryIds,
    /// The key to which the record was to be moved.
    pub(crate) moved_to: Option<(SessionKey, StoreKey)>,
}

/// A record that exists, as far as this request knows.
pub(crate) struct Held {
    pub(crate) key: SessionKey,
    pub(crate) store_key: StoreKey,
    pub(crate) version: Version,
    pub(crate) expires_at: Timestamp,
    pub(crate) base: Content,
    /// What `base` says of its expiry.
    pub(crate) terms: Terms,
    /// Whether it was found in an older place of its key's. Its next write moves it.
    pub(crate) is_to_move: bool,
}

impl Clone for Doubt {
    fn clone(&self) -> Self {
        let moved_to = self.moved_to.as_ref();
        Self {
            entries: self.entries.clone(),
            moved_to: moved_to.map(|(key, store_key)| (key.duplicate(), store_key.clone())),
        }
    }
}

/// The state under its lock. The application's closures that are removed from the log are dropped after the lock.
pub(crate) struct Locked<'a> {
    // Fields are dropped in this order.
    state: MutexGuard<'a, State>,
    discarded: Vec<Modifier>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.state.log.has_discarded() {
            self.discarded = self.state.log.take_discarded();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state_mut();
        let cycles = state.cycle && state.held.is_some();
        if state.is_late && (cycles || !state.log.is_empty() || !state.ended.is_empty()) {
            events::changes_lost();
        }
    }
}

impl Shared {
    #[inline]
    pub(crate) fn new(manager: SessionManager, state: State) -> Self {
        Self {
            manager,
            state: Mutex::new(state),
            turn: Turn::default(),
        }
    }

    /// The state, for whoever has it alone.
    #[inline]
    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state. Never held while the application's code runs, so that a panic can't leave it half changed.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner),
            discarded: Vec::new(),
        }
    }

    /// Whether nobody talks to the store for this request at this moment.
    pub(crate) fn is_turn_free(&self) -> bool {
        self.turn.is_free()
    }

    /// The turn, unless somebody has it.
    pub(crate) fn try_take_turn(&self) -> Option<Taken<'_>> {
        self.turn.try_take()
    }

    /// Waits for this request's other calls. Not for ever: one of them may be a future that somebody holds and never polls.
    pub(crate) async fn take_turn(
        &self,
        deadline: &mut Deadline<'_>,
    ) -> Result<Taken<'_>, SessionError> {
        if let Some(turn) = self.turn.try_take() {
            return Ok(turn);
        }
        let turn = deadline.wait_as_for_one(
            "finish an earlier call of the same request",
            self.turn.take(),
        );
        // Rare: the future of every request has room for what is not.
        Ok(Box::pin(turn).await?)
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.manager.policy()
    }

    /// Whether a commit is still to come that stores what is changed.
    pub(crate) fn will_be_committed(&self) -> bool {
        let state = self.lock();
        !state.headers_sent && !state.is_late
    }

    /// Ends the held session, at the next commit or save.
    pub(crate) fn end_held(&self, state: &mut State) {
        if let Some(held) = &state.held {
            let ended = self.policy().keys().all_store_keys(&held.key);
            state.ended.extend(ended);
            state.is_late |= state.headers_sent;
        }
        state.let_go();
    }

    /// Computes the view anew from the held record. The pending entries may hold closures, so that this runs without the
    /// lock, and again if something changed meanwhile. It can't fail: whoever has just stored something must hear so.
    pub(crate) fn refresh_view(&self) {
        for tries_left in (0..CLOSURE_TRIES_MAX).rev() {
            let (log, base, generation, epoch) = {
                let mut state = self.lock();
                if state.log.is_empty() {
                    state.show_held();
                    return;
                }
                let base = state.base().clone();
                (state.log.clone(), base, state.generation, state.epoch)
            };
            let (view, all_fit) = log.preview(&base);
            let mut state = self.lock();
            // A closure that changes the session itself never leaves it as it was.
            let is_current = state.generation == generation;
            if is_current || (tries_left == 0 && state.epoch == epoch) {
                state.show(view);
                state.is_view_stale = !(is_current && all_fit);
                return;
            }
        }
    }
}

impl State {
    /// Whether the client sent anything that may be a session.
    pub(crate) fn has_candidates(&self) -> bool {
        !self.candidates.is_empty() || !self.client_texts.is_empty()
    }

    /// What the held record holds, or nothing.
    pub(crate) fn base(&self) -> &Content {
        self.held.as_ref().map_or(Content::EMPTY, |held| &held.base)
    }

    /// What the application sees: the held record with the pending changes.
    pub(crate) fn view(&self) -> &Content {
        self.changed.as_ref().unwrap_or_else(|| self.base())
    }

    /// The same, to be changed.
    pub(crate) fn view_mut(&mut self) -> &mut Content {
        let held = &self.held;
        self.changed.get_or_insert_with(|| {
            let base = held.as_ref().map(|held| held.base.clone());
            base.unwrap_or_default()
        })
    }

    /// Whether a commit has nothing to do but, at most, renew.
    pub(crate) fn has_nothing_to_store(&self) -> bool {
        self.log.is_empty() && self.ended.is_empty() && self.in_doubt.is_none() && !self.cycle
    }

    /// Makes `view` what the application sees: what the pending changes on the held record make of it.
    pub(crate) fn show(&mut self, view: Content) {
        self.changed = Some(view);
        self.is_view_stale = false;
        self.generation += 1;
    }

    /// Makes the held record, or nothing, what the application sees: nothing is pending.
    pub(crate) fn show_held(&mut self) {
        self.changed = None;
        self.is_view_stale = false;
        self.generation += 1;
    }

    /// Makes `held` the record that changes are done on. What the application sees is still what it saw.
    pub(crate) fn hold(&mut self, held: Option<Arc<Held>>) {
        // It may have seen the record from before as it was.
        self.view_mut();
        self.held = held;
        self.outdate_view();
    }

    /// Makes another record the held one, or what is pending something else. The view is still that of before.
    pub(crate) fn outdate_view(&mut self) {
        self.is_view_stale = true;
        self.generation += 1;
    }

    /// Notes a change that needs none of the application's code, and shows it.
    pub(crate) fn apply(&mut self, entry: Entry) -> Result<(), SessionError> {
        let done = entry.replay(self.view_mut());
        self.is_view_stale |= done.is_err();
        self.note(entry);
        done
    }

    /// Notes a change that the view shows already.
    pub(crate) fn note(&mut self, entry: Entry) {
        self.log.push(entry);
        self.is_late |= self.headers_sent;
        self.accessed = true;
        self.modified = true;
        self.generation += 1;
    }

    /// Forgets the held session and everything pending: what follows is a new session.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
        self.log.clear();
        self.cycle = false;
        self.issue = false;
        self.client_text = None;
        if let Some((_, store_key)) = self.in_doubt.take().and_then(|doubt| doubt.moved_to) {
            self.ended.push(store_key);
        }
        self.epoch += 1;
        self.show_held();
        self.accessed = true;
        self.modified = true;
        self.flushed = true;
    }
}

/// Whether `before` may become so many names and bytes. What is over a limit already, which was higher once, may stay and
/// shrink.
pub(crate) fn check_limits(
    before: &SessionData,
    (names, bytes): (usize, usize),
    limits: &Limits,
) -> Result<(), SessionError> {
    let Limits {
        names_max,
        data_bytes_max: bytes_max,
        ..
    } = *limits;
    let (names_before, bytes_before) = before.measure();
    if names > names_max && names > names_before {
        return Err(SessionError::TooManyNames { names_max });
    }
    if bytes > bytes_max && bytes > bytes_before {
        return Err(SessionError::DataTooLarge { bytes, bytes_max });
    }
    Ok(())
}
