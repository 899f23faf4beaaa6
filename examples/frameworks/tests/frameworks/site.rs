//! One application's store, which can be made to fail.

use std::sync::Arc;

use session_core::conformance::{Call, FaultStore, Operation};
use session_http::{MemoryStore, SessionLayer};

pub(crate) struct Site(Arc<FaultStore<MemoryStore>>);

impl Site {
    pub(crate) fn new() -> Self {
        Self(Arc::new(FaultStore::new(MemoryStore::new())))
    }

    pub(crate) fn layer(&self) -> SessionLayer {
        SessionLayer::new(Arc::clone(&self.0))
    }

    pub(crate) fn records(&self) -> usize {
        self.0.inner().len()
    }

    /// Refuses one kind of call from now on.
    pub(crate) fn refuse(&self, operation: Operation) {
        self.0.refuse(Call::of(operation).and_later());
    }

    /// Ends the refusals, of which there must have been one.
    pub(crate) fn heal(&self) {
        assert!(self.0.clear_faults(), "nothing was refused");
    }
}
