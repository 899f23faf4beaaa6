//! What a request did and has not stored yet, and which of that a commit takes along.

use std::fmt;

use super::{Content, Entry, Modifier};
use crate::error::SessionError;
use crate::expiry::{ABSOLUTE_NAME, EXPIRY_NAME};
use crate::owner::Owner;

/// What a request did and has not stored yet, in order.
#[derive(Clone, Default)]
pub(crate) struct ChangeLog {
    // Most requests change one thing, and then nothing is allocated. Empty as well once what came first is removed.
    first: Option<(EntryId, Entry)>,
    others: Vec<(EntryId, Entry)>,
    next_id: EntryId,
    /// The closures among what was removed: dropping them runs the application's code.
    discarded: Vec<Modifier>,
}

/// Names an entry for as long as its request lives.
type EntryId = u64;

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

/// What some entries are about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subjects {
    pub(crate) log_in: bool,
    /// What every name holds, so that none can be stored without the others.
    pub(crate) all: bool,
    /// The session's own expiry.
    pub(crate) expiry: bool,
}

/// Which pending entries a commit takes along.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection<'a> {
    All,
    /// Those of one name. A pending clear or log-in decides what that name holds, and takes everything along.
    Named(&'a str),
}

impl ChangeLog {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.drop_superseded_by(&entry);
        let entry = (self.next_id, entry);
        if self.is_empty() {
            self.first = Some(entry);
        } else {
            self.others.push(entry);
        }
        self.next_id += 1;
    }

    /// Takes over what `other` has pending, and says under which names.
    pub(crate) fn append(&mut self, other: &mut Self) -> EntryIds {
        let first = self.next_id;
        for (_, entry) in other.first.take().into_iter().chain(other.others.drain(..)) {
            self.push(entry);
        }
        EntryIds::These((first..self.next_id).collect())
    }

    pub(crate) fn clear(&mut self) {
        self.discard(|_, _| true);
    }

    #[inline]
    pub(crate) fn has_discarded(&self) -> bool {
        !self.discarded.is_empty()
    }

    /// What was removed since the last call and must be dropped where no lock is held.
    pub(crate) fn take_discarded(&mut self) -> Vec<Modifier> {
        std::mem::take(&mut self.discarded)
    }

    /// What the entries are about.
    #[inline]
    pub(crate) fn subjects(&self) -> Subjects {
        let mut subjects = Subjects::default();
        for (_, entry) in self.iter() {
            match entry {
                Entry::LogIn { .. } => {
                    subjects.log_in = true;
                    subjects.all = true;
                }
                Entry::Clear => subjects.all = true,
                _ => {
                    let name = entry.name();
                    subjects.expiry |= name == Some(EXPIRY_NAME.as_bytes())
                        || name == Some(ABSOLUTE_NAME.as_bytes());
                }
            }
        }
        subjects
    }

    /// The entries to store now.
    pub(crate) fn select(&self, selection: Selection<'_>) -> Self {
        let is_selected = |entry: &Entry| match selection {
            Selection::All => true,
            Selection::Named(name) => entry.name() == Some(name.as_bytes()),
        };
        let takes_all = self.subjects().all;
        let selected = self
            .iter()
            .filter(|(_, entry)| takes_all || is_selected(entry));
        Self {
            first: None,
            others: selected.cloned().collect(),
            next_id: self.next_id,
            discarded: Vec::new(),
        }
    }

    /// Forgets what was stored.
    pub(crate) fn remove(&mut self, stored: &EntryIds) {
        self.discard(|_, (id, _)| stored.contains(*id));
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
        let log_in = self.iter().position(|(_, entry)| is_another(entry));
        if let Some(log_in) = log_in {
            self.discard(|position, _| position < log_in);
        }
    }

    /// Removes the entries that `is_over` chooses by position and content.
    fn discard(&mut self, mut is_over: impl FnMut(usize, &(EntryId, Entry)) -> bool) {
        let mut position = 0;
        let mut is_over = |entry: &(EntryId, Entry)| {
            position += 1;
            is_over(position - 1, entry)
        };
        let first = self.first.take_if(|entry| is_over(entry));
        self.discarded.extend(first.and_then(closure_of));
        if !self.others.is_empty() {
            let others = self.others.extract_if(.., |entry| is_over(entry));
            self.discarded.extend(others.filter_map(closure_of));
        }
    }

    pub(crate) fn ids(&self) -> EntryIds {
        EntryIds::These(self.iter().map(|(id, _)| *id).collect())
    }

    /// Everything that is pending now, and nothing that comes later.
    pub(crate) fn all_ids(&self) -> EntryIds {
        EntryIds::Before(self.next_id)
    }

    /// Does it all again, on a copy of `base`.
    pub(crate) fn replay(&self, base: &Content) -> Result<Content, SessionError> {
        let mut content = base.clone();
        for (_, entry) in self.iter() {
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
        for (_, entry) in self.iter() {
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
            _ if self.is_empty() => {}
            Entry::Set { .. } | Entry::Remove { .. } => {
                // An entry before a log-in is not superseded by one behind it: which of the two survives depends on
                // the owner that the newer record has.
                let mut after_log_in = 0;
                for (position, (_, entry)) in self.iter().enumerate() {
                    if matches!(entry, Entry::LogIn { .. }) {
                        after_log_in = position + 1;
                    }
                }
                self.discard(|position, (_, entry)| {
                    position >= after_log_in && entry.name() == newer.name()
                });
            }
            Entry::Clear => self.discard(|_, (_, entry)| entry.name().is_some()),
            Entry::SetIfAbsent { .. }
            | Entry::Modify { .. }
            | Entry::LogIn { .. }
            | Entry::SetLabel { .. } => {}
        }
    }

    fn iter(&self) -> impl Iterator<Item = &(EntryId, Entry)> {
        self.first.iter().chain(&self.others)
    }
}

fn closure_of((_, entry): (EntryId, Entry)) -> Option<Modifier> {
    match entry {
        Entry::Modify { modifier, .. } => Some(modifier),
        _ => None,
    }
}

impl fmt::Debug for ChangeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;
    use crate::clock::Timestamp;
    use crate::data::{RawJson, SessionData};

    fn set(name: &str, value: u32) -> Entry {
        Entry::Set {
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
        assert_eq!(log.iter().count(), 2);
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
        assert_eq!(log.iter().count(), 3);
    }

    #[test]
    fn a_name_is_stored_alone_unless_a_clear_or_a_log_in_decides_over_it() {
        let ordinary = log([set("a", 1), set("b", 2)]);
        assert_eq!(ordinary.select(Selection::Named("b")).iter().count(), 1);
        for deciding in [Entry::Clear, log_in("ada")] {
            let log = log([deciding, set("a", 1), set("b", 2)]);
            assert_eq!(log.select(Selection::Named("b")).iter().count(), 3);
        }
    }
}
