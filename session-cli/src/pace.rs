//! How fast work may go, so that it takes no more of a busy store than it was given.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// So many sessions in a second, from now on, or as many as it takes.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: Option<NonZeroU32>,
    began: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            per_second,
            began: Instant::now(),
        }
    }

    /// Waits until it is time to go on, once `done` sessions are done.
    pub(crate) async fn keep(&self, done: u64) {
        if let Some(due) = self.due(done) {
            sleep_until(self.began + due).await;
        }
    }

    /// The same for a caller who can't wait by an await: the progress of a store's own work.
    pub(crate) fn keep_in_callback(&self, done: u64) {
        if self.due(done).is_some() {
            tokio::task::block_in_place(|| Handle::current().block_on(self.keep(done)));
        }
    }

    fn due(&self, done: u64) -> Option<Duration> {
        // Exact for numbers that anybody counts to.
        #[expect(clippy::cast_precision_loss, reason = "a pace is no exact thing")]
        let secs = done as f64 / f64::from(self.per_second?.get());
        Duration::try_from_secs_f64(secs).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_due_when_its_share_of_time_has_passed() {
        let slow = Pace::new(NonZeroU32::new(200));
        assert_eq!(slow.due(100), Some(Duration::from_millis(500)));
        assert_eq!(slow.due(0), Some(Duration::ZERO));
        assert_eq!(Pace::new(None).due(1_000_000), None);
    }
}
