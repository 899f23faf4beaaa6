//! When a session ends: pure functions of the time, the policy and the data.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::change::Content;
use crate::clock::Timestamp;
use crate::data::RawJson;
use crate::error::SessionError;
use crate::policy::{COOKIE_AGE_MAX, Policy, Reissue};

/// Where a session's own expiry is kept in its data: Django's name and spellings.
pub(crate) const EXPIRY_NAME: &str = "_session_expiry";
/// Where a session's own absolute timeout is kept in its data, in seconds.
pub(crate) const ABSOLUTE_NAME: &str = "_session_absolute";

/// When a session expires, if not as the policy says. Kept in the session, so that later requests don't undo it.
///
/// Django's `set_expiry`, whose argument is a number, zero, a date or `None`.
#[doc(alias = "set_expiry")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Expiry {
    /// As the policy says: after its idle timeout.
    #[default]
    Default,
    /// After so long without being used, in whole seconds. Zero ends the session at once.
    OnInactivity(Duration),
    /// At this moment, used or not. Never renewed.
    At(SystemTime),
    /// On the client when the browser closes; on the server after the policy's idle timeout.
    AtBrowserClose,
}

impl Expiry {
    /// What a session's data say. What can't be understood counts as [`Expiry::Default`].
    pub(crate) fn from_raw(raw: &RawJson) -> Self {
        match raw.parse::<Value>(EXPIRY_NAME) {
            Ok(Value::Bool(false)) => Self::AtBrowserClose,
            // A number to Python.
            Ok(Value::Bool(true)) => Self::OnInactivity(Duration::from_secs(1)),
            Ok(Value::Number(number)) => match number.as_f64() {
                Some(0.0) => Self::AtBrowserClose,
                Some(seconds) if seconds < 0.0 => Self::OnInactivity(Duration::ZERO),
                Some(seconds) => Self::OnInactivity(
                    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
                ),
                None => Self::Default,
            },
            Ok(Value::String(text)) => {
                parse_iso(&text).map_or(Self::Default, |at| Self::At(at.into()))
            }
            _ => Self::Default,
        }
    }

    /// What goes into the data: Django's spelling, or `None` to remove it.
    pub(crate) fn to_raw(self) -> Result<Option<RawJson>, SessionError> {
        let value = match self {
            Self::Default => return Ok(None),
            // Zero is Django's spelling of "at browser close", so that "at once" has to be a negative number.
            Self::OnInactivity(Duration::ZERO) => Value::from(-1),
            Self::OnInactivity(age) => Value::from(whole_secs(age)),
            Self::At(at) => Value::from(format_iso(at.into())),
            Self::AtBrowserClose => Value::from(0),
        };
        RawJson::of(EXPIRY_NAME, &value).map(Some)
    }
}

/// Everything about one session that its expiry depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    expiry: Expiry,
    idle_timeout: Duration,
    absolute_timeout: Option<Duration>,
    created_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
}

impl Terms {
    /// Of a content that is not known yet.
    pub(crate) const UNKNOWN: Self = Self {
        expiry: Expiry::Default,
        idle_timeout: Duration::ZERO,
        absolute_timeout: None,
        created_at: None,
        not_before: None,
    };

    pub(crate) fn of(content: &Content, policy: &Policy) -> Self {
        let Content {
            data,
            owner,
            created_at,
            ..
        } = content;
        let mut expiry = Expiry::Default;
        let mut own = None;
        for (name, raw) in data.reserved() {
            match name {
                EXPIRY_NAME => expiry = Expiry::from_raw(raw),
                ABSOLUTE_NAME => own = raw.parse(ABSOLUTE_NAME).ok().map(Duration::from_secs),
                _ => {}
            }
        }
        Self {
            expiry,
            idle_timeout: if owner.is_some() {
                policy.idle_timeout()
            } else {
                policy.anonymous_idle_timeout()
            },
            absolute_timeout: own.or(policy.absolute_timeout()),
            created_at: *created_at,
            not_before: policy.not_before().map(Timestamp::from),
        }
    }

    pub(crate) fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// Whether the session says of its own expiry what it said when these were its terms.
    pub(crate) fn say_as(&self, before: &Self) -> bool {
        self.expiry == before.expiry && self.absolute_timeout == before.absolute_timeout
    }

    /// When the session expires if it is used now and not again.
    pub(crate) fn expires_at(&self, now: Timestamp) -> Timestamp {
        let moment = match self.expiry {
            Expiry::Default | Expiry::AtBrowserClose => now.saturating_add(self.idle_timeout),
            Expiry::OnInactivity(age) => now.saturating_add(age),
            Expiry::At(at) => at.into(),
        };
        self.absolute_end(now).map_or(moment, |end| moment.min(end))
    }

    /// Whether it is over whatever the store's record says: its own date or its absolute timeout has passed, which may
    /// have been shortened in the configuration since the record was written, or it began too long ago.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let date_passed = matches!(self.expiry, Expiry::At(at) if Timestamp::from(at) <= now);
        date_passed
            || began_before(self.created_at, self.not_before)
            || self.absolute_end(now).is_some_and(|end| end <= now)
    }

    /// To when a record that expires at `stored` is to be renewed, if that is due.
    pub(crate) fn renewal(
        &self,
        policy: &Policy,
        stored: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let step = match self.expiry {
            Expiry::At(_) => return None,
            Expiry::Default | Expiry::AtBrowserClose
                if self.idle_timeout == policy.idle_timeout() =>
            {
                policy.renew_after()
            }
            // A step meant for the policy's long timeout must not outlast a short one of the session's own.
            Expiry::Default | Expiry::AtBrowserClose => {
                policy.renew_after().min(self.idle_timeout / 10)
            }
            Expiry::OnInactivity(age) => policy.renew_after().min(age / 10),
        };
        let renewed = self.expires_at(now);
        (renewed > stored && renewed >= stored.saturating_add(step)).then_some(renewed)
    }

    /// How long the client is to keep the key; `None`: until the browser closes. Asks for the time if that depends on it.
    pub(crate) fn max_age(
        &self,
        policy: &Policy,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Duration> {
        let until_browser_closes = match self.expiry {
            Expiry::AtBrowserClose => true,
            Expiry::Default => policy.expire_at_browser_close(),
            Expiry::OnInactivity(_) | Expiry::At(_) => false,
        };
        if until_browser_closes {
            return None;
        }
        // The server ends it; the client's copy has to last as long as the session possibly can.
        let is_for_long = policy.reissue() == Reissue::OnChange
            && matches!(self.expiry, Expiry::Default | Expiry::OnInactivity(_));
        if is_for_long && self.absolute_timeout.is_none() {
            return Some(COOKIE_AGE_MAX);
        }
        let now = now();
        let end = match self.absolute_end(now) {
            Some(end) if is_for_long => end,
            _ => self.expires_at(now),
        };
        Some(end.saturating_since(now).min(COOKIE_AGE_MAX))
    }

    fn absolute_end(&self, now: Timestamp) -> Option<Timestamp> {
        Some(
            self.created_at
                .unwrap_or(now)
                .saturating_add(self.absolute_timeout?),
        )
    }
}

/// Whether a session that began then is over since nothing counts that began before `moment`.
pub(crate) fn began_before(created_at: Option<Timestamp>, moment: Option<Timestamp>) -> bool {
    moment.is_some_and(|moment| created_at.is_none_or(|began| began < moment))
}

/// Seconds, rounded up, so that a fraction is not taken for nothing.
pub(crate) fn whole_secs(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// As Python's `datetime.isoformat` writes an aware UTC time without microseconds.
fn format_iso(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// What Python's `datetime.isoformat` writes; a time without an offset counts as UTC.
fn parse_iso(text: &str) -> Option<Timestamp> {
    let aware = text.parse::<jiff::Timestamp>().ok();
    let time = aware.or_else(|| {
        jiff::tz::TimeZone::UTC
            .to_timestamp(text.parse().ok()?)
            .ok()
    })?;
    // `as_second` rounds towards zero, a session's time towards the past.
    let whole = time.as_second();
    Some(Timestamp::from_secs(if time.subsec_nanosecond() < 0 {
        whole - 1
    } else {
        whole
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SessionData;

    const NOW: Timestamp = Timestamp::from_secs(1_767_323_045); // 2026-01-02T03:04:05Z

    fn terms(expiry: &str) -> Terms {
        let mut data = SessionData::default();
        data.insert_json(EXPIRY_NAME, expiry).unwrap();
        let content = Content {
            data,
            created_at: Some(NOW),
            ..Content::default()
        };
        Terms::of(&content, &Policy::new())
    }

    #[test]
    fn spellings_are_those_of_django() {
        let spelling = |expiry: Expiry| expiry.to_raw().unwrap().map(|raw| raw.as_str().to_owned());
        let at = SystemTime::from(NOW.saturating_add(Duration::from_secs(90)));
        assert_eq!(spelling(Expiry::Default), None);
        assert_eq!(spelling(Expiry::AtBrowserClose).as_deref(), Some("0"));
        assert_eq!(
            spelling(Expiry::OnInactivity(Duration::from_secs(300))).as_deref(),
            Some("300")
        );
        assert_eq!(
            spelling(Expiry::OnInactivity(Duration::from_millis(1))).as_deref(),
            Some("1")
        );
        assert_eq!(
            spelling(Expiry::OnInactivity(Duration::ZERO)).as_deref(),
            Some("-1")
        );
        assert_eq!(
            spelling(Expiry::At(at)).as_deref(),
            Some("\"2026-01-02T03:05:35+00:00\"")
        );
    }

    #[test]
    fn every_spelling_of_django_is_understood() {
        let two_weeks = Policy::new().idle_timeout();
        for (spelling, age) in [
            ("null", two_weeks),
            ("\"\"", two_weeks),
            ("0", two_weeks),
            ("300", Duration::from_secs(300)),
            ("-5", Duration::ZERO),
            ("90.5", Duration::from_secs(90)),
            ("\"2026-01-02T03:05:35+00:00\"", Duration::from_secs(90)),
            (
                "\"2026-01-02T03:05:35.250000+00:00\"",
                Duration::from_secs(90),
            ),
            ("\"2026-01-02T08:35:35+05:30\"", Duration::from_secs(90)),
            ("\"2026-01-02T03:05:35\"", Duration::from_secs(90)),
            ("1e300", Timestamp::MAX.saturating_since(NOW)),
            ("{\"not\":\"an expiry\"}", two_weeks),
        ] {
            let terms = terms(spelling);
            let expires_at = terms.expires_at(NOW);
            assert_eq!(expires_at.saturating_since(NOW), age, "{spelling}");
        }
        assert_eq!(terms("0").expiry(), Expiry::AtBrowserClose);
        assert_eq!(terms("false").expiry(), Expiry::AtBrowserClose);
    }

    #[test]
    fn a_step_for_long_sessions_does_not_starve_short_ones() {
        let policy = Policy::new().with_renew_after(Duration::from_secs(3600));
        let terms = terms("60");
        let later = NOW.saturating_add(Duration::from_secs(30));
        let stored = terms.expires_at(NOW);
        assert_eq!(
            terms.renewal(&policy, stored, later),
            Some(later.saturating_add(Duration::from_secs(60)))
        );
        assert_eq!(terms.renewal(&policy, stored, NOW), None);
    }
}
