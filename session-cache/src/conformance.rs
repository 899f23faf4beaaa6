//! The tests that every [`Cache`] must pass. Feature `conformance`.
//!
//! One line in a cache's tests becomes one named test per clause. What a cache must do is said by the steps of this crate, which
//! are the model: random programs of operations, and everything that several callers do at once.
//!
//! ```
//! # #[cfg(feature = "memory")]
//! session_cache::cache_conformance_suite!(|| async { session_cache::MemoryCache::new() });
//! # fn main() {}
//! ```
//!
//! The argument makes a cache: a closure or function without parameters whose future gives one. Every call must give an **empty
//! cache that shares nothing** with those of the other calls (a prefix of its own will do), since the tests run side by side. They
//! bring their own runtime: tokio's, with several threads.
//!
//! The tests are in a module named `cache_conformance`; `name:` gives another. A cache that is to keep sessions, too, also passes
//! the tests of stores, as a [`CacheStore`](crate::CacheStore): `session_core::conformance_suite!`.
//!
//! With `SESSION_TEST_FULL=1` in the environment the random programs are many more.

mod clause;
mod model;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use session_core::store::StoreError;

use crate::cache::Cache;

/// What a cache did that the contract forbids.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        let mut text = format!("a call failed that should have succeeded: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Self(text)
    }
}

impl From<tokio::task::JoinError> for Broken {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(format!("a call panicked: {error}"))
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A cache that a clause's tasks share.
type Shared = Arc<dyn Cache>;

/// One sentence of the contract, and the test of it.
#[non_exhaustive]
pub struct Clause {
    /// The sentence, which is also the test's name.
    pub name: &'static str,
    check: fn(Shared) -> BoxFuture<Result<(), Broken>>,
}

impl Clause {
    /// The clause with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CLAUSES.iter().find(|clause| clause.name == name)
    }

    /// Tests the cache that `new_cache` makes, in a tokio runtime of its own.
    ///
    /// # Errors
    ///
    /// What the cache did against the clause.
    pub fn check<N, M, C>(&self, new_cache: N) -> Result<(), Broken>
    where
        N: FnOnce() -> M,
        M: Future<Output = C>,
        C: Cache,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .map_err(|error| Broken::new(format!("tokio's runtime did not start: {error}")))?;
        runtime.block_on(async {
            let cache: Shared = Arc::new(new_cache().await);
            tokio::time::timeout(CLAUSE_TIME_MAX, (self.check)(cache))
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(Broken::new(format!(
                        "the cache still had not answered after {CLAUSE_TIME_MAX:?}"
                    )))
                })
        })
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clause")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Longer than any clause takes over a slow network; a cache that hangs is told apart from one that is slow.
const CLAUSE_TIME_MAX: Duration = Duration::from_secs(300);

/// The body of every generated test.
///
/// # Panics
///
/// When the cache breaks the clause.
#[doc(hidden)]
#[expect(
    clippy::panic,
    reason = "this is the body of a test, and says so to the test harness"
)]
pub fn run<N, M, C>(name: &str, new_cache: N)
where
    N: FnOnce() -> M,
    M: Future<Output = C>,
    C: Cache,
{
    let Some(clause) = Clause::named(name) else {
        panic!("there is no clause named {name}");
    };
    if let Err(broken) = clause.check(new_cache) {
        panic!("{name}: {broken}");
    }
}

/// Every clause, by the file of `conformance/` that it is in. The only list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! __cache_conformance_clauses {
    ($callback:path, $($context:tt)*) => {
        $callback! {
            $($context)*
            model::random_programs_end_as_the_steps_say;
            clause::every_part_of_an_entry_comes_back;
            clause::of_concurrent_leases_one_is_held;
            clause::of_concurrent_adds_one_wins;
            clause::of_concurrent_swaps_at_one_version_one_wins;
            clause::of_concurrent_copies_the_newest_stays;
            clause::a_reader_fills_nothing_once_somebody_has_saved_or_ended;
            clause::of_concurrent_fills_only_the_holders_is_put;
            clause::nothing_is_put_over_a_tombstone;
            clause::a_burial_wins_over_everything_that_races_it;
            clause::a_tombstone_is_never_shortened;
            clause::leases_and_tombstones_end_by_themselves;
        }
    };
}

/// One test per clause of the contract of [`Cache`](crate::Cache): see [`conformance`](mod@crate::conformance).
///
/// `cache_conformance_suite!(new_cache)`, or with `name: module_name` after it.
#[macro_export]
macro_rules! cache_conformance_suite {
    ($new_cache:expr $(,)?) => {
        $crate::cache_conformance_suite!($new_cache, name: cache_conformance);
    };
    ($new_cache:expr, name: $suite:ident $(,)?) => {
        mod $suite {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "whatever the argument names")]
            use super::*;

            $crate::__cache_conformance_clauses! {
                $crate::__cache_conformance_tests,
                [$new_cache]
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __cache_conformance_tests {
    ([$new_cache:expr] $($file:ident::$name:ident;)+) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::run(stringify!($name), $new_cache);
            }
        )+
    };
}

macro_rules! list {
    ([] $($file:ident::$name:ident;)+) => {
        /// Every clause of the contract of caches.
        pub static CLAUSES: &[Clause] = &[
            $(Clause {
                name: stringify!($name),
                check: |cache| Box::pin($file::$name(cache)),
            },)+
        ];
    };
}
__cache_conformance_clauses! { list, [] }

/// Ends the clause with the message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Broken::new(format!($($message)+)));
        }
    };
}
use ensure;
