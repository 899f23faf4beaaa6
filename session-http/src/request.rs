//! What a request carries: its `Cookie` headers as they came, and a slot for the session once somebody asks for it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::header::{COOKIE, Entry};
use http::{Extensions, HeaderMap, HeaderValue};
use session_core::adapter::SessionSlot;

use crate::cookie;
use crate::error::Error;
use crate::setup::Setup;

/// The request extension. Innermost layer first; the layers around it are behind it.
#[derive(Clone)]
pub(crate) struct Carried(pub(crate) Arc<CarriedSession>);

/// One layer's session in one request.
pub(crate) struct CarriedSession {
    setup: Arc<Setup>,
    cookies: Cookies,
    /// Made when somebody asks. `None`: nobody did before the response was ready.
    asked: OnceLock<Option<SessionSlot>>,
    /// For those who ask when it is too late to send a cookie, such as a streaming body.
    late: OnceLock<SessionSlot>,
    outer: Option<Carried>,
}

impl Carried {
    pub(crate) fn new(setup: &Arc<Setup>, headers: &mut HeaderMap, outer: Option<Self>) -> Self {
        Self(Arc::new(CarriedSession {
            setup: Arc::clone(setup),
            cookies: Cookies::of(headers),
            asked: OnceLock::new(),
            late: OnceLock::new(),
            outer,
        }))
    }

    /// What the innermost layer has put into the request.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Error> {
        extensions.get().ok_or(Error::MissingLayer)
    }

    /// Whether a layer with this cookie has seen the request.
    pub(crate) fn serves(&self, name: &str) -> bool {
        let mut layer = Some(self);
        while let Some(Self(carried)) = layer {
            if carried.setup.cookie.name() == name {
                return true;
            }
            layer = carried.outer.as_ref();
        }
        false
    }
}

impl CarriedSession {
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn has_cookies(&self) -> bool {
        self.cookies.first.is_some()
    }

    /// The slot, for somebody who asks for the session.
    pub(crate) fn slot(&self) -> &SessionSlot {
        match self.asked.get_or_init(|| Some(self.new_slot())) {
            Some(slot) => slot,
            None => self.late.get_or_init(|| {
                let slot = self.new_slot();
                slot.close();
                slot
            }),
        }
    }

    /// The slot if somebody has asked; otherwise nobody can any more without being late.
    pub(crate) fn settle(&self) -> Option<&SessionSlot> {
        self.asked.get_or_init(|| None).as_ref()
    }

    /// A slot of its own, for a request that nobody asks for its session.
    pub(crate) fn new_slot(&self) -> SessionSlot {
        let Setup {
            manager, cookie, ..
        } = &*self.setup;
        let slot = manager.slot();
        let name = cookie.name().as_bytes();
        slot.present(
            self.cookies
                .iter()
                .flat_map(|header| cookie::values(header.as_bytes(), name)),
        );
        slot
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("cookie", &self.0.setup.cookie.name())
            .finish_non_exhaustive()
    }
}

/// The `Cookie` headers. Nearly every request has one or none, and then nothing is allocated.
struct Cookies {
    first: Option<HeaderValue>,
    others: Vec<HeaderValue>,
}

impl Cookies {
    /// Copies nothing: header values share their bytes. They are marked as sensitive on the way, so that no `Debug` of the
    /// request shows them from here on.
    fn of(headers: &mut HeaderMap) -> Self {
        let mut cookies = Self {
            first: None,
            others: Vec::new(),
        };
        if let Ok(Entry::Occupied(mut entry)) = headers.try_entry(COOKIE) {
            for header in entry.iter_mut() {
                header.set_sensitive(true);
                match &cookies.first {
                    None => cookies.first = Some(header.clone()),
                    Some(_) => cookies.others.push(header.clone()),
                }
            }
        }
        cookies
    }

    fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.first.iter().chain(&self.others)
    }
}
