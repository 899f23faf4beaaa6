//! Who reads a cold session's row: one request of this process, while the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use session_core::store::StoreKey;
use tokio::sync::Semaphore;

/// The readings that are under way, by key: as many as there are requests that read, at most.
///
/// Whoever waits is told that the reading is over and not what was read: that may be older than the question. It asks the
/// cache again.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<StoreKey, Arc<Semaphore>>>);

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
    // Without permits: whoever waits leaves when it is closed.
    over: Arc<Semaphore>,
}

#[derive(Debug)]
pub(crate) struct Follow(Arc<Semaphore>);

impl Flights {
    pub(crate) fn join(&self, key: &StoreKey) -> Turn<'_> {
        let mut flights = self.lock();
        if let Some(over) = flights.get(key) {
            return Turn::Follows(Follow(Arc::clone(over)));
        }
        let over = Arc::new(Semaphore::const_new(0));
        flights.insert(key.clone(), Arc::clone(&over));
        Turn::Leads(Lead {
            flights: self,
            key: key.clone(),
            over,
        })
    }

    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follow {
    pub(crate) async fn ended(self) {
        drop(self.0.acquire().await);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
        self.over.close();
    }
}
