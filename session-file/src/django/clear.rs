//! Removes what has expired and what dead writers left, and nothing that is another application's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, ReadDir};
use std::sync::Arc;
use std::time::Duration;

use session_core::store::{StoreError, StoreKey, Timestamp};
use session_core::telemetry;

use super::DjangoFileStore;
use super::desk::Desk;
use super::files::{Files, Kind};
use crate::hop::{Shared, Stripes};
use crate::layout::Stripe;

const OPERATION: &str = "clear expired sessions";
/// So much is looked at in one go.
const BATCH: usize = 512;
/// For so long a file that Django writes may still be in use.
const DJANGO_WRITES_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Something that may have to be removed.
#[derive(Debug)]
enum Candidate {
    Session(StoreKey),
    Temporary(OsString),
}

/// The way through the folder, in steps.
#[derive(Default)]
struct Sweep {
    rest: Option<ReadDir>,
    unreadable: u64,
}

impl DjangoFileStore {
    pub(super) async fn clear(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut sweep = Sweep::default();
        loop {
            // Looked for without the lock, and judged again under it: a request may be faster.
            let files = Arc::clone(&self.files);
            let find = move |shared: &Shared| {
                sweep.find(Desk::new(shared, &files, OPERATION), &files, now)
            };
            let found = self.shared.unlocked(OPERATION, None, find).await?;
            let candidates;
            (sweep, candidates) = found;
            let Some(candidates) = candidates else {
                break;
            };
            for (stripe, candidates) in candidates {
                let files = Arc::clone(&self.files);
                let batch = self
                    .locked(OPERATION, Stripes::one(stripe), move |desk| {
                        desk.sweep(&files, candidates, now)
                    })
                    .await?;
                telemetry::purged(batch);
                removed += batch;
                progress(removed);
            }
        }
        progress(removed);
        if sweep.unreadable > 0 {
            tracing::warn!(
                folder = %self.shared.folder.path().display(),
                files = sweep.unreadable,
                "files that can't be read as sessions were left as they are"
            );
        }
        Ok(removed)
    }
}

/// By the lock that each needs.
type Candidates = BTreeMap<Stripe, Vec<Candidate>>;

impl Sweep {
    /// The next candidates, if that was not the end.
    fn find(
        mut self,
        desk: Desk<'_>,
        files: &Files,
        now: Timestamp,
    ) -> Result<(Self, Option<Candidates>), StoreError> {
        let failed = |error| desk.failed(error);
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => fs::read_dir(&files.path).map_err(failed)?,
        };
        let mut candidates = Candidates::new();
        let mut looked_at = 0;
        for entry in rest.by_ref().take(BATCH) {
            looked_at += 1;
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let mut add = |key: &StoreKey, candidate| {
                let stripe = Stripe::of_key(key);
                candidates.entry(stripe).or_default().push(candidate);
            };
            match files.kind(&name.to_string_lossy()) {
                Kind::Foreign => {}
                Kind::Temporary(key) => add(&key, Candidate::Temporary(name)),
                Kind::Session(key) => match desk.find(&key) {
                    Ok(Some(found)) if found.expires_at <= now => {
                        add(&key, Candidate::Session(key.clone()));
                    }
                    Ok(_) => {}
                    Err(StoreError::Damaged { .. } | StoreError::Unrepresentable { .. }) => {
                        self.unreadable += 1;
                    }
                    Err(error) => return Err(error),
                },
                // Django has no lock that would tell, and never looks at it again.
                Kind::DjangoTemporary => {
                    let is_over = entry.metadata().and_then(|found| found.modified());
                    if is_over.is_ok_and(|modified| {
                        Timestamp::from(modified).saturating_add(DJANGO_WRITES_MAX) <= now
                    }) {
                        drop(fs::remove_file(entry.path()));
                    }
                }
            }
        }
        if looked_at == 0 {
            return Ok((self, None));
        }
        self.rest = Some(rest);
        Ok((self, Some(candidates)))
    }
}

impl Desk<'_> {
    /// Removes what is still to be removed, and says how many of it were sessions. Needs the lock.
    fn sweep(
        self,
        files: &Files,
        candidates: Vec<Candidate>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for candidate in candidates {
            match candidate {
                // Writers hold the lock while they have one. We have the lock, so that this one's writer is dead.
                Candidate::Temporary(name) => drop(fs::remove_file(files.path.join(name))),
                Candidate::Session(key) => {
                    let is_over = match self.find(&key) {
                        Ok(found) => found.is_some_and(|found| found.expires_at <= now),
                        Err(StoreError::Damaged { .. } | StoreError::Unrepresentable { .. }) => {
                            false
                        }
                        Err(error) => return Err(error),
                    };
                    if is_over {
                        removed += u64::from(self.remove(&key)?);
                    }
                }
            }
        }
        Ok(removed)
    }
}
