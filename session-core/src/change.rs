//! What a request did to a session, so that it can be done again on a newer record.

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
        name: ByteString,
        value: RawJson,
    },
    /// Set, unless the newer record has a value.
    SetIfAbsent {
        name: ByteString,
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
            Self::Set { name, value } => content.data.set_raw(name, value.clone()),
            Self::SetIfAbsent { name, value } => {
                if !content.data.contains(name) {
                    content.data.set_raw(name, value.clone());
                }
            }
            Self::Remove { name } => {
                content.data.remove(name);
            }
            Self::Modify { name, modifier } => match modifier(content.data.raw(name))? {
                Some(value) => content.data.set_raw(name, value),
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

    fn name(&self) -> Option<&str> {
        match self {
            Self::Set { name, .. }
            | Self::SetIfAbsent { name, .. }
            | Self::Remove { name }
            | Self::Modify { name, .. } => Some(name),
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

/// What a request did and has not stored yet, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeLog {
    entries: Vec<(EntryId, Entry)>,
    next_id: EntryId,
    /// What was removed. It may hold closures, and dropping those runs the application's code.
    discarded: Vec<(EntryId, Entry)>,
}

/// Names an entry for as long as its request lives.
pub(crate) type EntryId = u64;

/// Entries by their names.
#[derive(Debug, Clone)]
pub(crate) enum EntryIds {
    These(Vec<EntryId>),
    Before(EntryId),
}

impl EntryIds {
    fn contains(&self, id: EntryId) -> bool {
        match self {
            Self::These(ids) => ids.contains(&id),
            Self::Before(end) => id < *end,
        }
    }
}

/// Which pending entries a commit takes along.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection<'a> {
    All,
    /// Those of one name. A pending clear or log-in decides what that name holds, and takes everything along.
    Named(&'a str),
}

impl ChangeLog {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.drop_superseded_by(&entry);
        self.entries.push((self.next_id, entry));
        self.next_id += 1;
    }

    /// Takes over what `other` has pending, and says under which names.
    pub(crate) fn append(&mut self, other: &mut Self) -> EntryIds {
        let first = self.next_id;
        for (_, entry) in other.entries.drain(..) {
            self.push(entry);
        }
        EntryIds::These((first..self.next_id).collect())
    }

    pub(crate) fn clear(&mut self) {
        if self.discarded.is_empty() {
            std::mem::swap(&mut self.discarded, &mut self.entries);
        } else {
            self.discarded.append(&mut self.entries);
        }
    }

    pub(crate) fn has_discarded(&self) -> bool {
        !self.discarded.is_empty()
    }

    /// What was removed since the last call, to be dropped where no lock is held.
    pub(crate) fn take_discarded(&mut self) -> Vec<(EntryId, Entry)> {
        std::mem::take(&mut self.discarded)
    }

    pub(crate) fn has_log_in(&self) -> bool {
        self.entries
            .iter()
            .any(|(_, entry)| matches!(entry, Entry::LogIn { .. }))
    }

    /// Whether an entry decides what every name holds, so that none can be stored without the others.
    pub(crate) fn takes_all(&self) -> bool {
        self.entries
            .iter()
            .any(|(_, entry)| matches!(entry, Entry::Clear | Entry::LogIn { .. }))
    }

    /// Whether an entry is about this name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.entries
            .iter()
            .any(|(_, entry)| entry.name() == Some(name))
    }

    /// The entries to store now.
    pub(crate) fn select(&self, selection: Selection<'_>) -> Self {
        let is_selected = |entry: &Entry| match selection {
            Selection::All => true,
            Selection::Named(name) => entry.name() == Some(name),
        };
        let takes_all = self.takes_all();
        let entries = self
            .entries
            .iter()
            .filter(|(_, entry)| takes_all || is_selected(entry))
            .cloned()
            .collect();
        Self {
            entries,
            next_id: self.next_id,
            discarded: Vec::new(),
        }
    }

    /// Forgets what was stored.
    pub(crate) fn remove(&mut self, stored: &EntryIds) {
        if self.entries.iter().all(|(id, _)| stored.contains(*id)) {
            self.clear();
        } else {
            self.discard(|_, (id, _)| stored.contains(*id));
        }
    }

    /// Forgets those of `unsure`, whose write may have happened, that must not be done twice.
    pub(crate) fn remove_modifications(&mut self, unsure: &EntryIds) {
        self.discard(|_, (id, entry)| {
            unsure.contains(*id) && matches!(entry, Entry::Modify { .. })
        });
    }

    /// The record of the owner `gone` is no more, so that a log-in can't tell any longer that it is another's: what it would
    /// have flushed goes now.
    pub(crate) fn forget_what_was_for(&mut self, gone: Option<&Owner>) {
        let Some(gone) = gone else { return };
        let is_another =
            |entry: &Entry| matches!(entry, Entry::LogIn { owner, .. } if owner != gone);
        if let Some(log_in) = self.entries.iter().position(|(_, entry)| is_another(entry)) {
            self.discard(|position, _| position < log_in);
        }
    }

    /// Removes the entries that `is_over` chooses by position and content.
    fn discard(&mut self, mut is_over: impl FnMut(usize, &(EntryId, Entry)) -> bool) {
        let mut position = 0;
        let over = self.entries.extract_if(.., |entry| {
            position += 1;
            is_over(position - 1, entry)
        });
        self.discarded.extend(over);
    }

    pub(crate) fn ids(&self) -> EntryIds {
        EntryIds::These(self.entries.iter().map(|(id, _)| *id).collect())
    }

    /// Everything that is pending now, and nothing that comes later.
    pub(crate) fn all_ids(&self) -> EntryIds {
        EntryIds::Before(self.next_id)
    }

    /// Does it all again, on a copy of `base`.
    pub(crate) fn replay(&self, base: &Content) -> Result<Content, SessionError> {
        let mut content = base.clone();
        for (_, entry) in &self.entries {
            entry.replay(&mut content)?;
        }
        Ok(content)
    }

    /// What [`replay`](Self::replay) gives, without the entries that do not fit `base`: what is shown until a commit says
    /// which ones those are.
    /// Also says whether all fit.
    pub(crate) fn preview(&self, base: &Content) -> (Content, bool) {
        let mut content = base.clone();
        let mut all_fit = true;
        for (_, entry) in &self.entries {
            if let Err(error) = entry.replay(&mut content) {
                all_fit = false;
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a pending change does not fit the newer record"
                );
            }
        }
        (content, all_fit)
    }

    /// A loop that sets one name a thousand times is to leave one entry.
    fn drop_superseded_by(&mut self, newer: &Entry) {
        match newer {
            _ if self.entries.is_empty() => {}
            Entry::Set { name, .. } | Entry::Remove { name } => {
                // An entry before a log-in is not superseded by one behind it: which of the two survives depends on
                // the owner that the newer record has.
                let after_log_in = self
                    .entries
                    .iter()
                    .rposition(|(_, entry)| matches!(entry, Entry::LogIn { .. }))
                    .map_or(0, |at| at + 1);
                self.discard(|position, (_, entry)| {
                    position >= after_log_in && entry.name() == Some(name)
                });
            }
            Entry::Clear => self.discard(|_, (_, entry)| entry.name().is_some()),
            Entry::SetIfAbsent { .. }
            | Entry::Modify { .. }
            | Entry::LogIn { .. }
            | Entry::SetLabel { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: u32) -> Entry {
        Entry::Set {
            name: ByteString::from(name),
            value: RawJson::of(name, &value).unwrap(),
        }
    }

    fn log(entries: impl IntoIterator<Item = Entry>) -> ChangeLog {
        let mut log = ChangeLog::default();
        entries.into_iter().for_each(|entry| log.push(entry));
        log
    }

    fn content(json: &str, owner: Option<&str>) -> Content {
        let data = SessionData::from_json(json.to_owned()).unwrap();
        Content {
            data,
            owner: owner.map(Owner::from),
            ..Content::default()
        }
    }

    fn log_in(owner: &str) -> Entry {
        Entry::LogIn {
            owner: Owner::from(owner),
            at: Timestamp::from_secs(9),
        }
    }

    #[test]
    fn an_entry_replaces_earlier_ones_of_its_name() {
        let log = log([
            set("a", 1),
            set("b", 1),
            set("a", 2),
            Entry::Remove {
                name: ByteString::from_static("b"),
            },
        ]);
        assert_eq!(log.entries.len(), 2);
        assert_eq!(
            log.replay(&content(r#"{"b":7}"#, None))
                .unwrap()
                .data
                .to_json(),
            r#"{"a":2}"#
        );
    }

    #[test]
    fn a_log_in_is_judged_by_the_record_it_meets() {
        let log = log([set("before", 1), log_in("ada"), set("after", 2)]);
        let anonymous = log.replay(&content(r#"{"cart":1}"#, None)).unwrap();
        assert_eq!(
            anonymous.data.to_json(),
            r#"{"cart":1,"before":1,"after":2}"#
        );
        let same = log.replay(&content(r#"{"cart":1}"#, Some("ada"))).unwrap();
        assert_eq!(same.data.to_json(), r#"{"cart":1,"before":1,"after":2}"#);
        let other = log.replay(&content(r#"{"cart":1}"#, Some("bob"))).unwrap();
        assert_eq!(other.data.to_json(), r#"{"after":2}"#);
        assert_eq!(other.owner, Some(Owner::from("ada")));
        assert_eq!(other.created_at, Some(Timestamp::from_secs(9)));
    }

    #[test]
    fn what_was_set_before_a_log_in_is_kept_apart_from_what_came_after() {
        let log = log([set("a", 1), log_in("ada"), set("a", 2)]);
        assert_eq!(log.entries.len(), 3);
    }

    #[test]
    fn a_name_is_stored_alone_unless_a_clear_or_a_log_in_decides_over_it() {
        let ordinary = log([set("a", 1), set("b", 2)]);
        assert_eq!(ordinary.select(Selection::Named("b")).entries.len(), 1);
        for deciding in [Entry::Clear, log_in("ada")] {
            let log = log([deciding, set("a", 1), set("b", 2)]);
            assert_eq!(log.select(Selection::Named("b")).entries.len(), 3);
        }
    }
}
