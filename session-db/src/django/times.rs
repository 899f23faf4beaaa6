//! What Django writes when it writes a time, and what it reads in one.

#[cfg(any(feature = "sqlite", feature = "mysql"))]
use std::time::Duration;

#[cfg(any(feature = "sqlite", feature = "mysql"))]
use jiff::SignedDuration;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use jiff::civil::{DateTime, date};
use session_core::django::{DjangoSettings, WallClock};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use session_core::store::Timestamp;

/// A project's way with times: in UTC, or, without `USE_TZ`, as its clock on the wall shows them.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "sqlite", feature = "mysql")),
    expect(dead_code, reason = "PostgreSQL keeps instants")
)]
pub(crate) struct Times {
    wall_clock: Option<WallClock>,
}

impl Times {
    pub(crate) fn of(settings: &DjangoSettings) -> Self {
        Self {
            wall_clock: settings.wall_clock().cloned(),
        }
    }
}

#[cfg(any(feature = "sqlite", feature = "mysql"))]
impl Times {
    /// As Django spells a whole second: no `T`, no offset, no fraction. It compares these as text, and so does this crate.
    pub(crate) fn spelled(&self, moment: Timestamp) -> String {
        spelled(match &self.wall_clock {
            // The end of all times is the same everywhere: zones are not known for it.
            Some(wall_clock) if moment < Timestamp::MAX => {
                Timestamp::from_secs(wall_clock.shows_at(moment))
            }
            _ => moment,
        })
    }

    /// The second after `now`. After the last one nothing lives.
    pub(crate) fn next(&self, now: Timestamp) -> String {
        match now < Timestamp::MAX {
            true => self.spelled(now.saturating_add(Duration::from_secs(1))),
            false => format!("{}.999999", self.spelled(now)),
        }
    }

    /// When a session ends whose row has this text: the last whole second whose own spelling does not sort after it. That is
    /// what Django's comparisons make of any text, also of one that Django did not write: an offset counts for nothing,
    /// and with a `T` the session lives for the rest of that day.
    pub(crate) fn read(&self, text: &str) -> Timestamp {
        let shown = shown(text);
        match &self.wall_clock {
            Some(wall_clock) if shown < Timestamp::MAX => wall_clock.moment_of(shown.as_secs()),
            _ => shown,
        }
    }
}

/// The moment, if it were UTC.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn shown(text: &str) -> Timestamp {
    let whole_second = text
        .get(..SPELLED_LEN)
        .and_then(|start| Some((start, start.parse::<DateTime>().ok()?)))
        .map(|(start, time)| {
            (
                start,
                Timestamp::from_secs(time.duration_since(EPOCH).as_secs()),
            )
        })
        .filter(|(start, moment)| *start == spelled(*moment));
    if let Some((_, moment)) = whole_second {
        return moment;
    }
    // Spellings sort as their moments do.
    let (mut first, mut last) = (Timestamp::MIN.as_secs(), Timestamp::MAX.as_secs());
    while first < last {
        let middle = last - (last - first) / 2;
        if *spelled(Timestamp::from_secs(middle)) <= *text {
            first = middle;
        } else {
            last = middle - 1;
        }
    }
    Timestamp::from_secs(first)
}

#[cfg(any(feature = "sqlite", feature = "mysql"))]
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
#[cfg(any(feature = "sqlite", feature = "mysql"))]
const SPELLED_LEN: usize = "1970-01-01 00:00:00".len();

#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn spelled(moment: Timestamp) -> String {
    // The years 1 to 9999 fit.
    let time = EPOCH.saturating_add(SignedDuration::from_secs(moment.as_secs()));
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_323_045); // 2026-01-02T03:04:05Z

    fn in_zone(zone: &str) -> Times {
        Times::of(&DjangoSettings::new("").with_naive_times(zone).unwrap())
    }

    fn in_utc() -> Times {
        Times::of(&DjangoSettings::new(""))
    }

    #[test]
    fn moments_come_back_from_their_spelling() {
        for times in [
            in_utc(),
            in_zone("Asia/Kolkata"),
            in_zone("America/Chicago"),
        ] {
            for moment in [
                NOW,
                Timestamp::MAX,
                Timestamp::from_secs(-1),
                Timestamp::from_secs(0),
                Timestamp::from_secs(-62_135_500_000),
            ] {
                let spelled = times.spelled(moment);
                assert_eq!(spelled.len(), SPELLED_LEN, "{spelled} sorts wrongly");
                assert_eq!(times.read(&spelled), moment, "{spelled} in {times:?}");
            }
        }
        assert_eq!(in_utc().spelled(NOW), "2026-01-02 03:04:05");
        assert_eq!(in_zone("Asia/Kolkata").spelled(NOW), "2026-01-02 08:34:05");
        assert_eq!(in_utc().spelled(Timestamp::MIN), "0001-01-01 00:00:00");
    }

    #[test]
    fn what_others_write_ends_when_it_sorts_before_now() {
        let midnight = Timestamp::from_secs(1_767_311_999); // 2026-01-01T23:59:59Z
        for (text, end) in [
            ("2026-01-02 03:04:05.999999", NOW),
            ("2026-01-02 03:04:05+05:30", NOW),
            ("2026-01-01T02:00:00Z", midnight),
            ("2026-01-02", midnight),
            (
                "2026-01-02 03:04:60",
                Timestamp::from_secs(NOW.as_secs() + 54),
            ),
            ("1767326645", Timestamp::from_secs(-6_374_505_601)),
            ("", Timestamp::MIN),
            ("tomorrow", Timestamp::MAX),
            ("ä".repeat(12).as_str(), Timestamp::MAX),
        ] {
            assert_eq!(in_utc().read(text), end, "{text}");
        }
    }
}
