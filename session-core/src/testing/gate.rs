//! A gate that holds a call until a test lets it go on.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Holds a call of a [`FaultStore`](crate::testing::FaultStore) until it is released. Dropping the gate releases it, so that a failing test ends.
#[must_use = "dropping the gate releases the call"]
pub struct Gate(Arc<Passage>);

impl Gate {
    pub(super) const fn new(passage: Arc<Passage>) -> Self {
        Self(passage)
    }

    /// Waits until the call has arrived at the gate.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn reached(&self) {
        self.0.reached.wait().await;
    }

    /// Whether the call has arrived.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.0.reached.is_open()
    }

    /// Lets the call go on, now or when it arrives.
    pub fn release(&self) {
        self.0.released.open();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("reached", &self.is_reached())
            .field("released", &self.0.released.is_open())
            .finish()
    }
}

#[derive(Default)]
pub(super) struct Passage {
    reached: Latch,
    released: Latch,
}

impl Passage {
    pub(super) async fn pass(&self) {
        self.reached.open();
        self.released.wait().await;
    }
}

/// Shut until it is opened, then open for good: a semaphore without permits, which waiters leave when it is closed.
struct Latch(Semaphore);

impl Default for Latch {
    fn default() -> Self {
        Self(Semaphore::const_new(0))
    }
}

impl Latch {
    fn open(&self) {
        self.0.close();
    }

    fn is_open(&self) -> bool {
        self.0.is_closed()
    }

    async fn wait(&self) {
        drop(self.0.acquire().await);
    }
}
