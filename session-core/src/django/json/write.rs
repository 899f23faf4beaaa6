//! From names and raw values to the bytes that Django would write.

use super::read::digits;
use super::{escaped_unit, is_float, is_high, is_low, number_at, parse_float};
use crate::data::SessionData;
use crate::django::flaw::{DIGITS_MAX, Flaw, NESTING_MAX};
use crate::django::float;
use crate::store::StoreError;

/// The text of `data` as Python's `json.dumps` spells it with Django's separators: ASCII, no spaces, names in order. A value
/// is not parsed: it is copied, and respelled where Python spells differently.
pub(in crate::django) fn write(data: &SessionData) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::with_capacity(data.size() + 4 * data.len() + 2);
    text.push(b'{');
    for (position, (name, value)) in data.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        write_name(name, &mut text);
        text.push(b':');
        write_value(value, &mut text).map_err(|flaw| flaw.of_value(name))?;
    }
    text.push(b'}');
    Ok(text)
}

fn write_name(name: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    for character in name.chars() {
        write_character(character, text);
    }
    text.push(b'"');
}

fn write_value(value: &str, text: &mut Vec<u8>) -> Result<(), Flaw> {
    let mut depth = 1_usize;
    let mut rest = value;
    while let Some(&byte) = rest.as_bytes().first() {
        rest = match byte {
            b'"' => write_string(rest, text)?,
            b'-' | b'0'..=b'9' => write_number(rest, text)?,
            b' ' | b'\t' | b'\n' | b'\r' => after(rest, 1),
            _ => {
                match byte {
                    b'[' | b'{' => {
                        depth += 1;
                        if depth > NESTING_MAX {
                            return Err(Flaw::TooDeep);
                        }
                    }
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                text.push(byte);
                after(rest, 1)
            }
        };
    }
    Ok(())
}

/// Writes the string at the start of `rest`, and gives what is behind it.
fn write_string<'a>(rest: &'a str, text: &mut Vec<u8>) -> Result<&'a str, Flaw> {
    text.push(b'"');
    let mut rest = after(rest, 1);
    loop {
        let plain = rest
            .bytes()
            .position(|byte| !is_plain(byte))
            .unwrap_or(rest.len());
        let (copied, special) = rest.split_at_checked(plain).unwrap_or((rest, ""));
        text.extend_from_slice(copied.as_bytes());
        rest = match special.as_bytes() {
            [] => return Ok(""),
            [b'"', ..] => {
                text.push(b'"');
                return Ok(after(special, 1));
            }
            [b'\\', ..] => write_escape(special, text)?,
            _ => {
                let mut characters = special.chars();
                if let Some(character) = characters.next() {
                    write_character(character, text);
                }
                characters.as_str()
            }
        };
    }
}

/// Writes the escape at the start of `rest` as Python would, and gives what is behind it.
fn write_escape<'a>(rest: &'a str, text: &mut Vec<u8>) -> Result<&'a str, Flaw> {
    let Some(unit) = escaped_unit(rest.as_bytes()) else {
        let escape = rest.as_bytes().get(..2).unwrap_or_default();
        // Python does not escape the slash.
        text.extend_from_slice(if escape == br"\/" { b"/" } else { escape });
        return Ok(after(rest, 2));
    };
    let closing = rest.as_bytes().get(6..).and_then(escaped_unit);
    let units = match closing {
        Some(closing) if is_high(unit) && is_low(closing) => [unit, closing],
        _ if is_high(unit) || is_low(unit) => return Err(Flaw::LoneSurrogate),
        _ => {
            let character = char::from_u32(u32::from(unit)).ok_or(Flaw::LoneSurrogate)?;
            write_character(character, text);
            return Ok(after(rest, 6));
        }
    };
    for unit in units {
        write_unit(unit, text);
    }
    Ok(after(rest, 12))
}

/// Writes the number at the start of `rest`, and gives what is behind it.
fn write_number<'a>(rest: &'a str, text: &mut Vec<u8>) -> Result<&'a str, Flaw> {
    let number = number_at(rest.as_bytes());
    if is_float(number) {
        let value = parse_float(number).filter(|value| value.is_finite());
        float::write(value.ok_or(Flaw::NotFinite)?, text);
    } else if digits(number) > DIGITS_MAX {
        return Err(Flaw::TooManyDigits);
    } else {
        text.extend_from_slice(number);
    }
    Ok(after(rest, number.len()))
}

fn write_character(character: char, text: &mut Vec<u8>) {
    match character {
        '"' => text.extend_from_slice(br#"\""#),
        '\\' => text.extend_from_slice(br"\\"),
        '\u{8}' => text.extend_from_slice(br"\b"),
        '\u{c}' => text.extend_from_slice(br"\f"),
        '\n' => text.extend_from_slice(br"\n"),
        '\r' => text.extend_from_slice(br"\r"),
        '\t' => text.extend_from_slice(br"\t"),
        ' '..='~' => text.extend(u8::try_from(character)),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write_unit(*unit, text);
            }
        }
    }
}

fn write_unit(unit: u16, text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.extend_from_slice(br"\u");
    for shift in [12, 8, 4, 0] {
        let digit = usize::from(unit >> shift & 15);
        text.extend(DIGITS.get(digit));
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn after(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn written(json: &str) -> Result<String, StoreError> {
        let mut data = SessionData::default();
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        data.insert_json("a", raw.get()).unwrap();
        let text = String::from_utf8(write(&data)?).unwrap();
        let value = text.strip_prefix("{\"a\":").unwrap();
        Ok(value.strip_suffix('}').unwrap().to_owned())
    }

    #[test]
    fn values_are_spelled_as_python_spells_them() {
        for (json, python) in [
            (r#"[ 1 , {"b" : [ ] } ]"#, r#"[1,{"b":[]}]"#),
            ("\"é€😀\u{7f}\"", r#""\u00e9\u20ac\ud83d\ude00\u007f""#),
            (
                r#""\u00E9\uD83D\uDE00\/\u0041\u000a\u0022""#,
                r#""\u00e9\ud83d\ude00/A\n\"""#,
            ),
            (r#""\"\\\b\f\n\r\t""#, r#""\"\\\b\f\n\r\t""#),
            ("1e16", "1e+16"),
            ("1E-7", "1e-07"),
            ("100.0", "100.0"),
            ("-0.0", "-0.0"),
            ("0.10000000000000000000001", "0.1"),
            ("18446744073709551616", "18446744073709551616"),
            ("[true,false,null]", "[true,false,null]"),
        ] {
            assert_eq!(written(json).unwrap(), python, "{json}");
        }
    }

    #[test]
    fn what_django_could_not_read_is_refused_with_its_name() {
        let deep = format!("{}{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
        let long = "1".repeat(DIGITS_MAX + 1);
        for json in [r#""\ud800""#, r#"["\udc00\ud800"]"#, "1e999", &deep, &long] {
            let error = written(json).unwrap_err();
            assert!(
                matches!(error, StoreError::Unrepresentable { .. }),
                "{error}"
            );
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("\"a\""), "{source}");
        }
    }

    #[test]
    fn names_are_escaped_like_texts() {
        let mut data = SessionData::default();
        data.insert("é\"\n\u{0}", &1).unwrap();
        assert_eq!(write(&data).unwrap(), br#"{"\u00e9\"\n\u0000":1}"#);
    }
}
