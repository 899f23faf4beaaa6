//! How Django's sessions are kept in a database, a file, or a database with a cache in front.

use std::sync::Arc;

use bytes::Bytes;

use super::flaw::Flaw;
use super::format::Format;
use super::settings::DjangoSettings;
use super::user::owner_of;
use crate::clock::{Clock, SystemClock};
use crate::codec::{Binding, Codec};
use crate::data::SessionData;
use crate::owner::Owner;
use crate::policy::Limits;
use crate::store::StoreError;

/// Reads and writes sessions as Django's `db`, `cached_db` and `file` engines do: signed with the project's secret key.
///
/// A payload is believed if it is signed with `SECRET_KEY` or one of its fallbacks; it is written with `SECRET_KEY`. It is not
/// bound to its record, since Django's isn't: whoever can write the store can copy one session's data into another.
///
/// What can't be read is never overwritten. A payload that Django could not read either is [`StoreError::Damaged`]; one that
/// only Python can hold (NaN, infinite numbers, half a surrogate pair) or that is over a limit is
/// [`StoreError::Unrepresentable`].
///
/// ```
/// use session_core::codec::{Binding, Codec};
/// use session_core::django::{DjangoCodec, DjangoSettings};
/// use session_core::store::StoreKey;
///
/// let settings = DjangoSettings::new("interop-secret-key-0123456789abcdefghijklmnopqrstuvwxyz");
/// let codec = DjangoCodec::new(&settings);
/// let key = StoreKey::parse("abcdefghijklmnopqrstuvwxyz012345").ok_or("a key")?;
/// let place = Binding::new(key);
///
/// let row = "eyJhIjoxfQ:1vbVSP:4YaOOa0_2zK_SDReJUM6aHKHxiKfqFNezPx8Vj4ruzU";
/// let data = codec.decode(&place, &row.into())?;
/// assert_eq!(data.get::<u32>("a")?, Some(1));
/// assert!(codec.decode(&place, &row.to_lowercase().into()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DjangoCodec {
    format: Format,
    clock: Arc<dyn Clock>,
}

impl DjangoCodec {
    /// The codec of the project with these settings, under the default limits.
    #[must_use]
    pub fn new(settings: &DjangoSettings) -> Self {
        Self {
            format: settings.format(settings.salt()),
            clock: Arc::new(SystemClock),
        }
    }

    /// How large a session may be: a payload that inflates to more than the limits allow is not inflated further. Give it the
    /// limits of the policy, if those are not the default.
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        self.format = self.format.with_limits(limits);
        self
    }

    /// Where the time in a signature comes from. The system's clock by default.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Codec for DjangoCodec {
    fn encode(&self, _binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        self.format.encode(data, self.clock.now()).map(Bytes::from)
    }

    fn decode(&self, _binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        let (data, _signed_at) = self.format.decode(bytes).map_err(Flaw::of_text)?;
        Ok(data)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn owner(&self, data: &SessionData) -> Option<Owner> {
        owner_of(data)
    }
}
