//! What an operation costs when there are many sessions, how many bytes one takes, and how fast they are removed: our stores,
//! without HTTP.
//!
//! Stores of all sizes are alive at once and take turns, so that whatever else the machine does meets all of them, and each
//! number is compared with that of the smallest store in the same round.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{EMAIL, NAME, Place, Result, TOKEN, quartiles, runtime};
use serde_json::json;
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreKey,
};
use session_core::{Clock as _, KeyPolicy, SessionKey, SystemClock};
use tokio::task::JoinSet;

use crate::backends::{Backend, Sync};

/// Sessions that are made at the same time.
const WRITERS: usize = 16;

/// What a process takes is known in pages: stores in memory are made as often as it takes to have so many sessions.
const SESSIONS_WEIGHED_MIN: usize = 100_000;

const WARM_UP: usize = 3;

const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Prints one line of JSON for each of the sizes.
pub(crate) fn run(store: &str, rounds: usize, sizes: &[usize]) -> Result<()> {
    let place = Place::find()?;
    runtime()?.block_on(async {
        let mut grown = Vec::new();
        for (number, &count) in sizes.iter().enumerate() {
            let backend = Backend {
                name: store,
                number,
                place: &place,
            };
            grown.push(Grown::fill(&backend, count).await?);
        }
        for round in 0..WARM_UP + rounds {
            let mut costs = Vec::new();
            // Another one begins each round, so that none always follows the same.
            for at in 0..grown.len() {
                let at = (at + round) % grown.len();
                costs.push((at, grown[at].turn().await?));
            }
            let smallest = costs.iter().find(|(at, _)| *at == 0);
            let smallest = smallest.map(|(_, cost)| *cost).ok_or("say a size")?;
            if round >= WARM_UP {
                for (at, cost) in costs {
                    grown[at].take(cost, smallest);
                }
            }
        }
        for grown in &mut grown {
            grown.report(store).await?;
        }
        Ok(())
    })
}

/// Nanoseconds of a load and of a save: the mean of a turn.
#[derive(Debug, Clone, Copy)]
struct Cost {
    load: f64,
    save: f64,
}

/// A store that is full.
struct Grown {
    /// The first one is measured. The others were weighed with it, and keep the memory that they took from those that are
    /// filled later.
    stores: Vec<Arc<dyn SessionStore>>,
    keys: Vec<StoreKey>,
    /// Loads that begin a turn and do not count.
    warm_up: usize,
    /// Operations in a row before another store has its turn.
    batch: usize,
    dice: Dice,
    bytes_each: f64,
    loads: Vec<f64>,
    saves: Vec<f64>,
    /// As multiples of the smallest store's of the same round.
    load_times: Vec<f64>,
    save_times: Vec<f64>,
}

impl Grown {
    async fn fill(backend: &Backend<'_>, count: usize) -> Result<Self> {
        backend.clear().await?;
        let keys = (0..count).map(|_| {
            let key = SessionKey::generate().map_err(|error| error.to_string())?;
            Ok(KeyPolicy::default().store_key(&key))
        });
        let keys: Result<Vec<StoreKey>> = keys.collect();
        let keys = Arc::new(keys?);
        let is_local = backend.name == "memory";
        let copies = if is_local {
            SESSIONS_WEIGHED_MIN.div_ceil(count)
        } else {
            1
        };
        let mut stores = Vec::new();
        for _ in 0..copies {
            stores.push(backend.open(Sync::Hasty).await?);
        }
        backend.settle().await?;
        let empty = backend.bytes().await?;
        for store in &stores {
            create_all(store, &keys).await?;
        }
        backend.settle().await?;
        let taken = backend.bytes().await?.saturating_sub(empty);
        if !is_local {
            stores = vec![backend.open(Sync::Default).await?];
        }
        let (warm_up, batch) = if is_local { (3000, 400) } else { (8, 25) };
        Ok(Self {
            stores,
            keys: Arc::into_inner(keys).ok_or("a writer still writes")?,
            warm_up,
            batch,
            dice: Dice(count as u64),
            bytes_each: taken as f64 / (count * copies) as f64,
            loads: Vec::new(),
            saves: Vec::new(),
            load_times: Vec::new(),
            save_times: Vec::new(),
        })
    }

    /// Loads and saves sessions from everywhere, each of them once.
    async fn turn(&mut self) -> Result<Cost> {
        let now = SystemClock::default().now();
        let store = Arc::clone(self.store()?);
        // Brings back what the other stores' turns have driven out of caches.
        for _ in 0..self.warm_up {
            let at = self.dice.throw(0..self.keys.len());
            store.load(&self.keys[at], now).await?;
        }
        for at in 0..self.batch {
            let other = self.dice.throw(at..self.keys.len());
            self.keys.swap(at, other);
        }
        let counted = &self.keys[..self.batch];
        let started = Instant::now();
        let mut records = Vec::with_capacity(self.batch);
        for key in counted {
            records.push(store.load(key, now).await?.ok_or("a session is lost")?);
        }
        let load = started.elapsed();
        let changes = records.iter().map(|record| {
            let keep = ExpiryChange::Keep;
            (record.version.clone(), Change::of(record, payload(), keep))
        });
        let changes: Vec<_> = changes.collect();
        let started = Instant::now();
        for (key, (version, change)) in counted.iter().zip(changes) {
            let saved = store.save(key, &version, change, now).await?;
            if !matches!(saved, Saved::Stored(_)) {
                return Err("a session was not saved".into());
            }
        }
        let save = started.elapsed();
        let each = |took: Duration| took.as_nanos() as f64 / self.batch as f64;
        Ok(Cost {
            load: each(load),
            save: each(save),
        })
    }

    fn store(&self) -> Result<&Arc<dyn SessionStore>> {
        Ok(self.stores.first().ok_or("no store was made")?)
    }

    fn take(&mut self, cost: Cost, smallest: Cost) {
        self.loads.push(cost.load);
        self.saves.push(cost.save);
        self.load_times.push(cost.load / smallest.load);
        self.save_times.push(cost.save / smallest.save);
    }

    async fn report(&mut self, store: &str) -> Result<()> {
        let started = Instant::now();
        let later = SystemClock::default().now().saturating_add(2 * LIFE);
        let purged = self.store()?.clear_expired(later, &mut |_| {}).await;
        let took = started.elapsed().as_secs_f64();
        // A server that removes what has expired leaves nothing to remove.
        let purged = purged.ok().filter(|&removed| removed > 0);
        let purged = purged.map(|removed| (removed as f64 / took).round());
        let [_, load, _] = quartiles(&mut self.loads, 1.0);
        let [_, save, _] = quartiles(&mut self.saves, 1.0);
        harness::report(&json!({
            "store": store,
            "sessions": self.keys.len(),
            "load_nanoseconds": load,
            "save_nanoseconds": save,
            "load_times_smallest": quartiles(&mut self.load_times, 1000.0),
            "save_times_smallest": quartiles(&mut self.save_times, 1000.0),
            "bytes_each": self.bytes_each,
            "purged_each_second": purged,
        }))
    }
}

/// The three names of a small session.
fn payload() -> Payload {
    let names = [NAME, EMAIL, TOKEN].map(|(name, value)| format!(r#""{name}":"{value}""#));
    Payload::from_bytes(format!("{{{}}}", names.join(",")))
}

async fn create_all(store: &Arc<dyn SessionStore>, keys: &Arc<Vec<StoreKey>>) -> Result<()> {
    let now = SystemClock::default().now();
    let expires_at = now.saturating_add(LIFE);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, keys) = (Arc::clone(store), Arc::clone(keys));
        writers.spawn(async move {
            for key in keys.iter().skip(writer).step_by(WRITERS) {
                let new = NewRecord::new(payload(), expires_at);
                let created = store.create(key, new, now).await;
                created.map_err(|error| format!("{error}: {:?}", error.source()))?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// Numbers that look random, and are the same in each run: SplitMix64.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, range: std::ops::Range<usize>) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        range.start + (mixed % range.len() as u64) as usize
    }
}
