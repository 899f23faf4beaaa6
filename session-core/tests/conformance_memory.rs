//! The stores of this crate, and the pointers and wrappers around them, pass every clause of the contract.
#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::time::Duration;

use session_core::MemoryStore;
use session_core::conformance::{CountingStore, DefaultBodies, FaultStore, FourMethodStore};
use session_core::store::SessionStore;

session_core::conformance_suite!(|| async { MemoryStore::new() }, name: memory);

session_core::conformance_suite!(
    || async { Arc::new(MemoryStore::new()) as Arc<dyn SessionStore> },
    name: through_a_shared_pointer,
);

session_core::conformance_suite!(
    || async { Box::new(MemoryStore::new()) as Box<dyn SessionStore> },
    name: through_a_box,
);

session_core::conformance_suite!(
    || async { (FaultStore::new(CountingStore::new(MemoryStore::new())), "a guard") },
    name: through_the_tools,
);

session_core::conformance_suite!(
    || async { FourMethodStore::new() },
    name: four_methods,
    except: [
        clear_expired = "not one of the four methods",
        owner_index = "not one of the four methods",
        scan = "not one of the four methods",
    ],
);

session_core::conformance_suite!(
    || async { FourMethodStore::new().with_latency(Duration::from_millis(2)) },
    name: four_methods_far_away,
    except: [
        clear_expired = "not one of the four methods",
        owner_index = "not one of the four methods",
        scan = "not one of the four methods",
    ],
);

session_core::conformance_suite!(
    || async { DefaultBodies::new(MemoryStore::new()) },
    name: memory_without_its_own_bodies,
    except: [
        clear_expired = "not one of the four methods",
        owner_index = "not one of the four methods",
        scan = "not one of the four methods",
    ],
);

#[cfg(feature = "sealed")]
mod with_secrets {
    use super::*;

    session_core::security_suite!(|| async { MemoryStore::new() }, name: memory);

    session_core::security_suite!(
        || async { FourMethodStore::new() },
        name: four_methods,
        except: [
            owner_index = "not one of the four methods",
            scan = "not one of the four methods",
        ],
    );
}
