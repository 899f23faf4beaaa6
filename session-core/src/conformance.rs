//! The tests that every store must pass, and tools to test what stands on a store. Feature `conformance`.
//!
//! One line in a backend's `tests/conformance.rs` becomes one named test per clause of the contract of
//! [`SessionStore`](crate::store::SessionStore). A clause that is added here reaches every backend when it is next
//! compiled.
//!
//! ```
//! use session_core::MemoryStore;
//!
//! session_core::conformance_suite!(|| async { MemoryStore::new() });
//! # fn main() {}
//! ```
//!
//! The argument makes a store: a closure or function without parameters whose future gives a [`Fixture`], which is a
//! store, or a pair of a store and a guard that must live as long (a temporary folder, a server). Every call must give
//! an **empty store that shares nothing** with those of the other calls, since the tests run side by side. The tests
//! bring their own runtime: tokio's, with several threads, and with its timers and sockets.
//!
//! # What a store may lack
//!
//! An [ability] that a store does not offer is declared with the reason. Its tests then say so aloud on stderr, and
//! fail if the store does offer it. What is not in that list is not optional, and a name that is not in it does not
//! compile.
//!
//! ```
//! use session_core::conformance::{DefaultBodies, FourMethodStore};
//!
//! session_core::conformance_suite!(
//!     || async { FourMethodStore::new() },
//!     except: [
//!         clear_expired = "a store of four methods",
//!         owner_index = "a store of four methods",
//!         scan = "a store of four methods",
//!     ]
//! );
//! # fn main() {}
//! ```
//!
//! ```compile_fail
//! session_core::conformance_suite!(
//!     || async { session_core::MemoryStore::new() },
//!     except: [save_is_compare_and_swap = "we have no time for that"]
//! );
//! # fn main() {}
//! ```
//!
//! The tests are in a module named `conformance`. For a second suite in the same file, `name:` gives another:
//! `conformance_suite!(new_store, name: through_a_pointer, except: [...])`.
//!
//! # Time
//!
//! No clause waits for anything to expire: each passes its own `now`, in the year 2100 and later, so that a garbage
//! collector that goes by the real time finds nothing to collect.
//!
//! With `SESSION_TEST_FULL=1` in the environment the random programs are many more and longer.
//!
//! # Security
//!
//! With the feature `sealed` as well, [`security_suite!`](crate::security_suite) makes tests of clauses about security: what a
//! store holds is of no use without the server's secrets, what was ended stays ended, limits hold under concurrent log-ins. They run
//! requests through a manager, over the same stores and with the same exceptions. [`live_with_secrets`] fills a store and
//! says what must be nowhere in a dump of it.
//!
//! # Tools
//!
//! [`FourMethodStore`] is the smallest store there is, with a latency if that is wanted, and [`DefaultBodies`] reduces any
//! store to its four required methods. What the tests of applications need as well is in [`testing`](crate::testing).

pub mod ability;
mod broken;
#[cfg(feature = "sealed")]
mod canaries;
mod clause;
mod default_bodies;
mod fixture;
mod four_methods;
#[cfg(feature = "sealed")]
mod security;
mod suite;

pub use broken::Broken;
#[cfg(feature = "sealed")]
pub use canaries::Canaries;
pub use default_bodies::DefaultBodies;
pub use fixture::Fixture;
pub use four_methods::FourMethodStore;
#[cfg(feature = "sealed")]
pub use security::{SECURITY_CLAUSES, live_with_secrets};
pub use suite::{CLAUSES, Clause};

#[doc(no_inline)]
pub use crate::testing::{Call, CountingStore, FaultStore, Gate, Operation};

#[doc(hidden)]
pub use suite::run;
