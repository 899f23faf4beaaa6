//! Removes what has expired, no faster than it was told.

use serde_json::json;

use super::now;
use crate::arguments::Rate;
use crate::backend::Opening;
use crate::outcome::{Failure, Report};
use crate::pace::Pace;
use crate::place::Place;
use crate::progress::{Progress, Voice, part_before};
use crate::text::sessions;
use crate::walk::Walk;

pub(super) async fn run(
    at: &Place,
    rate: Rate,
    dry_run: bool,
    voice: Voice,
) -> Result<Report, Failure> {
    let store = at.open(Opening::Existing).await?.store();
    let now = now();
    let pace = Pace::new(rate);
    if dry_run {
        let mut progress = Progress::new(voice, "looking for expired sessions");
        let mut walk = Walk::through(&*store)?;
        let (mut seen, mut expired) = (0, 0);
        while let Some((key, record)) = walk.next().await? {
            seen += 1;
            expired += u64::from(!record.is_live(now));
            pace.keep(seen).await;
            progress.at(part_before(&key), sessions(expired));
        }
        drop(progress);
        return Ok(Report::done(
            format!("{at}: {} would be removed", sessions(expired)),
            json!({ "store": at.to_string(), "dry_run": true, "expired": expired }),
        ));
    }
    let mut progress = Progress::new(voice, "removed");
    let removed = store
        .clear_expired(now, &mut |removed| {
            progress.at(None, sessions(removed));
            pace.keep_in_callback(removed);
        })
        .await?;
    drop(progress);
    Ok(Report::done(
        format!("{at}: {} removed", sessions(removed)),
        json!({ "store": at.to_string(), "dry_run": false, "removed": removed }),
    ))
}
