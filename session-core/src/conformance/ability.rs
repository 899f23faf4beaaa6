//! What a store may lack, if it says why: the names for `except:` in [`conformance_suite!`](crate::conformance_suite).
#![expect(
    non_upper_case_globals,
    reason = "these are the words that a suite's `except` is written with"
)]

/// Something that a store may lack, if it says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ability(pub(super) &'static str);

impl Ability {
    /// The name, as it is written in a suite's `except`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

macro_rules! abilities {
    ($($(#[$doc:meta])+ $ability:ident;)+) => {
        $($(#[$doc])+ pub const $ability: Ability = Ability(stringify!($ability));)+
    };
}

abilities! {
    /// [`SessionStore::clear_expired`](crate::store::SessionStore::clear_expired). A store without it answers
    /// [`StoreError::Unsupported`](crate::store::StoreError::Unsupported).
    clear_expired;
    /// Keeping records that have expired until `clear_expired` is called. A cache forgets them by itself: there is nothing to
    /// clear, and `clear_expired` answers `Ok(0)`.
    keeps_expired_records;
    /// [`SessionStore::owner_index`](crate::store::SessionStore::owner_index).
    owner_index;
    /// [`SessionStore::scan`](crate::store::SessionStore::scan).
    scan;
    /// Keeping a record's owner, label and creation time. A table that is shared with Django has no place for them.
    owner_label_and_creation_time;
    /// No two states of a record, nor of two records that lived under the same key, have the same version. A table
    /// without a column for a number compares the data itself, and can't tell a state from an equal one before it.
    versions_are_unique;
    /// Keeping every live record, however many. A bounded cache evicts.
    survives_memory_pressure;
}
