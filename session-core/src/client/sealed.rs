//! Sessions that live in their cookie, sealed: what is in the text, and when it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::{ClientCodec, Place};
use crate::change::Content;
use crate::clock::Timestamp;
use crate::codec::JsonCodec;
use crate::data::SessionData;
use crate::error::SessionError;
use crate::expiry::Terms;
use crate::key_ring::KeyRing;
use crate::manager::SessionManager;
use crate::outcome::IssuedValue;
use crate::owner::Owner;
use crate::policy::{Policy, Reissue};
use crate::record::Label;
use crate::seal::{BrokenSeal, Magic, OVERHEAD, Seals};
use crate::store::StoreError;

/// In errors.
const NAME: &str = "a session in a sealed cookie";
/// The last byte is the format's version. Another kind than a payload in a store, under keys of its own.
const MAGIC: Magic = [0xf5, b'S', b'K', 1];
/// The length of an owner or a label that is not there.
const ABSENT: u16 = u16::MAX;

#[doc = include_str!("../../docs/sealed-cookies.md")]
#[derive(Debug, Clone)]
pub struct SealedIrrevocableCookies {
    seals: Seals,
}

/// Why a text is not believed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Flaw {
    #[error("it is not a sealed session")]
    NotSealed,
    #[error("it is sealed with a key that is not in the ring")]
    UnknownKey,
    #[error("it was changed, or belongs into another cookie")]
    NotAuthentic,
    #[error("it holds no session")]
    Malformed,
}

impl SealedIrrevocableCookies {
    /// Seals with the first key of `ring`, and opens what was sealed with any of them.
    #[must_use]
    pub fn new(ring: &KeyRing) -> Self {
        Self {
            seals: Seals::new(ring, "sealing cookies", MAGIC),
        }
    }

    /// A manager of sessions that live in their cookies, under `policy`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the policy limits the sessions of an owner: nobody knows how many cookies there are.
    pub fn manager(self, policy: Policy) -> Result<SessionManager, StoreError> {
        if policy.sessions_per_owner_max().is_some() {
            return Err(StoreError::misconfigured(
                NAME,
                "nobody knows how many cookies an owner has, and so their number can't be limited: leave the limit out of the \
                 policy, or keep the sessions in a store",
                None,
            ));
        }
        // Every change is sent, and so the client may as well forget when the session ends.
        let policy = policy.with_reissue(Reissue::OnSave);
        Ok(SessionManager::on_client(self, JsonCodec).with_policy(policy))
    }
}

impl ClientCodec for SealedIrrevocableCookies {
    fn issue(
        &self,
        place: &Place,
        content: &Content,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<IssuedValue, StoreError> {
        let plain = write(content, expires_at, now);
        let sealed = self
            .seals
            .seal(&plain, |bound| bound.part(place.name.as_bytes()))
            .map_err(|error| StoreError::failed(NAME, "seal a session", error))?;
        let text = URL_SAFE_NO_PAD.encode(sealed);
        if text.len() > place.text_bytes_max {
            return Err(StoreError::too_large(
                NAME,
                text.len(),
                place.text_bytes_max,
            ));
        }
        Ok(IssuedValue::new(&text))
    }

    fn open(
        &self,
        place: &Place,
        text: &[u8],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<(Content, Timestamp)>, StoreError> {
        let damaged = |flaw: Flaw| StoreError::damaged(NAME, flaw);
        let sealed = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_quotes_it| damaged(Flaw::NotSealed))?;
        let plain = self
            .seals
            .open(&sealed, |bound| bound.part(place.name.as_bytes()))
            .map_err(|broken| {
                damaged(match broken {
                    BrokenSeal::UnknownFormat => Flaw::NotSealed,
                    BrokenSeal::UnknownKey => Flaw::UnknownKey,
                    BrokenSeal::NotAuthentic => Flaw::NotAuthentic,
                })
            })?;
        let (content, expires_at) = read(&plain).ok_or_else(|| damaged(Flaw::Malformed))?;
        let is_live = expires_at > now && !Terms::of(&content, policy).is_over(now);
        Ok(is_live.then_some((content, expires_at)))
    }

    fn check_room(&self, place: &Place, content: &Content) -> Result<(), SessionError> {
        let sealed = OVERHEAD + write(content, Timestamp::MAX, Timestamp::MAX).len();
        // Four characters for three bytes.
        let bytes = sealed.saturating_mul(4).div_ceil(3);
        let bytes_max = place.text_bytes_max;
        if bytes > bytes_max {
            return Err(SessionError::DataTooLarge { bytes, bytes_max });
        }
        Ok(())
    }
}

/// When it expires and began, as seconds in eight bytes each; the owner and the label, each behind its length; the data as JSON. The
/// same length at any time.
fn write(content: &Content, expires_at: Timestamp, now: Timestamp) -> Vec<u8> {
    let Content {
        data,
        owner,
        label,
        created_at,
    } = content;
    let json = data.to_json();
    let mut plain = Vec::with_capacity(json.len() + 32);
    plain.extend_from_slice(&expires_at.as_secs().to_be_bytes());
    plain.extend_from_slice(&created_at.unwrap_or(now).as_secs().to_be_bytes());
    for text in [
        owner.as_ref().map(Owner::as_str),
        label.as_ref().map(Label::as_str),
    ] {
        // Both have 256 bytes at most.
        let len = text.map_or(ABSENT, |text| u16::try_from(text.len()).unwrap_or(ABSENT));
        plain.extend_from_slice(&len.to_be_bytes());
        plain.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
    plain.extend_from_slice(&json);
    plain
}

fn read(plain: &[u8]) -> Option<(Content, Timestamp)> {
    let (expires_at, rest) = plain.split_first_chunk()?;
    let (created_at, rest) = rest.split_first_chunk()?;
    let (owner, rest) = read_text(rest)?;
    let (label, json) = read_text(rest)?;
    let content = Content {
        data: SessionData::from_json(Bytes::copy_from_slice(json)).ok()?,
        owner: owner.map(Owner::from),
        label: label.map(Label::new),
        created_at: Some(Timestamp::from_secs(i64::from_be_bytes(*created_at))),
    };
    Some((
        content,
        Timestamp::from_secs(i64::from_be_bytes(*expires_at)),
    ))
}

fn read_text(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = u16::from_be_bytes(*len);
    if len == ABSENT {
        return Some((None, rest));
    }
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    Some((Some(str::from_utf8(text).ok()?), rest))
}
