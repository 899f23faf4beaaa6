//! "My sessions": what the owner of a session can see and end.

use std::fmt;
use std::time::SystemTime;

use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events::{self, Ending};
use crate::key::{SessionHandle, StoreKey};
use crate::manager::SessionManager;
use crate::owner::Owner;
use crate::policy::OWN_SESSIONS_MAX;
use crate::session::SessionBase;
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
        let (owner, current) = self.owner_and_key()?;
        let found = self.0.manager.sessions_of(&owner).await?;
        let mut sessions: Vec<SessionInfo> = found
            .into_iter()
            .map(|(key, record)| SessionInfo {
                handle: SessionHandle::of(&key),
                created_at: record.created_at.map(SystemTime::from),
                expires_at: record.expires_at.into(),
                label: record.label.map(|label| label.as_str().to_owned()),
                is_current: current.as_ref() == Some(&key),
            })
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        Ok(sessions)
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
        let (owner, current) = self.owner_and_key()?;
        let found = self.0.manager.sessions_of(&owner).await?;
        let Some((key, _)) = found
            .into_iter()
            .find(|(key, _)| SessionHandle::of(key) == *handle)
        else {
            return Ok(false);
        };
        let is_current = current.as_ref() == Some(&key);
        let ended = self.end_scope(&owner, EndScope::One(key)).await;
        if is_current && is_over(&ended) {
            self.0.lock().let_go();
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
        let (owner, current) = self.owner_and_key()?;
        self.end_scope(&owner, current.map_or(EndScope::All, EndScope::AllExcept))
            .await
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
        let (owner, _) = self.owner_and_key()?;
        let ended = self.end_scope(&owner, EndScope::All).await;
        if is_over(&ended) {
            self.flush();
        }
        ended
    }

    async fn end_scope(&self, owner: &Owner, scope: EndScope) -> Result<u64, SessionError> {
        let index = self.0.manager.owner_index()?;
        let mut deadline = Deadline::new(self.0.policy().limits());
        let ended = deadline
            .call_again("end sessions", || index.end(owner, scope.clone()))
            .await?;
        events::ended_by_owner(
            match scope {
                EndScope::One(_) => "one",
                EndScope::AllExcept(_) => "others",
                EndScope::All => "all",
            },
            ended,
        );
        Ok(ended)
    }

    fn owner_and_key(&self) -> Result<(Owner, Option<StoreKey>), SessionError> {
        let mut state = self.0.lock();
        state.accessed = true;
        let owner = state.view.owner.clone().ok_or(SessionError::NoOwner)?;
        Ok((
            owner,
            state.held.as_ref().map(|held| held.store_key.clone()),
        ))
    }
}

/// Whether the sessions have ended, although a copy of them may still be read for a while.
fn is_over(ended: &Result<u64, SessionError>) -> bool {
    matches!(
        ended,
        Ok(_) | Err(SessionError::Store(StoreError::DeletedWithin { .. }))
    )
}

impl SessionManager {
    pub(crate) fn owner_index(&self) -> Result<&dyn OwnerIndex, SessionError> {
        self.store().owner_index().ok_or(SessionError::Unsupported {
            operation: "find sessions by their owner",
        })
    }

    /// Ends the oldest sessions of an owner who has more than the policy allows. Every log-in looks at the same order, so that
    /// of several at the same moment none spares another's surplus, and none ends what is not surplus.
    pub(crate) async fn limit_sessions(
        &self,
        owner: &Owner,
        deadline: &mut Deadline,
    ) -> Result<(), SessionError> {
        let Some(sessions_max) = self.policy().sessions_per_owner_max() else {
            return Ok(());
        };
        let index = self.owner_index()?;
        let mut found = self.sessions_of(owner).await?;
        found.sort_by(|(one, first), (other, second)| {
            (second.created_at, other).cmp(&(first.created_at, one))
        });
        for (key, _) in found.into_iter().skip(sessions_max.get()) {
            deadline
                .call_again("end sessions", || {
                    index.end(owner, EndScope::One(key.clone()))
                })
                .await?;
            events::ended(&key, Ending::Limit);
        }
        Ok(())
    }

    async fn sessions_of(&self, owner: &Owner) -> Result<Vec<(StoreKey, Record)>, SessionError> {
        const PAGE: usize = 100;
        let index = self.owner_index()?;
        let now = self.now();
        let mut deadline = Deadline::new(self.policy().limits());
        let mut found: Vec<(StoreKey, Record)> = Vec::new();
        while found.len() < OWN_SESSIONS_MAX {
            let page = Page {
                after: found.last().map(|(key, _)| key.clone()),
                limit: PAGE,
            };
            let next = deadline
                .call_again("list sessions", || {
                    index.sessions_of(owner, page.clone(), now)
                })
                .await?;
            let is_last = next.len() < PAGE;
            found.extend(next);
            if is_last {
                break;
            }
        }
        Ok(found)
    }
}
