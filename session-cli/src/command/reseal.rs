//! Seals with the newest key what is sealed with an older one.

use std::time::{Duration, SystemTime};

use serde_json::json;
use session_core::codec::{JsonCodec, SealedCodec};
use session_core::{KeyRing, Resealed, SessionManager};

use super::now;
use crate::arguments::{Keys, Reseal};
use crate::backend::Opening;
use crate::outcome::{Failure, Outcome, Report};
use crate::pace::Pace;
use crate::progress::{Progress, Voice};
use crate::text::{number, sessions};

/// For how long what is not sealed is taken, when that was asked for: longer than anybody waits.
const PLAIN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) async fn run(what: Reseal, voice: Voice) -> Result<Report, Failure> {
    let Reseal {
        at,
        keys,
        ring_name,
        accept_plain,
        rate,
    } = what;
    let ring = match keys {
        Keys::Variable(variable) => KeyRing::from_env(&variable),
        Keys::File(path) => KeyRing::from_file(path),
    };
    let mut ring = ring.map_err(|error| Failure::Misused(crate::outcome::chain(&error)))?;
    if let Some(name) = ring_name {
        ring = ring.with_name(&name);
    }
    let mut codec = SealedCodec::new(JsonCodec::default(), &ring);
    if accept_plain {
        codec = codec.accepting_plain_until(SystemTime::from(now()) + PLAIN_LIFE);
    }
    let store = at.open(Opening::Existing).await?.store();
    let manager = SessionManager::new(store).with_codec(codec);
    let pace = Pace::new(rate);
    let mut progress = Progress::new(voice, "resealing");
    let done = manager
        .reseal(|done: Resealed| {
            let (seen, resealed) = (sessions(done.seen), number(done.resealed));
            progress.at(
                None,
                format_args!("{seen} looked at, {resealed} sealed anew"),
            );
            pace.keep_in_callback(done.seen);
        })
        .await?;
    drop(progress);
    let Resealed {
        seen,
        resealed,
        written_meanwhile,
        unreadable,
        ..
    } = done;
    let mut text = format!(
        "{at}: {} looked at, {} sealed anew",
        sessions(seen),
        number(resealed)
    );
    let mut outcome = Outcome::Done;
    if written_meanwhile > 0 {
        outcome = Outcome::NeedsAttention;
        text += &format!(
            "\n  {} written by the application at the same moment: run it again",
            number(written_meanwhile)
        );
    }
    if unreadable > 0 {
        outcome = Outcome::NeedsAttention;
        text += &format!(
            "\n  {} can't be opened with any of these keys, and were left as they are: is a key missing, are they not sealed at all (--accept-plain), or has the application given its ring a name (--ring-name)?",
            number(unreadable)
        );
    }
    let json = json!({
        "store": at.to_string(),
        "seen": seen,
        "resealed": resealed,
        "written_meanwhile": written_meanwhile,
        "unreadable": unreadable,
    });
    Ok(Report::done(text, json).with(outcome))
}
