//! What a cache must be able to do.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use session_core::store::{
    Change, OwnerIndex, Record, Saved, StoreError, StoreKey, StoreScan, Timestamp, Version,
};

use crate::slot::{Entry, Lease, Slot};

/// Keeps slots by key, each for a while, and changes each in one step.
///
/// There are two ways to write one. A cache whose server can run code implements this trait, one call to the server for each
/// method. For one that knows no more than "read" and "write if nobody else has written since" (memcached, NATS, etcd),
/// implement [`Cells`](crate::Cells), which has two methods, and wrap it in a [`CellCache`](crate::CellCache).
///
/// A cache is used in two ways. [`CacheStore`](crate::CacheStore) keeps sessions in it and nowhere else: then slots hold
/// originals, and an evicted one is a session lost. A cached database keeps copies in it, for a short time each: then the
/// leases and the tombstones see to it that no copy is older than it may be.
///
/// # The contract
///
/// 1. Each method is one step: two at once on one slot happen one after the other.
/// 2. What a method does is said by its own documentation and nothing else. A slot may be emptied at any time, since caches
///    evict and restart; it is never filled with what nobody put there.
/// 3. Whether an entry has expired is judged by the `now` that is passed in; the cache's own expiry only collects it later.
///    Leases and tombstones last for a while on the cache's own clock, so that no two processes disagree about their end.
/// 4. "Slow", "down" and "overloaded" are [`StoreError::Unavailable`], within a bounded time. A value that can't be read is
///    [`StoreError::Damaged`], and a problem of this slot alone.
/// 5. A call that failed or whose future was dropped has either happened or not.
/// 6. Errors hold no key and no payload.
#[async_trait]
pub trait Cache: fmt::Debug + Send + Sync + 'static {
    /// The cache's name for error texts, as in "Redis" or "the memory cache".
    fn name(&self) -> &'static str;

    /// What operators call the kind of cache in spans and numbers, as OpenTelemetry's `db.system.name`: "redis", "memcached".
    /// Fixed in the program's text, never made of an address or a setting. "other" unless the cache says.
    fn system_name(&self) -> &'static str {
        "other"
    }

    /// What the slot holds. Leases and tombstones whose time has passed are [`Slot::Empty`]; an entry is returned as it is,
    /// expired or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the cache can't be asked, [`StoreError::Damaged`] when what it holds can't be read.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError>;

    /// Leases an empty slot to whoever is about to read the record, for `life`. `true` if it was empty.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The slot is leased or not; a lease ends by itself.
    async fn lease(&self, key: &StoreKey, lease: Lease, life: Duration)
    -> Result<bool, StoreError>;

    /// Puts `entry` where `lease` is still held, and does nothing otherwise: somebody has saved, ended or evicted the session
    /// since the lease was taken, so that what was read may be old. `true` if it was put.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The slot is filled or not.
    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Replaces an entry with an older version; empties a leased slot, since its holder may have read the older record. Leaves
    /// an empty slot, a tombstone, and an entry with the same or a newer version or with one that has no order. `true` if it was replaced.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The entry is replaced or not.
    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Empties the slot, unless it holds a tombstone. `true` if there was an entry, expired or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the cache can't be reached. What can't be read is removed like an entry.
    ///
    /// # Cancel safety
    ///
    /// The slot is emptied or not.
    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError>;

    /// Puts a tombstone into the slot, whatever it holds, so that nothing can be put there for `life`. A tombstone that is
    /// there already keeps its own `life`, counted anew, if that is longer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the cache can't be reached. What can't be read is buried like an entry.
    ///
    /// # Cancel safety
    ///
    /// The tombstone is there or not. Burying again is harmless.
    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError>;

    /// Puts `record`, an original, unless there is a live one or a tombstone. `true` if it was put.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The record is there, whole, or not.
    async fn add(&self, key: &StoreKey, record: Record, now: Timestamp)
    -> Result<bool, StoreError>;

    /// Changes the live record in the slot, provided that it has the version `expected`, and makes its version one greater.
    /// Without a live record it is [`Saved::Gone`]; one that the change expires is removed. A record whose version is no number is
    /// a copy of a database's, which only the database can change: that is [`Saved::Conflict`].
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The record is the old one or the new one.
    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError>;

    /// Moves the expiry of the live record in the slot to `expires_at` if that is later, and leaves its version. `false` if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The expiry has moved or not.
    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Moves a record to another key and changes it, as [`SessionStore::rotate`](session_core::store::SessionStore::rotate)
    /// does, if the cache can do this in one step. `None`, the default, if it can't: it is then done in three.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and [`StoreError::KeyTaken`] when a live record is at `to`.
    ///
    /// # Cancel safety
    ///
    /// The record is at one of the keys.
    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Saved>, StoreError> {
        let _unused = (from, expected, to, change, now);
        Ok(None)
    }

    /// The look-up of sessions by their owner, if the cache keeps one.
    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }

    /// The way through all records that the cache has, if there is one. For maintenance only.
    fn scan(&self) -> Option<&dyn StoreScan> {
        None
    }
}

/// A cache that every process of the application sees: what one of them puts or buries there, all others meet.
///
/// A database with a cache in front needs one, unless there is a single process.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lives in one process and can't know what another process ends",
    note = "in front of a database that several processes use, take a shared cache such as `RedisCache`",
    note = "if there is only this one process, say so: `CachedDbStore::single_process(cache, store)`"
)]
pub trait SharedCache: Cache {}
