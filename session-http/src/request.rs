//! What a request carries: its `Cookie` headers as they came, and a slot for the session once somebody asks for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::header::{COOKIE, Entry};
use http::{Extensions, HeaderMap, HeaderValue, Request};
use session_core::Activity;
use session_core::adapter::SessionSlot;

use crate::cookie::{self, Found};
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
    /// Whether somebody has said that this request is no sign of life from its visitor.
    is_no_activity: AtomicBool,
    outer: Option<Carried>,
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
    pub(crate) fn new<B>(setup: &Arc<Setup>, request: &mut Request<B>) -> Self {
        let outer = request.extensions().get::<Self>().cloned();
        let is_no_activity = request.extensions().get::<NoActivity>().is_some();
        Self::of_headers(setup, request.headers_mut(), outer, is_no_activity)
    }

    /// For a request that is not `http`'s. `outer` is what the layer around this one has put into it.
    pub(crate) fn of_headers(
        setup: &Arc<Setup>,
        headers: &mut HeaderMap,
        outer: Option<Self>,
        is_no_activity: bool,
    ) -> Self {
        Self(Arc::new(CarriedSession {
            setup: Arc::clone(setup),
            cookies: Cookies::of(headers),
            asked: OnceLock::new(),
            late: OnceLock::new(),
            is_no_activity: AtomicBool::new(is_no_activity),
            outer,
        }))
    }

    /// What the innermost layer has put into the request.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Error> {
        extensions.get().ok_or(Error::MissingLayer)
    }

    /// Tells this layer and those around it that nobody is there.
    pub(crate) fn ignore_activity(&self) {
        let mut layer = Some(self);
        while let Some(Self(carried)) = layer {
            carried.ignore_activity();
            layer = carried.outer.as_ref();
        }
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

    fn ignore_activity(&self) {
        self.is_no_activity.store(true, Ordering::Relaxed);
        if let Some(Some(slot)) = self.asked.get() {
            slot.set_activity(Activity::Ignore);
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
        if self.is_no_activity.load(Ordering::Relaxed) {
            slot.set_activity(Activity::Ignore);
        }
        let name = cookie.name().as_bytes();
        let mut has_look_alike = false;
        let found = self
            .cookies
            .iter()
            .flat_map(|header| cookie::find(header.as_bytes(), name));
        slot.present(found.filter_map(|found| match found {
            Found::Value(value) => Some(value),
            Found::LookAlike => {
                has_look_alike = true;
                None
            }
        }));
        if has_look_alike {
            self.setup.warn_of_look_alike();
        }
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
