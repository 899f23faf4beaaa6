//! The contract of every store, over databases of both kinds, and with caches that are down, hang, come late or forget.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use session_cache::{Cache, MemoryCache};
use session_cached_db::{CachedDbConfig, CachedDbStore};
use session_core::MemoryStore;
use session_core::store::{
    Change, NewRecord, Payload, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp,
    Version, VersionContent,
};
use session_db::{DbStore, DbStoreConfig, SyncPolicy};
use tempfile::TempDir;

use support::assured::{Assured, Overheard};
use support::fault_cache::{Fate, FaultCache};

#[cfg(test)]
mod support;

session_core::conformance_suite!(
    || async { CachedDbStore::single_process(MemoryCache::new(), MemoryStore::new()) },
    name: over_memory
);

#[cfg(test)]
async fn in_a_file() -> (DbStore, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let config = DbStoreConfig::new().with_sync(SyncPolicy::AtCheckpoints);
    let store = config.connect(&url).await.expect("a new file");
    store.migrate().await.expect("a new table");
    (store, folder)
}

session_core::conformance_suite!(
    || async {
        let (database, folder) = in_a_file().await;
        (CachedDbStore::single_process(MemoryCache::new(), database), folder)
    },
    name: over_sqlite
);

/// A table as Django makes it: key, data and expiry, and the data itself for a version.
#[derive(Debug, Default)]
struct ThreeColumns(Mutex<HashMap<StoreKey, (VersionContent, Timestamp)>>);

impl ThreeColumns {
    fn rows(&self) -> MutexGuard<'_, HashMap<StoreKey, (VersionContent, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for ThreeColumns {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let rows = self.rows();
        let live = rows.get(key).filter(|(_, expires_at)| *expires_at > now);
        Ok(live.map(|(data, expires_at)| {
            let payload = Payload::from_bytes(data.as_bytes().clone());
            Record::new(payload, *expires_at, Version::Content(data.clone()))
        }))
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let data = VersionContent::new(new.payload.to_bytes()?);
        let mut rows = self.rows();
        if rows
            .get(key)
            .is_some_and(|(_, expires_at)| *expires_at > now)
        {
            return Err(StoreError::key_taken("the three columns"));
        }
        rows.insert(key.clone(), (data.clone(), new.expires_at));
        Ok(Version::Content(data))
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let data = VersionContent::new(change.payload.to_bytes()?);
        let mut rows = self.rows();
        let Some((held, expires_at)) = rows
            .get_mut(key)
            .filter(|(_, expires_at)| *expires_at > now)
        else {
            return Ok(Saved::Gone);
        };
        if Version::Content(held.clone()) != *expected {
            return Ok(Saved::Conflict);
        }
        *held = data.clone();
        *expires_at = change.expiry.apply(*expires_at);
        Ok(Saved::Stored(Version::Content(data)))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Ok(self.rows().remove(key).is_some())
    }
}

session_core::conformance_suite!(
    || async { CachedDbStore::single_process(MemoryCache::new(), ThreeColumns::default()) },
    name: over_versions_without_order,
    except: [
        clear_expired = "not one of the four methods",
        owner_index = "no column for an owner",
        scan = "not one of the four methods",
        owner_label_and_creation_time = "no columns for them",
        versions_are_unique = "no column for a version: the data itself is compared",
    ]
);

/// A cached database whose deletes may say that a copy can be read for a while.
fn impatient<C: Cache>(
    cache: C,
    cache_timeout: Duration,
) -> Assured<CachedDbStore<C, Overheard<MemoryStore>>> {
    let config = CachedDbConfig::new().with_cache_timeout(cache_timeout);
    Assured(config.build_single_process(cache, Overheard(MemoryStore::new())))
}

const PATIENT: Duration = Duration::from_secs(5);
const IMPATIENT: Duration = Duration::from_millis(2);

session_core::conformance_suite!(
    || async {
        let cache = FaultCache::new();
        cache.all(Fate::Refused);
        impatient(cache, PATIENT)
    },
    name: with_the_cache_down
);

session_core::conformance_suite!(
    || async {
        let cache = FaultCache::new();
        cache.all(Fate::Hangs);
        impatient(cache, IMPATIENT)
    },
    name: with_a_cache_that_never_answers
);

session_core::conformance_suite!(
    || async {
        let cache = FaultCache::new();
        cache.all(Fate::Late(Duration::from_millis(1)));
        CachedDbConfig::new()
            .with_cache_timeout(PATIENT)
            .build_single_process(cache, MemoryStore::new())
    },
    name: with_a_slow_cache
);

/// Numbers without order, the same ones in each run.
struct Dice(AtomicU64);

impl Dice {
    const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn below(&self, limit: u64) -> u64 {
        let step = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (step ^ (step >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

session_core::conformance_suite!(
    || async {
        let (cache, dice) = (FaultCache::new(), Dice::new(1));
        cache.plan(move |_, _| match dice.below(3) {
            0 => Fate::Forgotten,
            _ => Fate::Passes,
        });
        CachedDbStore::single_process(cache, MemoryStore::new())
    },
    name: with_a_cache_that_forgets
);

// Some calls are given up before they reach the cache, which they do all the same, later; others don't, or lose their answer.
session_core::conformance_suite!(
    || async {
        let (cache, dice) = (FaultCache::new(), Dice::new(2));
        cache.plan(move |_, _| match dice.below(12) {
            0 => Fate::Forgotten,
            1 => Fate::Refused,
            2 => Fate::AnswerLost,
            3 => Fate::Late(Duration::from_millis(3)),
            4 => Fate::Damaged,
            _ => Fate::Passes,
        });
        impatient(cache, IMPATIENT)
    },
    name: with_a_cache_that_does_all_of_it
);
