//! How many sessions met which fate, and what is said of it.

use serde_json::{Value, json};

use super::decide::{Left, Step};
use crate::outcome::{Outcome, Report};
use crate::text::number;

/// How many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    created: u64,
    updated: u64,
    ended: u64,
    same: u64,
    dead: u64,
    newer_there: u64,
    ended_there: u64,
    their_own: u64,
    not_known: u64,
    refused: u64,
    /// Of the newer ones, those that this very run had written.
    pub(super) changed_since: u64,
}

impl Tally {
    pub(super) const fn count(&mut self, step: Step) {
        let place = match step {
            Step::Create => &mut self.created,
            Step::Update => &mut self.updated,
            Step::End => &mut self.ended,
            Step::Leave(Left::Same) => &mut self.same,
            Step::Leave(Left::Dead) => &mut self.dead,
            Step::Leave(Left::NewerThere) => &mut self.newer_there,
            Step::Leave(Left::EndedThere) => &mut self.ended_there,
            Step::Leave(Left::TheirOwn) => &mut self.their_own,
            Step::Leave(Left::NotKnown) => &mut self.not_known,
            Step::Leave(Left::Refused) => &mut self.refused,
        };
        *place += 1;
    }

    /// What was written, or would be.
    pub(super) const fn written(&self) -> u64 {
        self.created + self.updated + self.ended
    }

    pub(super) const fn seen(&self) -> u64 {
        let left = self.same + self.dead + self.newer_there + self.ended_there + self.their_own;
        self.written() + left + self.not_known + self.refused
    }

    fn changes(&self) -> Value {
        json!({ "created": self.created, "updated": self.updated, "ended": self.ended })
    }
}

/// What is said when all has been compared once more. `written` is `None` for a dry run.
pub(super) fn report(from: &str, to: &str, written: Option<Tally>, left: Tally) -> Report {
    let mut text = format!("{from} to {to}");
    if let Some(done) = written {
        text += &line("created", done.created, "");
        text += &line("updated", done.updated, "");
        text += &line("ended", done.ended, "had ended in FROM");
    }
    let Tally {
        created,
        updated,
        ended,
        same,
        dead,
        newer_there,
        ended_there,
        their_own,
        not_known,
        refused: _,
        changed_since,
    } = left;
    let refused = written.map_or(0, |done| done.refused);
    text += "\ncompared";
    text += &line("the same", same, "in both");
    for (count, name, meaning) in [
        (created, "to create", "new in FROM"),
        (
            updated,
            "to update",
            "changed in FROM since they were copied",
        ),
        (ended, "to end", "ended in FROM since they were copied"),
        (newer_there, "newer in TO", "changed in TO, and left alone"),
        (ended_there, "ended in TO", "and not brought back"),
        (their_own, "TO's own", "began in TO"),
        (dead, "expired", "and left where they are"),
        (
            not_known,
            "not known",
            "new in FROM, and left there by --known-only",
        ),
    ] {
        if count > 0 {
            text += &line(name, count, meaning);
        }
    }
    let is_done = left.written() == 0;
    if refused > 0 {
        text += &format!(
            "\n{} can't be held by TO: their data, owner or label is too large for it, or of characters that it does not know. Their visitors will have to log in again",
            number(refused)
        );
    }
    if left.written() > refused && written.is_some() {
        text += "\nFROM is in use, so that there is more to copy: run it again, and once more when nobody uses FROM";
    }
    if changed_since > 0 {
        text += &format!(
            "\n{} that were just copied are not what was written: TO's application uses them; if nobody uses TO yet, it does not keep what it is given",
            number(changed_since)
        );
    }
    let outcome = if is_done && changed_since == 0 {
        Outcome::Done
    } else {
        Outcome::NeedsAttention
    };
    let json = json!({
        "from": from,
        "to": to,
        "dry_run": written.is_none(),
        "written": written.map(|done| done.changes()),
        "left_to_do": left.changes(),
        "same": same,
        "expired": dead,
        "newer_in_to": newer_there,
        "ended_in_to": ended_there,
        "only_in_to": their_own,
        "not_known": not_known,
        "refused": refused,
        "changed_since_written": changed_since,
    });
    Report::done(text, json).with(outcome)
}

fn line(name: &str, count: u64, meaning: &str) -> String {
    let line = format!("\n  {name:<12} {:>9}  {meaning}", number(count));
    line.trim_end().to_owned()
}
