//! The smallest cache there is: one that can read, and write if nobody else has written since.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use session_core::store::{
    Change, Payload, Record, Saved, StoreError, StoreKey, Timestamp, Version,
};

use crate::cache::{Cache, SharedCache};
use crate::slot::{Entry, Lease, Slot, Step};

/// Keeps bytes by key, and writes them provided that nobody else has written since they were read: memcached, NATS, etcd, and
/// most others. [`CellCache`] makes a whole [`Cache`] of it.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use bytes::Bytes;
/// use session_cache::{CacheStore, CellCache, Cells};
/// use session_core::store::{StoreError, StoreKey};
///
/// /// A map. A real one forgets what it was told to keep for some time.
/// #[derive(Debug, Default)]
/// struct Map(Mutex<(u64, HashMap<StoreKey, (Bytes, u64)>)>);
///
/// #[async_trait]
/// impl Cells for Map {
///     type Token = u64;
///
///     fn name(&self) -> &'static str {
///         "the map"
///     }
///
///     async fn read(&self, key: &StoreKey) -> Result<Option<(Bytes, u64)>, StoreError> {
///         let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         Ok(map.1.get(key).cloned())
///     }
///
///     async fn write(
///         &self,
///         key: &StoreKey,
///         expected: Option<&u64>,
///         bytes: Option<Bytes>,
///         _kept_for: Duration,
///     ) -> Result<bool, StoreError> {
///         let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let (last, cells) = &mut *map;
///         if cells.get(key).map(|(_, token)| token) != expected {
///             return Ok(false);
///         }
///         *last += 1;
///         match bytes {
///             Some(bytes) => drop(cells.insert(key.clone(), (bytes, *last))),
///             None => drop(cells.remove(key)),
///         }
///         Ok(true)
///     }
/// }
///
/// let store = CacheStore::new(CellCache::new(Map::default()));
/// # drop(store);
/// ```
#[async_trait]
pub trait Cells: fmt::Debug + Send + Sync + 'static {
    /// What tells one state of a cell from all others of the same key, also from those that had the same bytes: memcached's `cas`,
    /// a revision of NATS or etcd.
    type Token: Send + Sync;

    /// The cache's name for error texts, as in "memcached".
    fn name(&self) -> &'static str;

    /// The bytes under `key`, with the token of their state, or `None`. A key is 1 to 40 characters of `[a-z0-9]`; put a prefix
    /// in front of it where others use the cache as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the cache can't be asked, within a bounded time. Errors hold no key and no bytes.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    async fn read(&self, key: &StoreKey) -> Result<Option<(Bytes, Self::Token)>, StoreError>;

    /// Writes `bytes`, or removes what is there (`None`), provided that the state is still that of `expected`, or that nothing is
    /// there (`None`). `false` if it is not, and then nothing has changed.
    ///
    /// The cache forgets the bytes when `kept_for` has passed, by its own clock, and not before if it can help it. It may be up to
    /// ten thousand years: take the longest time that the cache knows if that is less. (memcached takes everything above
    /// thirty days for a date.)
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read). The write has then happened or not; it is not tried again.
    /// [`StoreError::too_large`] for more bytes than the cache takes.
    ///
    /// # Cancel safety
    ///
    /// The write has happened or not.
    async fn write(
        &self,
        key: &StoreKey,
        expected: Option<&Self::Token>,
        bytes: Option<Bytes>,
        kept_for: Duration,
    ) -> Result<bool, StoreError>;
}

/// Any [`Cells`] as a [`Cache`]: each operation reads, decides and writes, and begins again when somebody else was faster.
///
/// Two round trips for each operation that writes, and one for those that find nothing to do.
#[derive(Clone)]
pub struct CellCache<T> {
    cells: T,
}

/// How often an operation begins again. Each time somebody else's has succeeded.
const ATTEMPTS_MAX: u32 = 1_000;

/// How long it may begin again. A call takes at most this and one read and one write.
const TIME_MAX: Duration = Duration::from_secs(4);

/// How much longer than an original the cache keeps it, so that a process whose clock lags still finds it.
const SLACK: Duration = Duration::from_secs(60);

impl<T: Cells> CellCache<T> {
    /// A cache over `cells`.
    #[must_use]
    pub const fn new(cells: T) -> Self {
        Self { cells }
    }

    /// The cells.
    #[must_use]
    pub const fn cells(&self) -> &T {
        &self.cells
    }

    /// Does `step` to the slot. What can't be read is an error, or for operations that remove it an entry like others.
    async fn apply<A: Send>(
        &self,
        key: &StoreKey,
        now: Timestamp,
        operation: &'static str,
        unreadable: Unreadable,
        step: impl Fn(&Slot) -> Step<A> + Send + Sync,
    ) -> Result<A, StoreError> {
        let started = Instant::now();
        for _ in 0..ATTEMPTS_MAX {
            let (slot, token) = match self.cells.read(key).await? {
                None => (Slot::Empty, None),
                Some((bytes, token)) => (self.parse(bytes, unreadable)?, Some(token)),
            };
            let Step { answer, next } = step(&slot);
            let Some(next) = next else {
                return Ok(answer);
            };
            let kept_for = kept_for(&next, now);
            let bytes = if kept_for.is_zero() {
                None
            } else {
                Some(next.to_bytes(self.cells.name())?)
            };
            if bytes.is_none() && token.is_none() {
                return Ok(answer);
            }
            if self
                .cells
                .write(key, token.as_ref(), bytes, kept_for)
                .await?
            {
                return Ok(answer);
            }
            if started.elapsed() > TIME_MAX {
                break;
            }
        }
        Err(StoreError::unavailable(
            self.cells.name(),
            operation,
            "others kept writing at the same moment",
        ))
    }

    fn parse(&self, bytes: Bytes, unreadable: Unreadable) -> Result<Slot, StoreError> {
        match Slot::from_bytes(self.cells.name(), bytes) {
            Err(StoreError::Damaged { .. }) if unreadable == Unreadable::IsAnEntry => {
                let record = Record::new(
                    Payload::from_bytes(Bytes::new()),
                    Timestamp::MIN,
                    Version::Counter(0),
                );
                Ok(Slot::Entry(Entry::original(record)))
            }
            read => read,
        }
    }
}

/// What an operation makes of bytes that are no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    IsAnError,
    IsAnEntry,
}

/// Where an operation is given no time, none is needed: it puts no entry.
const NO_TIME: Timestamp = Timestamp::MIN;

fn kept_for(slot: &Slot, now: Timestamp) -> Duration {
    let life = slot.kept_for(now);
    match slot {
        Slot::Entry(entry) if entry.stale_at == Timestamp::MAX && !life.is_zero() => {
            life.saturating_add(SLACK)
        }
        _ => life,
    }
}

#[async_trait]
impl<T: Cells> Cache for CellCache<T> {
    fn name(&self) -> &'static str {
        self.cells.name()
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        match self.cells.read(key).await? {
            None => Ok(Slot::Empty),
            Some((bytes, _)) => self.parse(bytes, Unreadable::IsAnError),
        }
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let step = |slot: &Slot| slot.lease(lease, life);
        self.apply(key, NO_TIME, "lease", Unreadable::IsAnError, step)
            .await
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let step = |slot: &Slot| slot.fill(lease, entry.clone());
        self.apply(key, now, "fill", Unreadable::IsAnError, step)
            .await
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let step = |slot: &Slot| slot.put_newer(entry.clone());
        self.apply(key, now, "put", Unreadable::IsAnError, step)
            .await
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.apply(
            key,
            NO_TIME,
            "delete",
            Unreadable::IsAnEntry,
            Slot::invalidate,
        )
        .await
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        let step = |slot: &Slot| slot.bury(life);
        self.apply(key, NO_TIME, "bury", Unreadable::IsAnEntry, step)
            .await
    }

    async fn add(
        &self,
        key: &StoreKey,
        record: Record,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let step = |slot: &Slot| slot.add(record.clone(), now);
        self.apply(key, now, "create", Unreadable::IsAnError, step)
            .await
    }

    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let step = |slot: &Slot| slot.compare_and_swap(expected, change.clone(), now);
        self.apply(key, now, "save", Unreadable::IsAnError, step)
            .await
    }

    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let step = |slot: &Slot| slot.expire(expires_at, now);
        self.apply(key, now, "renew", Unreadable::IsAnError, step)
            .await
    }
}

/// The cells are not shown: whoever derives `Debug` for them would show what is in them.
impl<T: Cells> fmt::Debug for CellCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellCache")
            .field("name", &self.cells.name())
            .finish_non_exhaustive()
    }
}

/// Cells that every process of the application sees.
pub trait SharedCells: Cells {}

impl<T: SharedCells> SharedCache for CellCache<T> {}
