//! When the session in a file ends: what Django computes from the data and the time at which the file was written.

use std::time::Duration;

use bytes::Bytes;
use session_core::codec::{Binding, Codec};
use session_core::django::{DjangoCodec, DjangoSettings};
use session_core::store::{StoreError, StoreKey, Timestamp};
use session_core::{Limits, SessionData};

/// Where Django keeps a session's own expiry.
const EXPIRY_NAME: &str = "_session_expiry";
/// What is modified in the year 2400 or later never ends. File systems don't know every time that a session can end at: for
/// ext4 there is none after 2446.
const NEVER: Timestamp = Timestamp::from_secs(13_569_465_600);

/// What a session says of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// So long after its file was written. Django does the same without an expiry of the session's own, and with a number of
    /// seconds never ends it: see the documentation of the store.
    AfterModification(Duration),
    /// Then, whenever the file was written.
    Until(Timestamp),
}

impl Lifetime {
    /// When a session ends whose file was written at `modified`.
    pub(super) fn expires_at(self, modified: Timestamp) -> Timestamp {
        match self {
            Self::AfterModification(_) if modified >= NEVER => Timestamp::MAX,
            Self::AfterModification(age) => modified.saturating_add(age),
            Self::Until(moment) => moment,
        }
    }

    /// When a file has to be written, so that its session ends at `expires_at`: now, for any session that is saved as Django
    /// saves. A session that says itself when it ends does not ask.
    pub(super) fn modified(self, expires_at: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::AfterModification(age) if now.saturating_add(age) == expires_at => now,
            Self::AfterModification(age) => expires_at.saturating_sub(age).min(NEVER),
            Self::Until(_) => now,
        }
    }
}

/// Looks for a session's own expiry in what a file holds.
#[derive(Debug, Clone)]
pub(super) struct LifetimeReader {
    codec: DjangoCodec,
    cookie_age: Duration,
}

impl LifetimeReader {
    pub(super) fn new(settings: &DjangoSettings) -> Self {
        Self {
            codec: DjangoCodec::new(settings),
            cookie_age: settings.cookie_age(),
        }
    }

    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.codec = self.codec.clone().with_limits(limits);
    }

    /// What the session in `content` says of its end. A damaged one says nothing, for Django either.
    ///
    /// What only Django can read is an error: it may be meant to live for long.
    pub(super) fn read(&self, key: &StoreKey, content: &Bytes) -> Result<Lifetime, StoreError> {
        let own = match self.codec.decode(&Binding::new(key.clone()), content) {
            Ok(data) => own_lifetime(&data),
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(own.unwrap_or(Lifetime::AfterModification(self.cookie_age)))
    }
}

fn own_lifetime(data: &SessionData) -> Option<Lifetime> {
    data.json(EXPIRY_NAME)?;
    if let Ok(Some(seconds)) = data.get::<f64>(EXPIRY_NAME) {
        // Zero is Django's spelling of "when the browser closes".
        return (seconds != 0.0).then(|| after(seconds));
    }
    if let Ok(Some(true)) = data.get::<bool>(EXPIRY_NAME) {
        // A number to Python.
        return Some(after(1.0));
    }
    let text = data.get::<String>(EXPIRY_NAME).ok()??;
    parse_iso(&text).map(Lifetime::Until)
}

fn after(seconds: f64) -> Lifetime {
    let age = if seconds < 0.0 {
        Duration::ZERO
    } else {
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    };
    Lifetime::AfterModification(age)
}

/// What Python's `datetime.isoformat` writes. The codec gives every time an offset; a foreign one without counts as UTC.
fn parse_iso(text: &str) -> Option<Timestamp> {
    let aware = text.parse::<jiff::Timestamp>().ok();
    let time = aware.or_else(|| {
        let naive: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(naive).ok()
    })?;
    // `as_second` rounds towards zero, a session's time towards the past.
    let is_before_1970 = time.subsec_nanosecond() < 0;
    Some(Timestamp::from_secs(
        time.as_second() - i64::from(is_before_1970),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_323_045); // 2026-01-02T03:04:05Z

    fn lifetime(expiry: &str) -> Option<Lifetime> {
        let mut data = SessionData::default();
        data.insert_json(EXPIRY_NAME, expiry).unwrap();
        own_lifetime(&data)
    }

    #[test]
    fn every_spelling_of_django_is_understood() {
        let after = |secs| Some(Lifetime::AfterModification(Duration::from_secs(secs)));
        let until = |secs| {
            let moment = NOW.saturating_add(Duration::from_secs(secs));
            Some(Lifetime::Until(moment))
        };
        for (spelling, expected) in [
            ("null", None),
            ("\"\"", None),
            ("0", None),
            ("false", None),
            ("{\"not\":\"an expiry\"}", None),
            ("\"not an expiry\"", None),
            ("300", after(300)),
            ("-5", after(0)),
            ("true", after(1)),
            ("\"2026-01-02T03:05:35+00:00\"", until(90)),
            ("\"2026-01-02T03:05:35.250000+00:00\"", until(90)),
            ("\"2026-01-02T08:35:35+05:30\"", until(90)),
            ("\"2026-01-02T03:05:35\"", until(90)),
        ] {
            assert_eq!(lifetime(spelling), expected, "{spelling}");
        }
        let endless = lifetime("1e300").unwrap();
        assert_eq!(endless.expires_at(NOW), Timestamp::MAX);
    }

    #[test]
    fn what_was_written_for_an_end_ends_then() {
        let later = NOW.saturating_add(Duration::from_secs(90));
        for age in [0, 1, 90, 1_209_600] {
            let lifetime = Lifetime::AfterModification(Duration::from_secs(age));
            for end in [later, NOW, Timestamp::from_secs(0), Timestamp::MAX] {
                let modified = lifetime.modified(end, NOW);
                assert_eq!(lifetime.expires_at(modified), end, "{lifetime:?}");
            }
        }
    }

    #[test]
    fn a_session_that_is_saved_as_django_saves_is_written_now() {
        for age in [60, u64::MAX] {
            let age = Duration::from_secs(age);
            let lifetime = Lifetime::AfterModification(age);
            assert_eq!(lifetime.modified(NOW.saturating_add(age), NOW), NOW);
        }
    }
}
