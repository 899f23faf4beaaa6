//! Names of values, with the type that belongs to them.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use crate::policy::NAME_BYTES_MAX;

/// A typed name: the type of the value is written once, where the name is.
///
/// ```
/// use session_core::{Field, MemoryStore, SessionManager};
///
/// const VISITS: Field<u32> = Field::new("visits");
///
/// # let session = SessionManager::new(MemoryStore::new()).start();
/// session.set(VISITS, &1)?;
/// session.modify(VISITS, |visits| *visits += 1)?;
/// assert_eq!(session.get(VISITS)?, Some(2));
/// # Ok::<(), session_core::SessionError>(())
/// ```
///
/// Names that begin with `_` are the framework's, and such a constant does not compile:
///
/// ```compile_fail
/// use session_core::Field;
///
/// const MINE: Field<u32> = Field::new("_mine");
/// println!("{MINE:?}");
/// ```
pub struct Field<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Field<T> {
    /// A field with this name.
    ///
    /// # Panics
    ///
    /// If the name is empty, longer than 128 bytes or begins with `_`. In a constant this is an error of the compiler.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(
            !name.is_empty() && name.len() <= NAME_BYTES_MAX,
            "a name has 1 to 128 bytes"
        );
        assert!(
            !matches!(name.as_bytes().first(), Some(b'_')),
            "names that begin with `_` are the framework's"
        );
        Self {
            name,
            value: PhantomData,
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

impl<T> AsRef<str> for Field<T> {
    fn as_ref(&self) -> &str {
        self.name
    }
}

/// What names a value of type `T`: a string names a value of any type, a [`Field<T>`] only of its own.
pub trait Name<T>: Send + Sync + sealed::Sealed {
    /// The name's text.
    fn text(&self) -> &str;
}

impl<T> Name<T> for &str {
    fn text(&self) -> &str {
        self
    }
}

impl<T> Name<T> for &String {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl<T> Name<T> for Field<T> {
    fn text(&self) -> &str {
        self.name
    }
}

impl<T> Name<T> for &Field<T> {
    fn text(&self) -> &str {
        self.name
    }
}

/// What names a value that may be set to a `V`: a string may be set to anything, a [`Field<T>`] to whatever a `T` can be
/// borrowed as, such as a `Field<String>` to a `str`.
pub trait NameOf<V: ?Sized>: sealed::Sealed {
    /// The name's text.
    fn text(&self) -> &str;
}

impl<V: ?Sized> NameOf<V> for &str {
    fn text(&self) -> &str {
        self
    }
}

impl<V: ?Sized> NameOf<V> for &String {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl<T: Borrow<V>, V: ?Sized> NameOf<V> for Field<T> {
    fn text(&self) -> &str {
        self.name
    }
}

impl<T: Borrow<V>, V: ?Sized> NameOf<V> for &Field<T> {
    fn text(&self) -> &str {
        self.name
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements `Name`")]
    pub trait Sealed {}

    impl Sealed for &str {}
    impl Sealed for &String {}
    impl<T> Sealed for super::Field<T> {}
    impl<T> Sealed for &super::Field<T> {}
}
