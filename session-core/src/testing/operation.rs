//! The names of a store's operations, to speak of them in tests.

/// One of a store's operations, those of its owner index and its scan included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`SessionStore::load`](crate::store::SessionStore::load).
    Load,
    /// [`SessionStore::create`](crate::store::SessionStore::create).
    Create,
    /// [`SessionStore::save`](crate::store::SessionStore::save).
    Save,
    /// [`SessionStore::delete`](crate::store::SessionStore::delete).
    Delete,
    /// [`SessionStore::touch`](crate::store::SessionStore::touch).
    Touch,
    /// [`SessionStore::rotate`](crate::store::SessionStore::rotate).
    Rotate,
    /// [`SessionStore::clear_expired`](crate::store::SessionStore::clear_expired).
    ClearExpired,
    /// [`OwnerIndex::sessions_of`](crate::store::OwnerIndex::sessions_of).
    SessionsOf,
    /// [`OwnerIndex::end`](crate::store::OwnerIndex::end).
    End,
    /// [`StoreScan::page`](crate::store::StoreScan::page).
    Scan,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Load,
        Self::Create,
        Self::Save,
        Self::Delete,
        Self::Touch,
        Self::Rotate,
        Self::ClearExpired,
        Self::SessionsOf,
        Self::End,
        Self::Scan,
    ];

    /// The name for error messages: "load", "clear expired sessions".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Save => "save",
            Self::Delete => "delete",
            Self::Touch => "touch",
            Self::Rotate => "rotate",
            Self::ClearExpired => "clear expired sessions",
            Self::SessionsOf => "list an owner's sessions",
            Self::End => "end an owner's sessions",
            Self::Scan => "scan",
        }
    }
}
