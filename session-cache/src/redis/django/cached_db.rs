//! The sessions of Django's `cached_db` engine: which copy Django drops, and when.

use std::collections::HashSet;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};
use tokio::time::sleep;
use tracing::Instrument as _;

use super::Space;
use crate::redis::config::RedisCacheConfig;
use crate::redis::link::Again;

/// In errors.
const NAME: &str = "the cache of Django's cached_db";

/// How long the cache may take to drop a copy. The answer about the row waits for it, and the whole has five seconds.
const TIMEOUT_MAX: Duration = Duration::from_secs(1);

/// After how long a copy is dropped once more. Whoever missed it before the write has read the old row by then, and kept it.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);

/// How many copies are remembered that could not be dropped. Some hours of an outage on a busy site.
const OWED_MAX: usize = 16_384;

/// How many of them go into one command.
const OWED_AT_ONCE: usize = 128;

/// How often they are tried.
const PAY_EVERY: Duration = Duration::from_secs(1);

/// The sessions of a Django project with `SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"`: `rows` is a store of
/// its table. Made by [`DjangoCacheConfig`](crate::DjangoCacheConfig).
///
/// Django keeps a copy of each row in its cache, as a pickle, and believes it without a look at the row. Pickles are neither read
/// nor written here. Sessions are read from the table, and after each write of a row Django's copy is dropped, so that Django
/// reads the row anew.
///
/// Cheap to clone; clones share the connection.
///
/// # When the cache can't be reached
///
/// | | |
/// | --- | --- |
/// | load, create, touch | do not need it |
/// | save | is stored, and an error is logged. Until the copy is dropped, Django reads what the session was, and may save that over it, as it may with its own copies. The copy is remembered, and dropped when the cache is back |
/// | rotate | [`Unavailable`](StoreError::Unavailable), and nothing has happened: the old key would stay good on Django's side |
/// | delete | the row is gone, and the answer is [`DeletedWithin`](StoreError::DeletedWithin): Django goes on reading its copy until that has expired. The copy is remembered, as for a save |
///
/// A call that is dropped, as when a visitor goes away, is finished all the same: what was begun with the row ends with the copy.
///
/// # What can't be helped
///
/// Django reads its cache, its table, and writes its cache, in three steps, and does not look whether anything happened in between:
///
/// - A request there that missed the copy, read the row, and is then overtaken by a write here keeps the old row as a copy. So a copy
///   is dropped twice, at once and a second later. What is kept later than that stays until its time has passed or the session
///   is written again: an old copy of a session that was saved here, a readable one of a session that was ended here. Django does
///   the same to itself.
/// - A request there that had loaded the session before a write here saves all of what it read: its last writer wins.
/// - A row that something else deletes or changes, without a word to the cache, lives on as a copy. `clearsessions` takes only what
///   has expired. A save here that finds no row drops the copy.
/// - A program that dies between the row and the copy leaves the copy.
#[derive(Debug)]
pub struct DjangoCachedDb<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    rows: S,
    copies: Arc<Copies>,
    copy_life_max: Duration,
}

/// Django's copies of rows.
#[derive(Debug)]
struct Copies {
    space: Space,
    owed: Mutex<Owed>,
}

/// The copies that could not be dropped. `Debug` shows how many: their keys are secret.
#[derive(Default)]
struct Owed {
    keys: HashSet<StoreKey>,
    is_being_paid: bool,
}

pub(super) fn with_short_timeout(config: RedisCacheConfig) -> RedisCacheConfig {
    let timeout = config.timeout().min(TIMEOUT_MAX);
    config.with_timeout(timeout)
}

impl<S: SessionStore> DjangoCachedDb<S> {
    pub(super) fn new(rows: S, space: Space, copy_life_max: Duration) -> Self {
        Self(Arc::new(Shared {
            rows,
            copies: Arc::new(Copies {
                space,
                owed: Mutex::default(),
            }),
            copy_life_max,
        }))
    }

    /// The store of the table.
    #[must_use]
    pub fn rows(&self) -> &S {
        &self.0.rows
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.0.copies.space.ping().await
    }

    /// Does `work` to its end, also if the caller does not wait for it.
    async fn finish<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<Shared<S>>) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.0)).in_current_span();
        match tokio::spawn(work).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => Err(StoreError::unavailable(
                    NAME,
                    operation,
                    "the program is shutting down",
                )),
            },
        }
    }
}

impl<S> Clone for DjangoCachedDb<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: SessionStore> Shared<S> {
    /// Drops the copy of a row that was written, now and a second later; what can't be dropped now is, once the cache is back.
    async fn forget(&self, key: &StoreKey, operation: &'static str) -> Result<(), StoreError> {
        let dropped = self.copies.forget([key], operation).await;
        let copies = Arc::downgrade(&self.copies);
        if dropped.is_ok() {
            let key = key.clone();
            drop(tokio::spawn(look_again(copies, key).in_current_span()));
        } else if self.copies.owe([key.clone()]) {
            drop(tokio::spawn(pay(copies)));
        }
        dropped
    }
}

/// Whoever missed the copy before the write has kept one of the old row by now.
async fn look_again(copies: Weak<Copies>, key: StoreKey) {
    sleep(SECOND_LOOK_AFTER).await;
    if let Some(copies) = copies.upgrade()
        && let Err(error) = copies.forget([&key], "look again").await
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "Django's copy of a session could not be dropped again"
        );
    }
}

/// Drops what is owed, until nothing is.
async fn pay(copies: Weak<Copies>) {
    loop {
        sleep(PAY_EVERY).await;
        let Some(copies) = copies.upgrade() else {
            return;
        };
        let Some(keys) = copies.some_owed() else {
            return;
        };
        match copies.forget(&keys, "drop copies").await {
            Ok(()) => tracing::info!(
                count = keys.len(),
                "Django's copies of sessions were dropped that could not be before"
            ),
            Err(_still_away) => {
                // Whoever owes them begins nothing anew: this goes on.
                let _is_first = copies.owe(keys);
            }
        }
    }
}

impl Copies {
    async fn forget(
        &self,
        keys: impl IntoIterator<Item = &StoreKey>,
        operation: &'static str,
    ) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        for key in keys {
            command.arg(self.space.key(key));
        }
        let answer = self.space.link.ask(&command, Again::Once).await;
        answer
            .map(drop)
            .map_err(|failure| failure.into_error(operation))
    }

    /// Remembers copies that could not be dropped. Says whether nobody sees to them yet.
    fn owe(&self, keys: impl IntoIterator<Item = StoreKey>) -> bool {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if owed.keys.len() >= OWED_MAX {
                tracing::error!(
                    limit = OWED_MAX,
                    "Django's cache has been away for too long: a copy that could not be dropped is no longer remembered"
                );
                break;
            }
            owed.keys.insert(key);
        }
        !std::mem::replace(&mut owed.is_being_paid, true)
    }

    /// Some of what is owed. With nothing left, nobody sees to it any more.
    fn some_owed(&self) -> Option<Vec<StoreKey>> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let some: Vec<StoreKey> = owed.keys.iter().take(OWED_AT_ONCE).cloned().collect();
        for key in &some {
            owed.keys.remove(key);
        }
        owed.is_being_paid = !some.is_empty();
        owed.is_being_paid.then_some(some)
    }
}

impl fmt::Debug for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owed({})", self.keys.len())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> SessionStore for DjangoCachedDb<S> {
    fn system_name(&self) -> &'static str {
        "cached_db"
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.rows.load(key, now).await
    }

    /// Leaves the cache alone: nobody has a copy under a key that nobody was given yet.
    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.rows.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "save";
        let (key, expected) = (key.clone(), expected.clone());
        self.finish(OPERATION, |shared| async move {
            let saved = shared.rows.save(&key, &expected, change, now).await;
            // A row that is gone may live on as a copy, and an error may have happened after the write.
            if !matches!(saved, Ok(Saved::Conflict))
                && let Err(error) = shared.forget(&key, OPERATION).await
            {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a session was saved, and Django's copy of it could not be dropped: until it is, Django reads what the \
                     session was"
                );
            }
            saved
        })
        .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        const OPERATION: &str = "delete";
        let key = key.clone();
        self.finish(OPERATION, |shared| async move {
            let deleted = shared.rows.delete(&key).await;
            let dropped = shared.forget(&key, OPERATION).await;
            let was_there = deleted?;
            if let Err(error) = dropped {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a session was ended, and Django's copy of it could not be dropped: until it is, Django lets its visitor in"
                );
                return Err(StoreError::deleted_within(NAME, shared.copy_life_max));
            }
            Ok(was_there)
        })
        .await
    }

    /// Leaves the cache alone: a copy that ends too early is read anew.
    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.rows.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "rotate";
        let (from, expected, to) = (from.clone(), expected.clone(), to.clone());
        self.finish(OPERATION, |shared| async move {
            // Before the row moves, so that there is no key left on Django's side if the cache is away.
            shared.copies.forget([&from], OPERATION).await?;
            let rows = &shared.rows;
            let saved = rows.rotate(&from, &expected, &to, change, now).await;
            if matches!(saved, Ok(Saved::Conflict)) {
                return saved;
            }
            let dropped = shared.forget(&from, OPERATION).await;
            let saved = saved?;
            if let (Saved::Stored(_), Err(error)) = (&saved, dropped) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a session moved to a new key, and Django's copy under the old one may be back and could not be dropped"
                );
                return Err(StoreError::deleted_within(NAME, shared.copy_life_max));
            }
            Ok(saved)
        })
        .await
    }

    /// Leaves the cache alone: a copy ends with its row.
    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.0.rows.clear_expired(now, progress).await
    }

    /// `None`: an index ends sessions without saying which, and their copies would stay.
    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.rows.scan()
    }
}
