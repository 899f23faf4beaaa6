//! The stores that this build knows: how each is opened, set up and looked at.

#[cfg(all(
    feature = "redis",
    any(feature = "sqlite", feature = "postgres", feature = "mysql")
))]
mod cached;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod database;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "redis")]
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use session_core::store::SessionStore;

use crate::outcome::Failure;
use crate::place::Place;

/// A store, and what an operator does to it besides using it.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// For the contract's operations.
    fn store(&self) -> Arc<dyn SessionStore>;

    /// Makes what sessions are kept in, unless it is there. Says what it was about.
    async fn migrate(&self) -> Result<String, Failure>;

    /// The text that `migrate` runs, if it is one.
    fn migration(&self) -> Option<String> {
        None
    }

    /// All that is wrong, the worst first.
    async fn check(&self) -> Result<Vec<Finding>, Failure>;
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What was found, what that means for sessions, and what to do.
    pub(crate) advice: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Sessions may be lost in ways that some live with.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only Redis is warned of")
    )]
    Warning,
    /// Sessions can't be kept, or will be lost.
    Error,
}

impl Finding {
    pub(crate) const fn error(advice: String) -> Self {
        Self {
            severity: Severity::Error,
            advice,
        }
    }
}

/// Whether a file or a folder that is not there may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A store that is not there is a mistake in its name.
    Existing,
    /// It may be new.
    MayMake,
}

impl Place {
    /// The store at this place.
    pub(crate) async fn open(&self, opening: Opening) -> Result<Box<dyn Backend>, Failure> {
        let opened = self.opened(opening).await;
        opened.map_err(|failure| Failure::failed(format!("{self}: {failure}")))
    }

    #[cfg_attr(
        not(any(
            feature = "redis",
            feature = "sqlite",
            feature = "postgres",
            feature = "mysql"
        )),
        expect(clippy::unused_async, reason = "only a server is waited for")
    )]
    async fn opened(&self, opening: Opening) -> Result<Box<dyn Backend>, Failure> {
        match self {
            #[cfg(feature = "file")]
            Self::File(folder) => Ok(Box::new(file::Files::open(folder, opening)?)),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Self::Database(place) => Ok(Box::new(database::Table::open(place, opening).await?)),
            #[cfg(feature = "redis")]
            Self::Redis(place) => Ok(Box::new(redis::Keys::open(place).await?)),
            #[cfg(all(
                feature = "redis",
                any(feature = "sqlite", feature = "postgres", feature = "mysql")
            ))]
            Self::Cached { cache, database } => Ok(Box::new(cached::Cached::new(
                redis::Keys::open(cache).await?,
                database::Table::open(database, opening).await?,
            ))),
            #[expect(
                clippy::allow_attributes,
                reason = "whether it can be reached depends on the features"
            )]
            #[allow(unreachable_patterns, reason = "as said above")]
            other => {
                let _not_compiled = (other, opening);
                Err(Failure::failed(
                    "this build of `sessions` knows no such store: install it with its feature (file, sqlite, postgres, mysql or redis)",
                ))
            }
        }
    }
}
