//! "My sessions": what the owner of a session can see and end, and an administrator for them.

use std::fmt;
use std::time::SystemTime;

use triomphe::Arc;

use crate::clock::Timestamp;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events::{self, Ending};
use crate::expiry::began_before;
use crate::key::{SessionHandle, StoreKey};
use crate::manager::SessionManager;
use crate::owner::Owner;
use crate::policy::{LIMIT_TRIES_MAX, OWN_SESSIONS_MAX};
use crate::session::SessionBase;
use crate::state::Held;
use crate::store::{EndScope, OwnerIndex, Page, Record, StoreError};

/// One of an owner's sessions, as a list may show it.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionInfo {
    /// What a form names it by.
    pub handle: SessionHandle,
    /// When it began: at its creation, and anew at a log-in. Unknown in tables that have no place for it.
    pub created_at: Option<SystemTime>,
    /// When it expires if it is not used again.
    pub expires_at: SystemTime,
    /// The device's name, if one was set.
    pub label: Option<String>,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The label is the visitor's own text.
        let Self {
            handle,
            created_at,
            expires_at,
            label: _,
            is_current,
        } = self;
        f.debug_struct("SessionInfo")
            .field("handle", handle)
            .field("created_at", created_at)
            .field("expires_at", expires_at)
            .field("is_current", is_current)
            .finish_non_exhaustive()
    }
}

impl SessionBase {
    /// The live sessions of this session's owner, this one included, newest first; at most a thousand.
    ///
    /// A session that is logged in by this very request is not stored yet, and not in the list.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoOwner`] when nobody is logged in, [`SessionError::Unsupported`] when the store has no owner
    /// index; what the store answers.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn own_sessions(&self) -> Result<Vec<SessionInfo>, SessionError> {
        let (owner, held) = self.owner_and_held()?;
        let current = self.places_of(held.as_deref());
        let found = self.0.manager.own_sessions_of(&owner).await?;
        let sessions = found
            .into_iter()
            .map(|(key, record)| SessionInfo {
                is_current: current.contains(&key),
                ..SessionInfo::of(&key, record)
            })
            .collect();
        Ok(newest_first(sessions))
    }

    /// Ends one of the owner's sessions, now. `false` if the owner has none with this handle. Ending the current one is
    /// [`log_out`](Self::log_out).
    ///
    /// # Errors
    ///
    /// As for [`own_sessions`](Self::own_sessions).
    ///
    /// # Cancel safety
    ///
    /// The session has ended or not. Ending again is harmless.
    pub async fn end(&self, handle: &SessionHandle) -> Result<bool, SessionError> {
        let (owner, held) = self.owner_and_held()?;
        let found = self.0.manager.own_sessions_of(&owner).await?;
        let Some((key, _)) = found
            .into_iter()
            .find(|(key, _)| SessionHandle::of(key) == *handle)
        else {
            return Ok(false);
        };
        let is_current = self.places_of(held.as_deref()).contains(&key);
        let ended = self.0.manager.end_of(&owner, EndScope::One(key)).await;
        if is_current && is_over(&ended) {
            let mut state = self.0.lock();
            if matches!(ended, Ok(0)) {
                // It has just been moved, and the client will be told to forget it.
                self.0.end_held(&mut state);
            } else {
                state.let_go();
            }
        }
        Ok(ended? > 0)
    }

    /// Ends the owner's other sessions, now, and says how many.
    ///
    /// # Errors
    ///
    /// As for [`own_sessions`](Self::own_sessions).
    ///
    /// # Cancel safety
    ///
    /// Some have ended. Ending again is harmless.
    pub async fn end_others(&self) -> Result<u64, SessionError> {
        let (owner, held) = self.owner_and_held()?;
        let scope = held.map_or(EndScope::All, |held| {
            EndScope::AllExcept(held.store_key.clone())
        });
        self.0.manager.end_of(&owner, scope).await
    }

    /// Ends all of the owner's sessions, this one included, now, and says how many.
    ///
    /// # Errors
    ///
    /// As for [`own_sessions`](Self::own_sessions).
    ///
    /// # Cancel safety
    ///
    /// Some have ended. Ending again is harmless.
    pub async fn end_all(&self) -> Result<u64, SessionError> {
        let (owner, held) = self.owner_and_held()?;
        let ended = self.0.manager.end_of(&owner, EndScope::All).await;
        if is_over(&ended) {
            let mut state = self.0.lock();
            if held.is_some_and(|held| held.base.owner.as_ref() == Some(&owner)) {
                state.let_go();
            } else {
                // The log-in is this request's own, and what is stored is not the owner's yet.
                self.0.end_held(&mut state);
            }
        }
        ended
    }

    fn owner_and_held(&self) -> Result<(Owner, Option<Arc<Held>>), SessionError> {
        let mut state = self.0.lock();
        state.accessed = true;
        let owner = state.view().owner.clone().ok_or(SessionError::NoOwner)?;
        Ok((owner, state.held.clone()))
    }

    /// Where the current session may be: another request may have moved it.
    fn places_of(&self, held: Option<&Held>) -> Vec<StoreKey> {
        let keys = self.0.policy().keys();
        held.map(|held| keys.all_store_keys(&held.key))
            .unwrap_or_default()
    }
}

impl SessionInfo {
    /// As somebody sees it who asks from elsewhere.
    fn of(key: &StoreKey, record: Record) -> Self {
        Self {
            handle: SessionHandle::of(key),
            created_at: record.created_at.map(SystemTime::from),
            expires_at: record.expires_at.into(),
            label: record.label.map(|label| label.as_str().to_owned()),
            is_current: false,
        }
    }
}

fn newest_first(mut sessions: Vec<SessionInfo>) -> Vec<SessionInfo> {
    sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at));
    sessions
}

/// Whether the sessions have ended, although a copy of them may still be read for a while.
fn is_over(ended: &Result<u64, SessionError>) -> bool {
    matches!(
        ended,
        Ok(_) | Err(SessionError::Store(StoreError::DeletedWithin { .. }))
    )
}

impl SessionManager {
    /// The live sessions of `owner`, newest first, for an administrator: all of them, however many. None is
    /// [`is_current`](SessionInfo::is_current). What visitors see of their own is [`own_sessions`](SessionBase::own_sessions).
    ///
    /// ```
    /// use session_core::{MemoryStore, Owner, SessionManager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let manager = SessionManager::new(MemoryStore::new());
    /// let session = manager.start();
    /// session.log_in("ada")?;
    /// session.save().await?;
    ///
    /// let ada = Owner::from("ada");
    /// let sessions = manager.sessions_of(&ada).await?;
    /// assert_eq!(sessions.len(), 1);
    /// assert!(manager.end(&ada, &sessions[0].handle).await?);
    /// assert!(manager.sessions_of(&ada).await?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Unsupported`] when the store has no owner index; what the store answers.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn sessions_of(&self, owner: &Owner) -> Result<Vec<SessionInfo>, SessionError> {
        let mut sessions = Vec::new();
        let mut page = self.first_page_of(owner).await?;
        loop {
            let after = page.last().map(|(key, _)| key.clone());
            let is_last = page.len() < PAGE;
            sessions.extend(
                page.into_iter()
                    .filter(|(_, record)| self.began_in_time(record))
                    .map(|(key, record)| SessionInfo::of(&key, record)),
            );
            if is_last {
                return Ok(newest_first(sessions));
            }
            // Each page has the time of a call. The pages are as many as they are.
            page = self.page_of(owner, after, &mut Deadline::new(self)).await?;
        }
    }

    /// Ends one session of `owner`, now, for an administrator. `false` if the owner has none with this handle.
    ///
    /// # Errors
    ///
    /// As for [`sessions_of`](Self::sessions_of).
    ///
    /// # Cancel safety
    ///
    /// The session has ended or not. Ending again is harmless.
    pub async fn end(&self, owner: &Owner, handle: &SessionHandle) -> Result<bool, SessionError> {
        let mut page = self.first_page_of(owner).await?;
        loop {
            let found = page
                .iter()
                .find(|(key, _)| SessionHandle::of(key) == *handle);
            if let Some((key, _)) = found {
                let ended = self.end_of(owner, EndScope::One(key.clone())).await?;
                return Ok(ended > 0);
            }
            let after = page.last().map(|(key, _)| key.clone());
            if page.len() < PAGE {
                return Ok(false);
            }
            page = self.page_of(owner, after, &mut Deadline::new(self)).await?;
        }
    }

    pub(crate) fn owner_index(&self) -> Result<&dyn OwnerIndex, SessionError> {
        self.store().owner_index().ok_or(SessionError::Unsupported {
            operation: "find sessions by their owner",
        })
    }

    /// Ends sessions of `owner`, and tells of it.
    pub(crate) async fn end_of(&self, owner: &Owner, scope: EndScope) -> Result<u64, SessionError> {
        let mut deadline = Deadline::new(self);
        let ended = self.end_now(owner, &scope, &mut deadline).await?;
        let scope = match scope {
            EndScope::One(_) => "one",
            EndScope::AllExcept(_) => "others",
            EndScope::All => "all",
        };
        events::ended_by_owner(scope, ended);
        Ok(ended)
    }

    async fn end_now(
        &self,
        owner: &Owner,
        scope: &EndScope,
        deadline: &mut Deadline<'_>,
    ) -> Result<u64, SessionError> {
        let index = self.owner_index()?;
        let ended = deadline
            .call_again("end sessions", || index.end(owner, scope.clone()))
            .await;
        Ok(ended.inspect_err(|error| events::store_failed("end sessions", error))?)
    }

    /// Refuses a log-in after which the policy's limit could not be kept, before anything of it is stored.
    pub(crate) fn require_limit_can_be_kept(&self) -> Result<(), SessionError> {
        if self.policy().sessions_per_owner_max().is_some() {
            self.owner_index()?;
        }
        Ok(())
    }

    /// Ends the oldest sessions of an owner who has more than the policy allows. Every log-in looks at the same order, so that
    /// of several at the same moment none spares another's surplus, and none ends what is not surplus.
    pub(crate) async fn limit_sessions(
        &self,
        owner: &Owner,
        deadline: &mut Deadline<'_>,
    ) -> Result<(), SessionError> {
        let Some(sessions_max) = self.policy().sessions_per_owner_max() else {
            return Ok(());
        };
        for _ in 0..LIMIT_TRIES_MAX {
            let mut found = self.records_of(owner, usize::MAX, deadline).await?;
            found.sort_by(|(one, first), (other, second)| {
                (second.created_at, other).cmp(&(first.created_at, one))
            });
            let mut all_ended = true;
            for (key, _) in found.into_iter().skip(sessions_max.get()) {
                let scope = EndScope::One(key.clone());
                match self.end_now(owner, &scope, deadline).await {
                    // Another log-in has ended it, or it has another key now.
                    Ok(0) => all_ended = false,
                    // Its record is gone. That a copy may be read for a while is no reason to refuse the log-in.
                    Ok(_) | Err(SessionError::Store(StoreError::DeletedWithin { .. })) => {
                        events::ended(&key, Ending::Limit);
                    }
                    Err(error) => return Err(error),
                }
            }
            if all_ended {
                break;
            }
        }
        Ok(())
    }

    async fn own_sessions_of(
        &self,
        owner: &Owner,
    ) -> Result<Vec<(StoreKey, Record)>, SessionError> {
        let mut deadline = Deadline::new(self);
        let mut found = self
            .records_of(owner, OWN_SESSIONS_MAX, &mut deadline)
            .await?;
        found.retain(|(_, record)| self.began_in_time(record));
        Ok(found)
    }

    /// Whether the policy has not ended it.
    fn began_in_time(&self, record: &Record) -> bool {
        let not_before = self.policy().not_before().map(Timestamp::from);
        !began_before(record.created_at, not_before)
    }

    /// The sessions of `owner`, or about `sessions_max` of them if there are more.
    async fn records_of(
        &self,
        owner: &Owner,
        sessions_max: usize,
        deadline: &mut Deadline<'_>,
    ) -> Result<Vec<(StoreKey, Record)>, SessionError> {
        let mut found: Vec<(StoreKey, Record)> = Vec::new();
        while found.len() < sessions_max {
            let after = found.last().map(|(key, _)| key.clone());
            let next = self.page_of(owner, after, deadline).await?;
            let is_last = next.len() < PAGE;
            found.extend(next);
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    async fn first_page_of(&self, owner: &Owner) -> Result<Vec<(StoreKey, Record)>, SessionError> {
        self.page_of(owner, None, &mut Deadline::new(self)).await
    }

    /// The next sessions of `owner` by their keys; fewer than [`PAGE`] are the last.
    async fn page_of(
        &self,
        owner: &Owner,
        after: Option<StoreKey>,
        deadline: &mut Deadline<'_>,
    ) -> Result<Vec<(StoreKey, Record)>, SessionError> {
        let index = self.owner_index()?;
        let now = self.now();
        let page = Page { after, limit: PAGE };
        let found = deadline
            .call_again("list sessions", || {
                index.sessions_of(owner, page.clone(), now)
            })
            .await;
        Ok(found.inspect_err(|error| events::store_failed("list sessions", error))?)
    }
}

/// How many of an owner's sessions are asked for at once.
const PAGE: usize = 100;
