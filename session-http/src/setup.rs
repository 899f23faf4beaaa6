//! What all requests that pass one layer have in common, and what they remember together so that the log says it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, Uri};
use session_core::SessionManager;

use crate::carrier::Carrier;
use crate::config::{CookieConfig, Interruption};
use crate::headers::{self, Transport};
use crate::marked::Marker;

/// What all requests that pass one layer have in common.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) manager: SessionManager,
    pub(crate) carrier: Carrier,
    pub(crate) interruption: Interruption,
    /// By what an extractor names this layer among several.
    pub(crate) marker: Option<Marker>,
    /// Whether there is nothing more to say about how requests come. Shared by clones, since a router makes many.
    transport_is_known: Arc<AtomicBool>,
    /// Whether it was said already that a cookie looks like ours. Shared, too.
    look_alike_is_known: Arc<AtomicBool>,
}

impl Setup {
    pub(crate) fn new(manager: SessionManager) -> Self {
        let mut setup = Self {
            manager,
            carrier: Carrier::Cookie(CookieConfig::default()),
            interruption: Interruption::default(),
            marker: None,
            transport_is_known: Arc::default(),
            look_alike_is_known: Arc::default(),
        };
        setup.fit_to_carrier();
        setup
    }

    /// Tells the manager where clients keep sessions that live with them, and how much room there is.
    pub(crate) fn fit_to_carrier(&mut self) {
        let Self {
            manager, carrier, ..
        } = self;
        let room = carrier.value_bytes_max();
        *manager = manager.clone().kept_by_clients_in(carrier.name(), room);
    }

    /// Whether it is still worth a look how a request came.
    #[inline]
    pub(crate) fn asks_how_requests_come(&self) -> bool {
        self.carrier.is_secure_cookie() && !self.transport_is_known.load(Ordering::Relaxed)
    }

    /// Whether a browser seems to be about to refuse a `Secure` cookie. Costs nothing once one request came over HTTPS.
    #[inline]
    pub(crate) fn is_in_the_clear(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.asks_how_requests_come() {
            return false;
        }
        match headers::transport(uri, headers) {
            Transport::InTheClear => true,
            Transport::Unknown => false,
            Transport::Https => {
                self.transport_is_known.store(true, Ordering::Relaxed);
                false
            }
        }
    }

    /// Says once that somebody sends a cookie whose name differs from ours in case alone.
    pub(crate) fn warn_of_look_alike(&self) {
        if !self.look_alike_is_known.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event = "session_cookie_look_alike",
                cookie = self.carrier.name(),
                "a request carried a cookie whose name differs from the session cookie's in case alone; it is ignored"
            );
        }
    }

    /// Says once that a log-in would be lost.
    pub(crate) fn warn_of_plain_http(&self) {
        if !self.transport_is_known.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cookie = self.carrier.name(),
                "a session cookie with Secure is sent to a client that seems to use plain HTTP, and will refuse it: \
                 serve over HTTPS, let the proxy in front say so (X-Forwarded-Proto), or, for development alone, call \
                 SessionLayer::with_insecure_plain_http"
            );
        }
    }
}
