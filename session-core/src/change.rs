//! What a request did to a session, so that it can be done again on a newer record.

mod log;

pub(crate) use log::{ChangeLog, EntryIds, Selection};

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use crate::clock::Timestamp;
use crate::data::{RawJson, SessionData};
use crate::error::SessionError;
use crate::owner::Owner;
use crate::record::Label;

/// What a record holds beside its expiry, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) data: SessionData,
    pub(crate) owner: Option<Owner>,
    pub(crate) label: Option<Label>,
    pub(crate) created_at: Option<Timestamp>,
}

impl Content {
    /// What nothing holds.
    pub(crate) const EMPTY: &Self = &Self {
        data: SessionData::empty(),
        owner: None,
        label: None,
        created_at: None,
    };
}

/// Computes a value from the one that is there; `None` removes it. Runs the application's closure, so never under a lock.
pub(crate) type Modifier =
    Arc<dyn Fn(Option<&RawJson>) -> Result<Option<RawJson>, SessionError> + Send + Sync>;

/// One thing that a request did.
#[derive(Clone)]
pub(crate) enum Entry {
    Set {
        value: RawJson,
    },
    /// Set, unless the newer record has a value.
    SetIfAbsent {
        value: RawJson,
    },
    Remove {
        name: ByteString,
    },
    Modify {
        name: ByteString,
        modifier: Modifier,
    },
    Clear,
    LogIn {
        owner: Owner,
        at: Timestamp,
    },
    SetLabel {
        label: Option<Label>,
    },
}

impl Entry {
    /// Does it again, on `content`.
    pub(crate) fn replay(&self, content: &mut Content) -> Result<(), SessionError> {
        match self {
            Self::Set { value } => content.data.set_raw(value.clone()),
            Self::SetIfAbsent { value } => {
                if !content.data.contains(value.name()) {
                    content.data.set_raw(value.clone());
                }
            }
            Self::Remove { name } => {
                content.data.remove(name);
            }
            Self::Modify { name, modifier } => match modifier(content.data.raw(name))? {
                Some(value) => content.data.set_raw(value),
                None => drop(content.data.take_raw(name)),
            },
            Self::Clear => content.data.clear(),
            Self::LogIn { owner, at } => {
                if content
                    .owner
                    .as_ref()
                    .is_some_and(|present| present != owner)
                {
                    content.data.clear();
                    content.label = None;
                }
                content.owner = Some(owner.clone());
                content.created_at = Some(*at);
            }
            Self::SetLabel { label } => content.label.clone_from(label),
        }
        Ok(())
    }

    fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Set { value } | Self::SetIfAbsent { value } => Some(value.name_as_bytes()),
            Self::Remove { name } | Self::Modify { name, .. } => Some(name.as_bytes()),
            Self::Clear | Self::LogIn { .. } | Self::SetLabel { .. } => None,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set { .. } => "Set",
            Self::SetIfAbsent { .. } => "SetIfAbsent",
            Self::Remove { .. } => "Remove",
            Self::Modify { .. } => "Modify",
            Self::Clear => "Clear",
            Self::LogIn { .. } => "LogIn",
            Self::SetLabel { .. } => "SetLabel",
        })
    }
}
