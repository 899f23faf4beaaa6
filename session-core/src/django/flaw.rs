//! What can be wrong with a text that Django and we share, and whose fault it is.

use crate::policy::NAMES_READ_MAX;
use crate::store::StoreError;

/// In errors.
const NAME: &str = "the Django codec";

/// How deep JSON may nest. Python reads about a thousand levels, less what is on its stack already; what nests deeper could
/// be stored here and not be read there.
pub(super) const NESTING_MAX: usize = 512;
/// The digits of an integer: Python refuses to read more, unless it is told otherwise.
pub(super) const DIGITS_MAX: usize = 4300;

/// Why a text is not a session, or a session not a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    // Damage: Django can't read it either.
    #[error(
        "it is not signed with the SECRET_KEY, one of SECRET_KEY_FALLBACKS, and the salt that are configured here"
    )]
    Signature,
    #[error("its timestamp is not a number in base 62")]
    Timestamp,
    #[error("its body is not URL-safe base64")]
    Base64,
    #[error("its body is not a whole zlib stream")]
    Zlib,
    #[error("its body is not the text of one JSON object")]
    Json,

    // Valid for Python, and nothing that can be held or given back.
    #[error("a number is NaN or infinite, which JSON does not have")]
    NotFinite,
    #[error("a text holds half of a surrogate pair, which is no text outside of Python")]
    LoneSurrogate,
    #[error("an integer has more than {DIGITS_MAX} digits, which Python refuses to read")]
    TooManyDigits,
    #[error("a value nests deeper than {NESTING_MAX} levels, which Python may be unable to read")]
    TooDeep,
    #[error("it holds more than {NAMES_READ_MAX} names")]
    TooManyNames,
    #[error("its JSON has more than {bytes_max} bytes, the most that the limits allow")]
    TooLarge { bytes_max: usize },
}

/// A flaw of one value that was to be written.
#[derive(Debug, thiserror::Error)]
#[error("\"{name}\" can't be shared with Django: {flaw}")]
struct OfValue {
    name: String,
    flaw: Flaw,
}

impl Flaw {
    /// For a text that was read.
    pub(super) fn of_text(self) -> StoreError {
        match self {
            Self::Signature | Self::Timestamp | Self::Base64 | Self::Zlib | Self::Json => {
                StoreError::damaged(NAME, self)
            }
            // Python neither writes nor reads such an integer.
            Self::TooManyDigits => StoreError::damaged(NAME, self),
            Self::NotFinite
            | Self::LoneSurrogate
            | Self::TooDeep
            | Self::TooManyNames
            | Self::TooLarge { .. } => StoreError::unrepresentable(NAME, self),
        }
    }

    /// For the value of `name` that was to be written.
    pub(super) fn of_value(self, name: &str) -> StoreError {
        let name = name.to_owned();
        StoreError::unrepresentable(NAME, OfValue { name, flaw: self })
    }
}
