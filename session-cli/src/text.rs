//! How numbers, sizes, moments and other people's words are written for a reader.

use std::time::SystemTime;

use session_core::store::Timestamp;

/// A number with its thousands apart: 12,345.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 session`, `2 sessions`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

pub(crate) fn sessions(count: u64) -> String {
    counted(count, "session", "sessions")
}

/// A size in bytes or KiB and MiB, with one digit behind the point.
pub(crate) fn size(bytes: u64) -> String {
    for (unit, bytes_each) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= bytes_each {
            let tenths = u128::from(bytes) * 10 / u128::from(bytes_each);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// A moment in UTC, to the second.
pub(crate) fn moment(moment: SystemTime) -> String {
    let moment = Timestamp::from(moment);
    match jiff::Timestamp::from_second(moment.as_secs()) {
        Ok(moment) => moment.to_string(),
        Err(_out_of_range) => format!("{} seconds after 1970", moment.as_secs()),
    }
}

/// Somebody else's words on one line, with nothing in them that a terminal would obey.
pub(crate) fn harmless(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for character in words.chars() {
        // Those that turn the direction of writing hide what follows them.
        let is_hidden = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || is_hidden {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn numbers_sizes_and_moments_are_written_as_people_read_them() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(sessions(1), "1 session");
        assert_eq!(sessions(1_000), "1,000 sessions");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
        assert_eq!(moment(UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_label_can_not_command_the_terminal() {
        for hostile in ["\x1b[2J", "a\nb", "\u{9b}2J", "\u{202e}txt", "\r"] {
            let shown = harmless(hostile);
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            assert!(!shown.contains('\u{202e}'), "{shown:?}");
        }
        assert_eq!(harmless("Ada's laptop, Zürich"), "Ada's laptop, Zürich");
    }
}
