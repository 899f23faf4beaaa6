//! A setting's value as somebody wrote it: a text, a number, or true and false.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::{Advice, TIME_TO_LIVE_MIN};

/// What it holds is never printed: it may be a secret in the wrong place.
pub(super) enum Given {
    Flag(bool),
    Number(u64),
    Text(String),
}

const DURATION: &str = "has to be a number of whole seconds, or a text such as \"90s\", \"30m\", \"1h30m\", \"14d\" or \"2w\"";
const EMPTY: &str = "is empty: give it a value, or leave it out";

impl Given {
    pub(super) fn text(&self) -> Result<&str, Advice> {
        match self.text_or_empty()? {
            "" => Err(Advice::Text(EMPTY)),
            text => Ok(text),
        }
    }

    pub(super) fn text_or_empty(&self) -> Result<&str, Advice> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Flag(_) | Self::Number(_) => Err(Advice::Text("has to be a text")),
        }
    }

    pub(super) fn flag(&self) -> Result<bool, Advice> {
        let word = self.word(&[("true", true), ("false", false), ("1", true), ("0", false)]);
        match self {
            Self::Flag(flag) => Ok(*flag),
            Self::Number(_) | Self::Text(_) => word.ok_or(Advice::Text("has to be true or false")),
        }
    }

    /// One of a few words, whatever their case.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let Self::Text(text) = self else { return None };
        let mut words = words.iter();
        words
            .find(|(word, _)| text.eq_ignore_ascii_case(word))
            .map(|(_, meaning)| *meaning)
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => digits(text),
            Self::Flag(_) => None,
        }
    }

    pub(super) fn at_least_one(&self) -> Result<NonZeroUsize, Advice> {
        let number = self
            .number()
            .and_then(|number| usize::try_from(number).ok());
        number
            .and_then(NonZeroUsize::new)
            .ok_or(Advice::Text("has to be a whole number, at least 1"))
    }

    pub(super) fn duration(&self) -> Result<Duration, Advice> {
        let seconds = self.number().or_else(|| match self {
            Self::Text(text) => with_units(text),
            _ => None,
        });
        seconds
            .map(Duration::from_secs)
            .ok_or(Advice::Text(DURATION))
    }

    /// A duration in which something can live.
    pub(super) fn time_to_live(&self) -> Result<Duration, Advice> {
        match self.duration()? {
            too_short if too_short < TIME_TO_LIVE_MIN => {
                Err(Advice::Text("has to be at least one second"))
            }
            duration => Ok(duration),
        }
    }

    pub(super) fn moment(&self) -> Result<SystemTime, Advice> {
        let since_1970 = self.number().map(Duration::from_secs);
        let moment = match (since_1970, self) {
            (Some(since), _) => SystemTime::UNIX_EPOCH.checked_add(since),
            (None, Self::Text(text)) => {
                let moment = text.parse::<jiff::Timestamp>().ok();
                moment.map(SystemTime::from)
            }
            _ => None,
        };
        moment.ok_or(Advice::Text(
            "has to be a moment with its time zone, such as \"2026-01-31T12:00:00Z\", or seconds since 1970",
        ))
    }
}

/// Digits alone: `u64`'s own parser takes a plus sign as well.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Seconds of `1h30m`: numbers, each with its unit, the larger unit first.
fn with_units(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 5] = [
        ('w', 7 * 24 * 60 * 60),
        ('d', 24 * 60 * 60),
        ('h', 60 * 60),
        ('m', 60),
        ('s', 1),
    ];
    let mut units = UNITS.iter();
    let (mut rest, mut seconds) = (text, 0_u64);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
        let mut characters = behind.chars();
        let unit = characters.next()?;
        // Those that were passed over are gone: no unit comes twice.
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(digits(number)?.checked_mul(*length)?)?;
        rest = characters.as_str();
    }
    (!text.is_empty()).then_some(seconds)
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, true or false")
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Given, E> {
                Ok(Given::Flag(flag))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Given, E> {
                Ok(Given::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Given, E> {
                let number = u64::try_from(number);
                number.map(Given::Number).map_err(|_negative| {
                    E::invalid_value(Unexpected::Other("a negative number"), &self)
                })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
                Ok(Given::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Given, E> {
                Ok(Given::Text(text))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_by_its_units_and_nothing_else_is_taken_for_one() {
        const DAY: u64 = 24 * 60 * 60;
        for (text, seconds) in [
            ("0", Some(0)),
            ("1209600", Some(14 * DAY)),
            ("90s", Some(90)),
            ("30m", Some(30 * 60)),
            ("1h30m", Some(90 * 60)),
            ("14d", Some(14 * DAY)),
            ("2w", Some(14 * DAY)),
            ("1w1d1h1m1s", Some(8 * DAY + 3661)),
            ("", None),
            ("d", None),
            ("+5", None),
            ("-5", None),
            ("5 d", None),
            ("1.5h", None),
            ("5x", None),
            ("5dd", None),
            ("1d5", None),
            ("30m1h", None),
            ("1h1h", None),
            ("5é", None),
            ("18446744073709551616", None),
            ("30500568904944w", None),
        ] {
            let read = Given::Text(text.to_owned()).duration().ok();
            assert_eq!(read.map(|read| read.as_secs()), seconds, "{text:?}");
        }
    }
}
