//! Stores that fail, wait and count on demand, for the tests of whatever stands on a store. Feature `test-util`.
//!
//! "The store is down", "the second tab was faster", "one round trip, not two": [`FaultStore`] refuses a call, holds it or
//! loses its answer, and [`CountingStore`] counts calls. They wrap any store, and each other. Time is moved by a
//! [`ManualClock`](crate::ManualClock), which needs no feature.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! use std::sync::Arc;
//! use session_core::testing::{CountingStore, FaultStore, Operation};
//! use session_core::{MemoryStore, SessionManager};
//!
//! let store = Arc::new(FaultStore::new(CountingStore::new(MemoryStore::new())));
//! let manager = SessionManager::new(Arc::clone(&store));
//! let session = manager.start();
//! session.set("n", &1)?;
//!
//! store.refuse(Operation::Create);
//! assert!(session.save().await.unwrap_err().is_unavailable());
//! session.save().await?;
//! assert_eq!(store.inner().count(Operation::Create), 1, "the refused call reached the store");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod counting;
mod fault;
mod gate;
mod operation;

pub use counting::CountingStore;
pub use fault::{Call, FaultStore};
pub use gate::Gate;
pub use operation::Operation;
