//! A session's data: names and raw JSON values, in the order in which they were first set.

mod raw;

pub(crate) use raw::RawJson;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::{JsonError, SessionError};
use crate::policy::NAMES_READ_MAX;

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
    entries: Option<Arc<[RawJson]>>,
    size: usize,
    /// How many names are the framework's own. Most sessions have none, and then nobody looks for them.
    reserved: usize,
}

impl PartialEq for SessionData {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.entries() == other.entries()
    }
}

impl Eq for SessionData {}

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
            write_name(&mut text, entry);
            text.push(b':');
            text.extend_from_slice(entry.as_bytes());
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
        self.set_raw(RawJson::of(name, value)?);
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
        self.set_raw(RawJson::of_json(name, raw.get()));
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
            .map(|entry| (entry.name(), entry.as_str()))
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

    pub(crate) const fn empty() -> Self {
        Self {
            entries: None,
            size: 0,
            reserved: 0,
        }
    }

    /// Every value with its name, in order.
    pub(crate) fn entries(&self) -> &[RawJson] {
        self.entries.as_deref().unwrap_or_default()
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&RawJson> {
        self.named(name.as_bytes())
    }

    fn named(&self, name: &[u8]) -> Option<&RawJson> {
        self.entries().iter().find(|entry| entry.is_named(name))
    }

    /// What is the framework's own: names that begin with `_`.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        let entries = if self.reserved > 0 {
            self.entries()
        } else {
            &[]
        };
        let reserved = entries.iter().filter(|entry| entry.is_reserved());
        reserved.map(|entry| (entry.name(), entry))
    }

    /// Sets the name of `value` to it, in its old place if it has one.
    pub(crate) fn set_raw(&mut self, value: RawJson) {
        self.size += value.size();
        let Some(position) = position_of(self.entries(), value.name_as_bytes()) else {
            self.reserved += usize::from(value.is_reserved());
            // All in one piece of memory, which is written once.
            let all = match self.entries.as_mut().and_then(Arc::get_mut) {
                Some(own) => own.iter_mut().map(std::mem::take).chain([value]).collect(),
                None => self.entries().iter().cloned().chain([value]).collect(),
            };
            self.entries = Some(all);
            return;
        };
        let entries = self.entries.as_mut().map(Arc::make_mut);
        if let Some(present) = entries.and_then(|entries| entries.get_mut(position)) {
            self.size -= present.size();
            *present = value;
        }
    }

    /// Sets the names of all `values`, each as [`set_raw`](Self::set_raw) does.
    pub(crate) fn set_all_raw(&mut self, values: &[RawJson]) {
        let mut entries = self.entries().to_vec();
        for value in values {
            put(&mut entries, value.clone());
        }
        *self = Self::of(entries);
    }

    pub(crate) fn take_raw(&mut self, name: &str) -> Option<RawJson> {
        let position = position_of(self.entries(), name.as_bytes())?;
        let mut entries = self.entries().to_vec();
        let taken = entries.remove(position);
        *self = Self::of(entries);
        Some(taken)
    }

    /// How many names and bytes there are.
    pub(crate) fn measure(&self) -> (usize, usize) {
        (self.len(), self.size())
    }

    /// How many names and bytes there would be with `value` under its name.
    pub(crate) fn measure_with(&self, value: &RawJson) -> (usize, usize) {
        let after = self.size + value.size();
        match self.named(value.name_as_bytes()) {
            Some(present) => (self.len(), after - present.size()),
            None => (self.len() + 1, after),
        }
    }

    fn of(entries: Vec<RawJson>) -> Self {
        Self {
            size: entries.iter().map(RawJson::size).sum(),
            reserved: entries.iter().filter(|entry| entry.is_reserved()).count(),
            entries: (!entries.is_empty()).then(|| Arc::from(entries)),
        }
    }
}

/// Sets the name of `value` to it, in its old place if it has one.
fn put(entries: &mut Vec<RawJson>, value: RawJson) {
    match position_of(entries, value.name_as_bytes()).and_then(|at| entries.get_mut(at)) {
        Some(present) => *present = value,
        None => entries.push(value),
    }
}

fn position_of(entries: &[RawJson], name: &[u8]) -> Option<usize> {
    entries.iter().position(|entry| entry.is_named(name))
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
        let mut entries = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let json = map.next_value::<&RawValue>()?.get();
            let part = match &name {
                Cow::Borrowed(name) => RawJson::part_of(self.text, name, json),
                Cow::Owned(_) => None,
            };
            put(
                &mut entries,
                part.unwrap_or_else(|| RawJson::of_json(&name, json)),
            );
            // The session's own limit is checked when it is saved; this one keeps a forged payload's cost linear.
            if entries.len() > NAMES_READ_MAX {
                return Err(A::Error::custom("too many names"));
            }
        }
        Ok(SessionData::of(entries))
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
fn write_name(text: &mut Vec<u8>, entry: &RawJson) {
    let name = entry.name_as_bytes();
    let is_plain = name
        .iter()
        .all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\');
    if is_plain {
        text.push(b'"');
        text.extend_from_slice(name);
        text.push(b'"');
    } else {
        let escaped = serde_json::Value::from(entry.name()).to_string();
        text.extend_from_slice(escaped.as_bytes());
    }
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
        for _ in 0..crate::policy::NESTING_MAX {
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
