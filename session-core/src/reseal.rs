//! Rewrites what is sealed with an older key, or not at all, so that the key can be taken out of the ring.

use std::sync::Arc;

use crate::codec::Binding;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events;
use crate::key::StoreKey;
use crate::manager::SessionManager;
use crate::payload::Payload;
use crate::store::{Change, ExpiryChange, Page, Record, Saved, StoreError};

/// How far [`SessionManager::reseal`] has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealed {
    /// Records that were looked at, live ones.
    pub seen: u64,
    /// Of these, the ones that were sealed anew.
    pub resealed: u64,
    /// Those that a request wrote at the same moment: with the newest key, if its server has it in front.
    pub written_meanwhile: u64,
    /// Those that can't be opened with any key of the ring, or not be read then. They are left as they are.
    pub unreadable: u64,
}

impl SessionManager {
    /// Seals every session anew that is not sealed with the newest key, beside live traffic, and calls `progress` after every
    /// page. What it did is not done again when it is run again. Requests lose nothing: who writes at the same moment wins.
    ///
    /// It does not move a session to the place of a newer digest key, since the session's own key is needed
    /// for that, which only its visitor has.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unsupported`] when the store offers no scan; what the store answers.
    ///
    /// # Cancel safety
    ///
    /// What was resealed stays so.
    pub async fn reseal(
        &self,
        mut progress: impl FnMut(Resealed) + Send,
    ) -> Result<Resealed, SessionError> {
        const PAGE: usize = 100;
        let scan = self.store().scan().ok_or(SessionError::Unsupported {
            operation: "go through all sessions",
        })?;
        let mut done = Resealed::default();
        let mut page = Page::first(PAGE);
        loop {
            let found = self
                .deadline()
                .call_again("scan", || scan.page(page.clone()))
                .await?;
            let Some((last, _)) = found.last() else {
                return Ok(done);
            };
            page = Page::after(last.clone(), PAGE);
            for (key, record) in found {
                self.reseal_one(key, &record, &mut done).await?;
            }
            progress(done);
        }
    }

    async fn reseal_one(
        &self,
        key: StoreKey,
        record: &Record,
        done: &mut Resealed,
    ) -> Result<(), SessionError> {
        let now = self.now();
        if !record.is_live(now) {
            return Ok(());
        }
        done.seen += 1;
        if self.codec().is_current(&record.payload.to_bytes()?) {
            return Ok(());
        }
        let data = match record.payload.decode(self.codec(), &key, record) {
            Err(error @ (StoreError::Damaged { .. } | StoreError::Unrepresentable { .. })) => {
                events::damaged(&key, &error);
                done.unreadable += 1;
                return Ok(());
            }
            decoded => decoded?,
        };
        let binding = Binding::of(&key, record);
        let payload = Payload::new(data, Arc::clone(self.codec()), binding);
        let change = Change::of(record, payload, ExpiryChange::Keep);
        let call = self.store().save(&key, &record.version, change, now);
        match self.deadline().call("reseal", call).await? {
            Saved::Stored(_) => done.resealed += 1,
            Saved::Conflict => done.written_meanwhile += 1,
            // It has ended, or moved; its own request wrote it then.
            Saved::Gone => {}
        }
        Ok(())
    }

    /// One call's time: the work as a whole takes as long as it takes.
    fn deadline(&self) -> Deadline<'_> {
        Deadline::new(self)
    }
}
