//! What the client must be told when a request is over.

use std::fmt;
use std::time::Duration;

#[cfg(any(feature = "django", feature = "sealed"))]
use zeroize::Zeroizing;

use crate::key::SessionKey;

/// How a request ended, for the session: what [`SessionSlot::commit`](crate::adapter::SessionSlot::commit) is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// As the handler meant it: everything is stored.
    Success,
    /// With a server error (status 5xx): data changes and log-ins are dropped; `flush`, `log_out`, `cycle_key` and
    /// whatever an `.await` has acknowledged stand.
    ServerError,
}

/// What the client must be told.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the client loses its session if it is not told of its key"]
pub enum Outcome {
    /// Nobody asked for the session: the response is as it was.
    Untouched,
    /// The response may depend on the session: caches have to be told.
    Accessed,
    /// The client is to send this from now on.
    #[non_exhaustive]
    Issue {
        /// What to send.
        value: IssuedValue,
        /// How long to keep it; `None`: until the browser closes.
        max_age: Option<Duration>,
    },
    /// The client is to forget what it sends: this request ended the session.
    Revoke,
}

/// What the client is to send: a session's key. Opaque, secret, wiped when dropped; `Debug` shows nothing.
pub struct IssuedValue(Issued);

enum Issued {
    Key(SessionKey),
    /// The whole session, where its client keeps it.
    #[cfg(any(feature = "django", feature = "sealed"))]
    Text(Zeroizing<String>),
}

impl IssuedValue {
    pub(crate) fn key(key: &SessionKey) -> Self {
        Self(Issued::Key(key.duplicate()))
    }

    #[cfg(any(feature = "django", feature = "sealed"))]
    pub(crate) fn new(value: &str) -> Self {
        Self(Issued::Text(Zeroizing::new(value.to_owned())))
    }

    /// The text, for the one who hands it to the client. Never log it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        match &self.0 {
            Issued::Key(key) => key.expose_secret(),
            #[cfg(any(feature = "django", feature = "sealed"))]
            Issued::Text(text) => text,
        }
    }
}

impl fmt::Debug for IssuedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedValue(…)")
    }
}
