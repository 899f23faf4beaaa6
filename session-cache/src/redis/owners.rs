//! Whose sessions are where: a sorted set for each owner, which has at least the owner's live sessions.
//!
//! The record is the authority. A set may name sessions that have ended or changed hands, and readers skip those; but it never
//! lacks a live one. So it is written before the record, or with it in one script, and the moment that it notes for a session is
//! never before the record's expiry: what is past in the set is dead.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use redis::{FromRedisValue as _, Value};
use session_core::Owner;
use session_core::store::{EndScope, OwnerIndex, Page, Record, StoreError, StoreKey, Timestamp};

use super::RedisCache;
use super::error::{Failure, NAME};
use super::link::Again;
use super::script;
use crate::cache::Cache as _;
use crate::envelope::moment_number;
use crate::slot::Slot;

/// How many records are asked for at once.
const AT_ONCE: usize = 64;

/// How often `end` goes through the set. Each time ends what it finds, so that only somebody who logs in or rotates faster than
/// that, all the time, is still there.
const PASSES_MAX: usize = 50;

const LIST: &str = "list an owner's sessions";
const END: &str = "end an owner's sessions";

impl RedisCache {
    /// The set of an owner, who may be any text: its name has the hash.
    pub(super) fn set_of(&self, owner: &Owner) -> String {
        let hash = script::sha1_hex(owner.as_str().as_bytes());
        format!("{}{hash}", self.sets())
    }

    /// Has the owner's set know the session until `expires_at` at least. On a cluster, where no script can write both.
    pub(super) async fn index(
        &self,
        owner: &Owner,
        key: &StoreKey,
        expires_at: u64,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let set = self.set_of(owner);
        let (expires_at, now) = (expires_at.to_string(), moment_number(now).to_string());
        let arguments: [&[u8]; 3] = [
            key.as_str().as_bytes(),
            expires_at.as_bytes(),
            now.as_bytes(),
        ];
        self.link()
            .run(&script::INDEX, &[&set], &arguments, Again::Once)
            .await
            .map(drop)
    }

    /// Has the owner's set forget the session, which has ended or is somebody else's. If that fails, its time there will pass.
    pub(super) async fn unindex(&self, owner: &Owner, key: &StoreKey) {
        let mut command = redis::cmd("ZREM");
        command.arg(self.set_of(owner)).arg(key.as_str());
        drop(self.link().ask(&command, Again::Once).await);
    }

    /// The sessions in the owner's set that may be alive after `since`, sorted.
    async fn members(
        &self,
        owner: &Owner,
        since: Option<Timestamp>,
    ) -> Result<BTreeSet<StoreKey>, Failure> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        let from = since.map_or_else(
            || "-inf".to_owned(),
            |now| format!("({}", moment_number(now)),
        );
        command.arg(self.set_of(owner)).arg(from).arg("+inf");
        let answer = self.link().ask(&command, Again::Once).await?;
        let names =
            Vec::<String>::from_redis_value(answer).map_err(|_other_shape| Failure::strange())?;
        // What is no key was put there by somebody else, and names no session.
        Ok(names
            .iter()
            .filter_map(|name| StoreKey::parse(name))
            .collect())
    }

    /// The record, if it lives and is the owner's. What can't be read is nobody's.
    async fn record_of(
        &self,
        owner: &Owner,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        match self.get(key).await {
            Ok(Slot::Entry(entry)) if entry.is_usable(now) => {
                Ok(Some(entry.record).filter(|record| record.owner.as_ref() == Some(owner)))
            }
            Ok(_) | Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the session if it is the owner's. `true` if it was.
    async fn end_one(&self, owner: &Owner, key: &StoreKey) -> Result<bool, Failure> {
        let (slot, set) = (self.slot_key(key), self.set_of(owner));
        let arguments: [&[u8]; 2] = [owner.as_str().as_bytes(), key.as_str().as_bytes()];
        let both = [slot.as_str(), set.as_str()];
        let is_cluster = self.link().is_cluster();
        let keys = if is_cluster { &both[..1] } else { &both[..] };
        let answer = self
            .link()
            .run(&script::END, keys, &arguments, Again::Once)
            .await?;
        let has_ended = answer == Value::Int(1);
        if has_ended && is_cluster {
            self.unindex(owner, key).await;
        }
        Ok(has_ended)
    }

    async fn end_all(&self, owner: &Owner, scope: &EndScope) -> Result<Option<u64>, Failure> {
        // Off a cluster the set is always as it should be. On one, a session that is about to be written is in the set already: it
        // was found dead, and lives a moment later. A second look at the same sessions finds it.
        let quiet_passes = if self.link().is_cluster() { 2 } else { 1 };
        let mut quiet = 0;
        let mut ended = 0;
        let mut before = self.in_scope(owner, scope).await?;
        for _ in 0..PASSES_MAX {
            if before.is_empty() {
                return Ok(Some(ended));
            }
            let mut endings = stream::iter(before.iter().cloned())
                .map(|key| async move { self.end_one(owner, &key).await })
                .buffer_unordered(AT_ONCE);
            while let Some(has_ended) = endings.next().await {
                ended += u64::from(has_ended?);
            }
            drop(endings);
            let after = self.in_scope(owner, scope).await?;
            // A session that changed its key meanwhile is in the set under the new one.
            quiet = if after.is_subset(&before) {
                quiet + 1
            } else {
                0
            };
            if quiet == quiet_passes {
                return Ok(Some(ended));
            }
            before = after;
        }
        Ok(None)
    }

    async fn in_scope(
        &self,
        owner: &Owner,
        scope: &EndScope,
    ) -> Result<BTreeSet<StoreKey>, Failure> {
        let mut members = self.members(owner, None).await?;
        members.retain(|key| scope.contains(key));
        Ok(members)
    }
}

#[async_trait]
impl OwnerIndex for RedisCache {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let members = self
            .members(owner, Some(now))
            .await
            .map_err(|failure| failure.into_error(LIST))?;
        let rest = members
            .into_iter()
            .filter(|key| page.after.as_ref().is_none_or(|after| key > after));
        let mut records = stream::iter(rest)
            .map(|key| async move {
                let record = self.record_of(owner, &key, now).await;
                record.map(|record| record.map(|record| (key, record)))
            })
            .buffered(AT_ONCE.min(page.limit.max(1)));
        let mut found = Vec::new();
        while found.len() < page.limit
            && let Some(next) = records.next().await
        {
            found.extend(next?);
        }
        Ok(found)
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        let ended = match &scope {
            EndScope::One(key) => self.end_one(owner, key).await.map(|one| Some(one.into())),
            _ => self.end_all(owner, &scope).await,
        };
        match ended {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(StoreError::unavailable(
                NAME,
                END,
                "new sessions of this owner keep coming faster than they can be ended",
            )),
            Err(failure) => Err(failure.into_error(END)),
        }
    }
}
