//! What an operator can measure: a span for each call of a store, and numbers for whoever collects them.
//!
//! Spans are always there and cost nothing measurable until somebody listens. The numbers need the feature `metrics`; without it
//! the functions of this module do nothing. Neither holds a key, a store key, an owner or data. `docs/observability.md` in the
//! repository lists every name.
//!
//! Applications need at most [`describe_metrics`]. The other functions are for authors of backends: they tell of what no caller
//! of a store can see.

mod call;
mod count;
#[cfg(feature = "metrics")]
mod describe;

pub(crate) use call::{Answer, Call};
pub(crate) use count::Count;
#[cfg(feature = "metrics")]
pub use describe::describe_metrics;

/// A store's `clear_expired` has removed so many records: called for each batch, or once for all of them.
pub fn purged(records: u64) {
    Count::Purged.add(records);
}

/// A cache in this process was full, and dropped a session that still lived.
pub fn evicted() {
    Count::Evicted.add(1);
}

/// A cache failed so often that it is not asked any more for a while.
pub fn breaker_opened() {
    Count::BreakerOpened.add(1);
}

/// What a session takes on its way from or to a store.
pub(crate) fn payload(direction: &'static str, bytes: usize) {
    #[cfg(feature = "metrics")]
    {
        // Numbers are floats to every recorder, and exact up to 8 PiB.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bytes = bytes as f64;
        metrics::histogram!(PAYLOAD_SIZE, "direction" => direction).record(bytes);
    }
    #[cfg(not(feature = "metrics"))]
    let _unused = (direction, bytes);
}

#[cfg(feature = "metrics")]
const PAYLOAD_SIZE: &str = "session.payload.size";
#[cfg(feature = "metrics")]
const DURATION: &str = "session.store.operation.duration";

// The names that OpenTelemetry has for calls of databases.
#[cfg(feature = "metrics")]
const OPERATION: &str = "db.operation.name";
#[cfg(feature = "metrics")]
const SYSTEM: &str = "db.system.name";
