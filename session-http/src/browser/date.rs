//! Reads the dates in `Expires`, in all the ways in which servers write them (RFC 6265bis section 5.1.1).

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// The moment, or `None` if it is no date. Moments before 1970 are 1970: the cookie is over.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1..=2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2..=4)
        {
            year = Some(found);
        }
    }
    let ((hour, minute, second), day, month, year) = (time?, day?, month?, year?);
    let year = match year {
        70..=99 => year + 1900,
        0..=69 => year + 2000,
        _ => year,
    };
    let is_valid = year >= 1601
        && (1..=days_in(month, year)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_valid {
        return None;
    }
    let before: u64 = (1..month).map(|month| days_in(month, year)).sum();
    let Some(years) = year.checked_sub(1970) else {
        return Some(SystemTime::UNIX_EPOCH);
    };
    let leap_days: u64 = (1970..year).map(|year| days_in(2, year) - 28).sum();
    let days = years * 365 + leap_days + before + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn is_delimiter(character: char) -> bool {
    matches!(character, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~')
}

fn time_of(token: &str) -> Option<(u64, u64, u64)> {
    let mut parts = token.splitn(3, ':');
    let mut next = || number(parts.next()?, 1..=2);
    Some((next()?, next()?, next()?))
}

/// The digits that a token begins with, if there are so many. What stands behind them does not count.
fn number(token: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let end = token.bytes().take_while(u8::is_ascii_digit).count();
    digits
        .contains(&end)
        .then(|| token.get(..end)?.parse().ok())
        .flatten()
}

fn month_of(token: &str) -> Option<u64> {
    let name = token.get(..3)?;
    (1..)
        .zip(MONTHS)
        .find(|(_, month)| month.eq_ignore_ascii_case(name))
        .map(|(number, _)| number)
}

fn days_in(month: u64, year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_however_they_are_written() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 02 Jan 2026 03:04:05 GMT", Some(1_767_323_045)),
            ("Friday, 02-Jan-26 03:04:05 GMT", Some(1_767_323_045)),
            ("Fri Jan  2 03:04:05 2026", Some(1_767_323_045)),
            ("2 JANUARY 2026 3:4:5", Some(1_767_323_045)),
            ("Tue, 19 Jan 2038 03:14:08 GMT", Some(2_147_483_648)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Thu, 31 Dec 1601 12:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2023 12:00:00 GMT", None),
            ("Thu, 01 Jan 1600 00:00:00 GMT", None),
            ("Thu, 01 Jan 1970 24:00:00 GMT", None),
            ("Thu, 01 Jan 1970", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let expected = seconds.map(|secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
