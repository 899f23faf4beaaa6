//! The contract between the framework and whatever keeps the records: for authors of backends.
//!
//! A backend sees a [`StoreKey`], a [`Record`] and a [`Version`]; nothing of cookies, HTTP or JSON. `docs/write-a-backend.md`
//! in the repository walks through one, and the `conformance` feature brings the tests that every store must pass.

mod default_body;
mod error;
mod forward;

use std::fmt;

use async_trait::async_trait;

pub use crate::clock::Timestamp;
pub use crate::key::StoreKey;
pub use crate::payload::Payload;
pub use crate::record::{
    Change, ExpiryChange, Label, NewRecord, Record, Saved, Version, VersionContent,
};
pub use error::{BoxError, StoreError};

use crate::owner::Owner;

/// Keeps records, atomically, and forgets them on time.
///
/// Four methods are required. The others have default bodies that are correct and slower, except for
/// [`clear_expired`](Self::clear_expired), which nobody can do without knowing the store.
///
/// # The contract
///
/// 1. An expired record does not exist: `load` gives `None`, `save`, `touch` and `rotate` give `Gone`, `create` may replace it.
///    Expiry is judged by the `now` that is passed in, never by a clock of the store's own.
/// 2. `save` is compare-and-swap and never creates, so that a late save can't bring back a session that was logged out.
/// 3. `create` never overwrites a live record.
/// 4. `touch` moves the expiry alone, never shortens it and never revives. A concurrent `save` neither loses it nor is lost by it.
/// 5. `rotate` never leaves two keys that a client can hold.
/// 6. `delete` is idempotent and final: once it returned `Ok`, no process reads that record again, not from a cache either.
/// 7. A call that returned `Ok` is as durable as the backend documents. One that returned `Err`, or whose future was
///    dropped, has either happened or not, never half.
/// 8. "Busy", "locked", "deadlock", "timeout" and "read-only" are [`StoreError::Unavailable`], never `Gone`, `Conflict` or
///    `None`. Every call ends within a bounded, configurable time. (The manager enforces its own bound on top.)
/// 9. Errors keep what helps from their source, and never a key or a payload.
///
/// Payloads are opaque bytes, from empty to the size limit of the policy (1 MiB), all byte values included. They were
/// written by this application, but whoever can write the store can change them.
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// What operators call the kind of store in spans and numbers, as OpenTelemetry's `db.system.name`: "postgresql", "redis",
    /// "file". Fixed in the program's text, never made of an address or a setting. "other" unless the backend says.
    fn system_name(&self) -> &'static str {
        "other"
    }

    /// The live record at `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the store can't be asked, [`StoreError::Damaged`] when what it holds under this key
    /// is not a record: the visitor then starts afresh, and the damaged record is left as it is.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError>;

    /// Keeps a new record at `key`, replacing an expired one.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyTaken`] when a live record is there already; at 165 random bits this means a broken generator,
    /// and nothing is written. [`StoreError::Unavailable`] when the store can't be reached.
    ///
    /// # Cancel safety
    ///
    /// The record is there, whole, or it is not.
    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError>;

    /// Replaces the record at `key`, provided that it still has the version `expected`.
    ///
    /// Never creates one: a save that arrives after a logout must not bring the session back, so a missing or expired
    /// record is [`Saved::Gone`] (Django raises `UpdateError` here).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the store can't be reached. The write has then happened or not, but never half.
    ///
    /// # Cancel safety
    ///
    /// The record is the old one or the new one. Load again to learn which.
    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError>;

    /// Removes the record at `key`, for good. `true` if this call removed it: of several concurrent callers one gets it.
    /// What an expired record answers is unspecified.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the store can't be reached, [`StoreError::DeletedWithin`] when the record is gone but a
    /// copy may be read until a bound has passed.
    ///
    /// # Cancel safety
    ///
    /// The record is there or not. Deleting again is harmless.
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError>;

    /// Moves the expiry of the live record at `key` to `expires_at`, if that is later. `false` if there is none.
    ///
    /// For whoever keeps a session alive without reading it. The manager does not call it: it renews by `save`, since a touch
    /// knows nothing of the expiry that a concurrent save may just have shortened.
    ///
    /// The default body loads and saves, which changes the version, and tries again on a conflict. A backend's own should
    /// leave the version, so that a touch costs no writer a retry.
    ///
    /// # Errors
    ///
    /// As for [`save`](Self::save).
    ///
    /// # Cancel safety
    ///
    /// The expiry has moved or not.
    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        default_body::touch(self, key, expires_at, now).await
    }

    /// Moves the record at `from` to `to`, which is another key, and changes it, in one step, provided that it still has the
    /// version `expected`.
    ///
    /// The default body needs no more than the required methods: it creates the new record with a minute to live, ends
    /// the old one by compare-and-swap, and then gives the new one its full life. A crash in between leaves an orphan for
    /// at most a minute, under a key that nobody was given.
    ///
    /// When the server's digest key is changed, a session moves in this way while its client keeps its key: other requests may then
    /// look for it at `to` before the call has ended, and a server whose keys are in the former order moves it back.
    ///
    /// # Errors
    ///
    /// As for [`save`](Self::save), and [`StoreError::KeyTaken`] when a live record is at `to`.
    ///
    /// # Cancel safety
    ///
    /// At most one of the two keys is one that a client holds.
    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        default_body::rotate(self, from, expected, to, change, now).await
    }

    /// Removes the records that have expired at `now`, reports the running total to `progress`, and returns how many it
    /// removed. Safe beside live traffic, and to be run again after an interruption. Not bounded in time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] unless the backend implements it; never `Ok(0)` for "did nothing".
    ///
    /// # Cancel safety
    ///
    /// Some of the expired records are gone.
    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let _unused = (now, progress);
        Err(StoreError::unsupported(
            "this store",
            "clear expired sessions",
        ))
    }

    /// The look-up of sessions by their owner, if the backend has one.
    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }

    /// The way through all records, if the backend has one. For maintenance only.
    fn scan(&self) -> Option<&dyn StoreScan> {
        None
    }
}

/// Sessions by owner: list and end. A second trait, so that a first backend stays small.
#[async_trait]
pub trait OwnerIndex: fmt::Debug + Send + Sync {
    /// The live sessions of `owner`, in the order of their store keys, one page at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the store can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError>;

    /// Ends sessions of `owner`, and of nobody else, and says how many. A session that logged in as `owner` before the call
    /// does not escape, not by rotating at the same moment either.
    ///
    /// # Errors
    ///
    /// As for [`SessionStore::delete`].
    ///
    /// # Cancel safety
    ///
    /// Some of the sessions have ended. Ending again is harmless.
    async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError>;
}

/// The way through all records, for maintenance: copying, resealing, counting.
#[async_trait]
pub trait StoreScan: fmt::Debug + Send + Sync {
    /// The next page of records in the order of their store keys, expired ones included. An empty page is the end. What is
    /// written meanwhile may be seen or not; what stays is seen once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the store can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError>;
}

/// Where a page starts and how long it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// Only keys after this one, in the order of their text; `None` starts at the beginning.
    pub after: Option<StoreKey>,
    /// At most so many records. Fewer than that means that there are no more.
    pub limit: usize,
}

impl Page {
    /// The first page.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// The page after `key`.
    #[must_use]
    pub const fn after(key: StoreKey, limit: usize) -> Self {
        Self {
            after: Some(key),
            limit,
        }
    }
}

/// Which sessions of an owner to end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EndScope {
    /// This one, if it is the owner's.
    One(StoreKey),
    /// All but this one.
    AllExcept(StoreKey),
    /// All.
    All,
}

impl EndScope {
    /// Whether a session of the owner at `key` is to end.
    #[must_use]
    pub fn contains(&self, key: &StoreKey) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::AllExcept(spared) => spared != key,
            Self::All => true,
        }
    }
}
