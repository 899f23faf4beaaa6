//! From the bytes that Django wrote to names and raw values.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{escaped_unit, is_float, is_high, is_low, number_at, parse_float};
use crate::data::SessionData;
use crate::django::flaw::{DIGITS_MAX, Flaw, NESTING_MAX};
use crate::policy::NAMES_READ_MAX;

/// The data in `text`. serde_json says what is JSON; one look beforehand finds what is JSON for Python alone, and what is
/// JSON and could not be given back.
pub(in crate::django) fn read(text: Vec<u8>) -> Result<SessionData, Flaw> {
    let Survey {
        flaw,
        names,
        is_ascii,
        replaced,
        ..
    } = Survey::of(&text);
    let mut text = text;
    for (at, stand_in) in replaced {
        let place = text.iter_mut().skip(at);
        for (byte, stand_in) in place.zip(stand_in) {
            *byte = *stand_in;
        }
    }
    let text = if is_ascii {
        Bytes::from(text)
    } else {
        // Django takes each byte for a character. Whoever writes UTF-8 here is misread, and so it has to be misread here.
        let latin_1: String = text.iter().map(|byte| char::from(*byte)).collect();
        Bytes::from(latin_1)
    };
    if names > NAMES_READ_MAX {
        let is_json = serde_json::from_slice::<&RawValue>(&text).is_ok();
        return Err(if is_json {
            Flaw::TooManyNames
        } else {
            Flaw::Json
        });
    }
    let data = SessionData::from_json(text).map_err(|_not_json| Flaw::Json)?;
    flaw.map_or(Ok(data), Err)
}

/// What stands in for tokens and escapes that serde_json does not know, so that it can say whether the rest is JSON. Of the
/// same length, and wrong where a value would be wrong.
const NOT_A_NUMBER: &[u8] = b"[] ";
const INFINITY: &[u8] = b"[]      ";
const MINUS_INFINITY: &[u8] = b"[]       ";
const SPACE_ESCAPE: &[u8] = br"\u0020";

/// What one look at a text tells. It need not be JSON.
#[derive(Default)]
struct Survey {
    /// The first one that was met.
    flaw: Option<Flaw>,
    /// How many members the outermost object has, those with the same name included.
    names: usize,
    is_ascii: bool,
    replaced: Vec<(usize, &'static [u8])>,
    depth: usize,
}

impl Survey {
    fn of(text: &[u8]) -> Self {
        let mut survey = Self {
            is_ascii: text.is_ascii(),
            ..Self::default()
        };
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            let at = text.len() - rest.len();
            rest = match byte {
                b'"' => survey.skip_string(text, after),
                b'{' | b'[' => {
                    survey.depth += 1;
                    if survey.depth > NESTING_MAX {
                        survey.note(Flaw::TooDeep);
                    }
                    after
                }
                b'}' | b']' => {
                    survey.depth = survey.depth.saturating_sub(1);
                    after
                }
                b':' => {
                    survey.names += usize::from(survey.depth == 1);
                    after
                }
                b'N' | b'I' | b'-' | b'0'..=b'9' => survey.skip_number(at, rest),
                _ => after,
            };
        }
        survey
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// Skips a number, or what Python takes for one, and gives what is behind it.
    fn skip_number<'a>(&mut self, at: usize, rest: &'a [u8]) -> &'a [u8] {
        let python_only: [(&[u8], &'static [u8]); 3] = [
            (b"NaN", NOT_A_NUMBER),
            (b"Infinity", INFINITY),
            (b"-Infinity", MINUS_INFINITY),
        ];
        for (token, stand_in) in python_only {
            if let Some(after) = rest.strip_prefix(token) {
                self.note(Flaw::NotFinite);
                self.replaced.push((at, stand_in));
                return after;
            }
        }
        let number = number_at(rest);
        if is_float(number) {
            // Python reads 1e999 as infinite, and would write `Infinity`.
            if parse_float(number).is_some_and(f64::is_infinite) {
                self.note(Flaw::NotFinite);
            }
        } else if number.len() > DIGITS_MAX && digits(number) > DIGITS_MAX {
            self.note(Flaw::TooManyDigits);
        }
        rest.get(number.len().max(1)..).unwrap_or_default()
    }

    /// Skips the rest of a string and its end.
    fn skip_string<'a>(&mut self, text: &[u8], after_quote: &'a [u8]) -> &'a [u8] {
        let mut rest = after_quote;
        loop {
            let Some(next) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return &[];
            };
            rest = rest.get(next..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix(b"\"") {
                return after;
            }
            let escape_len = match escaped_unit(rest) {
                Some(unit) if is_high(unit) || is_low(unit) => {
                    let closing = rest.get(6..).and_then(escaped_unit);
                    if is_high(unit) && closing.is_some_and(is_low) {
                        12
                    } else {
                        self.note(Flaw::LoneSurrogate);
                        self.replaced.push((text.len() - rest.len(), SPACE_ESCAPE));
                        6
                    }
                }
                Some(_) => 6,
                None => 2,
            };
            rest = rest.get(escape_len..).unwrap_or_default();
        }
    }
}

pub(super) fn digits(number: &[u8]) -> usize {
    number.strip_prefix(b"-").unwrap_or(number).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> Flaw {
        read(text.as_bytes().to_vec()).unwrap_err()
    }

    #[test]
    fn what_only_python_takes_for_json_is_told_from_what_is_no_json() {
        for (text, expected) in [
            (r#"{"a":NaN}"#, Flaw::NotFinite),
            (r#"{"a":[-Infinity,Infinity,NaN]}"#, Flaw::NotFinite),
            (r#"{"a":1e999}"#, Flaw::NotFinite),
            (r#"{"a":"\ud800"}"#, Flaw::LoneSurrogate),
            (r#"{"\udc00":1}"#, Flaw::LoneSurrogate),
            (r#"{"a":"\ud800\ud83d\ude00"}"#, Flaw::LoneSurrogate),
            (r#"{"a":NaN"#, Flaw::Json),
            (r#"{"a":1NaN}"#, Flaw::Json),
            (r#"{"a":-NaN}"#, Flaw::Json),
            (r#"{NaN:1}"#, Flaw::Json),
            (r#"{"a":nan}"#, Flaw::Json),
            (r#"{"a":"\ud800}"#, Flaw::Json),
            (r#"{"a":"\ud8"}"#, Flaw::Json),
            (r#"{"a":-}"#, Flaw::Json),
            ("[NaN]", Flaw::Json),
            ("NaN", Flaw::Json),
            ("\"", Flaw::Json),
            ("\"\\", Flaw::Json),
            ("", Flaw::Json),
        ] {
            assert_eq!(flaw(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_in_a_text_is_no_number() {
        let data = read(br#"{"a":"NaN, -Infinity \" [[[ \ud83d\ude00"}"#.to_vec()).unwrap();
        assert_eq!(
            data.get::<String>("a").unwrap().as_deref(),
            Some("NaN, -Infinity \" [[[ 😀")
        );
    }

    #[test]
    fn bounds_hold_one_step_past_them() {
        let nested = |levels: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            )
        };
        read(nested(NESTING_MAX).into_bytes()).unwrap();
        assert_eq!(flaw(&nested(NESTING_MAX + 1)), Flaw::TooDeep);
        let integer = |digits| format!("{{\"a\":-{}}}", "1".repeat(digits));
        read(integer(DIGITS_MAX).into_bytes()).unwrap();
        assert_eq!(flaw(&integer(DIGITS_MAX + 1)), Flaw::TooManyDigits);
        let many = |names| {
            let members = vec![r#""a":0"#; names];
            format!("{{{}}}", members.join(","))
        };
        read(many(NAMES_READ_MAX).into_bytes()).unwrap();
        assert_eq!(flaw(&many(NAMES_READ_MAX + 1)), Flaw::TooManyNames);
        assert_eq!(flaw(&many(NAMES_READ_MAX + 1).replace('}', "")), Flaw::Json);
    }
}
