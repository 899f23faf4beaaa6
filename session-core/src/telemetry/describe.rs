//! The words and units that a recorder is told for each number.

use metrics::Unit;

use super::{Count, DURATION, PAYLOAD_SIZE};

/// Tells the installed recorder what each number of this framework means, and its unit. Called once, after a recorder of
/// the `metrics` crate was installed; before that, it does nothing. Counters are at zero from then on.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        DURATION,
        Unit::Seconds,
        "how long a call of a session store took"
    );
    metrics::describe_histogram!(
        PAYLOAD_SIZE,
        Unit::Bytes,
        "the size of a session's data as it is loaded or written"
    );
    for (count, text) in COUNTS {
        metrics::describe_counter!(count.name(), Unit::Count, text);
        // Nothing is not the same as unknown: whoever draws a rate needs the first value, too.
        count.add(0);
    }
}

const ENDED: &str = "sessions that were ended before their time";

#[rustfmt::skip]
const COUNTS: [(Count, &str); 15] = [
    (Count::Created,            "sessions that began"),
    (Count::Rotated,            "sessions that were given a new key"),
    (Count::Ended("log_out"),   ENDED),
    (Count::Ended("limit"),     ENDED),
    (Count::Ended("by_owner"),  ENDED),
    (Count::Expired,            "loaded sessions that are over by the policy"),
    (Count::Damaged,            "loaded sessions that can't be read"),
    (Count::Conflict,           "writes that met another request's and were merged with it"),
    (Count::Retry,              "store calls that were made again after no answer"),
    (Count::Interruption,       "requests whose session was ended by another one"),
    (Count::Renewal,            "writes that gave a session more time"),
    (Count::UnknownKey,         "presented keys that no live session has"),
    (Count::Purged,             "expired records that were removed"),
    (Count::Evicted,            "live sessions that a full cache dropped"),
    (Count::BreakerOpened,      "times that a failing cache was given up for a while"),
];
