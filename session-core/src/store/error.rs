//! Why a store could not do what it was asked: for authors of backends and codecs.

use std::time::Duration;

/// The cause of an error, kept for its chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a store or a codec could not do what it was asked.
///
/// Sources must not hold a key or a payload. Where a driver's own error quotes what it was given (PostgreSQL's detail,
/// MySQL's duplicate message, serde_json's values), keep the code and drop the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't be reached or is overloaded. Nothing is wrong with the session: retry, or answer 503.
    /// Built with [`StoreError::unavailable`], since the variant may gain fields.
    #[error("{store} could not {operation}: the store is unavailable")]
    #[non_exhaustive]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// What it was asked to do.
        operation: &'static str,
        /// Why it could not.
        source: BoxError,
    },
    /// A new record's key is taken by a live one. At 165 random bits this means a broken generator; nothing was written.
    #[error(
        "{store} already has a live record under a new key: is the system's random generator broken?"
    )]
    #[non_exhaustive]
    KeyTaken {
        /// Which store.
        store: &'static str,
    },
    /// What is stored is not what was once written. It is left as it is.
    #[error("{store} holds a damaged record, which is left as it is")]
    #[non_exhaustive]
    Damaged {
        /// Which store or codec.
        store: &'static str,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The data can't be expressed in the codec's format, or not be read from it without loss. Nothing was written.
    #[error("{store} can't represent this data")]
    #[non_exhaustive]
    Unrepresentable {
        /// Which store or codec.
        store: &'static str,
        /// What it can't represent.
        source: BoxError,
    },
    /// The record is too large for this store. Nothing was written.
    #[error("{store} can't keep a record of {bytes} bytes: the limit is {bytes_max}")]
    #[non_exhaustive]
    TooLarge {
        /// Which store.
        store: &'static str,
        /// The record's size.
        bytes: usize,
        /// The store's limit.
        bytes_max: usize,
    },
    /// The store does not offer this.
    #[error("{store} can't {operation}: it does not offer this")]
    #[non_exhaustive]
    Unsupported {
        /// Which store.
        store: &'static str,
        /// What it was asked to do.
        operation: &'static str,
    },
    /// The record is deleted, but a copy of it may still be read until the bound has passed.
    #[error("{store} deleted the record, but a copy of it may be read for another {bound:?}")]
    #[non_exhaustive]
    DeletedWithin {
        /// Which store.
        store: &'static str,
        /// For how long.
        bound: Duration,
    },
    /// The store is not set up as it must be. The advice says what to do.
    #[error("{store} is not set up: {advice}")]
    #[non_exhaustive]
    Misconfigured {
        /// Which store.
        store: &'static str,
        /// What is wrong and what to do about it.
        advice: String,
        /// What the store met.
        source: Option<BoxError>,
    },
    /// Anything else.
    #[error("{store} failed to {operation}")]
    #[non_exhaustive]
    Failed {
        /// Which store.
        store: &'static str,
        /// What it was asked to do.
        operation: &'static str,
        /// Why it failed.
        source: BoxError,
    },
}

impl StoreError {
    /// The store can't be reached, is busy, locked, read-only or too slow.
    pub fn unavailable(
        store: &'static str,
        operation: &'static str,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::Unavailable {
            store,
            operation,
            source: source.into(),
        }
    }

    /// A live record is under a new record's key.
    #[must_use]
    pub const fn key_taken(store: &'static str) -> Self {
        Self::KeyTaken { store }
    }

    /// What is stored is not what was written.
    pub fn damaged(store: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Damaged {
            store,
            source: source.into(),
        }
    }

    /// The format can't hold the data.
    pub fn unrepresentable(store: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unrepresentable {
            store,
            source: source.into(),
        }
    }

    /// The record is larger than the store can keep.
    #[must_use]
    pub const fn too_large(store: &'static str, bytes: usize, bytes_max: usize) -> Self {
        Self::TooLarge {
            store,
            bytes,
            bytes_max,
        }
    }

    /// The store does not offer this operation.
    #[must_use]
    pub const fn unsupported(store: &'static str, operation: &'static str) -> Self {
        Self::Unsupported { store, operation }
    }

    /// The record is gone, but a copy may be read for up to `bound`.
    #[must_use]
    pub const fn deleted_within(store: &'static str, bound: Duration) -> Self {
        Self::DeletedWithin { store, bound }
    }

    /// The store is not set up; `advice` says what to do.
    pub fn misconfigured(
        store: &'static str,
        advice: impl Into<String>,
        source: Option<BoxError>,
    ) -> Self {
        Self::Misconfigured {
            store,
            advice: advice.into(),
            source,
        }
    }

    /// Anything else.
    pub fn failed(
        store: &'static str,
        operation: &'static str,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::Failed {
            store,
            operation,
            source: source.into(),
        }
    }
}
