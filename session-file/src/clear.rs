//! Removes what has expired and what dead writers left, beside live traffic and other cleaners.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, ReadDir};

use session_core::store::{StoreError, StoreKey, Timestamp};
use session_core::telemetry;

use crate::hop::{Shared, Stripes};
use crate::layout::{self, Shard, Stripe};
use crate::reader::{Depth, Found};
use crate::store::FileStore;
use crate::walk::key_of;

impl FileStore {
    /// See [`SessionStore::clear_expired`](session_core::store::SessionStore::clear_expired).
    pub(crate) async fn clear(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        const OPERATION: &str = "clear expired sessions";
        let shared = &self.shared;
        let mut removed = 0;
        let mut unreadable = 0;
        let list = move |shared: &Shared| shared.shards(OPERATION);
        for shard in shared.unlocked(OPERATION, None, list).await? {
            let mut sweep = Sweep {
                stripe: Stripe::of(&shard),
                shard,
                rest: None,
                unreadable: 0,
            };
            loop {
                // Looked for without the lock, and judged again under it: a request may be faster.
                let find = move |shared: &Shared| sweep.find(shared, OPERATION, now);
                let (after, candidates) = shared.unlocked(OPERATION, None, find).await?;
                sweep = after;
                if candidates.is_empty() {
                    break;
                }
                let stripes = Stripes::one(sweep.stripe);
                let shard = sweep.shard.clone();
                let batch = shared
                    .locked(
                        OPERATION,
                        shared.deadline(),
                        stripes,
                        move |shared, _held| shared.sweep(OPERATION, &shard, candidates, now),
                    )
                    .await?;
                telemetry::purged(batch);
                removed += batch;
                progress(removed);
            }
            unreadable += sweep.unreadable;
        }
        progress(removed);
        if unreadable > 0 {
            tracing::warn!(
                folder = %shared.folder.path().display(),
                files = unreadable,
                "files that can't be read as sessions were left as they are"
            );
        }
        Ok(removed)
    }
}

/// Something that may have to be removed.
#[derive(Debug)]
enum Candidate {
    Temporary(OsString),
    Key(StoreKey),
}

/// The way through one shard, in steps.
struct Sweep {
    shard: Shard,
    stripe: Stripe,
    rest: Option<ReadDir>,
    unreadable: u64,
}

impl Sweep {
    /// The next candidates. None is the end.
    fn find(
        mut self,
        shared: &Shared,
        operation: &'static str,
        now: Timestamp,
    ) -> Result<(Self, VecDeque<Candidate>), StoreError> {
        /// So many are removed under one lock, so that no request waits for long.
        const BATCH: usize = 64;
        let failed = |error| shared.failed(operation, error);
        let mut candidates = VecDeque::new();
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => fs::read_dir(shared.folder.shard(&self.shard)).map_err(failed)?,
        };
        for entry in rest.by_ref() {
            let name = entry.map_err(failed)?.file_name();
            if layout::is_temporary(&name) {
                candidates.push_back(Candidate::Temporary(name));
            } else if let Some(key) = key_of(&self.shard, &name) {
                match shared.reader(operation).find(&key, Depth::Head) {
                    Ok(found) if is_over(&found, now) => {
                        candidates.push_back(Candidate::Key(key));
                    }
                    Ok(_) => {}
                    Err(StoreError::Damaged { .. } | StoreError::Misconfigured { .. }) => {
                        self.unreadable += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            if candidates.len() >= BATCH {
                break;
            }
        }
        self.rest = Some(rest);
        Ok((self, candidates))
    }
}

/// Whether nobody needs the file any more.
fn is_over(found: &Found, now: Timestamp) -> bool {
    match found {
        Found::Nothing => false,
        Found::Record(entry) | Found::Moved { entry, .. } => entry.head.expires_at <= now,
        Found::Orphan(_) => true,
    }
}

impl Shared {
    /// Removes what is still to be removed, and says how many of it were records. Needs the lock of the shard.
    fn sweep(
        &self,
        operation: &'static str,
        shard: &Shard,
        candidates: VecDeque<Candidate>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let failed = |error| self.failed(operation, error);
        let mut removed = 0;
        for candidate in candidates {
            match candidate {
                // Writers hold the lock while they have one. We have the lock, so that this one's writer is dead.
                Candidate::Temporary(name) => {
                    let path = self.folder.shard(shard).join(name);
                    self.publisher.discard(&path).map_err(failed)?;
                }
                Candidate::Key(key) => {
                    let place = self.folder.place(&key);
                    let Some(found) = self.find_readable(operation, &key, Depth::Head)? else {
                        continue;
                    };
                    if !is_over(&found, now) {
                        continue;
                    }
                    if let Found::Moved { to, .. } = &found {
                        self.settle(operation, &key, to)?;
                    }
                    let gone = self.publisher.discard(&place.file).map_err(failed)?;
                    removed += u64::from(gone && matches!(found, Found::Record(_)));
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use session_core::store::{NewRecord, Payload, SessionStore};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
    const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

    #[tokio::test]
    async fn what_was_found_expired_is_judged_again_under_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        let key = StoreKey::parse("4a01").unwrap();
        let record = NewRecord::new(Payload::from_bytes("x"), LATER);
        store.create(&key, record, NOW).await.unwrap();

        // When it was found it had expired. A visitor came back just then, and it was created anew.
        let found = VecDeque::from([Candidate::Key(key.clone())]);
        let shard = Shard::of(&key);
        let removed = store.shared.sweep("clear", &shard, found, NOW).unwrap();
        assert_eq!(removed, 0, "a living session was counted as expired");
        let record = store.load(&key, NOW).await.unwrap();
        assert!(record.is_some(), "a living session was removed");
    }
}
