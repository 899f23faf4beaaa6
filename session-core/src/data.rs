//! A session's data: names and raw JSON values, in the order in which they were first set.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::{JsonError, SessionError};
use crate::policy::{NAMES_READ_MAX, NESTING_MAX};

/// Names and raw JSON values, in the order in which they were first set.
///
/// A value is parsed only when somebody reads it, straight into the type that they ask for; one that nobody touches is
/// copied through when the session is saved. Cheap to clone: clones share everything until one is changed. Equal if the
/// same names have the same JSON text in the same order.
///
/// ```
/// use session_core::SessionData;
///
/// let mut data = SessionData::default();
/// data.insert("name", "Ada")?;
/// data.insert("visits", &3)?;
/// assert_eq!(data.to_json(), r#"{"name":"Ada","visits":3}"#);
/// assert_eq!(data.get::<u32>("visits")?, Some(3));
/// assert!(data.get::<u32>("name").is_err());
/// # Ok::<(), session_core::SessionError>(())
/// ```
#[derive(Clone, Default)]
pub struct SessionData {
    // `None` if there were never any: nothing is allocated for those.
    entries: Option<Arc<Vec<Entry>>>,
    size: usize,
}

impl PartialEq for SessionData {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.entries() == other.entries()
    }
}

impl Eq for SessionData {}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    name: ByteString,
    value: RawJson,
}

/// One value as JSON text: valid, because serde_json wrote it or has skipped over it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RawJson(ByteString);

/// Most values are shorter, and longer ones have memory moved for them once or twice.
const VALUE_BYTES_USUAL: usize = 64;

impl RawJson {
    /// A value as JSON.
    pub(crate) fn of(name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, SessionError> {
        let text = serde_json::to_string(value)
            .map_err(|error| SessionError::not_serializable(name, &error))?;
        if nests_deeper_than(&text, NESTING_MAX) {
            return Err(SessionError::TooDeep {
                name: name.to_owned(),
                nesting_max: NESTING_MAX,
            });
        }
        Ok(Self(ByteString::from(text)))
    }

    /// A name and its value as JSON, in one piece of memory: whoever keeps one keeps the other.
    pub(crate) fn named(
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(ByteString, Self), SessionError> {
        let mut text = Vec::with_capacity(name.len() + VALUE_BYTES_USUAL);
        text.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut text, value)
            .map_err(|error| SessionError::not_serializable(name, &error))?;
        let text = ByteString::try_from(text).map_err(|_not_utf8| SessionError::not_text(name))?;
        let (name, value) = text.split_at(name.len());
        if nests_deeper_than(&value, NESTING_MAX) {
            return Err(SessionError::TooDeep {
                name: name.to_string(),
                nesting_max: NESTING_MAX,
            });
        }
        Ok((name, Self(value)))
    }

    /// Names and values as one object.
    pub(crate) fn of_data(name: &str, data: &SessionData) -> Result<Self, SessionError> {
        let text = ByteString::try_from(data.to_json());
        text.map(Self)
            .map_err(|_not_utf8| SessionError::not_text(name))
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T, SessionError> {
        serde_json::from_str(&self.0).map_err(|error| SessionError::wrong_type(name, &error))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionData {
    /// The data in the text of one JSON object. Of a name that stands there twice, the last value counts.
    ///
    /// # Errors
    ///
    /// An error without any value in it when this is not a JSON object in UTF-8.
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self, crate::store::BoxError> {
        let text =
            ByteString::try_from(text.into()).map_err(|_not_utf8| "the data is not UTF-8")?;
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let data = deserializer
            .deserialize_map(Entries { text: &text })
            .and_then(|data| deserializer.end().map(|()| data))
            .map_err(|error| JsonError::from(&error))?;
        Ok(data)
    }

    /// The text of one JSON object, names in order.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        // Two quotes, a colon and a comma for each name, unless a name needs escapes.
        let mut text = Vec::with_capacity(self.size + 4 * self.len() + 2);
        text.push(b'{');
        for (position, entry) in self.entries().iter().enumerate() {
            if position > 0 {
                text.push(b',');
            }
            write_json_string(&mut text, &entry.name);
            text.push(b':');
            text.extend_from_slice(entry.value.0.as_bytes());
        }
        text.push(b'}');
        Bytes::from(text)
    }

    /// The value of `name`, or `None`.
    ///
    /// # Errors
    ///
    /// [`SessionError::WrongType`] when there is a value of another shape.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        self.raw(name).map(|value| value.parse(name)).transpose()
    }

    /// The value of `name` as JSON text, or `None`.
    #[must_use]
    pub fn json(&self, name: &str) -> Option<&str> {
        self.raw(name).map(RawJson::as_str)
    }

    /// Sets `name` to `value`, in its old place if it has one. Checks no limits: those are the session's.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotSerializable`] when the value can't be written as JSON.
    pub fn insert(
        &mut self,
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), SessionError> {
        let (name, value) = RawJson::named(name, value)?;
        self.put(name, value);
        Ok(())
    }

    /// Sets `name` to a value that is JSON text already, such as a codec finds it.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotSerializable`] when the text is not one JSON value.
    pub fn insert_json(&mut self, name: &str, json: &str) -> Result<(), SessionError> {
        let raw: &RawValue = serde_json::from_str(json)
            .map_err(|error| SessionError::not_serializable(name, &error))?;
        self.put(ByteString::from(name), RawJson(ByteString::from(raw.get())));
        Ok(())
    }

    /// Removes `name`. `true` if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.take_raw(name).is_some()
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether `name` has a value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Names and values as JSON text, in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries()
            .iter()
            .map(|entry| (&*entry.name, entry.value.as_str()))
    }

    /// How many names there are, the framework's own (which begin with `_`) included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Names and raw values together, in bytes: what the limit counts.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    fn entries(&self) -> &[Entry] {
        self.entries.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(crate) const fn empty() -> Self {
        Self {
            entries: None,
            size: 0,
        }
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&RawJson> {
        self.entries()
            .iter()
            .find(|entry| *entry.name == *name)
            .map(|entry| &entry.value)
    }

    /// What is the framework's own: names that begin with `_`.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.entries()
            .iter()
            .filter(|entry| entry.name.as_bytes().first() == Some(&b'_'))
            .map(|entry| (&*entry.name, &entry.value))
    }

    pub(crate) fn raw_entries(&self) -> impl Iterator<Item = (&ByteString, &RawJson)> {
        self.entries()
            .iter()
            .map(|entry| (&entry.name, &entry.value))
    }

    pub(crate) fn set_raw(&mut self, name: &ByteString, value: RawJson) {
        self.put(name.clone(), value);
    }

    pub(crate) fn take_raw(&mut self, name: &str) -> Option<RawJson> {
        let is_named = |entry: &Entry| *entry.name == *name;
        let position = self.entries().iter().position(is_named)?;
        let Entry { name, value } = Arc::make_mut(self.entries.as_mut()?).remove(position);
        self.size -= name.len() + value.0.len();
        Some(value)
    }

    /// How many names and bytes there are.
    pub(crate) fn measure(&self) -> (usize, usize) {
        (self.len(), self.size())
    }

    /// How many names and bytes there would be with `value` under `name`.
    pub(crate) fn measure_with(&self, name: &str, value: &RawJson) -> (usize, usize) {
        match self.raw(name) {
            Some(present) => (self.len(), self.size - present.0.len() + value.0.len()),
            None => (self.len() + 1, self.size + name.len() + value.0.len()),
        }
    }

    fn put(&mut self, name: ByteString, value: RawJson) {
        if self.entries.as_mut().and_then(Arc::get_mut).is_none() {
            // With room for one more, which is what comes most often.
            let mut own = Vec::with_capacity(self.len() + 1);
            own.extend_from_slice(self.entries());
            self.entries = Some(Arc::new(own));
        }
        let entries = Arc::make_mut(self.entries.get_or_insert_default());
        self.size += value.0.len();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) {
            self.size -= entry.value.0.len();
            entry.value = value;
        } else {
            self.size += name.len();
            entries.push(Entry { name, value });
        }
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionData({} names)", self.len())
    }
}

/// Collects names and values as ranges of the text, without copying what needs no unescaping.
struct Entries<'a> {
    text: &'a ByteString,
}

impl<'de> Visitor<'de> for Entries<'de> {
    type Value = SessionData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SessionData, A::Error> {
        let mut data = SessionData::default();
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            let name = match name {
                Cow::Borrowed(name) => self.text.slice_ref(name),
                Cow::Owned(name) => ByteString::from(name),
            };
            data.put(name, RawJson(self.text.slice_ref(value.get())));
            // The session's own limit is checked when it is saved; this one keeps a forged payload's cost linear.
            if data.len() > NAMES_READ_MAX {
                return Err(A::Error::custom("too many names"));
            }
        }
        Ok(data)
    }
}

/// A name, borrowed from the text unless it had escapes in it.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Plain names are copied; serde_json escapes the others.
fn write_json_string(text: &mut Vec<u8>, name: &str) {
    let is_plain = name
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        text.push(b'"');
        text.extend_from_slice(name.as_bytes());
        text.push(b'"');
    } else {
        let escaped = serde_json::Value::from(name).to_string();
        text.extend_from_slice(escaped.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> SessionData {
        SessionData::from_json(Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    #[test]
    fn order_duplicates_and_escapes_are_kept() {
        let data = data(r#" {"b" : 1, "a\"\n": [1, 2] ,"b":{"x": "}"} } "#);
        assert_eq!(data.to_json(), r#"{"b":{"x": "}"},"a\"\n":[1, 2]}"#);
        assert_eq!(data.size(), 1 + 10 + 3 + 6);
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{",
            "{}x",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":\"\u{1}\"}",
        ] {
            assert!(
                SessionData::from_json(Bytes::copy_from_slice(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
        SessionData::from_json(&b"{\"a\":\"\xff\"}"[..]).unwrap_err();
    }

    #[test]
    fn sizes_follow_every_change() {
        let mut data = data(r#"{"one":1}"#);
        data.insert("two", "22").unwrap();
        data.insert("one", &111).unwrap();
        assert_eq!(data.size(), 3 + 3 + 3 + 4);
        assert!(data.remove("one"));
        assert!(!data.remove("one"));
        assert_eq!(data.size(), 7);
        data.clear();
        assert_eq!((data.size(), data.len()), (0, 0));
    }

    #[test]
    fn values_that_could_not_be_read_back_are_refused() {
        let mut value = serde_json::Value::from("[[[[[");
        for _ in 0..NESTING_MAX {
            value = serde_json::Value::from(vec![value]);
        }
        let mut data = SessionData::default();
        data.insert("deep", &value).unwrap();
        assert_eq!(
            data.get::<serde_json::Value>("deep").unwrap(),
            Some(value.clone())
        );
        let error = data.insert("deep", &vec![value]).unwrap_err();
        assert!(matches!(error, SessionError::TooDeep { .. }), "{error}");
    }

    #[test]
    fn clones_do_not_see_later_changes() {
        let before = data(r#"{"a":1}"#);
        let mut after = before.clone();
        after.insert("a", &2).unwrap();
        assert_eq!(before.get::<u8>("a").unwrap(), Some(1));
    }
}
