//! Random programs of operations, with random moments, end as they do over [`MemoryStore`].

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, prop, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::clock::Timestamp;
use crate::conformance::ability;
use crate::conformance::broken::{Broken, chain, ensure};
use crate::conformance::clause::setting::{NOW, data, key, payload};
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::memory::MemoryStore;
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, Label, NewRecord, Record, Saved, Version};
use crate::store::{SessionStore, StoreError};

const KEYS: usize = 3;

pub(in crate::conformance) async fn random_programs_end_as_over_the_memory_store(
    stores: Stores,
) -> Result<(), Broken> {
    let full = std::env::var_os("SESSION_TEST_FULL").is_some_and(|value| value == "1");
    let (cases, steps_max) = if full { (1_000, 120) } else { (64, 40) };
    // Each with a store of its own, so that one's clearing does not meet another's records.
    let mut benches = Vec::new();
    for _ in 0..BENCHES {
        let lab = Lab {
            store: stores.fresh().await,
            keeps_particulars: stores.offer(ability::owner_label_and_creation_time),
            versions_are_unique: stores.offer(ability::versions_are_unique),
        };
        benches.push(tokio::task::spawn_blocking(move || {
            lab.run_programs(cases / BENCHES, steps_max)
        }));
    }
    for bench in benches {
        bench.await??;
    }
    Ok(())
}

/// How many programs run at once: over a network they wait most of the time.
const BENCHES: u32 = 4;

/// One operation, and how many seconds pass before it.
#[derive(Debug, Clone)]
struct Step {
    after_secs: u64,
    call: Call,
}

#[derive(Debug, Clone)]
enum Call {
    Create {
        key: usize,
        lives_secs: u64,
        owner: Option<u8>,
    },
    Save {
        key: usize,
        version: Known,
        expiry: Moved,
        owner: Option<u8>,
    },
    Touch {
        key: usize,
        to_secs: i64,
    },
    Rotate {
        from: usize,
        to_another: usize,
        version: Known,
        expiry: Moved,
        owner: Option<u8>,
    },
    Delete {
        key: usize,
    },
    ClearExpired,
}

/// A version that the program has seen.
#[derive(Debug, Clone, Copy)]
enum Known {
    Newest,
    Old,
}

/// An expiry change, relative to now.
#[derive(Debug, Clone, Copy)]
enum Moved {
    Keep,
    AtLeast(i64),
    Set(i64),
}

impl Moved {
    fn at(self, now: Timestamp) -> ExpiryChange {
        let moment = |secs: i64| Timestamp::from_secs(now.as_secs().saturating_add(secs));
        match self {
            Self::Keep => ExpiryChange::Keep,
            Self::AtLeast(secs) => ExpiryChange::AtLeast(moment(secs)),
            Self::Set(secs) => ExpiryChange::Set(moment(secs)),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || 0..KEYS;
    let owner = || prop::option::weighted(0.7, 0..3_u8);
    let known = || prop_oneof![4 => Just(Known::Newest), 1 => Just(Known::Old)];
    let moved = || {
        prop_oneof![
            3 => Just(Moved::Keep),
            2 => (-2..60_i64).prop_map(Moved::AtLeast),
            2 => (-2..60_i64).prop_map(Moved::Set),
        ]
    };
    let create = (keys(), 0..40_u64, owner()).prop_map(|(key, lives_secs, owner)| Call::Create {
        key,
        lives_secs,
        owner,
    });
    let save =
        (keys(), known(), moved(), owner()).prop_map(|(key, version, expiry, owner)| Call::Save {
            key,
            version,
            expiry,
            owner,
        });
    let touch = (keys(), -2..60_i64).prop_map(|(key, to_secs)| Call::Touch { key, to_secs });
    let rotate = (keys(), 1..KEYS, known(), moved(), owner()).prop_map(
        |(from, to_another, version, expiry, owner)| Call::Rotate {
            from,
            to_another,
            version,
            expiry,
            owner,
        },
    );
    let delete = keys().prop_map(|key| Call::Delete { key });
    let call = prop_oneof![
        4 => create,
        5 => save,
        3 => touch,
        4 => rotate,
        2 => delete,
        1 => Just(Call::ClearExpired),
    ];
    let after_secs = prop_oneof![3 => Just(0), 3 => 0..20_u64, 1 => 0..120_u64];
    (after_secs, call).prop_map(|(after_secs, call)| Step { after_secs, call })
}

/// The store under test, beside which a memory store does the same.
struct Lab {
    store: Store,
    keeps_particulars: bool,
    versions_are_unique: bool,
}

/// What a program knows of a key: the version of the model and that of the store, the newest and the one before.
#[derive(Clone, Default)]
struct Versions {
    newest: Option<(Version, Version)>,
    old: Option<(Version, Version)>,
}

impl Versions {
    /// A key without a record is asked for with a version that means nothing.
    fn get(&self, known: Known) -> (Version, Version) {
        let pair = match known {
            Known::Newest => self.newest.as_ref(),
            Known::Old => self.old.as_ref().or(self.newest.as_ref()),
        };
        pair.cloned()
            .unwrap_or((Version::Counter(0), Version::Counter(0)))
    }

    fn advance(&mut self, newest: (Version, Version)) {
        self.old = self.newest.replace(newest);
    }
}

struct Run<'a> {
    lab: &'a Lab,
    model: MemoryStore,
    keys: Vec<StoreKey>,
    versions: Vec<Versions>,
    now: Timestamp,
    written: u64,
}

impl Lab {
    /// Runs so many random programs, and shrinks the first one that fails.
    fn run_programs(&self, cases: u32, steps_max: usize) -> Result<(), Broken> {
        let runtime = tokio::runtime::Handle::current();
        let mut runner = TestRunner::new(Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 4_000,
            ..Config::default()
        });
        let next_key = Cell::new(0);
        let outcome = runner.run(&prop::collection::vec(step(), 1..=steps_max), |program| {
            // Keys of its own, so that one store serves all programs.
            let first_key = next_key.get();
            next_key.set(first_key + KEYS as u64);
            runtime
                .block_on(self.run(&program, first_key))
                .map_err(|broken| TestCaseError::fail(broken.to_string()))
        });
        match outcome {
            Ok(()) => Ok(()),
            Err(TestError::Fail(reason, program)) => Err(Broken::new(format!(
                "{reason}; the shortest program found that shows it: {program:#?}"
            ))),
            Err(TestError::Abort(reason)) => {
                Err(Broken::new(format!("no programs could be made: {reason}")))
            }
        }
    }

    async fn run(&self, program: &[Step], first_key: u64) -> Result<(), Broken> {
        let mut run = Run {
            lab: self,
            model: MemoryStore::new(),
            keys: (first_key..).take(KEYS).map(key).collect(),
            versions: vec![Versions::default(); KEYS],
            now: NOW,
            written: 0,
        };
        for (n, Step { after_secs, call }) in program.iter().enumerate() {
            run.now = run.now.saturating_add(Duration::from_secs(*after_secs));
            run.call(call)
                .await
                .map_err(|broken| Broken::new(format!("step {n}: {broken}")))?;
        }
        for n in 0..KEYS {
            run.compare(n, "the program").await?;
        }
        Ok(())
    }
}

impl Run<'_> {
    async fn call(&mut self, call: &Call) -> Result<(), Broken> {
        let now = self.now;
        match *call {
            Call::Create {
                key,
                lives_secs,
                owner,
            } => self.create(key, lives_secs, owner).await,
            Call::Save {
                key,
                version,
                expiry,
                owner,
            } => {
                let change = self.change(expiry, owner);
                self.save(key, version, change).await
            }
            Call::Touch { key, to_secs } => self.touch(key, Moved::Set(to_secs)).await,
            Call::Rotate {
                from,
                to_another,
                version,
                expiry,
                owner,
            } => {
                let change = self.change(expiry, owner);
                self.rotate(from, (from + to_another) % KEYS, version, change)
                    .await
            }
            Call::Delete { key } => {
                let lives = self.model.load(self.key(key)?, now).await?.is_some();
                self.model.delete(self.key(key)?).await?;
                let deleted = self.lab.store.delete(self.key(key)?).await?;
                // What deleting an expired record answers is unspecified.
                ensure!(
                    deleted || !lives,
                    "a delete of a live session says that there was none"
                );
                self.compare(key, "a delete").await
            }
            Call::ClearExpired => {
                self.model.clear_expired(now, &mut |_| {}).await?;
                match self.lab.store.clear_expired(now, &mut |_| {}).await {
                    Ok(_) | Err(StoreError::Unsupported { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                for n in 0..KEYS {
                    self.compare(n, "clear_expired").await?;
                }
                Ok(())
            }
        }
    }

    fn key(&self, n: usize) -> Result<&StoreKey, Broken> {
        self.keys
            .get(n)
            .ok_or_else(|| Broken::new("the kit's own key"))
    }

    fn versions(&mut self, n: usize) -> Result<&mut Versions, Broken> {
        self.versions
            .get_mut(n)
            .ok_or_else(|| Broken::new("the kit's own key"))
    }

    /// Data that was never written before, so that a store that compares data notices every change.
    fn data(&mut self) -> String {
        self.written += 1;
        format!("write {}", self.written)
    }

    fn change(&mut self, expiry: Moved, owner: Option<u8>) -> Change {
        Change {
            owner: owner.map(Owner::from),
            label: owner.map(|n| Label::new(&n.to_string())),
            created_at: owner.map(|n| Timestamp::from_secs(n.into())),
            ..Change::new(payload(self.data()), expiry.at(self.now))
        }
    }

    async fn create(&mut self, n: usize, lives_secs: u64, owner: Option<u8>) -> Result<(), Broken> {
        let Change {
            payload,
            owner,
            label,
            created_at,
            ..
        } = self.change(Moved::Keep, owner);
        let expires_at = self.now.saturating_add(Duration::from_secs(lives_secs));
        let new = NewRecord {
            owner,
            label,
            created_at,
            ..NewRecord::new(payload, expires_at)
        };
        let model = self.model.create(self.key(n)?, new.clone(), self.now).await;
        let found = self.lab.store.create(self.key(n)?, new, self.now).await;
        match (model, found) {
            (Ok(model), Ok(found)) => {
                self.versions(n)?.advance((model, found));
                if !self.lab.versions_are_unique {
                    self.versions(n)?.old = None;
                }
            }
            (Err(StoreError::KeyTaken { .. }), Err(StoreError::KeyTaken { .. })) => {}
            (expected, found) => {
                return Err(differ("create", &outcome(&expected), &outcome(&found)));
            }
        }
        self.compare(n, "a create").await
    }

    async fn save(&mut self, n: usize, known: Known, change: Change) -> Result<(), Broken> {
        let (model, found) = self.versions(n)?.get(known);
        let key = self.key(n)?;
        let expected = self.model.save(key, &model, change.clone(), self.now).await;
        let found = self.lab.store.save(key, &found, change, self.now).await;
        self.saved("save", n, expected, found)?;
        self.compare(n, "a save").await
    }

    async fn rotate(
        &mut self,
        from: usize,
        to: usize,
        known: Known,
        change: Change,
    ) -> Result<(), Broken> {
        let (model, found) = self.versions(from)?.get(known);
        let (old, new) = (self.key(from)?, self.key(to)?);
        let expected = self
            .model
            .rotate(old, &model, new, change.clone(), self.now)
            .await;
        let found = self
            .lab
            .store
            .rotate(old, &found, new, change, self.now)
            .await;
        self.saved("rotate", to, expected, found)?;
        if !self.lab.versions_are_unique {
            self.versions(to)?.old = None;
        }
        self.compare(from, "a rotate away from it").await?;
        self.compare(to, "a rotate onto it").await
    }

    fn saved(
        &mut self,
        operation: &str,
        n: usize,
        expected: Result<Saved, StoreError>,
        found: Result<Saved, StoreError>,
    ) -> Result<(), Broken> {
        match (expected, found) {
            (Ok(Saved::Stored(model)), Ok(Saved::Stored(found))) => {
                self.versions(n)?.advance((model, found));
                Ok(())
            }
            (Ok(Saved::Conflict), Ok(Saved::Conflict))
            | (Ok(Saved::Gone), Ok(Saved::Gone))
            | (Err(StoreError::KeyTaken { .. }), Err(StoreError::KeyTaken { .. })) => Ok(()),
            (expected, found) => Err(differ(operation, &outcome(&expected), &outcome(&found))),
        }
    }

    async fn touch(&mut self, n: usize, to: Moved) -> Result<(), Broken> {
        let ExpiryChange::Set(moment) = to.at(self.now) else {
            return Ok(());
        };
        let key = self.key(n)?;
        let expected = self.model.touch(key, moment, self.now).await?;
        let found = self.lab.store.touch(key, moment, self.now).await?;
        if expected != found {
            return Err(differ("touch", &expected.to_string(), &found.to_string()));
        }
        // The default body changes the version, a store's own body may not: whatever it is now is the newest, and
        // nothing is known of the one before.
        let model = self.model.load(key, self.now).await?;
        let found = self.lab.store.load(key, self.now).await?;
        if let (Some(model), Some(found)) = (model, found) {
            self.versions(n)?.newest = Some((model.version, found.version));
        }
        self.compare(n, "a touch").await
    }

    async fn compare(&self, n: usize, after: &str) -> Result<(), Broken> {
        let key = self.key(n)?;
        let expected = self.model.load(key, self.now).await?;
        let found = self.lab.store.load(key, self.now).await?;
        let (expected, found) = match (expected, found) {
            (None, None) => return Ok(()),
            (Some(expected), Some(found)) => (expected, found),
            (Some(_), None) => {
                return Err(Broken::new(format!(
                    "after {after} the session under key {n} is gone"
                )));
            }
            (None, Some(_)) => {
                return Err(Broken::new(format!(
                    "after {after} a session lives under key {n} that should not"
                )));
            }
        };
        let (expected, found) = (self.shown(&expected)?, self.shown(&found)?);
        if expected == found {
            Ok(())
        } else {
            let what = format!("after {after} the session under key {n}");
            Err(differ(&what, &expected, &found))
        }
    }

    /// The record as far as the store keeps it, as text to be compared.
    fn shown(&self, record: &Record) -> Result<String, Broken> {
        let Record {
            expires_at,
            owner,
            label,
            created_at,
            ..
        } = record;
        let secs = expires_at.as_secs() - NOW.as_secs();
        let mut shown = format!("{:?} until {secs}", data(record)?);
        if self.lab.keeps_particulars {
            let owner = owner.as_ref().map(Owner::as_str);
            let label = label.as_ref().map(Label::as_str);
            shown = format!("{shown}, owner {owner:?}, label {label:?}, created {created_at:?}");
        }
        Ok(shown)
    }
}

/// How a call ended, without the version, which means nothing to others.
fn outcome<T: fmt::Debug>(answer: &Result<T, StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => chain(error),
    }
}

fn differ(what: &str, expected: &str, found: &str) -> Broken {
    Broken::new(format!("{what}: found {found}, expected {expected}"))
}
