//! Writes what a request did: once, whole, and merged with what others wrote meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::change::{ChangeLog, Content, EntryIds, Selection};
use crate::clock::Timestamp;
use crate::codec::Binding;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events::{self, Ending};
use crate::expiry::Terms;
use crate::key::{SessionKey, StoreKey};
use crate::owner::Owner;
use crate::payload::Payload;
use crate::policy::{Activity, Reissue, Renewal};
use crate::record::{Change, ExpiryChange, NewRecord, Saved, Version};
use crate::state::{Doubt, Held, Phase, Shared, State, check_limits};
use crate::store::StoreError;
use crate::telemetry::{self, Count};

/// What an operation that commits at once did to the content.
pub(crate) enum Effect<R> {
    /// Nothing of its own; the pending changes are stored all the same.
    Plain(R),
    /// Something that has to be stored.
    Changed(R),
    /// It does not want anything stored.
    Refused(R),
}

/// What is to be written, as decided from one look at the state.
struct Attempt {
    held: Option<triomphe::Arc<Held>>,
    /// What is to be stored: at first what the application sees, unless there is a log.
    content: Content,
    /// What `content` says of the session's expiry, once that is complete.
    terms: Terms,
    /// What has to be done on the held record first, if the application does not see the outcome of that.
    log: Option<Box<ChangeLog>>,
    entries: EntryIds,
    is_empty: bool,
    /// Whether an entry is about the session's own expiry.
    is_retimed: bool,
    cycle: bool,
    has_log_in: bool,
    renews: bool,
    headers_sent: bool,
    is_activity: bool,
    /// Whether an earlier commit of this request, or its log-out, has left something to do first.
    is_unfinished: bool,
    epoch: u64,
}

/// The one store call that an attempt comes to.
enum Write {
    Nothing,
    Create,
    Save(ExpiryChange),
    Rotate(ExpiryChange),
    Renew(Timestamp),
}

/// What the call means for this request.
enum CameTo {
    /// There was nothing to store, or no need any more.
    Nothing,
    Stored {
        /// Whether the request has ended its session meanwhile, so that the record has to be deleted.
        is_ended: bool,
        /// Who has logged in, if that may have been too often.
        owner: Option<Owner>,
    },
    Conflict,
    Gone,
}

/// What an attempt comes to before the store is called.
enum Prepared<R> {
    Refused(R),
    Write { answer: R, write: Write },
}

/// Where a session is kept after a write.
struct Place {
    key: SessionKey,
    store_key: StoreKey,
    expires_at: Timestamp,
    /// Whether the client has to be told of the key.
    issue: bool,
}

impl Shared {
    /// Stores the selected changes and those of `operation`, which is run on the newest record until it fits.
    pub(crate) async fn store<R>(
        &self,
        selection: Selection<'_>,
        operation: impl FnMut(&mut Content) -> Result<Effect<R>, SessionError> + Send,
    ) -> Result<R, SessionError> {
        let mut deadline = Deadline::new(&self.manager);
        let _turn = self.take_turn(&mut deadline).await?;
        self.store_in_turn(selection, operation, &mut deadline)
            .await
    }

    /// The same, for whoever has the turn.
    pub(crate) async fn store_in_turn<R>(
        &self,
        selection: Selection<'_>,
        mut operation: impl FnMut(&mut Content) -> Result<Effect<R>, SessionError> + Send,
        deadline: &mut Deadline<'_>,
    ) -> Result<R, SessionError> {
        let mut attempt = self.attempt(selection);
        if attempt.is_unfinished {
            Box::pin(self.finish_earlier(deadline)).await?;
            attempt = self.attempt(selection);
        }
        let mut conflicts = 0;
        let mut place_in_queue = None;
        loop {
            if attempt.has_log_in {
                self.manager.require_limit_can_be_kept()?;
            }
            let now = self.manager.now();
            let (answer, write) = match self.prepare(&mut attempt, &mut operation, now)? {
                Prepared::Refused(answer) => {
                    // It was refused for what is stored, which may be newer than what is shown.
                    self.refresh_view();
                    return Ok(answer);
                }
                Prepared::Write { answer, write } => (answer, write),
            };
            // Of use only to those who wait for their turn once more.
            let called = place_in_queue.is_some().then(Instant::now);
            let call = self.perform(write, &mut attempt, now, deadline);
            // In a statement of its own, since whatever it still holds would have its place in the request's future.
            let came_to = call.await?;
            match came_to {
                CameTo::Nothing => {
                    self.finish_without_write(&attempt);
                    return Ok(answer);
                }
                CameTo::Stored { is_ended, owner } => {
                    if is_ended {
                        Box::pin(self.delete_ended(deadline)).await?;
                    }
                    if let Some(owner) = owner {
                        Box::pin(self.manager.limit_sessions(&owner, deadline)).await?;
                    }
                    return Ok(answer);
                }
                CameTo::Gone if !self.policy().keys().has_several_places() => {
                    self.start_over(&attempt)?;
                }
                // What is gone may have been moved to another of its key's places, by another request.
                CameTo::Conflict | CameTo::Gone => {
                    conflicts += 1;
                    if deadline.left().is_zero() {
                        return Err(SessionError::Contended);
                    }
                    if let Some(held) = &attempt.held {
                        events::conflict(&held.store_key, conflicts);
                    }
                    if let (None, Some(held)) = (&place_in_queue, &attempt.held) {
                        // From here on this process's requests on the session take turns, or most of their work would
                        // be in vain: among n of them one wins each round.
                        let queue = self.manager.queue_of(&held.store_key);
                        place_in_queue = deadline.wait_for(queue.lock()).await;
                        if place_in_queue.is_none() {
                            return Err(SessionError::Contended);
                        }
                    } else {
                        let took = called.map_or(Duration::ZERO, |called| called.elapsed());
                        deadline.back_off(took * u32::min(conflicts, 16)).await;
                    }
                    Box::pin(self.rebase(&attempt, deadline)).await?;
                }
            }
            attempt = self.attempt(selection);
        }
    }

    async fn finish_earlier(&self, deadline: &mut Deadline<'_>) -> Result<(), SessionError> {
        self.delete_ended(deadline).await?;
        self.settle_doubt(deadline).await
    }

    /// Deletes what this request has ended. What fails stays to be deleted by the next commit, and keeps none of the others
    /// from being deleted: they may be places of the same session.
    async fn delete_ended(&self, deadline: &mut Deadline<'_>) -> Result<(), SessionError> {
        let mut kept = 0;
        let mut failure: Option<StoreError> = None;
        loop {
            let Some(key) = self.lock().ended.get(kept).cloned() else {
                return failure.map_or(Ok(()), |error| Err(error.into()));
            };
            let deleted = deadline
                .call_again("delete", || self.manager.store().delete(&key))
                .await;
            let is_gone = matches!(
                deleted,
                Ok(_) | Err(StoreError::DeletedWithin { .. } | StoreError::Damaged { .. })
            );
            if is_gone {
                let mut state = self.lock();
                if let Some(place) = state.ended.iter().position(|ended| *ended == key) {
                    state.ended.remove(place);
                }
            } else {
                kept += 1;
            }
            match deleted {
                Ok(true) => events::ended(&key, Ending::LogOut),
                Ok(false) => {}
                // Nobody can load it, and so nobody is logged in by it.
                Err(StoreError::Damaged { .. }) => {
                    tracing::error!("a damaged session was ended; its record is left as it is");
                }
                Err(error) => {
                    events::store_failed("delete", &error);
                    // That a copy may live for a while is the lesser failure.
                    if !matches!(
                        (&failure, &error),
                        (Some(_), StoreError::DeletedWithin { .. })
                    ) {
                        failure = Some(error);
                    }
                }
            }
        }
    }

    /// After a write of which nobody knows whether it happened: what is harmless to do twice stays pending, the
    /// application's closures don't, and the record is read anew, under its new key if it has moved.
    async fn settle_doubt(&self, deadline: &mut Deadline<'_>) -> Result<(), SessionError> {
        let doubt = {
            let mut state = self.lock();
            let Some(doubt) = state.in_doubt.clone() else {
                return Ok(());
            };
            state.log.remove_modifications(&doubt.entries);
            state.outdate_view();
            if state.log.is_empty() && !state.cycle && doubt.moved_to.is_none() {
                return Ok(());
            }
            doubt
        };
        let attempt = self.attempt(Selection::All);
        if !self.follow_the_move(&attempt, &doubt, deadline).await? {
            self.rebase(&attempt, deadline).await?;
        }
        self.lock().in_doubt = None;
        Ok(())
    }

    /// Whether a rotation without an answer has happened. The client then has to be told of the new key, since its own is
    /// dead. As long as the old record lives, the new one may be half of a rotation, which nobody must be given.
    async fn follow_the_move(
        &self,
        attempt: &Attempt,
        doubt: &Doubt,
        deadline: &mut Deadline<'_>,
    ) -> Result<bool, SessionError> {
        let (Some(held), Some((moved_to, _)), false) =
            (&attempt.held, &doubt.moved_to, attempt.headers_sent)
        else {
            return Ok(false);
        };
        if self.manager.load_held(&held.key, deadline).await?.is_some() {
            return Ok(false);
        }
        let Some(moved) = self.manager.load_held(moved_to, deadline).await? else {
            return Ok(false);
        };
        let mut state = self.lock();
        if state.epoch == attempt.epoch {
            state.hold(Some(moved));
            state.log.remove(&doubt.entries);
            state.cycle = false;
            state.issue = true;
        }
        Ok(true)
    }

    fn attempt(&self, selection: Selection<'_>) -> Attempt {
        let state = self.lock();
        let is_all = matches!(selection, Selection::All);
        let selects = !is_all || state.is_view_stale;
        let selected = selects.then(|| Box::new(state.log.select(selection)));
        let batch = selected.as_deref().unwrap_or(&state.log);
        let subjects = batch.subjects();
        let is_whole = is_all || subjects.all;
        Attempt {
            held: state.held.clone(),
            entries: match &selected {
                Some(selected) => selected.ids(),
                None => state.log.all_ids(),
            },
            is_empty: batch.is_empty(),
            is_retimed: subjects.expiry,
            has_log_in: subjects.log_in,
            content: match &selected {
                Some(_) => Content::default(),
                None => state.view().clone(),
            },
            terms: Terms::UNKNOWN,
            log: selected,
            cycle: state.cycle && is_whole,
            renews: matches!(selection, Selection::All),
            headers_sent: state.headers_sent,
            is_activity: state.activity == Activity::Counts,
            is_unfinished: !state.ended.is_empty() || state.in_doubt.is_some(),
            epoch: state.epoch,
        }
    }

    /// Runs the operation on what the attempt starts from.
    fn prepare<R>(
        &self,
        attempt: &mut Attempt,
        operation: &mut impl FnMut(&mut Content) -> Result<Effect<R>, SessionError>,
        now: Timestamp,
    ) -> Result<Prepared<R>, SessionError> {
        let held = attempt.held.as_ref();
        let base = held.map_or(Content::EMPTY, |held| &held.base);
        if let Some(log) = attempt.log.take() {
            attempt.content = log.replay(base)?;
        }
        let (answer, is_changed) = match operation(&mut attempt.content)? {
            Effect::Plain(answer) => (answer, false),
            Effect::Changed(answer) => (answer, true),
            Effect::Refused(answer) => return Ok(Prepared::Refused(answer)),
        };
        let measure = attempt.content.data.measure();
        check_limits(&base.data, measure, self.policy().limits())?;
        if held.is_none() {
            attempt.content.created_at.get_or_insert(now);
        }
        attempt.terms = Terms::of(&attempt.content, self.policy());
        let write = self.decide(attempt, is_changed, now);
        Ok(Prepared::Write { answer, write })
    }

    /// The one place where it is decided what a commit writes.
    fn decide(&self, attempt: &Attempt, is_changed: bool, now: Timestamp) -> Write {
        let policy = self.policy();
        let content = &attempt.content;
        let Some(held) = &attempt.held else {
            // A crawler creates no record. An owner is content, too.
            let is_empty = content.data.is_empty() && content.owner.is_none();
            return if is_empty {
                Write::Nothing
            } else {
                Write::Create
            };
        };
        let terms = &attempt.terms;
        let renewal = terms
            .renewal(policy, held.expires_at, now)
            .filter(|_| attempt.is_activity);
        let is_retimed = attempt.has_log_in || attempt.is_retimed || !terms.say_as(&held.terms);
        let expiry = if is_retimed {
            ExpiryChange::Set(terms.expires_at(now))
        } else {
            renewal.map_or(ExpiryChange::Keep, ExpiryChange::AtLeast)
        };
        if attempt.cycle || attempt.has_log_in {
            Write::Rotate(expiry)
        } else if is_changed || !attempt.is_empty {
            Write::Save(expiry)
        } else {
            // Where the client keeps the session, a renewal has to be told as well.
            let can_be_told = !attempt.headers_sent || self.manager.client().is_none();
            match renewal {
                Some(moment)
                    if attempt.renews && can_be_told && policy.renewal() != Renewal::OnSave =>
                {
                    Write::Renew(moment)
                }
                _ => Write::Nothing,
            }
        }
    }

    /// Whether a commit that has nothing else to store would move the record's expiry.
    pub(crate) fn renewal_is_due(&self, state: &State) -> bool {
        let policy = self.policy();
        let Some(held) = &state.held else {
            return false;
        };
        policy.renewal() != Renewal::OnSave
            && state.activity == Activity::Counts
            && held
                .terms
                .renewal(policy, held.expires_at, self.manager.now())
                .is_some()
    }

    /// Makes the call, and takes over what it has stored.
    async fn perform(
        &self,
        write: Write,
        attempt: &mut Attempt,
        now: Timestamp,
        deadline: &mut Deadline<'_>,
    ) -> Result<CameTo, SessionError> {
        let store = self.manager.store();
        let content = &attempt.content;
        let client = self.manager.client();
        let reissues = self.policy().reissue() == Reissue::OnSave || client.is_some();
        if let Some(client) = client
            && !matches!(write, Write::Nothing)
        {
            self.allow_new_key(attempt)?;
            let before = attempt.held.as_ref().map(|held| held.expires_at);
            let expires_at = match (&write, before) {
                (Write::Save(expiry) | Write::Rotate(expiry), Some(before)) => expiry.apply(before),
                (Write::Renew(moment), Some(before)) => before.max(*moment),
                _ => attempt.terms.expires_at(now),
            };
            let text = client
                .codec
                .issue(&client.place, content, expires_at, now)?;
            self.lock().client_text = Some(text);
        }
        match (write, &attempt.held) {
            (Write::Create, _) => {
                self.allow_new_key(attempt)?;
                if content.owner.is_none() && client.is_none() {
                    self.manager.budget().take(self.policy(), now)?;
                }
                let (key, store_key) = self.new_key()?;
                let expires_at = attempt.terms.expires_at(now);
                let new = NewRecord {
                    payload: self.payload(content, &store_key),
                    expires_at,
                    owner: content.owner.clone(),
                    label: content.label.clone(),
                    created_at: content.created_at,
                };
                let version = deadline
                    .call("create", store.create(&store_key, new, now))
                    .await
                    .inspect_err(|error| events::store_failed("create", error))?;
                events::created(&store_key, content.owner.is_some());
                let place = Place {
                    key,
                    store_key,
                    expires_at,
                    issue: true,
                };
                Ok(self.adopt(attempt, version, place))
            }
            (Write::Save(expiry), Some(held)) => {
                let is_retimed = matches!(expiry, ExpiryChange::Set(_));
                if is_retimed {
                    self.allow_new_key(attempt)?;
                }
                let store_key = self.place_of(held);
                let change = self.change(content, &store_key, expiry);
                let (from, version) = (&held.store_key, &held.version);
                let call = if held.is_to_move {
                    let moved = store.rotate(from, version, &store_key, change, now);
                    Box::pin(async { moved_by_whoever(moved.await) })
                } else {
                    store.save(&store_key, version, change, now)
                };
                self.begin_unsure(attempt, None);
                let saved = deadline.call("save", call).await;
                self.end_unsure("save", &saved);
                let saved = saved?;
                count_renewal(&saved, expiry);
                let place = Place {
                    key: held.key.duplicate(),
                    store_key,
                    expires_at: expiry.apply(held.expires_at),
                    issue: is_retimed || reissues,
                };
                Ok(self.take_over(attempt, saved, place))
            }
            (Write::Rotate(expiry), Some(held)) => {
                self.allow_new_key(attempt)?;
                let (key, store_key) = self.new_key()?;
                let change = self.change(content, &store_key, expiry);
                let call = store.rotate(&held.store_key, &held.version, &store_key, change, now);
                let moved_to = Some((key.duplicate(), store_key.clone()));
                self.begin_unsure(attempt, moved_to);
                let saved = deadline.call("rotate", call).await;
                self.end_unsure("rotate", &saved);
                let saved = saved?;
                count_renewal(&saved, expiry);
                if let Saved::Stored(_) = saved {
                    events::rotated(&held.store_key, &store_key, attempt.has_log_in);
                }
                let place = Place {
                    key,
                    store_key,
                    expires_at: expiry.apply(held.expires_at),
                    issue: true,
                };
                Ok(self.take_over(attempt, saved, place))
            }
            (Write::Renew(moment), Some(held)) => {
                // By compare-and-swap, and not by `touch`, which asks for no version: a late renewal must not undo a
                // shorter expiry that another request has set. Whoever has written meanwhile has renewed it as well, and
                // a session that has ended meanwhile was read while it lived.
                let expiry = ExpiryChange::AtLeast(moment);
                let store_key = self.place_of(held);
                let change = || self.change(content, &store_key, expiry);
                let saved = if held.is_to_move {
                    let (from, version) = (&held.store_key, &held.version);
                    let call = store.rotate(from, version, &store_key, change(), now);
                    moved_by_whoever(deadline.call("renew", call).await)
                } else {
                    let renew = || store.save(&store_key, &held.version, change(), now);
                    // Rare: the future of every commit has room for what is not.
                    Box::pin(deadline.call_again("renew", renew)).await
                };
                let saved = saved.inspect_err(|error| events::store_failed("renew", error))?;
                count_renewal(&saved, expiry);
                let place = Place {
                    key: held.key.duplicate(),
                    store_key,
                    expires_at: expiry.apply(held.expires_at),
                    issue: reissues,
                };
                Ok(match self.take_over(attempt, saved, place) {
                    CameTo::Conflict | CameTo::Gone => CameTo::Nothing,
                    came_to => came_to,
                })
            }
            (Write::Nothing, _) | (_, None) => Ok(CameTo::Nothing),
        }
    }

    /// What follows must not be repeated if nobody knows whether it happened, nor if its future is dropped meanwhile.
    fn begin_unsure(&self, attempt: &Attempt, moved_to: Option<(SessionKey, StoreKey)>) {
        self.lock().in_doubt = Some(Doubt {
            entries: attempt.entries.clone(),
            moved_to,
        });
    }

    fn end_unsure(&self, operation: &'static str, saved: &Result<Saved, StoreError>) {
        match saved {
            // What was stored is taken over by the same look at the state that ends the doubt.
            Ok(Saved::Stored(_)) => {}
            Err(StoreError::Unavailable { .. } | StoreError::Failed { .. }) => {}
            Ok(_) | Err(_) => self.lock().in_doubt = None,
        }
        if let Err(error) = saved {
            events::store_failed(operation, error);
        }
    }

    fn allow_new_key(&self, attempt: &Attempt) -> Result<(), SessionError> {
        if attempt.headers_sent {
            Err(SessionError::HeadersSent)
        } else {
            Ok(())
        }
    }

    /// Where a session is kept from its next write on.
    fn place_of(&self, held: &Held) -> StoreKey {
        if held.is_to_move {
            self.policy().keys().store_key(&held.key)
        } else {
            held.store_key.clone()
        }
    }

    fn new_key(&self) -> Result<(SessionKey, StoreKey), SessionError> {
        let key = SessionKey::generate()?;
        let store_key = self.policy().keys().store_key(&key);
        Ok((key, store_key))
    }

    fn payload(&self, content: &Content, key: &StoreKey) -> Payload {
        telemetry::payload("write", content.data.size());
        let binding = Binding {
            key: key.clone(),
            owner: content.owner.clone(),
            created_at: content.created_at,
        };
        let codec = Arc::clone(self.manager.codec());
        Payload::new(content.data.clone(), codec, binding)
    }

    fn change(&self, content: &Content, key: &StoreKey, expiry: ExpiryChange) -> Change {
        Change {
            payload: self.payload(content, key),
            expiry,
            owner: content.owner.clone(),
            label: content.label.clone(),
            created_at: content.created_at,
        }
    }

    /// What the answer to a save or a rotation comes to.
    fn take_over(&self, attempt: &mut Attempt, saved: Saved, place: Place) -> CameTo {
        match saved {
            Saved::Stored(version) => self.adopt(attempt, version, place),
            Saved::Conflict => CameTo::Conflict,
            Saved::Gone => CameTo::Gone,
        }
    }

    /// Takes over what was stored: those changes are no longer pending.
    fn adopt(&self, attempt: &mut Attempt, version: Version, place: Place) -> CameTo {
        let base = std::mem::take(&mut attempt.content);
        let may_be_too_many =
            attempt.has_log_in && self.policy().sessions_per_owner_max().is_some();
        let owner = base.owner.as_ref().filter(|_| may_be_too_many).cloned();
        let mut state = self.lock();
        state.in_doubt = None;
        let is_ended = state.epoch != attempt.epoch;
        if is_ended {
            // Ended while the write was under way, under the key from before; it may have another now.
            state.ended.push(place.store_key);
            return CameTo::Stored { is_ended, owner };
        }
        state.log.remove(&attempt.entries);
        state.cycle &= !attempt.cycle && !attempt.has_log_in;
        state.issue |= place.issue;
        let held = Held {
            key: place.key,
            store_key: place.store_key,
            version,
            expires_at: place.expires_at,
            base,
            terms: attempt.terms,
            is_to_move: false,
        };
        if state.log.is_empty() {
            attempt.held = None;
            match state.held.as_mut().and_then(triomphe::Arc::get_mut) {
                // Nobody else looks at the record from before, and so its place is taken.
                Some(before) => *before = held,
                None => state.held = Some(triomphe::Arc::new(held)),
            }
            state.show_held();
        } else {
            state.hold(Some(triomphe::Arc::new(held)));
            drop(state);
            self.refresh_view();
        }
        CameTo::Stored { is_ended, owner }
    }

    fn finish_without_write(&self, attempt: &Attempt) {
        {
            let mut state = self.lock();
            if state.epoch != attempt.epoch {
                return;
            }
            state.log.remove(&attempt.entries);
            state.cycle &= !attempt.cycle;
            state.outdate_view();
        }
        self.refresh_view();
    }

    /// Reads the record anew, so that the pending changes can be done again on it.
    async fn rebase(
        &self,
        attempt: &Attempt,
        deadline: &mut Deadline<'_>,
    ) -> Result<(), SessionError> {
        let Some(held) = &attempt.held else {
            return Ok(());
        };
        if self.manager.client().is_some() {
            // Nobody else has written what only this request has.
            return Ok(());
        }
        let Some(newer) = self.manager.load_held(&held.key, deadline).await? else {
            return self.start_over(attempt);
        };
        let mut state = self.lock();
        if state.epoch == attempt.epoch {
            state.hold(Some(newer));
        }
        Ok(())
    }

    /// The session was ended by somebody else. Whoever has just proved who they are gets a fresh one, which holds only what
    /// this request wrote; for everybody else the request is over.
    fn start_over(&self, attempt: &Attempt) -> Result<(), SessionError> {
        if !attempt.has_log_in {
            Count::Interruption.add(1);
            return Err(SessionError::Interrupted);
        }
        let mut state = self.lock();
        if state.epoch == attempt.epoch {
            let gone = state.base().owner.clone();
            state.hold(None);
            state.log.forget_what_was_for(gone.as_ref());
        }
        Ok(())
    }

    /// Reads the record anew and keeps what is pending.
    pub(crate) async fn reload(&self) -> Result<(), SessionError> {
        self.reload_unless(|| false).await
    }

    /// The same, unless there turns out to be no need once it is this call's turn.
    pub(crate) async fn reload_unless(
        &self,
        is_needless: impl FnOnce() -> bool + Send,
    ) -> Result<(), SessionError> {
        let mut deadline = Deadline::new(&self.manager);
        let _turn = self.take_turn(&mut deadline).await?;
        if is_needless() {
            return Ok(());
        }
        self.settle_doubt(&mut deadline).await?;
        let attempt = self.attempt(Selection::All);
        self.rebase(&attempt, &mut deadline).await?;
        self.refresh_view();
        Ok(())
    }

    /// Whether a request that never asked for its session has to be committed all the same.
    pub(crate) fn renews_unasked(&self, activity: Activity) -> bool {
        self.policy().renewal() == Renewal::EveryRequest && activity == Activity::Counts
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.lock().phase != Phase::Unasked
    }
}

/// A live record at the place to which a session moves under its own key is the session itself: another request was faster.
fn moved_by_whoever(saved: Result<Saved, StoreError>) -> Result<Saved, StoreError> {
    match saved {
        Err(StoreError::KeyTaken { .. }) => Ok(Saved::Conflict),
        saved => saved,
    }
}

fn count_renewal(saved: &Saved, expiry: ExpiryChange) {
    if let (Saved::Stored(_), ExpiryChange::AtLeast(_)) = (saved, expiry) {
        Count::Renewal.add(1);
    }
}
