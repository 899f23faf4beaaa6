//! What a store keeps, and what it is asked to change.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::owner::Owner;
use crate::payload::Payload;

/// A session as a store keeps it. Owned and cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// The data.
    pub payload: Payload,
    /// From this moment on the record does not exist.
    pub expires_at: Timestamp,
    /// Changes whenever the record is written; [`SessionStore::save`](crate::store::SessionStore::save) compares it.
    pub version: Version,
    /// Whose session it is, once somebody has logged in.
    pub owner: Option<Owner>,
    /// The name of the visitor's device, for lists.
    pub label: Option<Label>,
    /// When the session began: at its creation, and anew at a login.
    pub created_at: Option<Timestamp>,
}

impl Record {
    /// A record without owner, label or creation time.
    #[must_use]
    pub const fn new(payload: Payload, expires_at: Timestamp, version: Version) -> Self {
        Self {
            payload,
            expires_at,
            version,
            owner: None,
            label: None,
            created_at: None,
        }
    }

    /// Whether the record exists at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    /// The record that `new` makes, at `version`.
    #[must_use]
    pub fn created(new: NewRecord, version: Version) -> Self {
        let NewRecord {
            payload,
            expires_at,
            owner,
            label,
            created_at,
        } = new;
        Self {
            payload,
            expires_at,
            version,
            owner,
            label,
            created_at,
        }
    }

    /// The record that `change` makes of this one, at `version`.
    #[must_use]
    pub fn changed(&self, change: Change, version: Version) -> Self {
        let Change {
            payload,
            expiry,
            owner,
            label,
            created_at,
        } = change;
        Self {
            payload,
            expires_at: expiry.apply(self.expires_at),
            version,
            owner,
            label,
            created_at,
        }
    }
}

/// A record that does not exist yet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewRecord {
    /// The data.
    pub payload: Payload,
    /// From this moment on the record does not exist.
    pub expires_at: Timestamp,
    /// See [`Record::owner`].
    pub owner: Option<Owner>,
    /// See [`Record::label`].
    pub label: Option<Label>,
    /// See [`Record::created_at`].
    pub created_at: Option<Timestamp>,
}

impl NewRecord {
    /// A record without owner, label or creation time.
    #[must_use]
    pub const fn new(payload: Payload, expires_at: Timestamp) -> Self {
        Self {
            payload,
            expires_at,
            owner: None,
            label: None,
            created_at: None,
        }
    }
}

/// What a save makes of a record: everything but the expiry replaces what is there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Change {
    /// The data from now on.
    pub payload: Payload,
    /// What becomes of the expiry.
    pub expiry: ExpiryChange,
    /// The owner from now on; `None` is nobody.
    pub owner: Option<Owner>,
    /// The label from now on.
    pub label: Option<Label>,
    /// The creation time from now on.
    pub created_at: Option<Timestamp>,
}

impl Change {
    /// A change to a record without owner, label or creation time.
    #[must_use]
    pub const fn new(payload: Payload, expiry: ExpiryChange) -> Self {
        Self {
            payload,
            expiry,
            owner: None,
            label: None,
            created_at: None,
        }
    }

    /// A change of `record`'s payload and expiry that keeps the rest.
    #[must_use]
    pub fn of(record: &Record, payload: Payload, expiry: ExpiryChange) -> Self {
        let Record {
            owner,
            label,
            created_at,
            ..
        } = record;
        Self {
            payload,
            expiry,
            owner: owner.clone(),
            label: label.clone(),
            created_at: *created_at,
        }
    }
}

/// What a save does to a record's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryChange {
    /// Leaves it, also when a concurrent touch has just moved it.
    Keep,
    /// Moves it forward to this moment, unless it is later already.
    AtLeast(Timestamp),
    /// Sets it, forward or back. In the past, the record ceases to exist.
    Set(Timestamp),
}

impl ExpiryChange {
    /// What becomes of an expiry at `current`.
    #[must_use]
    pub fn apply(self, current: Timestamp) -> Timestamp {
        match self {
            Self::Keep => current,
            Self::AtLeast(moment) => current.max(moment),
            Self::Set(moment) => moment,
        }
    }
}

/// Which state of a record a store handed out.
///
/// Means something only to the store that issued it, and is ordered within one key. A key that is deleted and created
/// anew never gets a version back that it had before, if the store can help it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// A number that grows with every write.
    Counter(u64),
    /// The stored bytes themselves, in a table that has no place for a number. These have no order.
    Content(VersionContent),
}

/// The bytes of a [`Version::Content`]. They are a session's data, so that `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionContent(pub(crate) Bytes);

impl VersionContent {
    /// Bytes as a store read them.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for VersionContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionContent(…)")
    }
}

/// How a [`save`](crate::store::SessionStore::save) or [`rotate`](crate::store::SessionStore::rotate) ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a conflict or a missing record is an answer, not an error"]
pub enum Saved {
    /// Stored, at this version.
    Stored(Version),
    /// The record lives, at another version: load it, replay the changes, save again.
    Conflict,
    /// The record does not exist: deleted, expired, or never there. Nothing was written.
    Gone,
}

/// The name of a visitor's device, at most 256 bytes. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(Arc<str>);

impl Label {
    /// The label with this text. Stores may refuse one of more than 256 bytes or with a NUL, and the session API never
    /// sends one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Label(…)")
    }
}
