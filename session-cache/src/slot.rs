//! What a slot of a cache holds, and what each operation makes of it: the one place where this is decided.
//!
//! A cache whose server runs code (Redis) decides the same there, in scripts, and is tested against this.

use std::fmt;
use std::time::Duration;

use session_core::store::{Change, Record, Saved, StoreError, Timestamp, Version};

/// What a cache holds under one key.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// Somebody is reading the record from the database, to put it here.
    Leased {
        /// Who.
        lease: Lease,
        /// For how long, by the cache's own clock.
        life: Duration,
    },
    /// A record, or a copy of one.
    Entry(Entry),
    /// The session has ended. Nothing may be put here.
    Tombstone {
        /// For how long, by the cache's own clock.
        life: Duration,
    },
}

/// A record in a cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The record. Whether it has expired is the reader's to judge.
    pub record: Record,
    /// From this moment on a copy must not be believed, whatever the record's own expiry. [`Timestamp::MAX`] for a record
    /// that lives here alone.
    pub stale_at: Timestamp,
}

impl Entry {
    /// A record that lives here and nowhere else.
    #[must_use]
    pub const fn original(record: Record) -> Self {
        Self {
            record,
            stale_at: Timestamp::MAX,
        }
    }

    /// A copy of a record that a database has, to be believed until `stale_at`.
    #[must_use]
    pub const fn copy(record: Record, stale_at: Timestamp) -> Self {
        Self { record, stale_at }
    }

    /// Whether the record exists at `now` and the copy may be believed.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.stale_at > now && self.record.is_live(now)
    }

    /// The moment from which on the entry is garbage.
    #[must_use]
    pub fn garbage_at(&self) -> Timestamp {
        self.stale_at.min(self.record.expires_at)
    }
}

/// A random name for one reading of a record, so that only the reader who still holds the slot fills it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    /// A new lease.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the operating system has no randomness to give.
    pub fn generate() -> Result<Self, StoreError> {
        match getrandom::u64() {
            Ok(number) => Ok(Self(number)),
            Err(error) => Err(StoreError::failed("the cache", "make a lease", error)),
        }
    }

    /// A lease that a cache reads back from where it keeps it.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number to keep.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease(…)")
    }
}

/// What an operation answers, and what the slot holds afterwards, if that changes.
#[derive(Debug)]
pub(crate) struct Step<A> {
    pub(crate) answer: A,
    pub(crate) next: Option<Slot>,
}

impl<A> Step<A> {
    const fn stay(answer: A) -> Self {
        Self { answer, next: None }
    }

    const fn to(next: Slot, answer: A) -> Self {
        Self {
            answer,
            next: Some(next),
        }
    }
}

impl Slot {
    /// For how long the cache should keep the slot if it is put there at `now`; then it is as good as empty.
    #[must_use]
    pub fn kept_for(&self, now: Timestamp) -> Duration {
        match self {
            Self::Empty => Duration::ZERO,
            Self::Leased { life, .. } | Self::Tombstone { life } => *life,
            Self::Entry(entry) => entry.garbage_at().saturating_since(now),
        }
    }

    pub(crate) fn lease(&self, lease: Lease, life: Duration) -> Step<bool> {
        match self {
            Self::Empty => Step::to(Self::Leased { lease, life }, true),
            Self::Leased { .. } | Self::Entry(_) | Self::Tombstone { .. } => Step::stay(false),
        }
    }

    pub(crate) fn fill(&self, lease: Lease, entry: Entry) -> Step<bool> {
        match self {
            Self::Leased { lease: held, .. } if *held == lease => {
                Step::to(Self::Entry(entry), true)
            }
            _ => Step::stay(false),
        }
    }

    pub(crate) fn put_newer(&self, entry: Entry) -> Step<bool> {
        match self {
            Self::Entry(held) if is_older(&held.record.version, &entry.record.version) => {
                Step::to(Self::Entry(entry), true)
            }
            // Whoever reads the record right now may have read the older one.
            Self::Leased { .. } => Step::to(Self::Empty, false),
            Self::Empty | Self::Entry(_) | Self::Tombstone { .. } => Step::stay(false),
        }
    }

    pub(crate) fn invalidate(&self) -> Step<bool> {
        match self {
            Self::Entry(_) => Step::to(Self::Empty, true),
            Self::Leased { .. } => Step::to(Self::Empty, false),
            Self::Empty | Self::Tombstone { .. } => Step::stay(false),
        }
    }

    /// A tombstone that is buried again lives as long as the longer of the two, from now on: nobody can shorten another's.
    pub(crate) fn bury(&self, life: Duration) -> Step<()> {
        let life = match self {
            Self::Tombstone { life: held } => life.max(*held),
            Self::Empty | Self::Leased { .. } | Self::Entry(_) => life,
        };
        Step::to(Self::Tombstone { life }, ())
    }

    pub(crate) fn add(&self, record: Record, now: Timestamp) -> Step<bool> {
        match self {
            Self::Entry(held) if held.record.is_live(now) => Step::stay(false),
            Self::Tombstone { .. } => Step::stay(false),
            Self::Empty | Self::Leased { .. } | Self::Entry(_) => {
                Step::to(Self::Entry(Entry::original(record)), true)
            }
        }
    }

    pub(crate) fn compare_and_swap(
        &self,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Step<Saved> {
        let Some(held) = self.live(now) else {
            return Step::stay(Saved::Gone);
        };
        // A version that is no number is a copy's, and a database's to change.
        let is_ours = matches!(held.record.version, Version::Counter(_));
        if !is_ours || held.record.version != *expected {
            return Step::stay(Saved::Conflict);
        }
        let version = next_version(&held.record.version);
        let record = held.record.changed(change, version.clone());
        let next = if record.is_live(now) {
            Self::Entry(Entry {
                record,
                stale_at: held.stale_at,
            })
        } else {
            Self::Empty
        };
        Step::to(next, Saved::Stored(version))
    }

    pub(crate) fn expire(&self, expires_at: Timestamp, now: Timestamp) -> Step<bool> {
        let Some(held) = self.live(now) else {
            return Step::stay(false);
        };
        if expires_at <= held.record.expires_at {
            return Step::stay(true);
        }
        let mut entry = held.clone();
        entry.record.expires_at = expires_at;
        Step::to(Self::Entry(entry), true)
    }

    fn live(&self, now: Timestamp) -> Option<&Entry> {
        match self {
            Self::Entry(held) if held.record.is_live(now) => Some(held),
            _ => None,
        }
    }
}

/// Versions without an order are never older, so that nothing is written over them.
fn is_older(held: &Version, new: &Version) -> bool {
    matches!((held, new), (Version::Counter(held), Version::Counter(new)) if held < new)
}

pub(crate) fn next_version(version: &Version) -> Version {
    match version {
        Version::Counter(number) => Version::Counter(number.wrapping_add(1)),
        // A cache issues no other versions, and saves none.
        other => other.clone(),
    }
}
