//! Records in this process's memory: the contract in executable form.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, NewRecord, Record, Saved, Version};
use crate::store::{EndScope, OwnerIndex, Page, SessionStore, StoreError, StoreScan};
use crate::telemetry;

/// Keeps sessions in this process's memory, for tests, demos and single processes that may forget.
///
/// It is lost at a restart, is unbounded (call `clear_expired`), and no other process sees it. Payloads are kept as they
/// are and are neither encoded nor parsed. It offers the owner index and the scan.
#[derive(Default)]
pub struct MemoryStore {
    // One lock for everything: every operation is one step, and the owners can't disagree with the records.
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<StoreKey, Record, BuildHasherDefault<KeyHasher>>,
    // Owners are of others' choosing, so that these have the hasher that bears that. Most have one session or two.
    owners: HashMap<Owner, HashSet<StoreKey, BuildHasherDefault<KeyHasher>>>,
    // Over all keys, so that a key that is deleted and created anew gets no version back that it had before.
    last_version: u64,
}

/// Takes a part of the key for its hash. Only this program's own random keys get in, so that no client can choose which ones
/// share a bucket.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Eight characters of hexadecimal digits have no more than 32 random bits, at known places: folded, these reach the
        // whole hash.
        for chunk in bytes.chunks_exact(8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            self.0 ^= self.0 >> 32;
        }
    }

    fn write_u8(&mut self, _: u8) {}

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl MemoryStore {
    const NAME: &str = "the memory store";

    /// A store without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records are kept, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().records.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // Nothing panics while the lock is held, so that a poisoned one has nothing half done behind it.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .finish()
    }
}

impl State {
    fn live(&self, key: &StoreKey, now: Timestamp) -> Option<&Record> {
        self.records.get(key).filter(|record| record.is_live(now))
    }

    fn next_version(&mut self) -> Version {
        self.last_version += 1;
        Version::Counter(self.last_version)
    }

    /// `false` if there is a live record at `key`.
    fn put(&mut self, key: &StoreKey, record: Record, now: Timestamp) -> bool {
        let owner = record.owner.clone();
        let before = match self.records.entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(record);
                None
            }
            Entry::Occupied(place) if place.get().is_live(now) => return false,
            Entry::Occupied(mut place) => place.insert(record).owner,
        };
        self.note_owner(key, before.as_ref(), owner);
        true
    }

    /// The session at `key`, which was `before`'s, is `owner`'s.
    fn note_owner(&mut self, key: &StoreKey, before: Option<&Owner>, owner: Option<Owner>) {
        if before != owner.as_ref() {
            self.forget_owner(before, key);
            if let Some(owner) = owner {
                self.owners.entry(owner).or_default().insert(key.clone());
            }
        }
    }

    fn take(&mut self, key: &StoreKey) -> Option<Record> {
        let record = self.records.remove(key)?;
        self.forget_owner(record.owner.as_ref(), key);
        Some(record)
    }

    fn forget_owner(&mut self, owner: Option<&Owner>, key: &StoreKey) {
        if let Some(owner) = owner
            && let Some(keys) = self.owners.get_mut(owner)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.owners.remove(owner);
            }
        }
    }

    /// What a write to `key` at `expected` would meet, or the record to change.
    fn expect(&self, key: &StoreKey, expected: &Version, now: Timestamp) -> Result<&Record, Saved> {
        let record = self.records.get(key).ok_or(Saved::Gone)?;
        refusal(record, expected, now).map_or(Ok(record), Err)
    }
}

/// What a write to `record` at `expected` is answered, unless it may happen.
fn refusal(record: &Record, expected: &Version, now: Timestamp) -> Option<Saved> {
    if !record.is_live(now) {
        return Some(Saved::Gone);
    }
    (record.version != *expected).then_some(Saved::Conflict)
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn system_name(&self) -> &'static str {
        "memory"
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        Ok(self.read().live(key, now).cloned())
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let mut state = self.write();
        let version = state.next_version();
        if state.put(key, Record::created(new, version.clone()), now) {
            Ok(version)
        } else {
            Err(StoreError::key_taken(Self::NAME))
        }
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut state = self.write();
        let version = state.next_version();
        let Some(record) = state.records.get_mut(key) else {
            return Ok(Saved::Gone);
        };
        if let Some(refused) = refusal(record, expected, now) {
            return Ok(refused);
        }
        let changed = record.changed(change, version.clone());
        let before = std::mem::replace(record, changed);
        if before.owner != record.owner {
            let owner = record.owner.clone();
            state.note_owner(key, before.owner.as_ref(), owner);
        }
        drop(state);
        // It may be large, and nobody is to wait until its memory is given back.
        drop(before);
        Ok(Saved::Stored(version))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let deleted = self.write().take(key);
        Ok(deleted.is_some())
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.write();
        let Some(record) = state
            .records
            .get_mut(key)
            .filter(|record| record.is_live(now))
        else {
            return Ok(false);
        };
        record.expires_at = record.expires_at.max(expires_at);
        Ok(true)
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut state = self.write();
        let version = state.next_version();
        let record = match state.expect(from, expected, now) {
            Ok(record) => record.changed(change, version.clone()),
            Err(refused) => return Ok(refused),
        };
        if !state.put(to, record, now) {
            return Err(StoreError::key_taken(Self::NAME));
        }
        let before = state.take(from);
        drop(state);
        drop(before);
        Ok(Saved::Stored(version))
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        // Found under the shared lock and removed in small steps, so that requests get in between.
        const BATCH: usize = 1_000;
        let expired: Vec<StoreKey> = {
            let state = self.read();
            state
                .records
                .iter()
                .filter(|(_, record)| !record.is_live(now))
                .map(|(key, _)| key.clone())
                .collect()
        };
        let mut removed = 0;
        for batch in expired.chunks(BATCH) {
            let before = removed;
            {
                let mut state = self.write();
                for key in batch {
                    // It may have been created anew since.
                    if state
                        .records
                        .get(key)
                        .is_some_and(|record| !record.is_live(now))
                        && state.take(key).is_some()
                    {
                        removed += 1;
                    }
                }
            }
            telemetry::purged(removed - before);
            progress(removed);
        }
        Ok(removed)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for MemoryStore {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let state = self.read();
        let Some(keys) = state.owners.get(owner) else {
            return Ok(Vec::new());
        };
        let mut keys: Vec<&StoreKey> = keys
            .iter()
            .filter(|key| page.after.as_ref().is_none_or(|after| *key > after))
            .collect();
        keys.sort_unstable();
        let live = keys
            .into_iter()
            .filter_map(|key| Some((key.clone(), state.live(key, now)?.clone())));
        Ok(live.take(page.limit).collect())
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        let mut state = self.write();
        let keys = state.owners.get(owner).into_iter().flatten();
        let ending: Vec<StoreKey> = keys.filter(|key| scope.contains(key)).cloned().collect();
        let mut ended = 0;
        for key in &ending {
            ended += u64::from(state.take(key).is_some());
        }
        Ok(ended)
    }
}

#[async_trait]
impl StoreScan for MemoryStore {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let state = self.read();
        let mut keys: Vec<&StoreKey> = state
            .records
            .keys()
            .filter(|key| page.after.as_ref().is_none_or(|after| *key > after))
            .collect();
        keys.sort_unstable();
        Ok(keys
            .into_iter()
            .take(page.limit)
            .filter_map(|key| Some((key.clone(), state.records.get(key)?.clone())))
            .collect())
    }
}
