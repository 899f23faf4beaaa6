//! Whose session it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::error::SessionError;
use crate::policy::OWNER_BYTES_MAX;

/// Whose session it is: a user id as text, 1 to 256 bytes without a NUL.
///
/// Set by `log_in`; what "my sessions" and "log out everywhere" go by. Its `Debug` does not show it.
///
/// ```
/// use session_core::Owner;
///
/// assert_eq!(Owner::from(7).as_str(), "7");
/// assert_eq!(Owner::from("ada").as_str(), "ada");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checked where an owner enters, so that stores can rely on it.
    pub(crate) fn check(&self) -> Result<(), SessionError> {
        // PostgreSQL's text can't hold a NUL.
        let fits = (1..=OWNER_BYTES_MAX).contains(&self.0.len()) && !self.0.contains('\0');
        if fits {
            Ok(())
        } else {
            Err(SessionError::InvalidOwner {
                bytes_max: OWNER_BYTES_MAX,
            })
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(…)")
    }
}

/// What stands in an owner's place must be one: 1 to 256 bytes without a NUL.
impl FromStr for Owner {
    type Err = SessionError;

    fn from_str(id: &str) -> Result<Self, SessionError> {
        let owner = Self::from(id);
        owner.check().map(|()| owner)
    }
}

impl From<&str> for Owner {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

impl From<String> for Owner {
    fn from(id: String) -> Self {
        Self(Arc::from(id))
    }
}

impl From<&String> for Owner {
    fn from(id: &String) -> Self {
        Self(Arc::from(id.as_str()))
    }
}

impl From<&Self> for Owner {
    fn from(owner: &Self) -> Self {
        owner.clone()
    }
}

#[cfg(feature = "uuid")]
impl From<uuid::Uuid> for Owner {
    fn from(id: uuid::Uuid) -> Self {
        Self(Arc::from(
            id.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()) as &str,
        ))
    }
}

/// The number's digits, written where that takes no memory of its own.
fn of_number(id: impl Serialize) -> Owner {
    // Of -2^127.
    const CHARACTERS_MAX: usize = 40;
    let mut text = [0; CHARACTERS_MAX];
    let mut rest = text.as_mut_slice();
    // As JSON, which a number's digits are.
    let written = serde_json::to_writer(&mut rest, &id);
    debug_assert!(written.is_ok(), "there is room for every number");
    let len = CHARACTERS_MAX - rest.len();
    let text = text.get(..len).unwrap_or_default();
    Owner(Arc::from(str::from_utf8(text).unwrap_or_default()))
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Owner {
            fn from(id: $integer) -> Self {
                of_number(id)
            }
        }
    )*};
}
from_integers!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_numbers_are_owners_by_all_their_digits() {
        for id in [0, 7, i128::MAX, i128::MIN] {
            assert_eq!(Owner::from(id).as_str(), id.to_string());
        }
        assert_eq!(Owner::from(u128::MAX).as_str(), u128::MAX.to_string());
        assert_eq!(Owner::from(-7_i8).as_str(), "-7");
    }
}
