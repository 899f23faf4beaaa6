//! A store that does everything right but for one flaw.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, NewRecord, OwnerIndex, Page, Payload, Record, Saved,
    SessionStore, StoreError, StoreKey, StoreScan, Timestamp, Version,
};

/// What can be wrong with a store. Every one of them has been seen in some store, or is one slip away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    // What is written is not what is read.
    KeepsText,
    EmptyIsMissing,
    TrimsSpace,
    CutsAt64KiB,
    ServesStrangers,
    CutsKeys,
    ExpiryIn32Bits,
    ExpiryInMinutes,
    KeepsOldOwner,
    EmptyLabelIsNone,
    OwnerInAscii,
    Evicts,
    LoadIsCached,
    LoadTakes,
    // Create.
    CreateOverwrites,
    TakenIsUnavailable,
    ExpiredKeepsKeyTaken,
    CreateKeepsExpiredOwner,
    CreateInTwoSteps,
    TornCreate,
    // Versions.
    VersionsStartAnew,
    VersionStays,
    VersionsFall,
    // Save.
    LastWriterWins,
    ConflictMovesExpiry,
    SaveInTwoSteps,
    SaveCreates,
    SaveRevives,
    SaveRestoresExpiry,
    TornSave,
    // Expiry.
    LivesASecondLonger,
    NeverExpires,
    AtLeastSets,
    AtLeastKeeps,
    KeepRenews,
    PastExpiryMeansDefault,
    ExpiryOnlyForward,
    // Touch.
    TouchDoesNothing,
    TouchForgetsOwner,
    TouchSets,
    TouchInTwoSteps,
    TouchRevives,
    TornTouch,
    // Delete.
    DeleteIsAlwaysTrue,
    DeleteInTwoSteps,
    TornDelete,
    // Rotate.
    RotateDropsChanges,
    RotateCopies,
    RotateEndsOldByClock,
    RotateIgnoresVersion,
    RotateOverwrites,
    RotateRevives,
    RotateInTwoSteps,
    RotateWritesLate,
    RotateKeepsTargetsOwner,
    // A dropped future leaves something behind.
    DropLeavesLock,
    DropLeavesCleaner,
    DropLeavesEnder,
    // What is printed.
    ErrorQuotesKey,
    DebugShowsData,
    // The owner index.
    ListsExpired,
    ListIgnoresLimit,
    ListIsStale,
    OwnersIgnoreCase,
    IndexForgetsRotate,
    IndexLags,
    EndIgnoresOwner,
    EndLeavesRecord,
    ExceptIsIgnored,
    EndsOnePage,
    EndMiscounts,
    EndInTwoSteps,
    // Maintenance.
    ClearsOneSecondMore,
    ClearMiscounts,
    ClearKeepsRecords,
    ClearInTwoSteps,
    ProgressStartsAnew,
    ProgressIsSilent,
    ScanSkipsExpired,
    ScanCountsRecords,
    // The owner index and the scan.
    PageRepeatsItsStart,
}

pub(crate) struct FlawedStore {
    flaw: Option<Flaw>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<StoreKey, Record>,
    /// Whom the index thinks a record belongs to.
    index: HashMap<StoreKey, Owner>,
    /// What the index will learn after some more writes.
    index_backlog: Vec<(StoreKey, Option<Owner>)>,
    /// The expiry at the time of a version.
    expiries: HashMap<StoreKey, Timestamp>,
    first_seen: HashMap<StoreKey, Record>,
    cache: HashMap<StoreKey, Record>,
    last_version: u64,
    scanned: usize,
    locked: bool,
    cleaning: bool,
    ending: bool,
}

const NAME: &str = "the flawed store";

impl FlawedStore {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            state: Mutex::default(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody else do something between the two steps of an operation that should be one.
    async fn between_steps(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Holds a lock over an await, which a dropped future never gives back.
    async fn lock_and_release(&self) -> Result<(), StoreError> {
        if self.has(Flaw::DropLeavesLock) {
            if std::mem::replace(&mut self.state().locked, true) {
                return Err(StoreError::unavailable(NAME, "work", "the lock is taken"));
            }
            tokio::task::yield_now().await;
            self.state().locked = false;
        }
        Ok(())
    }

    fn is_live(&self, record: &Record, now: Timestamp) -> bool {
        match self.flaw {
            Some(Flaw::LivesASecondLonger) => record.expires_at >= now,
            Some(Flaw::NeverExpires) => true,
            _ => record.is_live(now),
        }
    }

    fn key(&self, key: &StoreKey) -> StoreKey {
        let cut = key.as_str().get(..39).filter(|_| self.has(Flaw::CutsKeys));
        cut.and_then(StoreKey::parse).unwrap_or_else(|| key.clone())
    }

    fn live(&self, state: &State, key: &StoreKey, now: Timestamp) -> Option<Record> {
        let record = state.records.get(&self.key(key))?;
        self.is_live(record, now).then(|| record.clone())
    }

    fn next_version(&self, state: &mut State, before: Option<&Version>) -> Version {
        state.last_version += 1;
        match (self.flaw, before) {
            (Some(Flaw::VersionsStartAnew), None) => Version::Counter(1),
            (Some(Flaw::VersionsStartAnew), Some(Version::Counter(n))) => Version::Counter(n + 1),
            (Some(Flaw::VersionStays), Some(before)) => before.clone(),
            (Some(Flaw::VersionsFall), _) => Version::Counter(u64::MAX - state.last_version),
            _ => Version::Counter(state.last_version),
        }
    }

    /// The record as this store is able to keep it.
    fn kept(&self, mut record: Record, now: Timestamp) -> Result<Record, StoreError> {
        let bytes = record.payload.to_bytes()?;
        let secs = record.expires_at.as_secs();
        match self.flaw {
            Some(Flaw::KeepsText) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                record.payload = Payload::from_bytes(text);
            }
            Some(Flaw::TrimsSpace) => {
                record.payload = Payload::from_bytes(bytes.trim_ascii().to_vec());
            }
            Some(Flaw::CutsAt64KiB) => {
                record.payload = Payload::from_bytes(bytes.slice(..bytes.len().min(64 * 1024)));
            }
            Some(Flaw::ExpiryIn32Bits) => {
                record.expires_at = Timestamp::from_secs(secs.min(u32::MAX.into()));
            }
            Some(Flaw::ExpiryInMinutes) => {
                record.expires_at = Timestamp::from_secs(secs - secs % 60);
            }
            Some(Flaw::EmptyLabelIsNone) => {
                record.label = record.label.filter(|label| !label.as_str().is_empty());
            }
            Some(Flaw::OwnerInAscii) => {
                record.owner = record.owner.filter(|owner| owner.as_str().is_ascii());
            }
            Some(Flaw::PastExpiryMeansDefault) if record.expires_at <= now => {
                record.expires_at = now.saturating_add(Duration::from_secs(600));
            }
            _ => {}
        }
        Ok(record)
    }

    fn put(&self, state: &mut State, key: &StoreKey, record: Record) {
        let key = self.key(key);
        let owner = record.owner.clone();
        state.expiries.insert(key.clone(), record.expires_at);
        state
            .first_seen
            .entry(key.clone())
            .or_insert_with(|| record.clone());
        state.records.insert(key.clone(), record);
        if state.index_backlog.len() >= 25 {
            for (key, owner) in std::mem::take(&mut state.index_backlog) {
                index(state, key, owner);
            }
        }
        if self.has(Flaw::IndexLags) {
            state.index_backlog.push((key.clone(), owner));
        } else {
            index(state, key.clone(), owner);
        }
        if self.has(Flaw::Evicts) && state.records.len() > 20 {
            let other = state.records.keys().find(|other| **other != key).cloned();
            if let Some(other) = other {
                state.records.remove(&other);
            }
        }
    }

    fn remove(&self, state: &mut State, key: &StoreKey) -> Option<Record> {
        let key = self.key(key);
        state.index.remove(&key);
        state.first_seen.remove(&key);
        state.records.remove(&key)
    }

    /// The record that a change makes of this one.
    fn changed(
        &self,
        state: &mut State,
        key: &StoreKey,
        old: &Record,
        change: Change,
        now: Timestamp,
    ) -> Result<Record, StoreError> {
        let mut change = change;
        change.expiry = match (self.flaw, change.expiry) {
            (Some(Flaw::AtLeastSets), ExpiryChange::AtLeast(moment)) => ExpiryChange::Set(moment),
            (Some(Flaw::AtLeastKeeps), ExpiryChange::AtLeast(_)) => ExpiryChange::Keep,
            (Some(Flaw::KeepRenews), ExpiryChange::Keep) => {
                ExpiryChange::AtLeast(now.saturating_add(Duration::from_secs(14 * 86_400)))
            }
            (Some(Flaw::ExpiryOnlyForward), ExpiryChange::Set(moment)) => {
                ExpiryChange::AtLeast(moment)
            }
            (_, expiry) => expiry,
        };
        let mut old = old.clone();
        if self.has(Flaw::SaveRestoresExpiry)
            && let Some(expires_at) = state.expiries.get(&self.key(key))
        {
            old.expires_at = *expires_at;
        }
        let version = self.next_version(state, Some(&old.version));
        let mut record = old.changed(change, version);
        if self.has(Flaw::KeepsOldOwner) && record.owner.is_none() {
            record.owner = old.owner;
        }
        self.kept(record, now)
    }

    /// The record that a write to `key` changes, or the answer.
    fn expected(
        &self,
        state: &State,
        key: &StoreKey,
        expected: &Version,
        now: Timestamp,
    ) -> Result<Record, Saved> {
        let Some(record) = self.live(state, key, now) else {
            return Err(Saved::Gone);
        };
        if record.version != *expected && !self.has(Flaw::LastWriterWins) {
            return Err(Saved::Conflict);
        }
        Ok(record)
    }

    fn taken(&self, key: &StoreKey) -> StoreError {
        match self.flaw {
            Some(Flaw::ErrorQuotesKey) => {
                let text = format!("duplicate entry '{}'", key.as_str());
                StoreError::failed(NAME, "create", text)
            }
            Some(Flaw::TakenIsUnavailable) => StoreError::unavailable(NAME, "create", "in use"),
            _ => StoreError::key_taken(NAME),
        }
    }

    fn is_taken(&self, state: &State, key: &StoreKey, now: Timestamp) -> bool {
        let kept = state.records.get(&self.key(key));
        kept.is_some_and(|record| self.has(Flaw::ExpiredKeepsKeyTaken) || self.is_live(record, now))
    }

    async fn save_in_two_steps(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let old = match self.expected(&self.state(), key, expected, now) {
            Ok(old) => old,
            Err(refused) => return Ok(refused),
        };
        self.between_steps().await;
        let mut state = self.state();
        let record = self.changed(&mut state, key, &old, change, now)?;
        let version = record.version.clone();
        self.put(&mut state, key, record);
        Ok(Saved::Stored(version))
    }

    async fn torn_save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        {
            let mut state = self.state();
            let mut old = match self.expected(&state, key, expected, now) {
                Ok(old) => old,
                Err(refused) => return Ok(refused),
            };
            old.payload = change.payload.clone();
            self.put(&mut state, key, old);
        }
        tokio::task::yield_now().await;
        self.save_in_one_step(key, expected, change, now)
    }

    fn save_in_one_step(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut state = self.state();
        let old = match self.expected(&state, key, expected, now) {
            Ok(old) => old,
            Err(Saved::Gone) if self.saves_anyway(&state, key) => {
                let version = self.next_version(&mut state, None);
                let record = Record::new(change.payload, now, version.clone());
                let mut record = record;
                record.expires_at = now.saturating_add(Duration::from_secs(500));
                self.put(&mut state, key, record);
                return Ok(Saved::Stored(version));
            }
            Err(Saved::Conflict) if self.has(Flaw::ConflictMovesExpiry) => {
                if let Some(record) = state.records.get_mut(key) {
                    record.expires_at = change.expiry.apply(record.expires_at);
                }
                return Ok(Saved::Conflict);
            }
            Err(refused) => return Ok(refused),
        };
        let record = self.changed(&mut state, key, &old, change, now)?;
        let version = record.version.clone();
        self.put(&mut state, key, record);
        Ok(Saved::Stored(version))
    }

    /// An upsert, or an update that does not ask whether the record has expired.
    fn saves_anyway(&self, state: &State, key: &StoreKey) -> bool {
        self.has(Flaw::SaveCreates)
            || (self.has(Flaw::SaveRevives) && state.records.contains_key(key))
    }

    fn rotate_in_one_step(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut state = self.state();
        let old = match self.expected(&state, from, expected, now) {
            Ok(old) => old,
            Err(Saved::Conflict) if self.has(Flaw::RotateIgnoresVersion) => self
                .live(&state, from, now)
                .ok_or_else(|| self.taken(from))?,
            Err(Saved::Gone) if self.has(Flaw::RotateRevives) => {
                match state.records.get(from).cloned() {
                    Some(expired) => expired,
                    None => return Ok(Saved::Gone),
                }
            }
            Err(refused) => return Ok(refused),
        };
        if self.is_taken(&state, to, now) && !self.has(Flaw::RotateOverwrites) {
            return Err(self.taken(to));
        }
        let mut record = self.changed(&mut state, from, &old, change, now)?;
        if self.has(Flaw::RotateDropsChanges) {
            record.payload = old.payload.clone();
        }
        if self.has(Flaw::RotateKeepsTargetsOwner)
            && let Some(target) = state.records.get(to)
        {
            record.owner = target.owner.clone();
        }
        match self.flaw {
            Some(Flaw::RotateCopies) => {}
            Some(Flaw::RotateEndsOldByClock) => {
                let mut ended = old;
                ended.expires_at = now.saturating_sub(Duration::from_secs(1));
                self.put(&mut state, from, ended);
            }
            _ => drop(self.remove(&mut state, from)),
        }
        let version = record.version.clone();
        self.put(&mut state, to, record);
        if self.has(Flaw::IndexForgetsRotate) {
            state.index.remove(to);
        }
        Ok(Saved::Stored(version))
    }

    async fn rotate_in_two_steps(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let old = match self.expected(&self.state(), from, expected, now) {
            Ok(old) => old,
            Err(refused) => return Ok(refused),
        };
        if self.has(Flaw::RotateWritesLate) {
            self.between_steps().await;
        }
        let version = {
            let mut state = self.state();
            if self.is_taken(&state, to, now) {
                return Err(self.taken(to));
            }
            let record = self.changed(&mut state, from, &old, change, now)?;
            let version = record.version.clone();
            self.put(&mut state, to, record);
            version
        };
        if self.has(Flaw::RotateInTwoSteps) {
            self.between_steps().await;
        }
        self.remove(&mut self.state(), from);
        Ok(Saved::Stored(version))
    }
}

fn index(state: &mut State, key: StoreKey, owner: Option<Owner>) {
    match owner {
        Some(owner) => state.index.insert(key, owner),
        None => state.index.remove(&key),
    };
}

impl fmt::Debug for FlawedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FlawedStore");
        if self.has(Flaw::DebugShowsData) {
            let state = self.state();
            let payloads = state.records.values().map(|record| &record.payload);
            let bytes: Vec<_> = payloads.map(Payload::to_bytes).collect();
            shown.field("records", &bytes);
        }
        shown.finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for FlawedStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        if self.has(Flaw::LoadTakes) {
            let taken = self.state().records.remove(key);
            tokio::task::yield_now().await;
            if let Some(record) = taken {
                self.put(&mut self.state(), key, record);
            }
        }
        let mut state = self.state();
        let found = self.live(&state, key, now);
        Ok(match self.flaw {
            Some(Flaw::EmptyIsMissing) => match found {
                Some(record) if record.payload.to_bytes()?.is_empty() => None,
                other => other,
            },
            Some(Flaw::ServesStrangers) => found.or_else(|| {
                let expires_at = now.saturating_add(Duration::from_secs(1));
                let nothing = Payload::from_bytes("{}");
                Some(Record::new(nothing, expires_at, Version::Counter(0)))
            }),
            Some(Flaw::LoadIsCached) => {
                if let Some(record) = &found {
                    state.cache.insert(key.clone(), record.clone());
                }
                found.or_else(|| state.cache.get(key).cloned())
            }
            _ => found,
        })
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        if self.is_taken(&self.state(), key, now) && !self.has(Flaw::CreateOverwrites) {
            return Err(self.taken(key));
        }
        if self.has(Flaw::CreateInTwoSteps) {
            self.between_steps().await;
        }
        if self.has(Flaw::TornCreate) {
            let version = Version::Counter(0);
            let half = Record::new(Payload::from_bytes(""), new.expires_at, version);
            self.put(&mut self.state(), key, half);
            tokio::task::yield_now().await;
        }
        let mut state = self.state();
        let in_one_step = !matches!(
            self.flaw,
            Some(Flaw::CreateInTwoSteps | Flaw::TornCreate | Flaw::CreateOverwrites)
        );
        if in_one_step && self.is_taken(&state, key, now) {
            return Err(self.taken(key));
        }
        let version = self.next_version(&mut state, None);
        let mut record = Record::created(new, version.clone());
        if self.has(Flaw::CreateKeepsExpiredOwner)
            && let Some(expired) = state.records.get(key)
        {
            record.owner = expired.owner.clone();
        }
        let record = self.kept(record, now)?;
        self.put(&mut state, key, record);
        Ok(version)
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.lock_and_release().await?;
        match self.flaw {
            Some(Flaw::SaveInTwoSteps) => self.save_in_two_steps(key, expected, change, now).await,
            Some(Flaw::TornSave) => self.torn_save(key, expected, change, now).await,
            _ => self.save_in_one_step(key, expected, change, now),
        }
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.lock_and_release().await?;
        if self.has(Flaw::DeleteInTwoSteps) {
            let found = self.state().records.contains_key(key);
            self.between_steps().await;
            self.remove(&mut self.state(), key);
            return Ok(found);
        }
        if self.has(Flaw::TornDelete) {
            if let Some(record) = self.state().records.get_mut(key) {
                record.payload = Payload::from_bytes("");
            }
            tokio::task::yield_now().await;
        }
        let removed = self.remove(&mut self.state(), key).is_some();
        Ok(removed || self.has(Flaw::DeleteIsAlwaysTrue))
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.lock_and_release().await?;
        if self.has(Flaw::TouchInTwoSteps) {
            let Some(mut record) = self.live(&self.state(), key, now) else {
                return Ok(false);
            };
            self.between_steps().await;
            record.expires_at = record.expires_at.max(expires_at);
            self.put(&mut self.state(), key, record);
            return Ok(true);
        }
        if self.has(Flaw::TornTouch) {
            if let Some(record) = self.state().records.get_mut(key) {
                record.expires_at = record.expires_at.saturating_add(Duration::from_secs(1));
            }
            tokio::task::yield_now().await;
        }
        let mut state = self.state();
        let revives = self.has(Flaw::TouchRevives);
        let is_live = self.live(&state, key, now).is_some();
        let key = self.key(key);
        let Some(record) = state.records.get_mut(&key).filter(|_| is_live || revives) else {
            return Ok(false);
        };
        match self.flaw {
            Some(Flaw::TouchDoesNothing) => {}
            Some(Flaw::TouchSets) => record.expires_at = expires_at,
            _ => record.expires_at = record.expires_at.max(expires_at),
        }
        if self.has(Flaw::TouchForgetsOwner) {
            record.owner = None;
        }
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
        self.lock_and_release().await?;
        if self.has(Flaw::RotateInTwoSteps) || self.has(Flaw::RotateWritesLate) {
            return self
                .rotate_in_two_steps(from, expected, to, change, now)
                .await;
        }
        self.rotate_in_one_step(from, expected, to, change, now)
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        if self.has(Flaw::DropLeavesCleaner) {
            if std::mem::replace(&mut self.state().cleaning, true) {
                return Ok(0);
            }
            tokio::task::yield_now().await;
        }
        let by = match self.flaw {
            Some(Flaw::ClearsOneSecondMore) => now.saturating_add(Duration::from_secs(1)),
            _ => now,
        };
        let expired: Vec<StoreKey> = {
            let state = self.state();
            let expired = state
                .records
                .iter()
                .filter(|(_, record)| !record.is_live(by));
            expired.map(|(key, _)| key.clone()).collect()
        };
        if self.has(Flaw::ClearInTwoSteps) {
            self.between_steps().await;
        }
        let mut removed = 0;
        for key in &expired {
            let mut state = self.state();
            let still = state
                .records
                .get(key)
                .is_some_and(|record| !record.is_live(by));
            if (still || self.has(Flaw::ClearInTwoSteps)) && !self.has(Flaw::ClearKeepsRecords) {
                self.remove(&mut state, key);
            }
            removed += u64::from(still);
            match self.flaw {
                Some(Flaw::ProgressIsSilent) => {}
                Some(Flaw::ProgressStartsAnew) => progress(1),
                _ => progress(removed),
            }
        }
        self.state().cleaning = false;
        Ok(match self.flaw {
            Some(Flaw::ClearMiscounts) => removed + 1,
            _ => removed,
        })
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        Some(self)
    }
}

impl FlawedStore {
    fn owns(&self, owner: &Owner, indexed: &Owner) -> bool {
        if self.has(Flaw::OwnersIgnoreCase) {
            return owner.as_str().eq_ignore_ascii_case(indexed.as_str());
        }
        owner == indexed
    }

    fn is_after(&self, key: &StoreKey, after: Option<&StoreKey>) -> bool {
        after.is_none_or(|after| {
            key > after || (key == after && self.has(Flaw::PageRepeatsItsStart))
        })
    }

    fn keys_of(&self, state: &State, owner: &Owner) -> Vec<StoreKey> {
        let indexed = state.index.iter();
        let owned = indexed.filter(|(_, indexed)| self.owns(owner, indexed));
        let mut keys: Vec<StoreKey> = owned.map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }
}

#[async_trait]
impl OwnerIndex for FlawedStore {
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let state = self.state();
        let keys = self.keys_of(&state, owner).into_iter();
        let found = keys.filter(|key| self.is_after(key, page.after.as_ref()));
        let found = found.filter_map(|key| {
            let record = match self.flaw {
                Some(Flaw::ListsExpired) => state.records.get(&key).cloned(),
                Some(Flaw::ListIsStale) => state.first_seen.get(&key).cloned(),
                _ => self.live(&state, &key, now),
            };
            Some((key, record?))
        });
        let limit = match self.flaw {
            Some(Flaw::ListIgnoresLimit) => usize::MAX,
            _ => page.limit,
        };
        Ok(found.take(limit).collect())
    }

    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        if self.has(Flaw::DropLeavesEnder) {
            if std::mem::replace(&mut self.state().ending, true) {
                return Ok(0);
            }
            tokio::task::yield_now().await;
        }
        let scope = match (self.flaw, scope) {
            (Some(Flaw::ExceptIsIgnored), EndScope::AllExcept(_)) => EndScope::All,
            (_, scope) => scope,
        };
        if let (Some(Flaw::EndIgnoresOwner), EndScope::One(key)) = (self.flaw, &scope) {
            let ended = self.remove(&mut self.state(), key).is_some();
            return Ok(u64::from(ended));
        }
        let mut keys = self.keys_of(&self.state(), owner);
        keys.retain(|key| scope.contains(key));
        if self.has(Flaw::EndsOnePage) {
            keys.truncate(10);
        }
        if self.has(Flaw::EndInTwoSteps) {
            self.between_steps().await;
            let mut state = self.state();
            for key in &keys {
                self.remove(&mut state, key);
            }
            return Ok(keys.len() as u64);
        }
        let mut state = self.state();
        // As one step: what was found above may have moved since.
        let mut keys_now = self.keys_of(&state, owner);
        keys_now.retain(|key| scope.contains(key));
        if !self.has(Flaw::EndsOnePage) {
            keys = keys_now;
        }
        for key in &keys {
            if self.has(Flaw::EndLeavesRecord) {
                state.index.remove(key);
            } else {
                self.remove(&mut state, key);
            }
        }
        state.ending = false;
        let ended = keys.len() as u64;
        Ok(match self.flaw {
            Some(Flaw::EndMiscounts) => ended + 1,
            _ => ended,
        })
    }
}

#[async_trait]
impl StoreScan for FlawedStore {
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let mut state = self.state();
        if self.has(Flaw::ScanCountsRecords) {
            if page.after.is_none() {
                state.scanned = 0;
            }
            let from = state.scanned;
            let found: Vec<_> = state
                .records
                .iter()
                .skip(from)
                .take(page.limit)
                .map(|(key, record)| (key.clone(), record.clone()))
                .collect();
            state.scanned += found.len();
            return Ok(found);
        }
        let found = state
            .records
            .iter()
            .filter(|(key, _)| self.is_after(key, page.after.as_ref()))
            .filter(|(_, record)| {
                !self.has(Flaw::ScanSkipsExpired) || record.expires_at.as_secs() > 4_102_444_800
            });
        Ok(found
            .take(page.limit)
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect())
    }
}
