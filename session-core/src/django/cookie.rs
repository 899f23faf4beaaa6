//! Sessions that live in their cookie, as Django's `signed_cookies` engine writes them.

use bytes::Bytes;

use super::flaw::Flaw;
use super::format::Format;
use super::settings::{DjangoSettings, misconfigured};
use super::user::owner_of;
use crate::change::Content;
use crate::client::{ClientCodec, Place};
use crate::clock::Timestamp;
use crate::codec::{Binding, Codec};
use crate::data::SessionData;
use crate::error::SessionError;
use crate::expiry::Terms;
use crate::manager::SessionManager;
use crate::outcome::IssuedValue;
use crate::owner::Owner;
use crate::policy::{Limits, Policy};
use crate::store::StoreError;

/// What a browser keeps of one cookie: name and value, together (RFC 6265bis section 5.6). It drops a longer one without a
/// word.
pub const COOKIE_BYTES_MAX: usize = 4096;

/// In errors.
const NAME: &str = "a session in a signed cookie";
/// The salt that Django's engine has built in.
const SALT: &str = "django.contrib.sessions.backends.signed_cookies";

/// Reads and writes sessions as Django's `signed_cookies` engine does: the whole session is in the cookie, signed.
///
/// A signature keeps the visitor from changing the session, and from nothing else:
///
/// - **Readable.** Base64 hides nothing: the visitor, and whoever sees the cookie, reads all of it.
/// - **Irrevocable.** Nobody can end such a session before it expires. Logging out asks the browser to forget the cookie; a
///   copy of it goes on working, and an older cookie can be put back in the place of a newer one.
/// - At most 4096 bytes, with the cookie's name. A larger session is an error here; Django sends it and the browser drops it.
///
/// Unlike Django, [`unsign`](Self::unsign) enforces a session's own expiry.
///
/// ```
/// use session_core::django::{DjangoSettings, ReadableIrrevocableCookies};
/// use session_core::store::Timestamp;
/// use session_core::SessionData;
///
/// let settings = DjangoSettings::new("interop-secret-key-0123456789abcdefghijklmnopqrstuvwxyz");
/// let (cookies, policy) = (ReadableIrrevocableCookies::new(&settings), settings.policy());
/// let now = Timestamp::from_secs(1_767_323_045);
///
/// let mut data = SessionData::default();
/// data.insert("x", &1)?;
/// let cookie = cookies.sign(&data, now)?;
/// assert_eq!(cookie.expose_secret(), "eyJ4IjoxfQ:1vbVSP:DjNFZcPDmuRMIqH5Qe1RtLUL7MpDkL-xHQRrp_RJHZk");
///
/// let unsigned = cookies.unsign(cookie.expose_secret().as_bytes(), &policy, now)?;
/// assert_eq!(unsigned.map(|unsigned| unsigned.data), Some(data));
/// let two_weeks_later = now.saturating_add(policy.idle_timeout());
/// assert!(cookies.unsign(cookie.expose_secret().as_bytes(), &policy, two_weeks_later)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ReadableIrrevocableCookies {
    format: Format,
    value_bytes_max: usize,
}

/// A session that was found in a cookie.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Unsigned {
    /// What it holds.
    pub data: SessionData,
    /// When it was last written.
    pub signed_at: Timestamp,
    /// From this moment on it does not exist.
    pub expires_at: Timestamp,
}

impl ReadableIrrevocableCookies {
    /// The cookies of the project with these settings.
    #[must_use]
    pub fn new(settings: &DjangoSettings) -> Self {
        Self {
            format: settings.format(SALT),
            value_bytes_max: COOKIE_BYTES_MAX.saturating_sub(settings.cookie_name().len()),
        }
    }

    /// How large a session may be that is read. What is written is bounded by [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        self.format = self.format.with_limits(limits);
        self
    }

    /// A manager of sessions that live in their cookies, under `policy`, which is the project's own
    /// ([`DjangoSettings::policy`]) or one made from it.
    ///
    /// There is no store. Every change is sent with the response, so that after its headers are out a change is
    /// [`SessionError::HeadersSent`](crate::SessionError::HeadersSent), and of two requests at the same time the later response
    /// wins, whole. What needs a store is [`SessionError::Unsupported`](crate::SessionError::Unsupported): `take`, `modify_now`,
    /// `own_sessions` and the `end`s. There is no session key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the policy has an absolute timeout: a cookie does not say when its session began.
    pub fn manager(self, policy: Policy) -> Result<SessionManager, StoreError> {
        if policy.absolute_timeout().is_some() {
            return Err(misconfigured(
                "a signed cookie does not say when its session began, and so an absolute timeout can't be kept: \
                 leave it out of the policy",
            ));
        }
        let cookies = self.with_limits(policy.limits());
        Ok(SessionManager::on_client(cookies, WhoseSession).with_policy(policy))
    }

    /// The cookie's value for `data`, signed at `now`.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] when a browser would drop the cookie; [`StoreError::Unrepresentable`] when Django could not
    /// read the data.
    pub fn sign(&self, data: &SessionData, now: Timestamp) -> Result<IssuedValue, StoreError> {
        let value = self.format.encode(data, now)?;
        if value.len() > self.value_bytes_max {
            return Err(StoreError::too_large(
                NAME,
                value.len(),
                self.value_bytes_max,
            ));
        }
        Ok(IssuedValue::new(&value))
    }

    /// The session in a cookie's value, or `None` if it has expired by `now`: its own expiry counts, or the policy's idle
    /// timeout, from when it was signed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when the value was not signed here: the visitor is anonymous. [`StoreError::Unrepresentable`]
    /// when it was, and holds what only Python can.
    pub fn unsign(
        &self,
        value: &[u8],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<Unsigned>, StoreError> {
        let (data, signed_at) = self.format.decode(value).map_err(Flaw::of_text)?;
        let content = Content {
            owner: owner_of(&data),
            data,
            created_at: Some(signed_at),
            ..Content::default()
        };
        let terms = Terms::of(&content, policy);
        let expires_at = terms.expires_at(signed_at);
        let unsigned = Unsigned {
            data: content.data,
            signed_at,
            expires_at,
        };
        let is_live = expires_at > now && !terms.is_over(now);
        Ok(is_live.then_some(unsigned))
    }
}

/// Tells the manager whose a session is. Nothing is encoded where there is no store.
#[derive(Debug)]
struct WhoseSession;

impl Codec for WhoseSession {
    fn encode(&self, _binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        Ok(data.to_json())
    }

    fn decode(&self, _binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        SessionData::from_json(bytes.clone()).map_err(|error| StoreError::damaged(NAME, error))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn owner(&self, data: &SessionData) -> Option<Owner> {
        owner_of(data)
    }
}

impl ClientCodec for ReadableIrrevocableCookies {
    fn issue(
        &self,
        _place: &Place,
        content: &Content,
        _expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<IssuedValue, StoreError> {
        self.sign(&content.data, now)
    }

    fn open(
        &self,
        _place: &Place,
        text: &[u8],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<(Content, Timestamp)>, StoreError> {
        let unsigned = self.unsign(text, policy, now)?;
        Ok(unsigned.map(
            |Unsigned {
                 data, expires_at, ..
             }| {
                let content = Content {
                    owner: owner_of(&data),
                    data,
                    ..Content::default()
                };
                (content, expires_at)
            },
        ))
    }

    /// How small the data become when they are compressed shows when that is done.
    fn check_room(&self, _place: &Place, _content: &Content) -> Result<(), SessionError> {
        Ok(())
    }
}
