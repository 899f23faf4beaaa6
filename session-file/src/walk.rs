//! The sessions of an owner, and the scan: what goes through the whole folder, in time linear in the number of sessions.

use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use session_core::Owner;
use session_core::store::{
    EndScope, OwnerIndex, Page, Record, StoreError, StoreKey, StoreScan, Timestamp,
};
use tokio::runtime::Handle;
use tokio::time::timeout_at;

use crate::error::{Late, NAME};
use crate::hop::{Shared, Stripes};
use crate::layout::{Shard, Stripe};
use crate::reader::{Depth, Entry, Found};
use crate::store::FileStore;

#[async_trait]
impl OwnerIndex for FileStore {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        const OPERATION: &str = "list an owner's sessions";
        let owner = owner.clone();
        let wanted = move |entry: &Entry| {
            entry.head.owner.as_ref() == Some(&owner) && entry.head.expires_at > now
        };
        self.collect(OPERATION, page, wanted).await
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        const OPERATION: &str = "end an owner's sessions";
        let deadline = self.shared.deadline();
        let (shared, owner) = (Arc::clone(&self.shared), owner.clone());
        let runtime = Handle::try_current().map_err(|outside| {
            let advice = "call it from within a tokio runtime";
            StoreError::misconfigured(NAME, advice, Some(outside.into()))
        })?;
        // A task of its own: in a large folder the walk may outlast the caller's patience, and would start from the
        // beginning each time.
        let ending = runtime.spawn(async move {
            match scope {
                EndScope::One(key) => match end_one(&shared, OPERATION, &owner, &key).await? {
                    Ended::Yes => Ok(1),
                    Ended::No | Ended::Moved(_) => Ok(0),
                },
                scope => end_all(&shared, OPERATION, &owner, &scope).await,
            }
        });
        match timeout_at(deadline, ending).await {
            Ok(Ok(result)) => result,
            Ok(Err(_stopped)) => Err(StoreError::unavailable(
                NAME,
                OPERATION,
                "the runtime was shutting down",
            )),
            Err(_elapsed) => Err(StoreError::unavailable(
                NAME,
                OPERATION,
                Late::Walk(self.shared.folder.path().to_owned()),
            )),
        }
    }
}

#[async_trait]
impl StoreScan for FileStore {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        self.collect("scan", page, |_entry| true).await
    }
}

impl FileStore {
    /// A page of the records that are `wanted`, judged by their heads.
    async fn collect(
        &self,
        operation: &'static str,
        page: Page,
        wanted: impl Fn(&Entry) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let deadline = self.shared.deadline();
        let Page { after, limit, .. } = page;
        let mut records = Vec::new();
        if limit == 0 {
            return Ok(records);
        }
        let start = after.as_ref().map(Shard::of);
        let list = move |shared: &Shared| shared.shards(operation);
        let shards = self.shared.unlocked(operation, Some(deadline), list);
        for shard in shards.await? {
            if start.as_ref().is_some_and(|start| shard < *start) {
                continue;
            }
            let stripes = Stripes::one(Stripe::of(&shard));
            let (after, wanted, room) = (after.clone(), wanted.clone(), limit - records.len());
            let found = self
                .shared
                .locked(operation, deadline, stripes, move |shared, held| {
                    let keys = shared.keys(operation, &shard)?;
                    // Read without the lock, as every reader does.
                    drop(held);
                    let keys = keys
                        .into_iter()
                        .filter(|key| after.as_ref().is_none_or(|after| key > after));
                    shared.records(operation, keys, &wanted, room)
                })
                .await?;
            records.extend(found);
            if records.len() >= limit {
                break;
            }
        }
        Ok(records)
    }
}

/// How far a session is followed. Nobody logs in so often while we look.
const ROTATIONS_MAX: u32 = 64;

/// What came of ending one session.
enum Ended {
    Yes,
    /// It is not there, or not the owner's.
    No,
    /// It has been rotated, to this key.
    Moved(StoreKey),
}

/// Ends the owner's sessions in all shards, in order.
///
/// None escapes by rotating from a shard that is still to come into one that is done, or that is new: where it was, it has
/// left word where it went. The list of a shard's files is made under its lock, since a file that is replaced while a folder is read may
/// otherwise be left out, by what POSIX promises.
async fn end_all(
    shared: &Arc<Shared>,
    operation: &'static str,
    owner: &Owner,
    scope: &EndScope,
) -> Result<u64, StoreError> {
    let mut ended = 0;
    let list = move |shared: &Shared| shared.shards(operation);
    for shard in shared.unlocked(operation, None, list).await? {
        let stripes = Stripes::one(Stripe::of(&shard));
        let owner_here = owner.clone();
        let candidates = shared
            .locked(
                operation,
                shared.deadline(),
                stripes,
                move |shared, held| {
                    let keys = shared.keys(operation, &shard)?;
                    drop(held);
                    shared.to_end(operation, keys, &owner_here)
                },
            )
            .await?;
        for key in candidates {
            ended += u64::from(chase(shared, operation, owner, scope, key).await?);
        }
    }
    Ok(ended)
}

/// Ends the session at `key`, or where it went from there.
async fn chase(
    shared: &Arc<Shared>,
    operation: &'static str,
    owner: &Owner,
    scope: &EndScope,
    mut key: StoreKey,
) -> Result<bool, StoreError> {
    for _ in 0..ROTATIONS_MAX {
        let here = scope.contains(&key);
        let ended = if here {
            end_one(shared, operation, owner, &key).await?
        } else {
            moved_from(shared, operation, &key).await?
        };
        key = match ended {
            Ended::Yes => return Ok(true),
            Ended::No => return Ok(false),
            Ended::Moved(to) => to,
        };
    }
    Err(StoreError::unavailable(
        NAME,
        operation,
        "a session was rotated faster than it could be followed",
    ))
}

async fn end_one(
    shared: &Arc<Shared>,
    operation: &'static str,
    owner: &Owner,
    key: &StoreKey,
) -> Result<Ended, StoreError> {
    let stripes = Stripes::one(Stripe::of_key(key));
    let (owner, key) = (owner.clone(), key.clone());
    shared
        .locked(
            operation,
            shared.deadline(),
            stripes,
            move |shared, _held| match shared.find_readable(operation, &key, Depth::Head)? {
                Some(Found::Record(entry)) if entry.head.owner.as_ref() == Some(&owner) => {
                    let removed = shared.remove(operation, &key)?;
                    Ok(if removed { Ended::Yes } else { Ended::No })
                }
                Some(Found::Moved { to, .. }) => Ok(Ended::Moved(to)),
                _ => Ok(Ended::No),
            },
        )
        .await
}

async fn moved_from(
    shared: &Arc<Shared>,
    operation: &'static str,
    key: &StoreKey,
) -> Result<Ended, StoreError> {
    let key = key.clone();
    let look = move |shared: &Shared| {
        Ok(match shared.find_readable(operation, &key, Depth::Head)? {
            Some(Found::Moved { to, .. }) => Ended::Moved(to),
            _ => Ended::No,
        })
    };
    let deadline = Some(shared.deadline());
    shared.unlocked(operation, deadline, look).await
}

impl Shared {
    pub(crate) fn shards(&self, operation: &'static str) -> Result<Vec<Shard>, StoreError> {
        self.folder
            .shards()
            .map_err(|error| self.failed(operation, error))
    }

    /// The keys of all files in `shard`, in order.
    fn keys(&self, operation: &'static str, shard: &Shard) -> Result<Vec<StoreKey>, StoreError> {
        let failed = |error| self.failed(operation, error);
        let mut keys = Vec::new();
        for entry in fs::read_dir(self.folder.shard(shard)).map_err(failed)? {
            keys.extend(key_of(shard, &entry.map_err(failed)?.file_name()));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// What is at `key`, or `None` if it is damaged: a walk passes by what nobody can read, and leaves it.
    pub(crate) fn find_readable(
        &self,
        operation: &'static str,
        key: &StoreKey,
        depth: Depth,
    ) -> Result<Option<Found>, StoreError> {
        match self.reader(operation).find(key, depth) {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn records(
        &self,
        operation: &'static str,
        keys: impl Iterator<Item = StoreKey>,
        wanted: &impl Fn(&Entry) -> bool,
        limit: usize,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let mut records = Vec::new();
        for key in keys {
            if records.len() >= limit {
                break;
            }
            // The head tells most of them apart from what is wanted.
            match self.find_readable(operation, &key, Depth::Head)? {
                Some(Found::Record(entry)) if wanted(&entry) => {}
                _ => continue,
            }
            match self.find_readable(operation, &key, Depth::Whole)? {
                Some(Found::Record(entry)) if wanted(&entry) => {
                    records.push((key, entry.into_record()));
                }
                _ => {}
            }
        }
        Ok(records)
    }

    /// Where the sessions of `owner` are by now that are or were at `keys`.
    fn to_end(
        &self,
        operation: &'static str,
        keys: Vec<StoreKey>,
        owner: &Owner,
    ) -> Result<Vec<StoreKey>, StoreError> {
        let mut candidates = Vec::new();
        for mut key in keys {
            for _ in 0..ROTATIONS_MAX {
                match self.find_readable(operation, &key, Depth::Head)? {
                    Some(Found::Moved { to, .. }) => key = to,
                    Some(Found::Record(entry)) if entry.head.owner.as_ref() == Some(owner) => {
                        candidates.push(key);
                        break;
                    }
                    _ => break,
                }
            }
        }
        Ok(candidates)
    }
}

/// The key of the file `name` in `shard`, if it is one of ours.
pub(crate) fn key_of(shard: &Shard, name: &OsStr) -> Option<StoreKey> {
    let key = StoreKey::parse(name.to_str()?)?;
    (Shard::of(&key) == *shard).then_some(key)
}
