//! One value of a session as JSON, and its name: one piece of text, which is shared and not copied.

use std::io;
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

/// Cloned for each write of a session, name by name.
#[derive(Clone)]
enum Text {
    /// In one piece with the count of those who share it.
    Short(Arc<str>),
    /// A part of what a store keeps, or too long to be copied.
    Other(ByteString),
}

impl RawJson {
    /// A value as JSON.
    pub(crate) fn of(name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, SessionError> {
        let mut text = Draft::default();
        text.push(name.as_bytes());
        serde_json::to_writer(&mut text, value)
            .map_err(|error| SessionError::not_serializable(name, &error))?;
        let text = text.finish().ok_or_else(|| SessionError::not_text(name))?;
        let raw = Self {
            text,
            name_end: name.len(),
            value_start: name.len(),
        };
        if nests_deeper_than(raw.as_str(), NESTING_MAX) {
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
            text: Text::Other(ByteString::from([name, json].concat())),
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
            text: Text::Other(text.slice_ref(both)),
            name_end: name.len(),
            value_start,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.text().get(..self.name_end).unwrap_or_default()
    }

    /// Whether this is its name. Most names differ in their lengths.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name_end == name.len() && self.text().as_bytes().starts_with(name.as_bytes())
    }

    /// Whether its name is one of the framework's own.
    pub(super) fn is_reserved(&self) -> bool {
        self.name_end > 0 && self.text().as_bytes().first() == Some(&b'_')
    }

    pub(crate) fn as_str(&self) -> &str {
        self.text().get(self.value_start..).unwrap_or_default()
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T, SessionError> {
        serde_json::from_str(self.as_str()).map_err(|error| SessionError::wrong_type(name, &error))
    }

    /// What the limit counts of it.
    pub(super) fn size(&self) -> usize {
        self.name_end + self.text().len() - self.value_start
    }

    fn text(&self) -> &str {
        match &self.text {
            Text::Short(text) => text,
            Text::Other(text) => text,
        }
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.as_str() == other.as_str()
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
    fn finish(self) -> Option<Text> {
        if self.long.is_empty() {
            let short = str::from_utf8(self.short.get(..self.short_len)?).ok()?;
            Some(Text::Short(Arc::from(short)))
        } else {
            ByteString::try_from(self.long).ok().map(Text::Other)
        }
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
fn nests_deeper_than(json: &str, levels: usize) -> bool {
    // Every level has two brackets, so that most values need no second look.
    if json.len() < 2 * levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
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
