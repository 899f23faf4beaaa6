//! Clears what has expired, now and then, in the background.

use std::time::Duration;

use session_core::store::SessionStore;
use session_core::{Clock, SystemClock};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::runner::{fraction, random};

/// The task of [`DbStore::spawn_clear_expired`](crate::DbStore::spawn_clear_expired). Dropping it ends the task, and so does [`stop`](Self::stop), which waits
/// until it has ended. A batch that the database is removing at that moment is removed to its end; the rest waits for the
/// next run.
#[derive(Debug)]
pub struct ClearExpiredTask {
    task: JoinHandle<()>,
}

impl ClearExpiredTask {
    pub(crate) fn spawn(store: impl SessionStore, every: Duration) -> Self {
        let task = async move { clear_now_and_then(&store, every).await };
        Self {
            task: tokio::spawn(task),
        }
    }

    /// Ends the task, and returns once it has ended.
    ///
    /// # Cancel safety
    ///
    /// The task ends all the same.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was aborted, which is an error to those who wait for its end.
        drop((&mut self.task).await);
    }
}

impl Drop for ClearExpiredTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn clear_now_and_then(store: &impl SessionStore, every: Duration) {
    let mut wait = first_wait(every, random());
    loop {
        sleep(wait).await;
        match store
            .clear_expired(SystemClock::default().now(), &mut |_| {})
            .await
        {
            Ok(removed) => tracing::debug!(removed, "cleared expired sessions"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not clear expired sessions, and will try again"
            ),
        }
        wait = next_wait(every, random());
    }
}

/// Within the first quarter: a program that is restarted often clears, too, and many that start at once don't meet.
fn first_wait(every: Duration, random: u64) -> Duration {
    (every / 4).mul_f64(fraction(random))
}

/// From three quarters of `every` to five.
fn next_wait(every: Duration, random: u64) -> Duration {
    (every - every / 4).saturating_add((every / 2).mul_f64(fraction(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_and_stay_near_what_was_asked_for() {
        let hour = Duration::from_secs(3_600);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(first_wait(hour, 0), Duration::ZERO);
        assert_eq!(first_wait(hour, u64::MAX), minutes(15));
        assert_eq!(next_wait(hour, 0), minutes(45));
        assert_eq!(next_wait(hour, u64::MAX), minutes(75));
        assert_ne!(next_wait(hour, random()), next_wait(hour, random()));
        assert_eq!(next_wait(Duration::ZERO, u64::MAX), Duration::ZERO);
        let longest = next_wait(Duration::MAX, u64::MAX);
        assert!(
            longest > hour,
            "a wait that is meant to be for ever must not panic"
        );
    }
}
