//! What a request carries: the headers that may hold its session's key, as they came, and a slot for the session once somebody asks for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::Entry;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use session_core::Activity;
use session_core::adapter::SessionSlot;

use crate::carrier::Carrier;
use crate::cookie::{self, Found};
use crate::error::Error;
use crate::marked::Marker;
use crate::setup::Setup;

/// The request extension. Innermost layer first; the layers around it are behind it.
#[derive(Clone)]
pub(crate) struct Carried(pub(crate) triomphe::Arc<CarriedSession>);

/// One layer's session in one request.
pub(crate) struct CarriedSession {
    setup: Arc<Setup>,
    lines: Lines,
    first: First,
    /// Made when somebody asks. Closed from the start for those who ask when it is too late to send a cookie, such as a
    /// streaming body.
    slot: OnceLock<SessionSlot>,
    /// Whether somebody has said that this request is no sign of life from its visitor.
    is_no_activity: AtomicBool,
    outer: Option<Carried>,
    /// What the layers inside of this one have told the client, which must hear of it whatever becomes of this one's session.
    told_inside: Mutex<Vec<(HeaderName, HeaderValue)>>,
}

/// Which came first: somebody who asked for the session, or the response. It stays the first.
#[derive(Default)]
struct First(AtomicU8);

impl First {
    const UNKNOWN: u8 = 0;
    const ASKED: u8 = 1;
    const ANSWERED: u8 = 2;

    /// Somebody asks: whether that was before the response.
    fn is_to_ask(&self) -> bool {
        self.set(Self::ASKED)
    }

    /// The response is ready: whether that was before anybody asked.
    fn is_to_answer(&self) -> bool {
        self.set(Self::ANSWERED)
    }

    fn set(&self, own: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match self
            .0
            .compare_exchange(Self::UNKNOWN, own, success, failure)
        {
            Ok(_) => true,
            Err(first) => first == own,
        }
    }
}

/// A request extension: whatever layers the request has still to pass, it is no sign of life from its visitor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoActivity;

/// Notes that a request is no sign of life from its visitor, for the layers that it has passed and for those to come.
pub(crate) fn ignore_activity(extensions: &mut Extensions) {
    if let Some(carried) = extensions.get::<Carried>() {
        carried.ignore_activity();
    }
    extensions.insert(NoActivity);
}

impl Carried {
    /// `outer` is what the layer around this one has put into the request.
    pub(crate) fn of_headers(
        setup: &Arc<Setup>,
        headers: &mut HeaderMap,
        outer: Option<Self>,
        is_no_activity: bool,
    ) -> Self {
        Self(triomphe::Arc::new(CarriedSession {
            setup: Arc::clone(setup),
            lines: Lines::of(headers, setup.carrier.request_header()),
            first: First::default(),
            slot: OnceLock::new(),
            is_no_activity: AtomicBool::new(is_no_activity),
            outer,
            told_inside: Mutex::default(),
        }))
    }

    /// What the innermost layer has put into the request.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Error> {
        extensions.get().ok_or(Error::MissingLayer)
    }

    /// What the layer with this mark has put into the request, this one or one around it.
    pub(crate) fn marked(&self, marker: Marker) -> Option<&Self> {
        let mut layer = Some(self);
        while let Some(carried) = layer {
            let own = carried.0.setup.marker;
            if own.is_some_and(|own| own.is_same(marker)) {
                return Some(carried);
            }
            layer = carried.0.outer.as_ref();
        }
        None
    }

    /// Tells this layer and those around it that nobody is there.
    pub(crate) fn ignore_activity(&self) {
        let mut layer = Some(self);
        while let Some(Self(carried)) = layer {
            carried.ignore_activity();
            layer = carried.outer.as_ref();
        }
    }

    /// Whether a layer that reads the same cookie or header has seen the request.
    pub(crate) fn serves(&self, carrier: &Carrier) -> bool {
        let mut layer = Some(self);
        while let Some(Self(carried)) = layer {
            if carried.setup.carrier.is_same(carrier) {
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

    /// Notes for the layers around this one what it tells the client in a header.
    pub(crate) fn note_told(&self, header: &HeaderName, value: &HeaderValue) {
        let mut layer = self.outer.as_ref();
        while let Some(Carried(outer)) = layer {
            let told = outer.told_inside.lock();
            let mut told = told.unwrap_or_else(PoisonError::into_inner);
            told.push((header.clone(), value.clone()));
            layer = outer.outer.as_ref();
        }
    }

    /// What the layers inside of this one have told the client, by header.
    pub(crate) fn take_told_inside(&self) -> Vec<(HeaderName, HeaderValue)> {
        let told = self.told_inside.lock();
        std::mem::take(&mut *told.unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the request has a header that may hold a key.
    pub(crate) fn may_have_key(&self) -> bool {
        self.lines.first.is_some()
    }

    /// The slot, for somebody who asks for the session.
    pub(crate) fn slot(&self) -> &SessionSlot {
        let is_late = !self.first.is_to_ask();
        self.slot.get_or_init(|| {
            let slot = self.new_slot();
            if is_late {
                slot.close();
            }
            slot
        })
    }

    fn ignore_activity(&self) {
        self.is_no_activity.store(true, Ordering::Relaxed);
        if let Some(slot) = self.slot.get() {
            slot.set_activity(Activity::Ignore);
        }
    }

    /// The slot if somebody has asked; otherwise nobody can any more without being late.
    pub(crate) fn settle(&self) -> Option<&SessionSlot> {
        // Whoever was first to ask may be making the slot at this moment.
        (!self.first.is_to_answer()).then(|| self.slot.get_or_init(|| self.new_slot()))
    }

    /// A slot of its own, for a request that nobody asks for its session.
    pub(crate) fn new_slot(&self) -> SessionSlot {
        let Setup {
            manager, carrier, ..
        } = &*self.setup;
        let lines = self.lines.iter().map(HeaderValue::as_bytes);
        let mut has_look_alike = false;
        let slot = match carrier {
            Carrier::Cookie(cookie) => {
                let name = cookie.name().as_bytes();
                let found = lines.flat_map(|line| cookie::find(line, name));
                manager.slot_with(found.filter_map(|found| match found {
                    Found::Value(value) => Some(value),
                    Found::LookAlike => {
                        has_look_alike = true;
                        None
                    }
                }))
            }
            Carrier::Bearer | Carrier::Header(_) => {
                manager.slot_with(lines.filter_map(|line| carrier.value_in(line)))
            }
        };
        if self.is_no_activity.load(Ordering::Relaxed) {
            slot.set_activity(Activity::Ignore);
        }
        if has_look_alike {
            self.setup.warn_of_look_alike();
        }
        slot
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("carrier", &self.0.setup.carrier.name())
            .finish_non_exhaustive()
    }
}

/// The headers that may hold the key. Nearly every request has one or none, and then nothing is allocated.
struct Lines {
    first: Option<HeaderValue>,
    others: Vec<HeaderValue>,
}

impl Lines {
    /// Copies nothing: header values share their bytes. They are marked as sensitive on the way, so that no `Debug` of the
    /// request shows them from here on.
    fn of(headers: &mut HeaderMap, name: HeaderName) -> Self {
        let several = headers.len() > headers.keys_len();
        let first = headers.get_mut(&name).map(|header| {
            header.set_sensitive(true);
            header.clone()
        });
        let mut others = Vec::new();
        // An entry costs as much as all of this, and few requests have any name twice.
        if several && let Ok(Entry::Occupied(mut entry)) = headers.try_entry(name) {
            for header in entry.iter_mut().skip(1) {
                header.set_sensitive(true);
                others.push(header.clone());
            }
        }
        Self { first, others }
    }

    fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.first.iter().chain(&self.others)
    }
}
