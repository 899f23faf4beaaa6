//! The order in which the row and its copy are read and written: one row of the protocol table per method.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use session_cache::{Cache, Entry, Lease, SharedCache, Slot};
use session_core::store::{
    Change, ExpiryChange, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey,
    StoreScan, Timestamp, Version,
};
use tokio::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::config::CachedDbConfig;
use crate::flight::{Flights, Lead, Turn};
use crate::reach::{NoAnswer, Reach, Urgency};
use crate::trust::{Belief, Trust};

/// Keeps sessions in a store, the database, and copies of them in a cache, for a while each.
///
/// The database is the truth. Whatever is lost, slow or wrong in the cache, no session that has ended and no older state of
/// one is read for longer than the staleness bound. The crate's documentation has the steps of each operation, and what a
/// caller sees when something fails. Cheap to clone; clones share everything.
///
/// ```
/// use session_cache::MemoryCache;
/// use session_cached_db::CachedDbStore;
/// use session_core::{MemoryStore, SessionManager};
///
/// let store = CachedDbStore::single_process(MemoryCache::new(), MemoryStore::new());
/// let manager = SessionManager::new(store);
/// # drop(manager);
/// ```
pub struct CachedDbStore<C, S>(pub(crate) Arc<Inner<C, S>>);

pub(crate) struct Inner<C, S> {
    pub(crate) cache: Reach<C>,
    pub(crate) store: S,
    trust: Trust,
    flights: Flights,
    config: CachedDbConfig,
}

/// How often a request waits for another to read the row before it reads it on its own. Twice, since the first whom it waited
/// for may have gone away halfway.
const WAITS_MAX: usize = 2;

/// For how long nothing is put where a version without an order was replaced: longer than a replica of the database lags that
/// a reader may have asked, and short enough that a busy session is cached between its saves.
const UNORDERED_LIFE: Duration = Duration::from_secs(1);

impl<C: Cache, S: SessionStore> CachedDbStore<C, S> {
    pub(crate) const NAME: &str = "the cached database";

    /// Sessions in `store`, and copies in a cache that all processes see, with the defaults of [`CachedDbConfig`].
    ///
    /// A cache that lives in one process is refused, since it can't know what another process ends:
    ///
    /// ```compile_fail
    /// use session_cache::MemoryCache;
    /// use session_cached_db::CachedDbStore;
    /// use session_core::MemoryStore;
    ///
    /// // "`MemoryCache` lives in one process and can't know what another process ends"
    /// let store = CachedDbStore::new(MemoryCache::new(), MemoryStore::new());
    /// ```
    #[must_use]
    pub fn new(cache: C, store: S) -> Self
    where
        C: SharedCache,
    {
        CachedDbConfig::new().build(cache, store)
    }

    /// Sessions in `store`, and copies in a cache that may be this process's own. With a second process on the same database,
    /// a session that one of them ends or changes would be read from the other's cache until the staleness bound has
    /// passed: this is for when there is only this one.
    #[must_use]
    pub fn single_process(cache: C, store: S) -> Self {
        CachedDbConfig::new().build_single_process(cache, store)
    }

    pub(crate) fn of(cache: C, store: S, config: CachedDbConfig) -> Self {
        let breaker = Breaker::new(config.failures_max, config.probe_after);
        Self(Arc::new(Inner {
            cache: Reach::new(cache, breaker, config.cache_timeout),
            store,
            trust: Trust::new(config.staleness_max),
            flights: Flights::default(),
            config,
        }))
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &C {
        self.0.cache.cache()
    }

    /// The store behind the cache: the database.
    #[must_use]
    pub fn database(&self) -> &S {
        &self.0.store
    }

    /// For how long a copy may be read after the row has changed, if a fault has skipped a step.
    #[must_use]
    pub fn staleness_max(&self) -> Duration {
        self.0.config.staleness_max
    }
}

impl<C: Cache, S: SessionStore> Inner<C, S> {
    /// From when on a copy of what is read at `now` must not be believed.
    fn stale_at(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.config.staleness_max)
    }

    /// A deadline that lies further ahead than this process's own bound was set by a clock or a configuration that is not
    /// this one's.
    fn is_believable(&self, entry: &Entry, now: Timestamp) -> bool {
        entry.is_usable(now) && entry.stale_at <= self.stale_at(now)
    }

    /// Whether this process believes what the slot holds.
    async fn believes(&self, key: &StoreKey) -> bool {
        match self.trust.in_slot(key) {
            Belief::All => true,
            Belief::Nothing => false,
            Belief::AfterEmptying(doubt) => {
                let is_emptied = self.cache.invalidate(key).await.is_ok();
                if is_emptied {
                    self.trust.settle(key, doubt);
                }
                is_emptied
            }
        }
    }

    /// After a step on the slot whose failure would leave it wrong.
    fn noting_failure<T>(&self, key: &StoreKey, step: &Result<T, NoAnswer>) {
        if step.is_err() {
            self.trust.doubt(key);
        }
    }

    /// Reads the row and puts a copy into the slot, if it is still this reading's own by then. `inherited` is the lease that
    /// another reading has left there.
    async fn read_and_fill(
        &self,
        key: &StoreKey,
        now: Timestamp,
        mut lead: Lead<'_>,
        inherited: Option<Lease>,
    ) -> Result<Option<Record>, StoreError> {
        let lease = match inherited {
            Some(lease) => Some(lease),
            None => self.take_lease(key).await,
        };
        let Some(lease) = lease else {
            // It may have been filled since this request looked.
            return match self.cache.get(key).await {
                Ok(Slot::Entry(entry)) if self.is_believable(&entry, now) => Ok(Some(entry.record)),
                _ => self.store.load(key, now).await,
            };
        };
        lead.holds(lease);
        let record = self.store.load(key, now).await?;
        if let Some(record) = &record {
            // The deadline counts from before the row was read.
            let entry = Entry::copy(record.clone(), self.stale_at(now));
            // Without an answer the slot holds the lease or the copy, and both are right.
            let _filled: Result<bool, NoAnswer> = self.cache.fill(key, lease, entry, now).await;
            lead.has_filled();
        }
        Ok(record)
    }

    async fn take_lease(&self, key: &StoreKey) -> Option<Lease> {
        // Without randomness there is no lease, and nothing is filled.
        let lease = Lease::generate().ok()?;
        let leased = self.cache.lease(key, lease, self.config.lease_life).await;
        (leased == Ok(true)).then_some(lease)
    }

    /// Puts what a save has made of the row into the slot, if all of it is known.
    async fn write_through(
        &self,
        key: &StoreKey,
        expected: &Version,
        version: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<(), NoAnswer> {
        if !matches!(
            (expected, version),
            (Version::Counter(_), Version::Counter(_))
        ) {
            return self
                .cache
                .bury(key, UNORDERED_LIFE, Urgency::Ordinary)
                .await;
        }
        match change.expiry {
            ExpiryChange::Set(expires_at) if expires_at <= now => {
                let life = self.config.tombstone_life;
                self.cache.bury(key, life, Urgency::Ordinary).await
            }
            ExpiryChange::Set(expires_at) => {
                let Change {
                    payload,
                    owner,
                    label,
                    created_at,
                    ..
                } = change;
                let mut record = Record::new(payload, expires_at, version.clone());
                record.owner = owner;
                record.label = label;
                record.created_at = created_at;
                let entry = Entry::copy(record, self.stale_at(now));
                self.cache.put_newer(key, entry, now).await.map(drop)
            }
            _ => self.replace_copy(key, expected, version, change, now).await,
        }
    }

    /// Where a save left the expiry to the row, a `touch` may have moved it, which leaves the version. The slot knows: a touch
    /// empties it. So the expiry is taken from a copy of the very version that was saved over, and lives no longer than that
    /// copy would have, since nobody has looked at the row's expiry since.
    async fn replace_copy(
        &self,
        key: &StoreKey,
        expected: &Version,
        version: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<(), NoAnswer> {
        match self.cache.get(key).await {
            Ok(Slot::Entry(held))
                if held.record.version == *expected && self.is_believable(&held, now) =>
            {
                let record = held.record.changed(change, version.clone());
                let stale_at = held.stale_at.min(self.stale_at(now));
                let entry = Entry::copy(record, stale_at);
                self.cache.put_newer(key, entry, now).await.map(drop)
            }
            // Whoever reads the row from now on reads what was saved, or newer.
            Ok(Slot::Empty | Slot::Tombstone { .. }) => Ok(()),
            Ok(_) | Err(NoAnswer::Unreadable) => self.cache.invalidate(key).await.map(drop),
            Err(NoAnswer::Away) => Err(NoAnswer::Away),
        }
    }

    /// Ends the session at `key` by `row`, between two tombstones: `row`'s answer, and whether no copy can be read any more.
    ///
    /// The first sees to it that a process which dies in between leaves no copy of a row that is gone. The second makes up
    /// for a first that failed, was evicted, or whose time passed while the row took long; and it takes the lease from
    /// whoever read the row in such a gap.
    pub(crate) async fn end_by<T>(
        &self,
        key: &StoreKey,
        urgency: Urgency,
        row: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<(T, bool), StoreError> {
        let life = self.config.tombstone_life;
        let began = Instant::now();
        let first = self.cache.bury(key, life, urgency).await;
        let answer = row.await;
        if !is_gone(&answer) {
            return Ok((answer?, true));
        }
        let second = self.cache.bury(key, life, urgency).await;
        let is_assured = second.is_ok() || (first.is_ok() && began.elapsed() < life);
        if !is_assured {
            self.trust.doubt(key);
        }
        Ok((answer?, is_assured))
    }

    pub(crate) fn deleted_within(&self) -> StoreError {
        StoreError::deleted_within(CachedDbStore::<C, S>::NAME, self.config.staleness_max)
    }
}

/// Whether the row may be gone for good, so that its copies have to go as well.
fn is_gone<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Ok(_) | Err(StoreError::DeletedWithin { .. }))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: Cache, S: SessionStore> SessionStore for CachedDbStore<C, S> {
    fn system_name(&self) -> &'static str {
        "cached_db"
    }

    /// A copy that may be believed, or the row. Where the slot is empty, one request of this process reads the row and fills
    /// the slot, and the others that ask meanwhile wait for it and then ask the cache again.
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let inner = &*self.0;
        if !inner.believes(key).await {
            return inner.store.load(key, now).await;
        }
        let mut left = None;
        for _ in 0..WAITS_MAX {
            match inner.cache.get(key).await {
                Ok(Slot::Entry(entry)) if inner.is_believable(&entry, now) => {
                    return Ok(Some(entry.record));
                }
                Ok(slot @ (Slot::Empty | Slot::Leased { .. })) => match inner.flights.join(key) {
                    Turn::Leads(lead) => {
                        let inherited = left.filter(
                            |left| matches!(slot, Slot::Leased { lease, .. } if lease == *left),
                        );
                        return inner.read_and_fill(key, now, lead, inherited).await;
                    }
                    Turn::Follows(other) => left = other.ended().await,
                },
                Err(NoAnswer::Unreadable) => {
                    // The next one who asks fills the slot anew.
                    let _emptied: Result<bool, NoAnswer> = inner.cache.invalidate(key).await;
                    break;
                }
                Ok(_) | Err(NoAnswer::Away) => break,
            }
        }
        inner.store.load(key, now).await
    }

    /// The row alone: nothing is filled for a session that may never be read again.
    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.store.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let inner = &*self.0;
        let saved = inner.store.save(key, expected, change.clone(), now).await?;
        let step = match &saved {
            Saved::Stored(version) => {
                inner
                    .write_through(key, expected, version, change, now)
                    .await
            }
            // The copy may be what made it conflict.
            Saved::Conflict => inner.cache.invalidate(key).await.map(drop),
            _ => {
                let life = inner.config.tombstone_life;
                inner.cache.bury(key, life, Urgency::Ordinary).await
            }
        };
        inner.noting_failure(key, &step);
        Ok(saved)
    }

    /// # Errors
    ///
    /// [`StoreError::DeletedWithin`] when the row is gone and the cache could not be told, at two tries: another process may
    /// read a copy until the staleness bound has passed.
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let inner = &*self.0;
        let row = inner.store.delete(key);
        let (removed, is_assured) = inner.end_by(key, Urgency::Insists, row).await?;
        if is_assured {
            Ok(removed)
        } else {
            Err(inner.deleted_within())
        }
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let inner = &*self.0;
        let touched = inner.store.touch(key, expires_at, now).await?;
        let step = inner.cache.invalidate(key).await;
        inner.noting_failure(key, &step);
        Ok(touched)
    }

    /// A log-in must go on without the cache: if that can't be told, the row moves all the same, and another process may read a
    /// copy under the old key, and can't save it, until the staleness bound has passed.
    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let inner = &*self.0;
        let row = inner.store.rotate(from, expected, to, change, now);
        let (saved, is_assured) = inner.end_by(from, Urgency::Insists, row).await?;
        if !is_assured && matches!(saved, Saved::Stored(_)) {
            tracing::warn!(
                bound = ?inner.config.staleness_max,
                "a session got a new key and the cache could not be told: a copy under the old one may be read until the bound has passed"
            );
        }
        Ok(saved)
    }

    /// The database's own. The copy of an expired record has its expiry in it, and is as dead as the row.
    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.0.store.clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.store.owner_index().map(|_| self as &dyn OwnerIndex)
    }

    /// The database's own.
    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.store.scan()
    }
}

impl<C, S> Clone for CachedDbStore<C, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: fmt::Debug, S: fmt::Debug> fmt::Debug for CachedDbStore<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            cache,
            store,
            trust: _,
            flights: _,
            config,
        } = &*self.0;
        f.debug_struct("CachedDbStore")
            .field("cache", cache)
            .field("database", store)
            .field("config", config)
            .finish_non_exhaustive()
    }
}
