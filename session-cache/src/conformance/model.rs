//! Random programs of operations end as the pure steps say.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use session_core::Owner;
use session_core::store::{
    Change, ExpiryChange, Label, Payload, Record, StoreKey, Timestamp, Version,
};

use super::clause::{NOW, key, minutes};
use super::{Broken, Shared, ensure};
use crate::cache::Cache;
use crate::slot::{Entry, Lease, Slot, Step};

const KEYS: usize = 2;
const LEASES: u64 = 3;

/// How many programs run at once: over a network they wait most of the time.
const BENCHES: u32 = 4;

pub(super) async fn random_programs_end_as_the_steps_say(cache: Shared) -> Result<(), Broken> {
    let full = std::env::var_os("SESSION_TEST_FULL").is_some_and(|value| value == "1");
    let (cases, steps_max) = if full { (4_000, 60) } else { (320, 30) };
    let mut benches = Vec::new();
    for bench in 0..BENCHES {
        let cache = Arc::clone(&cache);
        benches.push(tokio::task::spawn_blocking(move || {
            run_programs(&cache, bench, cases / BENCHES, steps_max)
        }));
    }
    for bench in benches {
        bench.await??;
    }
    Ok(())
}

/// One operation on one of the keys, and how many minutes pass before it. Nothing is ever due within less, so that a cache's own
/// clock, by which all happens at once, agrees.
#[derive(Debug, Clone)]
struct Call {
    after_mins: u64,
    key: usize,
    operation: Operation,
}

#[derive(Debug, Clone)]
enum Operation {
    Lease(u64),
    Fill {
        lease: u64,
        entry: Particulars,
    },
    PutNewer(Particulars),
    Invalidate,
    Bury,
    Add(Particulars),
    Swap {
        expected: u64,
        moved: Moved,
        owner: Option<u8>,
    },
    Expire {
        in_mins: i64,
    },
}

/// What an entry is made of, with times from now on.
#[derive(Debug, Clone)]
struct Particulars {
    version: u64,
    expires_in_mins: i64,
    /// A copy goes stale; an original never does.
    stale_in_mins: Option<i64>,
    owner: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Moved {
    Keep,
    AtLeast(i64),
    Set(i64),
}

/// Around the places where a number that is kept in 32 bits, or in a double, would go wrong.
fn version() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..4_u64,
        1 => (0..4_u64).prop_map(|low| u64::from(u32::MAX) - 1 + low),
        1 => (0..4_u64).prop_map(|low| (1 << 53) - 1 + low),
        1 => (0..3_u64).prop_map(|low| u64::MAX - low),
    ]
}

fn minutes_from_now() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 1 => -30..0_i64, 6 => 1..120_i64]
}

fn particulars() -> impl Strategy<Value = Particulars> {
    (
        version(),
        minutes_from_now(),
        prop::option::of(minutes_from_now()),
        prop::option::of(0..3_u8),
    )
        .prop_map(
            |(version, expires_in_mins, stale_in_mins, owner)| Particulars {
                version,
                expires_in_mins,
                stale_in_mins,
                owner,
            },
        )
}

fn call() -> impl Strategy<Value = Call> {
    let lease = || 0..LEASES;
    let original = || {
        particulars().prop_map(|particulars| Particulars {
            stale_in_mins: None,
            ..particulars
        })
    };
    let moved = prop_oneof![
        3 => Just(Moved::Keep),
        2 => minutes_from_now().prop_map(Moved::AtLeast),
        2 => minutes_from_now().prop_map(Moved::Set),
    ];
    let operation = prop_oneof![
        4 => lease().prop_map(Operation::Lease),
        4 => (lease(), particulars()).prop_map(|(lease, entry)| Operation::Fill { lease, entry }),
        4 => particulars().prop_map(Operation::PutNewer),
        2 => Just(Operation::Invalidate),
        1 => Just(Operation::Bury),
        4 => original().prop_map(Operation::Add),
        6 => (version(), moved, prop::option::of(0..3_u8)).prop_map(|(expected, moved, owner)| {
            Operation::Swap { expected, moved, owner }
        }),
        3 => minutes_from_now().prop_map(|in_mins| Operation::Expire { in_mins }),
    ];
    let after_mins =
        prop_oneof![3 => Just(0), 2 => 0..60_u64, 1 => any::<u8>().prop_map(u64::from)];
    (after_mins, 0..KEYS, operation).prop_map(|(after_mins, key, operation)| Call {
        after_mins,
        key,
        operation,
    })
}

fn run_programs(cache: &Shared, bench: u32, cases: u32, calls_max: usize) -> Result<(), Broken> {
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    });
    // Keys of its own for each program, so that one cache serves all.
    let next_key = Cell::new(u64::from(bench) << 32);
    let outcome = runner.run(&prop::collection::vec(call(), 1..=calls_max), |program| {
        let first_key = next_key.get();
        next_key.set(first_key + KEYS as u64);
        runtime
            .block_on(run(cache, &program, first_key))
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

/// What the pure steps make of the slots.
#[derive(Default)]
struct Model {
    slots: HashMap<StoreKey, Slot>,
}

impl Model {
    fn apply<A>(
        &mut self,
        key: &StoreKey,
        now: Timestamp,
        step: impl FnOnce(&Slot) -> Step<A>,
    ) -> A {
        let held = self.slots.remove(key).unwrap_or_default();
        let Step { answer, next } = step(&held);
        let slot = match next {
            Some(next) if next.kept_for(now).is_zero() => Slot::Empty,
            Some(next) => next,
            None => held,
        };
        self.slots.insert(key.clone(), slot);
        answer
    }
}

async fn run(cache: &Shared, program: &[Call], first_key: u64) -> Result<(), Broken> {
    let keys: Vec<StoreKey> = (first_key..).take(KEYS).map(key).collect();
    let mut model = Model::default();
    let mut now = NOW;
    for (n, call) in program.iter().enumerate() {
        now = now.saturating_add(minutes(call.after_mins));
        let Some(key) = keys.get(call.key) else {
            continue;
        };
        let (found, expected) = both(cache, &mut model, key, &call.operation, now, n).await?;
        ensure!(
            found == expected,
            "call {n} was answered {found} instead of {expected}"
        );
        let held = model.slots.get(key).cloned().unwrap_or_default();
        let slot = cache.get(key).await?;
        ensure!(
            slot.to_bytes("a cache")? == held.to_bytes("the model")?,
            "after call {n} the slot holds {slot:?} instead of {held:?}, or another content"
        );
    }
    Ok(())
}

/// Does the operation to the cache and to the model, and gives what both answered.
async fn both(
    cache: &Shared,
    model: &mut Model,
    key: &StoreKey,
    operation: &Operation,
    now: Timestamp,
    n: usize,
) -> Result<(String, String), Broken> {
    // Far beyond the end of a program.
    let life = minutes(60 * 24);
    let at = |in_mins: i64| Timestamp::from_secs(now.as_secs().saturating_add(in_mins * 60));
    let entry = |particulars: &Particulars| {
        let payload = Payload::from_bytes(format!("of call {n}"));
        let version = Version::Counter(particulars.version);
        let mut record = Record::new(payload, at(particulars.expires_in_mins), version);
        record.owner = particulars.owner.map(Owner::from);
        record.label = particulars.owner.map(|_| Label::new("a label"));
        record.created_at = particulars.owner.map(|_| now);
        match particulars.stale_in_mins {
            Some(mins) => Entry::copy(record, at(mins)),
            None => Entry::original(record),
        }
    };
    let pair = match operation {
        Operation::Lease(number) => {
            let lease = Lease::from_number(*number);
            let expected = model.apply(key, now, |slot| slot.lease(lease, life));
            (show(cache.lease(key, lease, life).await?), show(expected))
        }
        Operation::Fill {
            lease,
            entry: parts,
        } => {
            let (lease, entry) = (Lease::from_number(*lease), entry(parts));
            let expected = model.apply(key, now, |slot| slot.fill(lease, entry.clone()));
            (
                show(cache.fill(key, lease, entry, now).await?),
                show(expected),
            )
        }
        Operation::PutNewer(parts) => {
            let entry = entry(parts);
            let expected = model.apply(key, now, |slot| slot.put_newer(entry.clone()));
            (
                show(cache.put_newer(key, entry, now).await?),
                show(expected),
            )
        }
        Operation::Invalidate => {
            let expected = model.apply(key, now, Slot::invalidate);
            (show(cache.invalidate(key).await?), show(expected))
        }
        Operation::Bury => {
            model.apply(key, now, |slot| slot.bury(life));
            cache.bury(key, life).await?;
            (String::new(), String::new())
        }
        Operation::Add(parts) => {
            let record = entry(parts).record;
            let expected = model.apply(key, now, |slot| slot.add(record.clone(), now));
            (show(cache.add(key, record, now).await?), show(expected))
        }
        Operation::Swap {
            expected: version,
            moved,
            owner,
        } => {
            let version = Version::Counter(*version);
            let expiry = match moved {
                Moved::Keep => ExpiryChange::Keep,
                Moved::AtLeast(mins) => ExpiryChange::AtLeast(at(*mins)),
                Moved::Set(mins) => ExpiryChange::Set(at(*mins)),
            };
            let mut change = Change::new(Payload::from_bytes(format!("of call {n}")), expiry);
            change.owner = owner.map(Owner::from);
            let expected = model.apply(key, now, |slot| {
                slot.compare_and_swap(&version, change.clone(), now)
            });
            let found = cache.compare_and_swap(key, &version, change, now).await?;
            (show(found), show(expected))
        }
        Operation::Expire { in_mins } => {
            let expires_at = at(*in_mins);
            let expected = model.apply(key, now, |slot| slot.expire(expires_at, now));
            (
                show(cache.expire(key, expires_at, now).await?),
                show(expected),
            )
        }
    };
    Ok(pair)
}

fn show(answer: impl std::fmt::Debug) -> String {
    format!("{answer:?}")
}
