//! Time as the framework sees it: a clock that can be replaced, and whole unix seconds for stores.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time comes from. The manager asks it once per decision and hands the answer to the store, so that a test
/// can move time without waiting.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the system's time is read"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// A clock that stands still until it is moved, for tests.
///
/// ```
/// use std::time::Duration;
/// use session_core::{Clock, ManualClock};
///
/// let clock = ManualClock::at(std::time::UNIX_EPOCH + Duration::from_secs(1_000));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().as_secs(), 1_060);
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: SystemTime) -> Self {
        Self(AtomicI64::new(Timestamp::from(now).as_secs()))
    }

    /// Moves the clock forward, by whole seconds.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }

    /// Moves the clock to `now`, which may lie in the past.
    pub fn set(&self, now: impl Into<Timestamp>) {
        self.0.store(now.into().as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// A moment in whole seconds since 1970-01-01 UTC, as stores keep it; fractions are cut off.
///
/// Kept between the years 1 and 9999, so that every database can hold it and no arithmetic overflows.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use session_core::store::Timestamp;
///
/// let moment = Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_999));
/// assert_eq!(moment.as_secs(), 1);
/// assert_eq!(moment.saturating_add(Duration::MAX), Timestamp::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The end of the year 9999, the last moment that every database can store.
    pub const MAX: Self = Self(253_402_300_799);
    /// The start of the year 1.
    pub const MIN: Self = Self(-62_135_596_800);

    /// From unix seconds, moved into the range of [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        if secs > Self::MAX.0 {
            Self::MAX
        } else if secs < Self::MIN.0 {
            Self::MIN
        } else {
            Self(secs)
        }
    }

    /// Unix seconds.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// This moment and `duration`'s whole seconds, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self::from_secs(self.0.saturating_add_unsigned(duration.as_secs()))
    }

    /// This moment less `duration`'s whole seconds, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self::from_secs(self.0.saturating_sub_unsigned(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(0).saturating_add(after),
            // Rounded towards the past, as fractions after 1970 are.
            Err(before) => {
                let before = before.duration();
                let whole = Self(0).saturating_sub(before);
                if before.subsec_nanos() == 0 {
                    whole
                } else {
                    whole.saturating_sub(Duration::from_secs(1))
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(moment: Timestamp) -> Self {
        let distance = Duration::from_secs(moment.0.unsigned_abs());
        let time = if moment.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        // The years 1 to 9999 fit on every platform that Rust's standard library supports for this crate.
        time.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_cut_towards_the_past() {
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_millis(1)).as_secs(),
            -1
        );
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_secs(1)).as_secs(),
            -1
        );
        assert_eq!(
            Timestamp::from(UNIX_EPOCH + Duration::from_millis(1)).as_secs(),
            0
        );
    }

    #[test]
    fn the_range_survives_the_way_through_system_time() {
        for moment in [
            Timestamp::MIN,
            Timestamp::from_secs(-1),
            Timestamp::from_secs(0),
            Timestamp::MAX,
        ] {
            assert_eq!(Timestamp::from(SystemTime::from(moment)), moment);
        }
    }
}
