//! Each clause of the contract of caches fails on a cache that is broken on purpose.
#![cfg(all(feature = "conformance", feature = "memory"))]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use session_cache::conformance::{CLAUSES, Clause};
use session_cache::{Cache, Entry, Lease, MemoryCache, Slot};
use session_core::store::{Change, Record, Saved, StoreError, StoreKey, Timestamp, Version};

/// What a cache does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    RenewsTheDead,
    ForgetsOwners,
    LeasesTwice,
    AddsOverOthers,
    SwapsWithoutComparing,
    PutsOlderOverNewer,
    FillsWithoutALease,
    FillsForAnyReader,
    RemovesInsteadOfBurying,
    LosesTombstonesToFills,
    ShortensTombstones,
    NeverEndsALease,
}

/// Each clause, and a flaw that it must notice.
const SEEN: [(&str, Flaw); 12] = [
    ("random_programs_end_as_the_steps_say", Flaw::RenewsTheDead),
    ("every_part_of_an_entry_comes_back", Flaw::ForgetsOwners),
    ("of_concurrent_leases_one_is_held", Flaw::LeasesTwice),
    ("of_concurrent_adds_one_wins", Flaw::AddsOverOthers),
    (
        "of_concurrent_swaps_at_one_version_one_wins",
        Flaw::SwapsWithoutComparing,
    ),
    (
        "of_concurrent_copies_the_newest_stays",
        Flaw::PutsOlderOverNewer,
    ),
    (
        "a_reader_fills_nothing_once_somebody_has_saved_or_ended",
        Flaw::FillsWithoutALease,
    ),
    (
        "of_concurrent_fills_only_the_holders_is_put",
        Flaw::FillsForAnyReader,
    ),
    (
        "nothing_is_put_over_a_tombstone",
        Flaw::RemovesInsteadOfBurying,
    ),
    (
        "a_burial_wins_over_everything_that_races_it",
        Flaw::LosesTombstonesToFills,
    ),
    ("a_tombstone_is_never_shortened", Flaw::ShortensTombstones),
    (
        "leases_and_tombstones_end_by_themselves",
        Flaw::NeverEndsALease,
    ),
];

#[derive(Debug)]
struct Flawed {
    cache: MemoryCache,
    flaw: Flaw,
    /// When tombstones end that were shortened.
    shortened: Mutex<Vec<(StoreKey, Instant)>>,
}

impl Flawed {
    fn new(flaw: Flaw) -> Self {
        Self {
            cache: MemoryCache::new(),
            flaw,
            shortened: Mutex::default(),
        }
    }
}

#[async_trait]
impl Cache for Flawed {
    fn name(&self) -> &'static str {
        "a broken cache"
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        let shortened = self.shortened.lock();
        let has_ended = shortened.is_ok_and(|all| {
            all.iter()
                .any(|(other, end)| other == key && *end <= Instant::now())
        });
        if has_ended {
            return Ok(Slot::Empty);
        }
        self.cache.get(key).await
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let life = if self.flaw == Flaw::NeverEndsALease {
            Duration::from_secs(9_999)
        } else {
            life
        };
        let leased = self.cache.lease(key, lease, life).await?;
        Ok(leased || self.flaw == Flaw::LeasesTwice)
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        mut entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.flaw == Flaw::ForgetsOwners {
            entry.record.owner = None;
        }
        let held = match self.cache.get(key).await? {
            Slot::Leased { lease, .. } if self.flaw == Flaw::FillsForAnyReader => lease,
            Slot::Empty if self.flaw == Flaw::FillsWithoutALease => {
                self.cache
                    .lease(key, lease, Duration::from_secs(60))
                    .await?;
                lease
            }
            _ => lease,
        };
        self.cache.fill(key, held, entry, now).await
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.flaw != Flaw::PutsOlderOverNewer {
            return self.cache.put_newer(key, entry, now).await;
        }
        let lease = Lease::from_number(0);
        self.cache.invalidate(key).await?;
        self.cache
            .lease(key, lease, Duration::from_secs(60))
            .await?;
        self.cache.fill(key, lease, entry, now).await
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.cache.invalidate(key).await
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        match self.flaw {
            Flaw::RemovesInsteadOfBurying => {
                self.cache.invalidate(key).await?;
                return Ok(());
            }
            // Only what is an entry: a reader who holds a lease fills it afterwards.
            Flaw::LosesTombstonesToFills => {
                if matches!(self.cache.get(key).await?, Slot::Leased { .. }) {
                    return Ok(());
                }
            }
            Flaw::ShortensTombstones => {
                if let Ok(mut shortened) = self.shortened.lock() {
                    shortened.push((key.clone(), Instant::now() + life));
                }
            }
            _ => {}
        }
        self.cache.bury(key, life).await
    }

    async fn add(
        &self,
        key: &StoreKey,
        record: Record,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.flaw == Flaw::AddsOverOthers {
            self.cache.invalidate(key).await?;
        }
        self.cache.add(key, record, now).await
    }

    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let mut expected = expected.clone();
        if self.flaw == Flaw::SwapsWithoutComparing
            && let Slot::Entry(entry) = self.cache.get(key).await?
        {
            expected = entry.record.version;
        }
        self.cache
            .compare_and_swap(key, &expected, change, now)
            .await
    }

    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let renewed = self.cache.expire(key, expires_at, now).await?;
        Ok(renewed || self.flaw == Flaw::RenewsTheDead)
    }
}

#[test]
fn every_clause_fails_on_a_cache_that_breaks_it() {
    for clause in CLAUSES {
        assert!(
            SEEN.iter().any(|(name, _)| *name == clause.name),
            "no flaw shows that {} can fail",
            clause.name
        );
    }
    std::thread::scope(|scope| {
        for (name, flaw) in SEEN {
            scope.spawn(move || {
                let clause = Clause::named(name).expect("a clause of the kit");
                let broken = clause.check(|| async move { Flawed::new(flaw) });
                assert!(
                    broken.is_err(),
                    "{name} does not notice a cache that {flaw:?}"
                );
            });
        }
    });
}

#[test]
fn the_cache_without_a_flaw_passes() {
    for clause in CLAUSES {
        let checked = clause.check(|| async { Flawed::new(Flaw::None) });
        if let Err(broken) = checked {
            panic!("{}: {broken}", clause.name);
        }
    }
}
