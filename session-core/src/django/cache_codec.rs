//! How Django's sessions are kept in a cache that serializes to JSON.

use bytes::Bytes;

use super::flaw::Flaw;
use super::format::json_bytes_max;
use super::json;
use super::settings::{DjangoSettings, misconfigured};
use super::user::owner_of;
use super::wall_clock::{WallClock, globalize, localized};
use crate::codec::{Binding, Codec};
use crate::data::SessionData;
use crate::owner::Owner;
use crate::policy::Limits;
use crate::store::StoreError;

/// What a pickle begins with, from protocol 2 on.
const PICKLE: u8 = 0x80;

/// Reads and writes sessions as Django's `cache` engine does in a Redis that serializes to JSON: unsigned, as the engine
/// leaves them.
///
/// By default Django pickles what it caches. A pickle may hold any Python object, and whoever can write that cache can run
/// code in Django; it is not read here. Give the project's session cache Django's own JSON serializer instead, which is a
/// constructor's parameter of its `RedisCache`:
///
/// ```python
/// CACHES = {
///     "default": {…},
///     "sessions": {
///         "BACKEND": "django.core.cache.backends.redis.RedisCache",
///         "LOCATION": "redis://…",
///         "OPTIONS": {"serializer": "django.core.signing.JSONSerializer"},
///     },
/// }
/// SESSION_CACHE_ALIAS = "sessions"
/// ```
///
/// Everything else that uses the cache needs pickles, and so the sessions need one of their own.
#[derive(Debug, Clone)]
pub struct DjangoCacheCodec {
    wall_clock: Option<WallClock>,
    json_bytes_max: usize,
}

impl DjangoCacheCodec {
    /// The codec of the project with these settings, under the default limits.
    #[must_use]
    pub fn new(settings: &DjangoSettings) -> Self {
        Self {
            wall_clock: settings.wall_clock().cloned(),
            json_bytes_max: json_bytes_max(&Limits::default()),
        }
    }

    /// How large a session may be. Give it the limits of the policy, if those are not the default.
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        self.json_bytes_max = json_bytes_max(limits);
        self
    }

    fn check_len(&self, len: usize) -> Result<(), StoreError> {
        let bytes_max = self.json_bytes_max;
        if len > bytes_max {
            return Err(Flaw::TooLarge { bytes_max }.of_text());
        }
        Ok(())
    }
}

impl Codec for DjangoCacheCodec {
    fn encode(&self, _binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        let json = json::write(&localized(self.wall_clock.as_ref(), data))?;
        self.check_len(json.len())?;
        Ok(json.into())
    }

    fn decode(&self, _binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        if bytes.first() == Some(&PICKLE) {
            return Err(misconfigured(
                "the session cache holds a pickle, which is not read here; give the cache of SESSION_CACHE_ALIAS \
                 OPTIONS = {\"serializer\": \"django.core.signing.JSONSerializer\"}, or use the cached_db engine",
            ));
        }
        self.check_len(bytes.len())?;
        let mut data = json::read(bytes.to_vec()).map_err(Flaw::of_text)?;
        globalize(self.wall_clock.as_ref(), &mut data);
        Ok(data)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn owner(&self, data: &SessionData) -> Option<Owner> {
        owner_of(data)
    }
}
