//! What was copied, in a file: the difference between a session that is new to TO and one that has ended there.
//!
//! After the heading, a line with a session, a fingerprint and an expiry says what TO was about to have; a line with a session
//! alone says that TO had it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use session_core::store::{StoreKey, Timestamp};

use super::decide::Seen;
use super::fingerprint::Fingerprint;
use crate::outcome::Failure;

const TITLE: &str = "sessions copy journal 1";

/// What an earlier copy has written of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// All that was written, or was about to be when the program was killed.
    fingerprints: Vec<Fingerprint>,
    /// When the last of them expires.
    pub(super) expires_at: Timestamp,
    /// Whether TO is known to have had it.
    pub(super) was_there: bool,
    is_just_written: bool,
}

impl Known {
    /// Whether a copy has written this.
    pub(super) fn has_been(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprints.contains(&fingerprint)
    }

    #[cfg(test)]
    pub(super) fn of(copied: &[Seen]) -> Option<Self> {
        let last = copied.last()?;
        Some(Self {
            fingerprints: copied.iter().map(|seen| seen.fingerprint).collect(),
            was_there: true,
            ..Self::about_to(*last)
        })
    }

    pub(super) fn about_to(seen: Seen) -> Self {
        Self {
            fingerprints: vec![seen.fingerprint],
            expires_at: seen.expires_at,
            was_there: false,
            is_just_written: false,
        }
    }
}

/// One move's journal. Each line is written before the session is; a line that a crash has cut off is nobody's.
#[derive(Debug)]
pub(super) struct Journal {
    known: HashMap<Fingerprint, Known>,
    /// `None` if nothing is to be written.
    file: Option<File>,
    path: PathBuf,
    waiting: Vec<u8>,
}

impl Journal {
    /// The journal of this move, or a new one. Nobody else may use it meanwhile.
    pub(super) fn open(path: &Path, from: &str, to: &str, dry_run: bool) -> Result<Self, Failure> {
        let failed = |error| failed(path, &error);
        let mut journal = Self {
            known: HashMap::new(),
            file: None,
            path: path.to_owned(),
            waiting: Vec::new(),
        };
        let mut options = OpenOptions::new();
        options.read(true).append(!dry_run).create(!dry_run);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = match options.open(path) {
            Err(error) if dry_run && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(journal);
            }
            file => file.map_err(failed)?,
        };
        if !dry_run && file.try_lock().is_err() {
            return Err(Failure::failed(format!(
                "another copy is using the journal {}: wait for its end",
                path.display()
            )));
        }
        let heading = format!("{TITLE}\t{}\t{}", one_line(from), one_line(to));
        let is_new = journal.read(&file, &heading).map_err(failed)?;
        if is_new == Some(false) {
            return Err(Failure::failed(format!(
                "{} is no journal of a copy from {from} to {to}: name another file",
                path.display()
            )));
        }
        if !dry_run {
            journal.file = Some(file);
            // A line that was cut off must not run into the next.
            let heading = if is_new.is_none() { &*heading } else { "" };
            journal.waiting = format!("{heading}\n").into_bytes();
        }
        Ok(journal)
    }

    /// Whether it is this move's. `None` if there is nothing in it yet.
    fn read(&mut self, file: &File, heading: &str) -> std::io::Result<Option<bool>> {
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let mut is_ours = None;
        while reader.read_until(b'\n', &mut line)? > 0 {
            let whole = line
                .strip_suffix(b"\n")
                .map(|text| String::from_utf8_lossy(text));
            match (&whole, is_ours) {
                (Some(text), None) if text == heading => is_ours = Some(true),
                (_, None) => return Ok(Some(false)),
                (Some(text), _) => match parse(text) {
                    Some((id, Some(seen))) => self.add(id, seen),
                    Some((id, None)) => {
                        if let Some(known) = self.known.get_mut(&id) {
                            known.was_there = true;
                        }
                    }
                    None => {}
                },
                (None, _) => {}
            }
            line.clear();
        }
        Ok(is_ours)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn known(&self, key: &StoreKey) -> Option<&Known> {
        self.known.get(&Fingerprint::of_key(key))
    }

    /// Whether this run has written it.
    pub(super) fn has_just_written(&self, key: &StoreKey) -> bool {
        self.known(key).is_some_and(|known| known.is_just_written)
    }

    /// Notes what TO is about to have. Safe once [`sync`](Self::sync) has returned.
    pub(super) fn announce(&mut self, key: &StoreKey, seen: Seen) {
        let id = Fingerprint::of_key(key);
        let known = self.known.get(&id);
        if known.is_none_or(|known| known.fingerprints.last() != Some(&seen.fingerprint)) {
            self.wait(&format!(
                "{} {} {}",
                id.to_hex(),
                seen.fingerprint.to_hex(),
                seen.expires_at.as_secs()
            ));
            self.add(id, seen);
        }
    }

    /// Notes that TO has what was announced, and whether it was this run that has written it.
    pub(super) fn confirm(&mut self, key: &StoreKey, is_just_written: bool) {
        let id = Fingerprint::of_key(key);
        let mut is_news = false;
        if let Some(known) = self.known.get_mut(&id) {
            is_news = !known.was_there;
            known.was_there = true;
            known.is_just_written |= is_just_written;
        }
        if is_news {
            self.wait(&id.to_hex());
        }
    }

    fn wait(&mut self, line: &str) {
        self.waiting.extend_from_slice(line.as_bytes());
        self.waiting.push(b'\n');
    }

    /// Has what was noted on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if let Some(file) = &mut self.file
            && !self.waiting.is_empty()
        {
            file.write_all(&self.waiting)
                .and_then(|()| file.sync_data())
                .map_err(|error| failed(&self.path, &error))?;
            self.waiting.clear();
        }
        Ok(())
    }

    fn add(&mut self, key: Fingerprint, seen: Seen) {
        let known = self.known.entry(key);
        known
            .and_modify(|known| {
                known.fingerprints.push(seen.fingerprint);
                known.expires_at = seen.expires_at;
            })
            .or_insert_with(|| Known::about_to(seen));
    }
}

/// A line's session, and what TO was about to have of it; without that, TO has it.
fn parse(line: &str) -> Option<(Fingerprint, Option<Seen>)> {
    let mut words = line.split(' ');
    let id = Fingerprint::from_hex(words.next()?)?;
    let Some(fingerprint) = words.next() else {
        return Some((id, None));
    };
    let seen = Seen {
        fingerprint: Fingerprint::from_hex(fingerprint)?,
        expires_at: Timestamp::from_secs(words.next()?.parse().ok()?),
    };
    words.next().is_none().then_some((id, Some(seen)))
}

fn one_line(name: &str) -> String {
    name.replace(['\n', '\t'], " ")
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "the journal {} can't be used: {error}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> StoreKey {
        StoreKey::parse(text).unwrap()
    }

    fn seen(of: &str) -> Seen {
        Seen {
            fingerprint: Fingerprint::of_key(&key(of)),
            expires_at: Timestamp::from_secs(1_000),
        }
    }

    #[test]
    fn what_was_noted_is_known_to_the_next_copy_also_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::open(&path, "from", "to", false);
        let mut journal = open().unwrap();
        journal.announce(&key("a"), seen("1"));
        journal.confirm(&key("a"), true);
        journal.announce(&key("a"), seen("2"));
        journal.sync().unwrap();
        assert!(journal.has_just_written(&key("a")));
        open().expect_err("two copies wrote one journal");
        drop(journal);

        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"00112233").unwrap();
        drop(torn);
        let mut journal = open().unwrap();
        journal.announce(&key("b"), seen("3"));
        journal.sync().unwrap();
        drop(journal);

        let journal = open().unwrap();
        for (name, wrote) in [("a", "1"), ("a", "2"), ("b", "3")] {
            let known = journal.known(&key(name)).unwrap();
            assert!(known.has_been(seen(wrote).fingerprint), "{name} {wrote}");
        }
        assert_eq!(journal.known.len(), 2, "a torn line became a session");
        assert!(!journal.has_just_written(&key("a")));
        let was_there = |name| journal.known(&key(name)).unwrap().was_there;
        assert!(
            was_there("a") && !was_there("b"),
            "what was announced is taken for written"
        );
    }

    #[test]
    fn another_moves_journal_and_another_file_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, "from", "to", false).unwrap();
        journal.sync().unwrap();
        drop(journal);
        Journal::open(&path, "to", "from", false).expect_err("another move's journal was used");
        let other = folder.path().join("other");
        for text in ["a letter\n", "a letter"] {
            File::create(&other)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            Journal::open(&other, "from", "to", false)
                .expect_err("a letter was taken for a journal");
            assert_eq!(std::fs::read_to_string(&other).unwrap(), text);
        }
    }
}
