//! Which version a new key begins with.

use std::sync::atomic::{AtomicU64, Ordering};

use session_core::store::Timestamp;

use crate::runner::random;

/// Where a new key's versions start, so that a key that comes back never sees an old version again: seconds, and below
/// them steps that keep far apart, from a random start. All made here, so that a new record is one statement and needs no
/// answer: MySQL has no `RETURNING`.
#[derive(Debug)]
pub(crate) struct VersionStarts {
    next: AtomicU64,
}

impl VersionStarts {
    const ROOM_BITS: u32 = 24;
    /// The golden section of the room: each start falls into the widest gap between those before it.
    const STEP: u64 = 10_368_889;

    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(random()),
        }
    }

    pub(crate) fn after(&self, now: Timestamp) -> i64 {
        const _: () = assert!(
            Timestamp::MAX.as_secs() < 1 << 38,
            "seconds and room fit into 62 bits"
        );
        let room =
            self.next.fetch_add(Self::STEP, Ordering::Relaxed) & ((1 << Self::ROOM_BITS) - 1);
        let room = i64::try_from(room).unwrap_or(0);
        (now.as_secs().max(0) << Self::ROOM_BITS) | room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_back_gets_later_versions() {
        let starts = VersionStarts::new();
        let at = |secs| starts.after(Timestamp::from_secs(secs));
        assert!(at(1_000) < at(1_001));
        assert!(at(Timestamp::MAX.as_secs()) < i64::MAX / 2);
        assert!(
            at(-5) < at(1),
            "a clock before 1970 must not break anything"
        );
    }

    #[test]
    fn starts_within_a_second_keep_far_apart() {
        let starts = VersionStarts::new();
        let mut issued: Vec<i64> = (0..1_000)
            .map(|_| starts.after(Timestamp::from_secs(1_000)))
            .collect();
        issued.sort_unstable();
        let closest = issued.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(
            closest > Some(5_000),
            "a record that is saved that often would reach the versions of a later one: {closest:?}"
        );
    }
}
