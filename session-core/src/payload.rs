//! A session's data as bytes, or decoded, or both: converted once, when somebody asks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::{Binding, Codec};
use crate::data::SessionData;
use crate::key::StoreKey;
use crate::record::Record;
use crate::store::StoreError;

/// What a store keeps of a session's data. Cheap to clone; clones share every conversion.
///
/// A store that leaves the process asks for [`to_bytes`](Self::to_bytes) and brings back
/// [`from_bytes`](Self::from_bytes). A store inside the process keeps the payload as it is, and then nothing is ever
/// encoded or parsed.
#[derive(Clone)]
pub struct Payload(triomphe::Arc<Inner>);

/// What it came as, and what became of that.
enum Inner {
    Read {
        bytes: Bytes,
        decoded: OnceLock<Decoded>,
    },
    Written {
        decoded: Decoded,
        bytes: OnceLock<Bytes>,
    },
}

/// Data, and the codec and place for which it has these bytes.
struct Decoded {
    data: SessionData,
    codec: Arc<dyn Codec>,
    binding: Binding,
}

impl Payload {
    /// A payload as a store read it.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(triomphe::Arc::new(Inner::Read {
            bytes: bytes.into(),
            decoded: OnceLock::new(),
        }))
    }

    /// A payload on its way to a store, to be kept where `binding` says.
    pub(crate) fn new(data: SessionData, codec: Arc<dyn Codec>, binding: Binding) -> Self {
        Self(triomphe::Arc::new(Inner::Written {
            decoded: Decoded {
                data,
                codec,
                binding,
            },
            bytes: OnceLock::new(),
        }))
    }

    /// The bytes to keep. Encoded at the first call.
    ///
    /// # Errors
    ///
    /// What the codec answers: [`StoreError::Unrepresentable`] when its format can't hold the data.
    pub fn to_bytes(&self) -> Result<Bytes, StoreError> {
        match &*self.0 {
            Inner::Read { bytes, .. } => Ok(bytes.clone()),
            Inner::Written { decoded, bytes } => {
                if let Some(bytes) = bytes.get() {
                    return Ok(bytes.clone());
                }
                let encoded = decoded.codec.encode(&decoded.binding, &decoded.data)?;
                Ok(bytes.get_or_init(|| encoded).clone())
            }
        }
    }

    /// How much memory the payload takes, about, in bytes: for stores that are bounded by it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let (bytes, decoded) = match &*self.0 {
            Inner::Read { bytes, decoded } => (Some(bytes), decoded.get()),
            Inner::Written { decoded, bytes } => (bytes.get(), Some(decoded)),
        };
        let bytes = bytes.map_or(0, Bytes::len);
        bytes.max(decoded.map_or(0, |decoded| decoded.data.size()))
    }

    /// The data of `record`, whose payload this is, as `codec` reads it at `key`. What was decoded by another codec, or for
    /// another place, is not believed: a sealed payload is bound to its place.
    pub(crate) fn decode(
        &self,
        codec: &Arc<dyn Codec>,
        key: &StoreKey,
        record: &Record,
    ) -> Result<SessionData, StoreError> {
        let known = match &*self.0 {
            Inner::Read { decoded, .. } => decoded.get(),
            Inner::Written { decoded, .. } => Some(decoded),
        };
        if let Some(known) = known
            && known.binding.is_of(key, record)
            && Arc::ptr_eq(&known.codec, codec)
        {
            return Ok(known.data.clone());
        }
        let binding = Binding::of(key, record);
        let data = codec.decode(&binding, &self.to_bytes()?)?;
        // For those who have a clone, such as a store that keeps it.
        if let Inner::Read { decoded, .. } = &*self.0
            && !self.0.is_unique()
        {
            // If another thread was faster, its result is as good as ours.
            drop(decoded.set(Decoded {
                data: data.clone(),
                codec: Arc::clone(codec),
                binding,
            }));
        }
        Ok(data)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(…)")
    }
}
