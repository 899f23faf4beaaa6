//! One value of a session as JSON, and its name: one piece of text, which is shared and not copied.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SessionData;
use crate::error::SessionError;
use crate::policy::NESTING_MAX;

/// A value as JSON text: valid, because serde_json wrote it or has skipped over it. Its name stands before it, in the same piece
/// of memory, since whoever keeps one keeps the other.
#[derive(Clone)]
pub(crate) struct RawJson {
    text: Text,
    name_end: usize,
    value_start: usize,
}

/// Cloned for each write of a session, name by name. UTF-8, whatever it is kept as.
#[derive(Clone)]
enum Text {
    Own(Own),
    /// A part of what a store keeps, or too long to be copied.
    Part(ByteString),
}

#[derive(Clone)]
enum Own {
    /// Counters, flags and numeric ids take no memory of their own. A string does, since here it would have to be found to be
    /// UTF-8 whenever it is read.
    Tiny {
        bytes: [u8; Self::TINY_BYTES_MAX],
        len: u8,
    },
    /// In one piece with the count of those who share it.
    Short(Arc<str>),
}

impl Own {
    /// What has room where a part's pointers are.
    const TINY_BYTES_MAX: usize = 22;
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(Own::Tiny { bytes, len }) => {
                bytes.get(..usize::from(*len)).unwrap_or_default()
            }
            Self::Own(Own::Short(text)) => text.as_bytes(),
            Self::Part(text) => text.as_bytes(),
        }
    }

    fn get(&self, range: Range<usize>) -> &str {
        let part = match self {
            Self::Own(Own::Tiny { .. }) => {
                let bytes = self.as_bytes().get(range);
                bytes.and_then(|bytes| str::from_utf8(bytes).ok())
            }
            Self::Own(Own::Short(text)) => text.get(range),
            Self::Part(text) => text.get(range),
        };
        part.unwrap_or_default()
    }
}

const _: () = assert!(size_of::<Text>() == size_of::<ByteString>());

impl RawJson {
    /// A value as JSON.
    pub(crate) fn of(name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, SessionError> {
        let mut text = Draft::default();
        text.push(name.as_bytes());
        serde_json::to_writer(&mut text, value)
            .map_err(|error| SessionError::not_serializable(name, &error))?;
        let text = text
            .finish(name.len())
            .ok_or_else(|| SessionError::not_text(name))?;
        let raw = Self {
            text,
            name_end: name.len(),
            value_start: name.len(),
        };
        if nests_deeper_than(raw.as_bytes(), NESTING_MAX) {
            return Err(SessionError::TooDeep {
                name: name.to_owned(),
                nesting_max: NESTING_MAX,
            });
        }
        Ok(raw)
    }

    /// Names and values as one object.
    pub(crate) fn of_data(name: &str, data: &SessionData) -> Result<Self, SessionError> {
        let json = data.to_json();
        let json = str::from_utf8(&json).map_err(|_not_utf8| SessionError::not_text(name))?;
        Ok(Self::of_json(name, json))
    }

    /// A value that is JSON already.
    pub(super) fn of_json(name: &str, json: &str) -> Self {
        Self {
            text: Text::Part(ByteString::from([name, json].concat())),
            name_end: name.len(),
            value_start: name.len(),
        }
    }

    /// A name and its value where they stand in the text of an object, or `None` if they don't.
    pub(super) fn part_of(text: &ByteString, name: &str, json: &str) -> Option<Self> {
        let start = name.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let value_start = json.as_ptr().addr().checked_sub(name.as_ptr().addr())?;
        let both = text.get(start..start + value_start + json.len())?;
        Some(Self {
            text: Text::Part(text.slice_ref(both)),
            name_end: name.len(),
            value_start,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.text.get(0..self.name_end)
    }

    /// Whether this is its name. Most names differ in their lengths.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.name_end == name.len() && self.text.as_bytes().starts_with(name)
    }

    /// Whether its name is one of the framework's own.
    pub(super) fn is_reserved(&self) -> bool {
        self.name_end > 0 && self.text.as_bytes().first() == Some(&b'_')
    }

    pub(crate) fn name_as_bytes(&self) -> &[u8] {
        let name = self.text.as_bytes().get(..self.name_end);
        name.unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.text.get(self.value_start..self.text.as_bytes().len())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        let value = self.text.as_bytes().get(self.value_start..);
        value.unwrap_or_default()
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T, SessionError> {
        let parsed = match &self.text {
            // This looks at its strings alone, and so at most of it once.
            Text::Own(Own::Tiny { .. }) => serde_json::from_slice(self.as_bytes()),
            Text::Own(Own::Short(_)) | Text::Part(_) => serde_json::from_str(self.as_str()),
        };
        parsed.map_err(|error| SessionError::wrong_type(name, &error))
    }

    /// What the limit counts of it.
    pub(crate) fn size(&self) -> usize {
        self.name_end + self.text.as_bytes().len() - self.value_start
    }
}

/// What is left in the place of one that is moved.
impl Default for RawJson {
    fn default() -> Self {
        let bytes = [0; Own::TINY_BYTES_MAX];
        Self {
            text: Text::Own(Own::Tiny { bytes, len: 0 }),
            name_end: 0,
            value_start: 0,
        }
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.is_named(other.name_as_bytes()) && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RawJson {}

/// Text that is being written, which takes no memory of its own unless it becomes long.
struct Draft {
    short: [u8; Self::SHORT_BYTES_MAX],
    short_len: usize,
    long: Vec<u8>,
}

impl Draft {
    /// Most values are shorter, with their names.
    const SHORT_BYTES_MAX: usize = 128;

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.short_len + bytes.len();
        match self.short.get_mut(self.short_len..end) {
            Some(place) if self.long.is_empty() => {
                place.copy_from_slice(bytes);
                self.short_len = end;
            }
            _ => self.push_long(bytes),
        }
    }

    #[cold]
    fn push_long(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            let short = self.short.get(..self.short_len).unwrap_or_default();
            self.long.extend_from_slice(short);
        }
        self.long.extend_from_slice(bytes);
    }

    /// `None` if it is not UTF-8.
    fn finish(self, value_start: usize) -> Option<Text> {
        if !self.long.is_empty() {
            return ByteString::try_from(self.long).ok().map(Text::Part);
        }
        let is_string = self.short.get(value_start) == Some(&b'"');
        if self.short_len <= Own::TINY_BYTES_MAX && !is_string {
            return Some(Text::Own(Own::Tiny {
                bytes: *self.short.first_chunk()?,
                len: u8::try_from(self.short_len).ok()?,
            }));
        }
        let short = str::from_utf8(self.short.get(..self.short_len)?).ok()?;
        Some(Text::Own(Own::Short(Arc::from(short))))
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            short: [0; Self::SHORT_BYTES_MAX],
            short_len: 0,
            long: Vec::new(),
        }
    }
}

impl io::Write for Draft {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether JSON text nests deeper than `levels`. Brackets in strings are not counted.
fn nests_deeper_than(json: &[u8], levels: usize) -> bool {
    // Every level has two brackets, so that most values need no second look.
    if json.len() < 2 * levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_every_length_are_read_as_they_were_written() {
        for (len, power) in (0..300).zip(0..) {
            let (name, number) = ("ü".repeat(len), 10_u64.saturating_pow(power));
            let raw = RawJson::of(&name, &number).unwrap();
            assert_eq!((raw.name(), raw.as_str()), (&*name, &*number.to_string()));
            assert_eq!(raw.parse::<u64>("n").unwrap(), number);
            let text = "é".repeat(len);
            for value in [vec![], vec![text.clone()], vec![text.clone(), text]] {
                let raw = RawJson::of("name", &value).unwrap();
                assert_eq!(raw.name(), "name");
                assert_eq!(raw.parse::<Vec<String>>("n").unwrap(), value);
                assert_eq!(raw.size(), 4 + raw.as_str().len());
                let json = format!(r#" {{"name" :  {} }}"#, raw.as_str());
                let data = SessionData::from_json(json).unwrap();
                assert!(data.entries() == [raw], "a part differs from the whole");
            }
        }
    }
}
