//! What time it is for a project: UTC, or, without `USE_TZ`, what its clock on the wall shows.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::settings::misconfigured;

use crate::clock::Timestamp;
use crate::data::{RawJson, SessionData};
use crate::expiry::EXPIRY_NAME;
use crate::store::StoreError;

/// How a project without `USE_TZ` writes times: as its clock on the wall shows them, without saying in which zone.
///
/// For stores that share such a project's tables: its `expire_date` is in this time in SQLite and MySQL.
///
/// In the hour that a clock shows twice, the earlier moment is meant; a time that it skips counts from before the jump.
#[derive(Debug, Clone)]
pub struct WallClock(TimeZone);

impl WallClock {
    /// The clock in the zone of this name.
    pub(super) fn of(zone: &str) -> Result<Self, StoreError> {
        TimeZone::get(zone).map(Self).map_err(|_unknown| {
            misconfigured(
                "USE_TZ is off, and TIME_ZONE is not in this system's time zone database: \
                 install it (tzdata), or correct the name",
            )
        })
    }

    /// What the clock shows at `moment`, as seconds since it showed 1970-01-01 00:00:00.
    #[must_use]
    pub fn shows_at(&self, moment: Timestamp) -> i64 {
        // The last hours of the year 9999 are beyond what the zones are known for.
        let offset = self
            .0
            .to_offset(instant(moment).unwrap_or(jiff::Timestamp::MAX));
        moment.as_secs() + i64::from(offset.seconds())
    }

    /// The moment at which the clock shows `shown` seconds since it showed 1970-01-01 00:00:00.
    #[must_use]
    pub fn moment_of(&self, shown: i64) -> Timestamp {
        let shown = Timestamp::from_secs(shown);
        instant(shown)
            .map(|as_utc| Offset::UTC.to_datetime(as_utc))
            .and_then(|shown| self.0.to_timestamp(shown).ok())
            .map_or(shown, |moment| Timestamp::from_secs(moment.as_second()))
    }

    /// Spells the expiry as Django does without `USE_TZ`.
    fn localize_expiry(&self, data: &mut SessionData) {
        self.respell_expiry(data, |text| {
            let moment = text.parse::<jiff::Timestamp>().ok()?;
            Some(isoformat(self.0.to_datetime(moment)))
        });
    }

    /// Spells the expiry as the rest of the framework expects it: with an offset.
    fn globalize_expiry(&self, data: &mut SessionData) {
        self.respell_expiry(data, |text| {
            if text.parse::<jiff::Timestamp>().is_ok() {
                return None;
            }
            let moment = self.0.to_timestamp(text.parse::<DateTime>().ok()?).ok()?;
            let utc = Offset::UTC.to_datetime(moment);
            Some(format!("{}+00:00", isoformat(utc)))
        });
    }

    fn respell_expiry(&self, data: &mut SessionData, respell: impl Fn(&str) -> Option<String>) {
        let respelled = data
            .raw(EXPIRY_NAME)
            .filter(|raw| raw.as_str().starts_with('"'))
            .and_then(|raw| raw.parse::<String>(EXPIRY_NAME).ok())
            .and_then(|text| respell(&text))
            .and_then(|text| RawJson::of(EXPIRY_NAME, &text).ok());
        if let Some(respelled) = respelled {
            data.set_raw(respelled);
        }
    }
}

/// The data as a project with this clock keeps them.
pub(super) fn localized<'a>(
    wall_clock: Option<&WallClock>,
    data: &'a SessionData,
) -> Cow<'a, SessionData> {
    match wall_clock {
        None => Cow::Borrowed(data),
        Some(wall_clock) => {
            let mut data = data.clone();
            wall_clock.localize_expiry(&mut data);
            Cow::Owned(data)
        }
    }
}

/// Makes of data that a project with this clock has kept what the rest of the framework expects.
pub(super) fn globalize(wall_clock: Option<&WallClock>, data: &mut SessionData) {
    if let Some(wall_clock) = wall_clock {
        wall_clock.globalize_expiry(data);
    }
}

fn instant(moment: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(moment.as_secs()).ok()
}

/// As Python's `datetime.isoformat` writes a time without an offset: the fraction has six digits or is left out.
fn isoformat(time: DateTime) -> String {
    let whole = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    match time.subsec_nanosecond() / 1000 {
        0 => whole,
        microseconds => format!("{whole}.{microseconds:06}"),
    }
}
