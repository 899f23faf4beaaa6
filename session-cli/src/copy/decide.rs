//! What to do about one session, by what each store has of it and what the journal says was copied.

use session_core::store::Timestamp;

use super::fingerprint::Fingerprint;
use super::journal::Known;

/// What a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) fingerprint: Fingerprint,
    pub(super) expires_at: Timestamp,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is new to TO.
    Create,
    /// FROM has changed it, and TO has not.
    Update,
    /// It has ended in FROM.
    End,
    Leave(Left),
}

/// Why nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// TO has what FROM has.
    Same,
    /// It has expired, or ended, in both.
    Dead,
    /// TO's application has changed it since it was copied, or has one that no copy has made.
    NewerThere,
    /// It was copied, and TO has it no more: whoever ended it must not find it alive.
    EndedThere,
    /// It began in TO.
    TheirOwn,
    /// It is too large for TO, or has an owner or a label that TO can't hold.
    Refused,
    /// No earlier copy knows it, and only those that one knows were asked for.
    NotKnown,
}

/// What to do about a session.
///
/// What TO's application did always wins, but for one thing: what has ended in FROM has ended. A session that merely expired
/// there has not, since TO's application may have renewed it.
pub(super) fn decide(
    from: Option<Seen>,
    to: Option<Seen>,
    known: Option<&Known>,
    known_only: bool,
    now: Timestamp,
) -> Step {
    let lives = |seen: &Seen| seen.expires_at > now;
    let to = to.filter(lives);
    match (from.filter(lives), to, known) {
        (Some(from), Some(to), _) if from.fingerprint == to.fingerprint => Step::Leave(Left::Same),
        (Some(_), Some(to), Some(known)) if known.has_been(to.fingerprint) => Step::Update,
        (Some(_), Some(_), _) => Step::Leave(Left::NewerThere),
        (Some(_), None, Some(known)) if known.was_there => Step::Leave(Left::EndedThere),
        // One that an earlier copy was about to write when it was killed is new as well.
        (Some(_), None, _) if known_only => Step::Leave(Left::NotKnown),
        (Some(_), None, _) => Step::Create,
        (None, Some(_), Some(known)) if has_ended(from, known, now) => Step::End,
        (None, Some(to), Some(known)) if !known.has_been(to.fingerprint) => {
            Step::Leave(Left::NewerThere)
        }
        (None, Some(_), Some(_)) => Step::Leave(Left::Same),
        (None, None, _) => Step::Leave(Left::Dead),
        (None, Some(_), None) => Step::Leave(Left::TheirOwn),
    }
}

/// Whether a session that was copied and lives in FROM no more was ended there, before its time.
fn has_ended(from: Option<Seen>, known: &Known, now: Timestamp) -> bool {
    match from {
        // Dead, and still there: some stores end a session by moving its expiry back.
        Some(dead) => dead.expires_at < known.expires_at,
        None => known.expires_at > now,
    }
}

#[cfg(test)]
mod tests {
    use session_core::store::{NewRecord, Payload, Record, StoreKey, Version};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn seen(text: &'static str, expires_at: i64) -> Seen {
        let expires_at = Timestamp::from_secs(expires_at);
        let record = NewRecord::new(Payload::from_bytes(text), expires_at);
        let record = Record::created(record, Version::Counter(1));
        Seen {
            fingerprint: Fingerprint::of(&StoreKey::parse("abc").unwrap(), &record).unwrap(),
            expires_at,
        }
    }

    fn step(from: Option<Seen>, to: Option<Seen>, copied: &[Seen]) -> Step {
        let known = Known::of(copied);
        decide(from, to, known.as_ref(), false, NOW)
    }

    #[test]
    fn what_is_new_in_from_is_created_once_and_never_again() {
        let session = seen("a", 2_000);
        assert_eq!(step(Some(session), None, &[]), Step::Create);
        assert_eq!(
            step(Some(session), None, &[session]),
            Step::Leave(Left::EndedThere),
            "a session that TO's application has ended came back"
        );
        assert_eq!(
            decide(Some(session), None, None, true, NOW),
            Step::Leave(Left::NotKnown)
        );
        assert_eq!(
            step(Some(seen("b", 2_000)), None, &[session]),
            Step::Leave(Left::EndedThere)
        );
    }

    #[test]
    fn what_a_killed_copy_was_about_to_create_is_created_by_the_next() {
        let session = seen("a", 2_000);
        let about_to = Known::about_to(session);
        let step = |to, known_only| decide(Some(session), to, Some(&about_to), known_only, NOW);
        assert_eq!(step(None, false), Step::Create);
        assert_eq!(step(None, true), Step::Leave(Left::NotKnown));
        assert_eq!(step(Some(session), false), Step::Leave(Left::Same));
    }

    #[test]
    fn what_from_has_changed_is_written_unless_to_has_changed_it_too() {
        let (old, new, theirs) = (seen("a", 2_000), seen("b", 2_000), seen("c", 2_000));
        assert_eq!(step(Some(new), Some(old), &[old]), Step::Update);
        assert_eq!(
            step(Some(new), Some(theirs), &[old]),
            Step::Leave(Left::NewerThere),
            "what TO's application wrote was overwritten"
        );
        assert_eq!(
            step(Some(new), Some(seen("a", 3_000)), &[old]),
            Step::Leave(Left::NewerThere),
            "a renewal in TO was undone"
        );
        assert_eq!(
            step(Some(new), Some(old), &[]),
            Step::Leave(Left::NewerThere)
        );
        assert_eq!(step(Some(new), Some(new), &[]), Step::Leave(Left::Same));
        // Killed between the journal and the write: either of the two is ours.
        assert_eq!(step(Some(new), Some(old), &[old, new]), Step::Update);
    }

    #[test]
    fn what_has_ended_in_from_is_ended_in_to_even_if_it_was_used_there() {
        let (copied, used) = (seen("a", 2_000), seen("c", 3_000));
        assert_eq!(step(None, Some(copied), &[copied]), Step::End);
        assert_eq!(step(None, Some(used), &[copied]), Step::End);
        // As the default body of `rotate` ends one.
        assert_eq!(step(Some(seen("", 0)), Some(copied), &[copied]), Step::End);
        assert_eq!(
            step(None, Some(used), &[]),
            Step::Leave(Left::TheirOwn),
            "a session that began in TO was ended"
        );
    }

    #[test]
    fn what_has_expired_in_from_may_have_been_renewed_in_to() {
        let (copied, renewed) = (seen("a", 900), seen("a", 2_000));
        for from in [None, Some(copied)] {
            assert_eq!(
                step(from, Some(renewed), &[copied]),
                Step::Leave(Left::NewerThere),
                "a session that was renewed in TO was ended"
            );
            assert_eq!(step(from, None, &[copied]), Step::Leave(Left::Dead));
        }
        // Renewed in FROM after it was copied, and expired since.
        assert_eq!(
            step(Some(seen("a", 950)), Some(renewed), &[copied]),
            Step::Leave(Left::NewerThere)
        );
    }
}
