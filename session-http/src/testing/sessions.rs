//! An application's sessions in memory, with a hand on their store and their clock.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use session_core::testing::{CountingStore, FaultStore};
use session_core::{ManualClock, MemoryStore, Policy, SessionManager};

use crate::testing::client::TestClient;
use crate::tower::layer::SessionLayer;

/// A store in memory that counts what reaches it, and fails or waits when it is told to.
pub type TestStore = FaultStore<CountingStore<MemoryStore>>;

/// The clock's first moment: 2026-01-02 03:04:05 UTC, the same in each run.
const BEGINNING: Duration = Duration::from_secs(1_767_323_045);

/// The sessions of an application under test: in memory, with a hand on the store and the clock.
///
/// Give its [`layer`](Self::layer) or its [`manager`](Self::manager) to the application, and send it the requests of its
/// [`client`](Self::client)s. [The module's page](crate::testing) has a whole test.
pub struct TestSessions {
    layer: SessionLayer,
    manager: SessionManager,
    store: Arc<TestStore>,
    clock: Arc<ManualClock>,
}

impl TestSessions {
    /// Sessions under the default policy, behind the default layer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(Policy::new())
    }

    /// Sessions under `policy`, behind the default layer.
    #[must_use]
    pub fn with_policy(policy: Policy) -> Self {
        let store = Arc::new(FaultStore::new(CountingStore::new(MemoryStore::new())));
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + BEGINNING));
        let manager = SessionManager::new(Arc::clone(&store))
            .with_policy(policy)
            .with_clock(Arc::clone(&clock));
        Self {
            layer: SessionLayer::new(manager.clone()),
            manager,
            store,
            clock,
        }
    }

    /// Changes the layer as the application does: another cookie, a header in its place.
    #[must_use]
    pub fn with_layer(mut self, change: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        self.layer = change(self.layer);
        self
    }

    /// The layer, for the application.
    pub fn layer(&self) -> SessionLayer {
        self.layer.clone()
    }

    /// The manager, for an application that makes its own layer, and for what an administrator does.
    #[must_use]
    pub fn manager(&self) -> &SessionManager {
        &self.manager
    }

    /// The store: `store().refuse(Operation::Save)`, `store().inner().count(Operation::Load)`.
    #[must_use]
    pub fn store(&self) -> &TestStore {
        &self.store
    }

    /// The clock, which stands still until it is moved.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// A client who has no session yet.
    #[must_use]
    pub fn client(&self) -> TestClient {
        TestClient::new(&self.layer)
    }
}

impl Default for TestSessions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSessions").finish_non_exhaustive()
    }
}
