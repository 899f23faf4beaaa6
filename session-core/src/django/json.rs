//! Python's dialect of JSON: what Django reads and writes, and what of it can be held here.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// The value of a surrogate half that opens a pair.
const HIGH_SURROGATES: std::ops::Range<u16> = 0xD800..0xDC00;
/// The value of a surrogate half that closes a pair.
const LOW_SURROGATES: std::ops::Range<u16> = 0xDC00..0xE000;

fn is_high(unit: u16) -> bool {
    HIGH_SURROGATES.contains(&unit)
}

fn is_low(unit: u16) -> bool {
    LOW_SURROGATES.contains(&unit)
}

/// The code unit of a `\uXXXX` at the start of `text`.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// The number at the start of `text`, as far as its characters go.
fn number_at(text: &[u8]) -> &[u8] {
    let len = text
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(text.len());
    text.get(..len).unwrap_or_default()
}

/// Whether Python makes a `float` of this number, and not an `int`.
fn is_float(number: &[u8]) -> bool {
    number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

fn parse_float(number: &[u8]) -> Option<f64> {
    str::from_utf8(number).ok()?.parse().ok()
}
