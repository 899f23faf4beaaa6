//! Brings the sessions of one store into another: looks at both, decides for each key, writes, and looks again.

mod decide;
mod fingerprint;
mod journal;
#[cfg(test)]
mod random_moves;
mod tally;

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use session_core::store::{
    Change, ExpiryChange, NewRecord, Record, Saved, SessionStore, StoreError, StoreKey,
};

use crate::arguments::Copy;
use crate::backend::Opening;
use crate::command::now;
use crate::outcome::{Failure, Report};
use crate::pace::Pace;
use crate::progress::{Progress, Voice, part_before};
use crate::text::{number, sessions};
use crate::walk::{Walk, WalkTwo};

use decide::{Left, Step};
use fingerprint::Fingerprint;
use journal::Journal;
use tally::Tally;

/// How many keys are decided on before what was decided is written: the journal goes to the disk once for all of them.
const BATCH: usize = 200;

/// How many writes are under way at once.
const AT_ONCE: usize = 8;

/// Copies, or says what is left to do.
pub(crate) async fn run(what: Copy, voice: Voice) -> Result<Report, Failure> {
    let Copy {
        from,
        to,
        journal,
        known_only,
        rate,
        dry_run,
    } = what;
    if from.to_string() == to.to_string() {
        return Err(Failure::Misused(
            "FROM and TO are the same store".to_owned(),
        ));
    }
    let (from_name, to_name) = (from.to_string(), to.to_string());
    let stores = Stores {
        from: from.open(Opening::Existing).await?.store(),
        to: to.open(Opening::Existing).await?.store(),
        known_only,
    };
    let mut journal = Journal::open(&journal, &from_name, &to_name, dry_run)?;
    stores.refuse_an_empty_source(&journal).await?;
    let written = if dry_run {
        None
    } else {
        let mut progress = Progress::new(voice, "copying");
        Some(
            stores
                .copy(&mut journal, &Pace::new(rate), &mut progress)
                .await?,
        )
    };
    let mut progress = Progress::new(voice, "comparing");
    let pace = Pace::new(rate);
    let left = stores.compare(&journal, &pace, &mut progress).await?;
    drop(progress);
    Ok(tally::report(&from_name, &to_name, written, left))
}

struct Stores {
    from: Arc<dyn SessionStore>,
    to: Arc<dyn SessionStore>,
    known_only: bool,
}

/// What is to be done under one key.
struct Planned {
    key: StoreKey,
    step: Step,
    from: Option<Record>,
    to: Option<Record>,
}

impl Stores {
    /// A table that was emptied, or the wrong one, would end every session that was copied.
    async fn refuse_an_empty_source(&self, journal: &Journal) -> Result<(), Failure> {
        if journal.is_empty() {
            return Ok(());
        }
        let now = now();
        let mut walk = Walk::through(&*self.from)?;
        while let Some((_, record)) = walk.next().await? {
            if record.is_live(now) {
                return Ok(());
            }
        }
        Err(Failure::failed(
            "FROM has no live session, and by the journal it had some: is it the right store, or was it emptied? What was copied is left as it is",
        ))
    }

    async fn copy(
        &self,
        journal: &mut Journal,
        pace: &Pace,
        progress: &mut Progress,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut walk = self.both()?;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH
                && let Some(both) = walk.next().await?
            {
                let step = self.decide(&both.key, both.from.as_ref(), both.to.as_ref(), journal)?;
                batch.push(Planned {
                    key: both.key,
                    step,
                    from: both.from,
                    to: both.to,
                });
            }
            let Some(last) = batch.last().map(|last| last.key.clone()) else {
                return Ok(tally);
            };
            // Before anything is written: what TO holds later is known to be ours.
            for planned in &batch {
                planned.announce(journal)?;
            }
            journal.sync()?;
            let mut failure = None;
            let mut acts = stream::iter(batch.iter())
                .map(|planned| async move { (planned, self.act(planned).await) })
                .buffer_unordered(AT_ONCE);
            while failure.is_none()
                && let Some((planned, done)) = acts.next().await
            {
                match done {
                    Ok(step) => {
                        tally.count(step);
                        planned.confirm(step, journal);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            drop(acts);
            journal.sync()?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            pace.keep(tally.seen()).await;
            let done = format!(
                "{} looked at, {} written",
                sessions(tally.seen()),
                number(tally.written())
            );
            progress.at(part_before(&last), done);
        }
    }

    /// What another copy would have to do.
    async fn compare(
        &self,
        journal: &Journal,
        pace: &Pace,
        progress: &mut Progress,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut walk = self.both()?;
        while let Some(both) = walk.next().await? {
            let step = self.decide(&both.key, both.from.as_ref(), both.to.as_ref(), journal)?;
            if step == Step::Leave(Left::NewerThere) && journal.has_just_written(&both.key) {
                tally.changed_since += 1;
            }
            tally.count(step);
            pace.keep(tally.seen()).await;
            progress.at(part_before(&both.key), sessions(tally.seen()));
        }
        Ok(tally)
    }

    fn both(&self) -> Result<WalkTwo<'_>, Failure> {
        Ok(WalkTwo::new(
            Walk::through(&*self.from)?,
            Walk::through(&*self.to)?,
        ))
    }

    fn decide(
        &self,
        key: &StoreKey,
        from: Option<&Record>,
        to: Option<&Record>,
        journal: &Journal,
    ) -> Result<Step, StoreError> {
        let now = now();
        let from = from.map(|record| seen(key, record)).transpose()?;
        let to = to.map(|record| seen(key, record)).transpose()?;
        Ok(decide::decide(
            from,
            to,
            journal.known(key),
            self.known_only,
            now,
        ))
    }

    /// Does what was decided, unless somebody was faster. What was done, then.
    async fn act(&self, planned: &Planned) -> Result<Step, Failure> {
        let Planned {
            key,
            step,
            from,
            to,
        } = planned;
        let now = now();
        Ok(match (step, from, to) {
            (Step::Create, Some(from), _) => {
                match self.to.create(key, new_record(from), now).await {
                    Ok(_) => Step::Create,
                    Err(StoreError::KeyTaken { .. }) => Step::Leave(Left::NewerThere),
                    Err(error) => refused(error)?,
                }
            }
            (Step::Update, Some(from), Some(to)) => {
                let expiry = ExpiryChange::Set(from.expires_at);
                let change = Change::of(from, from.payload.clone(), expiry);
                match self.to.save(key, &to.version, change, now).await {
                    Ok(Saved::Stored(_)) => Step::Update,
                    Ok(Saved::Conflict) => Step::Leave(Left::NewerThere),
                    Ok(_) => Step::Leave(Left::EndedThere),
                    Err(error) => refused(error)?,
                }
            }
            (Step::End, _, Some(_)) => match self.from.load(key, now).await {
                // It was not seen, and is there all the same, readable or not.
                Ok(Some(_)) | Err(StoreError::Damaged { .. }) => Step::Leave(Left::Same),
                Ok(None) => match self.to.delete(key).await {
                    Ok(_) | Err(StoreError::DeletedWithin { .. }) => Step::End,
                    Err(error) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            },
            (step, _, _) => *step,
        })
    }
}

impl Planned {
    /// Notes that TO has, or is about to have, what FROM has. Of a session that TO has changed as well: without this it would be
    /// new to the journal, and be created once it has ended in TO.
    fn announce(&self, journal: &mut Journal) -> Result<(), StoreError> {
        let is_known = match self.step {
            Step::Create | Step::Update => true,
            Step::Leave(Left::Same | Left::NewerThere) => self.to.is_some(),
            _ => false,
        };
        if let Some(from) = self.from.as_ref().filter(|from| from.is_live(now()))
            && is_known
        {
            journal.announce(&self.key, seen(&self.key, from)?);
        }
        Ok(())
    }

    /// Notes that TO had what was announced, by this copy or by one before it.
    fn confirm(&self, done: Step, journal: &mut Journal) {
        let is_written = matches!(done, Step::Create | Step::Update);
        // A killed copy may have written what `--known-only` leaves behind: it is never brought.
        let is_left_behind = done == Step::Leave(Left::NotKnown);
        let was_faster = self.step == Step::Create && done == Step::Leave(Left::NewerThere);
        if self.to.is_some() || is_written || is_left_behind || was_faster {
            journal.confirm(&self.key, is_written);
        }
    }
}

/// One session that TO can't hold must not stop the others.
fn refused(error: StoreError) -> Result<Step, StoreError> {
    match error {
        StoreError::TooLarge { .. } | StoreError::Unrepresentable { .. } => {
            Ok(Step::Leave(Left::Refused))
        }
        error => Err(error),
    }
}

/// What matters of a record for deciding.
fn seen(key: &StoreKey, record: &Record) -> Result<decide::Seen, StoreError> {
    Ok(decide::Seen {
        fingerprint: Fingerprint::of(key, record)?,
        expires_at: record.expires_at,
    })
}

fn new_record(record: &Record) -> NewRecord {
    let mut new = NewRecord::new(record.payload.clone(), record.expires_at);
    new.owner = record.owner.clone();
    new.label = record.label.clone();
    new.created_at = record.created_at;
    new
}
