//! What is counted, and under which name.

/// Something that happens to sessions, and is counted where the feature `metrics` is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    /// A record was made.
    Created,
    /// A session has a new key.
    Rotated,
    /// A session was ended, and why: one of few words, since nothing that a visitor can choose is a label.
    Ended(&'static str),
    /// A record is there and over by the policy.
    Expired,
    /// A payload can't be read.
    Damaged,
    /// Another request wrote the session first, and the two were merged.
    Conflict,
    /// A call without an answer was made again.
    Retry,
    /// A request's session was ended by another one, and its changes are lost.
    Interruption,
    /// A write moved a session's expiry because its visitor came back.
    Renewal,
    /// A key was presented that no live session has.
    UnknownKey,
    /// A record that had expired was removed.
    Purged,
    /// A full cache dropped a session that still lived.
    Evicted,
    /// A failing cache is not asked any more for a while.
    BreakerOpened,
}

impl Count {
    pub(crate) fn add(self, count: u64) {
        #[cfg(feature = "metrics")]
        match self.reason() {
            Some(reason) => metrics::counter!(self.name(), "reason" => reason).increment(count),
            None => metrics::counter!(self.name()).increment(count),
        }
        #[cfg(not(feature = "metrics"))]
        let _unused = (self.reason(), count);
    }

    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Created => "session.created",
            Self::Rotated => "session.rotated",
            Self::Ended(_) => "session.ended",
            Self::Expired => "session.expired",
            Self::Damaged => "session.damaged",
            Self::Conflict => "session.conflicts",
            Self::Retry => "session.store.retries",
            Self::Interruption => "session.interruptions",
            Self::Renewal => "session.renewals",
            Self::UnknownKey => "session.unknown_keys",
            Self::Purged => "session.purged",
            Self::Evicted => "session.cache.evictions",
            Self::BreakerOpened => "session.cache.breaker.openings",
        }
    }
}
