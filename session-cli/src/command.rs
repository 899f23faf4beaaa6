//! One file for each command: what it does to the store, and what it says.

mod check;
mod clear_expired;
mod histogram;
mod migrate;
mod owned;
mod reseal;
mod stats;

use session_core::store::Timestamp;
use session_core::{Clock as _, SystemClock};

use crate::arguments::{Command, Run};
use crate::copy;
use crate::outcome::{Failure, Report};

/// Does what was asked for.
pub(crate) async fn run(run: Run) -> Result<Report, Failure> {
    let voice = run.voice;
    match run.command {
        Command::Migrate { at, only_print } => migrate::run(&at, only_print).await,
        Command::Check { at } => check::run(&at).await,
        Command::ClearExpired { at, rate, dry_run } => {
            clear_expired::run(&at, rate, dry_run, voice).await
        }
        Command::Stats { at, top } => stats::run(&at, top, voice).await,
        Command::List { at, owner } => owned::list(&at, owner).await,
        Command::Show { at, owner, handle } => owned::show(&at, owner, &handle).await,
        Command::End { at, owner, handle } => owned::end(&at, owner, &handle).await,
        Command::EndAll { at, owner } => owned::end_all(&at, owner).await,
        Command::Copy(what) => copy::run(what, voice).await,
        Command::Reseal(what) => reseal::run(what, voice).await,
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}
