//! A session for what outlives its request: nothing waits for a commit, and whether the session still lives can be asked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{EntryIds, Selection};
use crate::clock::Timestamp;
use crate::commit::Effect;
use crate::data::SessionData;
use crate::error::SessionError;
use crate::field::Name;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::policy::CHECK_INTERVAL;
use crate::session::SessionBase;
use crate::state::{Phase, Shared, State};

/// A visitor's session in a stream, a socket or a background job, made by [`SessionBase::detach`].
///
/// There is no `set` that would wait for a commit which never comes: whatever changes the session is `async`, and stored
/// when it returns. What can be read is the session as it was last loaded: by the request, by a change, by
/// [`reload`](Self::reload), or by a look whether it [still lives](Self::is_alive).
///
/// ```
/// # use session_core::{MemoryStore, SessionManager};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let manager = SessionManager::new(MemoryStore::new());
/// # let session = manager.start();
/// # session.set("progress", &0)?;
/// # session.save().await?;
/// let job = session.detach();
/// for percent in [50, 100] {
///     if !job.is_alive().await? {
///         break; // the visitor has logged out
///     }
///     job.save(|session| session.set("progress", &percent)).await?;
/// }
/// assert_eq!(job.get("progress")?, Some(100));
///
/// job.log_out().await?;
/// assert!(!job.is_alive().await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing of it needs a cookie: once the response is out, a visitor who has no session can't be given one, and no key can
/// be changed. That is [`SessionError::HeadersSent`]. A key that *another* request changes, by a log-in or `cycle_key`, is as
/// dead for this session as one that is logged out: the client has a newer one, and comes back with it.
///
/// An open stream is no sign of life from its visitor: looking whether the session lives does not renew it, and so it
/// expires under the stream as it would without. A [`save`](Self::save) renews it, also one that changes nothing.
///
/// Cheap to clone; clones share one state with each other and with the request that they come from.
#[derive(Clone)]
pub struct DetachedSession {
    session: SessionBase,
    check_interval: Duration,
    checks: Arc<Mutex<Checks>>,
}

/// What the store has said of the session.
#[derive(Default)]
struct Checks {
    alive_at: Option<Timestamp>,
    /// The place of a session that is over. No key is used twice, so that this is final.
    over: Option<StoreKey>,
}

impl SessionBase {
    /// This session for what outlives the request: a stream, a socket, a background job.
    ///
    /// What the request has changed so far stays the request's, and is stored by its commit.
    #[must_use]
    pub fn detach(&self) -> DetachedSession {
        DetachedSession {
            session: self.clone(),
            check_interval: CHECK_INTERVAL,
            checks: Arc::default(),
        }
    }
}

/// Whether the session lives.
impl DetachedSession {
    /// How old an answer of [`is_alive`](Self::is_alive) may be, in whole seconds. 30 seconds by default: a thousand open
    /// sockets then cost some 33 look-ups a second. With less than a second each call asks the store.
    #[must_use]
    pub fn with_check_interval(mut self, check_interval: Duration) -> Self {
        self.check_interval = check_interval;
        self
    }

    /// Whether the session is stored and has not ended. Asks the store if its last answer is older than the
    /// [check interval](Self::with_check_interval), and not otherwise: a log-out elsewhere is seen within that time. The
    /// answer `false` is final, unless it is about a session that its own request has not stored yet.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] when the store can't be asked: that is not "over". The next call asks again.
    /// [`SessionError::Unsupported`] for a session that lives with its client, which nobody can end elsewhere.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn is_alive(&self) -> Result<bool, SessionError> {
        self.look(self.check_interval).await
    }

    /// Waits until the session has ended: in a `select!` it closes a socket, as the end of a stream it ends that. Asks the
    /// store once per [check interval](Self::with_check_interval), which is at least a second here.
    ///
    /// # Errors
    ///
    /// As for [`is_alive`](Self::is_alive). Call it again to go on waiting, or close what nobody can vouch for.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn ended(&self) -> Result<(), SessionError> {
        let mut age_max = self.check_interval;
        while self.look(age_max).await? {
            tokio::time::sleep(self.check_interval.max(Duration::from_secs(1))).await;
            // It is the timer that says when to look again, and not the manager's clock.
            age_max = Duration::ZERO;
        }
        Ok(())
    }

    /// Whether the session lives, from an answer that is younger than `age_max`.
    async fn look(&self, age_max: Duration) -> Result<bool, SessionError> {
        let shared = &self.session.0;
        shared
            .manager
            .require_store("say whether a session was ended elsewhere")?;
        if let Some(known) = self.known(age_max) {
            return Ok(known);
        }
        // The age counts from before the store is asked. A clone that waits for its turn here finds the answer of the other.
        let asked_at = shared.manager.now();
        let mut asked_for = None;
        let reloaded = shared
            .reload_unless(|| {
                let is_known = self.known(age_max).is_some();
                if !is_known {
                    let held = &shared.lock().held;
                    asked_for = held.as_ref().map(|held| held.store_key.clone());
                }
                is_known
            })
            .await;
        match (reloaded, asked_for) {
            (Err(SessionError::Interrupted), Some(over)) => {
                self.checks().over = Some(over);
                Ok(false)
            }
            (Err(error), _) => Err(error),
            (Ok(()), Some(_)) => {
                self.checks().alive_at = Some(asked_at);
                Ok(shared.lock().held.is_some())
            }
            (Ok(()), None) => Ok(self.known(age_max).unwrap_or_default()),
        }
    }

    /// The answer, as far as it is known without asking.
    fn known(&self, age_max: Duration) -> Option<bool> {
        let shared = &self.session.0;
        let now = shared.manager.now();
        let state = shared.lock();
        let Some(held) = &state.held else {
            return Some(false);
        };
        let checks = self.checks();
        if checks.over.as_ref() == Some(&held.store_key) {
            return Some(false);
        }
        let alive_at = checks.alive_at?;
        let age_max = Duration::from_secs(age_max.as_secs());
        // A clock that was set back makes no answer younger.
        let is_fresh = now >= alive_at && now.saturating_since(alive_at) < age_max;
        is_fresh.then_some(true)
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes, each stored when it returns.
impl DetachedSession {
    /// Makes changes and stores them, now and together. Also moves the session's expiry if the policy has it so, which a
    /// stream can use as its visitor's sign of life: `save(|_| Ok(()))`.
    ///
    /// `change` is given a session of its own, which shows what this one has: what is set there is merged with what others
    /// write as usual. If it returns an error, nothing has changed. What the request itself has changed and not stored yet
    /// is stored along with it.
    ///
    /// # Errors
    ///
    /// What `change` returns; otherwise as for [`SessionBase::save`], [`SessionError::HeadersSent`] included. Nothing stays
    /// pending: a later call does not store what this one could not.
    ///
    /// # Cancel safety
    ///
    /// The changes have been stored or not, and are not stored later.
    pub async fn save<R: Send>(
        &self,
        change: impl FnOnce(&SessionBase) -> Result<R, SessionError> + Send,
    ) -> Result<R, SessionError> {
        let shared = &self.session.0;
        let (answer, proposed) = shared.propose(change)?;
        let stored = shared
            .store(Selection::All, |_| Ok(Effect::Plain(())))
            .await;
        drop(proposed);
        stored.map(|()| answer)
    }

    /// Changes one value and stores it: as [`SessionBase::modify_now`].
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::modify_now`].
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn modify_now<T, R>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) -> R + Send + Sync,
    ) -> Result<R, SessionError>
    where
        T: Default + Serialize + DeserializeOwned,
        R: Send,
    {
        self.session.modify_now(name, change).await
    }

    /// Changes one value and stores it, unless `change` refuses: as [`SessionBase::try_modify_now`].
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::try_modify_now`].
    ///
    /// # Cancel safety
    ///
    /// The change has been stored or not.
    pub async fn try_modify_now<T, R, E>(
        &self,
        name: impl Name<T>,
        change: impl Fn(&mut T) -> Result<R, E> + Send + Sync,
    ) -> Result<Result<R, E>, SessionError>
    where
        T: Default + Serialize + DeserializeOwned,
        R: Send,
        E: Send,
    {
        self.session.try_modify_now(name, change).await
    }

    /// Removes one value and gives it, to one caller only: as [`SessionBase::take`].
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::take`].
    ///
    /// # Cancel safety
    ///
    /// The value has been removed or not. If it was, it is lost.
    pub async fn take<T: DeserializeOwned + Send>(
        &self,
        name: impl Name<T>,
    ) -> Result<Option<T>, SessionError> {
        self.session.take(name).await
    }

    /// Ends the session. If its own response is still to come, the client is told to forget its key.
    ///
    /// # Errors
    ///
    /// What the store answers.
    ///
    /// # Cancel safety
    ///
    /// The session has ended or not. Ending again is harmless.
    #[doc(alias = "flush")]
    pub async fn log_out(&self) -> Result<(), SessionError> {
        self.save(|session| {
            session.log_out();
            Ok(())
        })
        .await
    }
}

/// Reading what was last loaded.
impl DetachedSession {
    /// Reads the stored session anew.
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::reload`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is stored.
    pub async fn reload(&self) -> Result<(), SessionError> {
        self.session.reload().await
    }

    /// The value of `name`, or `None`.
    ///
    /// # Errors
    ///
    /// As for [`SessionBase::get`].
    pub fn get<T: DeserializeOwned>(&self, name: impl Name<T>) -> Result<Option<T>, SessionError> {
        self.session.get(name)
    }

    /// Whether `name` has a value.
    #[must_use]
    pub fn contains_key(&self, name: impl AsRef<str>) -> bool {
        self.session.contains_key(name)
    }

    /// Everything.
    #[must_use]
    pub fn snapshot(&self) -> SessionData {
        self.session.snapshot()
    }

    /// Whose session it is, once somebody has logged in.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.session.owner()
    }

    /// How long the stored session lives from now on if nobody uses it: as [`SessionBase::time_left`].
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.session.time_left()
    }
}

impl fmt::Debug for DetachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedSession")
            .field("session", &self.session)
            .field("check_interval", &self.check_interval)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs `change` on a session of its own, and makes what it did pending here, all of it at once.
    fn propose<R>(
        &self,
        change: impl FnOnce(&SessionBase) -> Result<R, SessionError>,
    ) -> Result<(R, Proposed<'_>), SessionError> {
        let own = {
            let state = self.lock();
            State {
                phase: Phase::Loaded,
                held: state.held.clone(),
                changed: state.changed.clone(),
                activity: state.activity,
                headers_sent: true,
                ..State::default()
            }
        };
        let own = SessionBase(triomphe::Arc::new(Self::new(self.manager.clone(), own)));
        let answer = change(&own);
        let (mut log, cycle, flushed) = {
            let mut own = own.0.lock();
            let log = std::mem::take(&mut own.log);
            // Nothing is left there to be stored, or to be told of as lost.
            own.ended.clear();
            (log, std::mem::take(&mut own.cycle), own.flushed)
        };
        let answer = answer?;
        let mut state = self.lock();
        if state.headers_sent && (cycle || log.subjects().log_in) {
            return Err(SessionError::HeadersSent);
        }
        if flushed {
            self.end_held(&mut state);
        }
        state.cycle |= cycle;
        state.modified |= cycle || !log.is_empty();
        let entries = state.log.append(&mut log);
        state.outdate_view();
        // Closures that the new entries have replaced are dropped with the lock, those of `log` behind it.
        drop(state);
        let proposed = Proposed {
            shared: self,
            entries,
        };
        Ok((answer, proposed))
    }
}

/// Changes that are withdrawn if they were not stored.
struct Proposed<'a> {
    shared: &'a Shared,
    entries: EntryIds,
}

impl Drop for Proposed<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.log.remove(&self.entries);
            state.outdate_view();
        }
        self.shared.refresh_view();
    }
}
