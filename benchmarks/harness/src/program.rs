//! What a benchmark program can be asked. Each answer is lines of JSON:
//!
//! - `time BATCHES`: nanoseconds, all libraries and scenarios alternating batch by batch;
//! - `allocations`: allocations and bytes for each request, in a build with the feature of that name;
//! - `instructions LIBRARY PAYLOAD SCENARIO`: nothing but requests in [`measured`], for callgrind to count;
//! - `trips`: round trips on the wire for each request.
//!
//! `serve LIBRARY STORE PORT` answers on a port of 127.0.0.1 instead, until it is killed. `load STORE ROUNDS TIMES
//! LIBRARY=PORT...` asks such servers, and says what they bore.
//!
//! Redis, PostgreSQL and MariaDB are those of the variables `BENCH_REDIS` and `BENCH_POSTGRES`.

use std::env;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::{Library, Payload, Result, Scenario, load};

const WARM_UP: usize = 3;
/// Requests for each scenario when nobody looks at a clock.
const COUNTED: usize = 50;

/// A library with a store, not yet made.
pub struct Candidate {
    pub store: &'static str,
    pub library: &'static str,
    pub make: fn(&Place) -> Result<Box<dyn Library>>,
}

/// Where sessions may be kept.
#[derive(Debug, Default)]
pub struct Place {
    pub redis: Option<String>,
    pub postgres: Option<String>,
    pub mariadb: Option<String>,
    /// An empty folder.
    pub folder: PathBuf,
}

/// Does what the command line asks for.
pub fn run(candidates: &[Candidate]) -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["time", batches] => time(candidates, batches.parse()?),
        #[cfg(feature = "allocations")]
        ["allocations"] => allocations(candidates),
        ["instructions", library, payload, scenario] => {
            instructions(candidates, library, payload, scenario)
        }
        ["trips"] => trips(candidates),
        ["serve", library, store, port] => serve(candidates, library, store, port.parse()?),
        ["load", store, rounds, times, servers @ ..] => {
            load::run(store, rounds.parse()?, times.parse()?, servers)
        }
        _ => Err("say time BATCHES, allocations, instructions LIBRARY PAYLOAD SCENARIO, trips, serve LIBRARY STORE PORT, \
             or load STORE ROUNDS TIMES LIBRARY=PORT...".into()),
    }
}

impl Place {
    /// The servers of the variables, and a folder that is removed when this is dropped.
    pub fn find() -> Result<Self> {
        let folder = env::temp_dir().join(format!("bench-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            redis: env::var("BENCH_REDIS").ok(),
            postgres: env::var("BENCH_POSTGRES").ok(),
            mariadb: env::var("BENCH_MARIADB").ok(),
            folder,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

/// Requests in a row before the next scenario has its turn.
fn batch(store: &str, payload: Payload) -> usize {
    match (store, payload) {
        ("memory" | "cookie", Payload::Small) => 200,
        _ => 20,
    }
}

struct Turn {
    store: &'static str,
    library: usize,
    scenario: Scenario,
    batches: Vec<f64>,
    above: Vec<f64>,
}

fn time(candidates: &[Candidate], batches: usize) -> Result<()> {
    let place = Place::find()?;
    for payload in Payload::ALL {
        let mut libraries = Vec::new();
        let mut turns = Vec::new();
        for candidate in candidates {
            let library = (candidate.make)(&place)?;
            if !library.holds(payload) {
                continue;
            }
            turns.extend(library.scenarios().iter().map(|&scenario| Turn {
                store: candidate.store,
                library: libraries.len(),
                scenario,
                batches: Vec::new(),
                above: Vec::new(),
            }));
            libraries.push(library);
        }
        for round in 0..WARM_UP + batches {
            let mut bare = 0.0;
            for turn in &mut turns {
                let count = batch(turn.store, payload);
                let library = &mut libraries[turn.library];
                library.prepare(turn.scenario, payload, count)?;
                let started = Instant::now();
                library.answer()?;
                let took = started.elapsed().as_nanos() as f64 / count as f64;
                if turn.scenario == Scenario::Bare {
                    bare = took;
                }
                if round >= WARM_UP {
                    turn.batches.push(took);
                    turn.above.push(took - bare);
                }
            }
        }
        for turn in &mut turns {
            let [_, total, _] = quartiles(&mut turn.batches, 10.0);
            let [low, above, high] = quartiles(&mut turn.above, 10.0);
            let library = &libraries[turn.library];
            let mut line = line(turn.store, library.as_ref(), payload, turn.scenario);
            line["nanoseconds"] = json!(total);
            line["above"] = json!([low, above, high]);
            report(&line)?;
        }
    }
    Ok(())
}

/// The first, second and third quartile, rounded to one part in `parts`.
pub fn quartiles(samples: &mut [f64], parts: f64) -> [f64; 3] {
    samples.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        let at = samples.len() * quarter / 4;
        samples
            .get(at)
            .map_or(0.0, |sample| (sample * parts).round() / parts)
    })
}

#[cfg(feature = "allocations")]
fn allocations(candidates: &[Candidate]) -> Result<()> {
    let place = Place::find()?;
    for candidate in candidates {
        for payload in Payload::ALL {
            let mut library = (candidate.make)(&place)?;
            if !library.holds(payload) {
                continue;
            }
            for &scenario in library.scenarios() {
                library.prepare(scenario, payload, COUNTED)?;
                library.answer()?;
                library.prepare(scenario, payload, COUNTED)?;
                let mut answered = Ok(());
                let counted = allocation_counter::measure(|| answered = library.answer());
                answered?;
                let mut line = line(candidate.store, library.as_ref(), payload, scenario);
                line["allocations"] = json!(counted.count_total as f64 / COUNTED as f64);
                line["allocated_bytes"] = json!(counted.bytes_total as f64 / COUNTED as f64);
                report(&line)?;
            }
        }
    }
    Ok(())
}

/// What callgrind counts: see `--toggle-collect`. It must return, and not jump into the library.
#[inline(never)]
fn measured(library: &mut dyn Library) -> Result<()> {
    black_box(library.answer())
}

fn instructions(
    candidates: &[Candidate],
    wanted: &str,
    payload: &str,
    scenario: &str,
) -> Result<()> {
    let place = Place::find()?;
    let is_wanted = |candidate: &&Candidate| candidate.library == wanted;
    let candidate = candidates.iter().find(is_wanted);
    let candidate = candidate.ok_or("there is no such library")?;
    let payload = Payload::ALL.into_iter().find(|one| one.name() == payload);
    let payload = payload.ok_or("there is no such payload")?;
    let scenario = Scenario::ALL.into_iter().find(|one| one.name() == scenario);
    let scenario = scenario.ok_or("there is no such scenario")?;
    let mut library = (candidate.make)(&place)?;
    if !library.holds(payload) {
        return Ok(());
    }
    // The first requests grow tables and fill caches.
    library.prepare(scenario, payload, COUNTED)?;
    library.answer()?;
    library.prepare(scenario, payload, COUNTED)?;
    measured(library.as_mut())?;
    let mut line = line(candidate.store, library.as_ref(), payload, scenario);
    line["requests"] = json!(COUNTED);
    report(&line)
}

fn trips(candidates: &[Candidate]) -> Result<()> {
    let mut place = Place::find()?;
    for candidate in candidates {
        let server = match candidate.store {
            "redis" => &mut place.redis,
            "postgres" => &mut place.postgres,
            _ => continue,
        };
        let Some(url) = server.take() else { continue };
        let proxy = Proxy::before(&url)?;
        *server = Some(proxy.url().to_owned());
        let mut library = (candidate.make)(&place)?;
        for &scenario in library.scenarios() {
            library.prepare(scenario, Payload::Small, COUNTED)?;
            library.answer()?;
            library.prepare(scenario, Payload::Small, COUNTED)?;
            let before = proxy.trips();
            library.answer()?;
            let counted = proxy.trips() - before;
            let mut line = line(candidate.store, library.as_ref(), Payload::Small, scenario);
            line["round_trips"] = json!(counted as f64 / COUNTED as f64);
            report(&line)?;
        }
        drop(library);
        match candidate.store {
            "redis" => place.redis = Some(url),
            _ => place.postgres = Some(url),
        }
    }
    Ok(())
}

fn serve(candidates: &[Candidate], library: &str, store: &str, port: u16) -> Result<()> {
    let place = Place::find()?;
    let is_wanted =
        |candidate: &&Candidate| candidate.library == library && candidate.store == store;
    let candidate = candidates.iter().find(is_wanted);
    let candidate = candidate.ok_or("there is no such library with such a store")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    (candidate.make)(&place)?.serve(listener)
}

fn line(store: &str, library: &dyn Library, payload: Payload, scenario: Scenario) -> Value {
    json!({
        "store": store,
        "library": library.name(),
        "payload": payload.name(),
        "scenario": scenario.name(),
    })
}

/// Prints a line of results.
pub fn report(line: &Value) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
