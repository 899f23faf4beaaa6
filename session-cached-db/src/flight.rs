//! Who reads a cold session's row: one request of this process, while the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use session_cache::Lease;
use session_core::store::StoreKey;
use tokio::sync::Semaphore;

/// The readings that are under way, by key: as many as there are requests that read, at most.
///
/// Whoever waits is told that the reading is over and not what was read: that may be older than the question. It asks the
/// cache again.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<StoreKey, Arc<Flight>>>);

#[derive(Debug)]
struct Flight {
    // Without permits: whoever waits leaves when it is closed.
    over: Semaphore,
    /// What a reading that came to no end has left in the slot.
    left: OnceLock<Lease>,
}

#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// Nobody reads this row: now this one does, until it is dropped.
    Leads(Lead<'a>),
    /// Somebody does.
    Follows(Follow),
}

/// Held while the row is read. Dropping it, also halfway, lets the others go on.
#[derive(Debug)]
#[must_use = "the others go on as soon as it is dropped"]
pub(crate) struct Lead<'a> {
    flights: &'a Flights,
    key: StoreKey,
    flight: Arc<Flight>,
    lease: Option<Lease>,
}

#[derive(Debug)]
pub(crate) struct Follow(Arc<Flight>);

impl Flights {
    pub(crate) fn join(&self, key: &StoreKey) -> Turn<'_> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            return Turn::Follows(Follow(Arc::clone(flight)));
        }
        let flight = Arc::new(Flight {
            over: Semaphore::const_new(0),
            left: OnceLock::new(),
        });
        flights.insert(key.clone(), Arc::clone(&flight));
        Turn::Leads(Lead {
            flights: self,
            key: key.clone(),
            flight,
            lease: None,
        })
    }

    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// The slot has this lease until it is filled.
    pub(crate) fn holds(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    pub(crate) fn has_filled(&mut self) {
        self.lease = None;
    }
}

impl Follow {
    /// Waits until the reading is over. If it came to no end, one of those who waited goes on under the same lease: no row
    /// that is read from now on is older than it.
    pub(crate) async fn ended(self) -> Option<Lease> {
        drop(self.0.over.acquire().await);
        self.0.left.get().copied()
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.flight.left.get_or_init(|| lease);
        }
        self.flights.lock().remove(&self.key);
        self.flight.over.close();
    }
}
