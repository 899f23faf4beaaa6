//! What a session costs a request, in this process: ours and its peers, each through its own middleware.
//!
//! Three ways to run it, all of which print lines of JSON:
//!
//! - `time`: median nanoseconds, the scenarios of one library alternating batch by batch;
//! - `allocations`: allocations and bytes for each request, in a build with the feature of that name;
//! - `run LIBRARY SCENARIO PAYLOAD COUNT`: nothing but these requests in [`measured`], for callgrind to count.

mod actix;
mod axum_apps;
mod scenario;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::time::Instant;

use scenario::{Library, Payload, Scenario};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Requests in a row before the next scenario has its turn.
const BATCH: usize = 200;
const BATCHES: usize = 100;
const WARM_UP: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["list"] => list(),
        ["time", rest @ ..] => each(rest, time),
        #[cfg(feature = "allocations")]
        ["allocations", rest @ ..] => each(rest, allocations),
        ["run", library, scenario, payload, count] => {
            let mut library = scenario::library(library)?;
            run(
                library.as_mut(),
                Scenario::parse(scenario)?,
                Payload::parse(payload)?,
                count.parse()?,
            )
        }
        _ => Err("say list, time, allocations, or run LIBRARY SCENARIO PAYLOAD COUNT".into()),
    }
}

/// The names that the other words are about.
fn list() -> Result<()> {
    for name in scenario::LIBRARIES {
        writeln!(std::io::stdout(), "{name}")?;
    }
    Ok(())
}

fn each(names: &[&str], measure: fn(&mut dyn Library, Payload) -> Result<()>) -> Result<()> {
    let names = if names.is_empty() {
        scenario::LIBRARIES
    } else {
        names
    };
    for name in names {
        for payload in Payload::ALL {
            let mut library = scenario::library(name)?;
            // What an AEAD cookie can't hold is not measured.
            if library.holds(payload) {
                measure(library.as_mut(), payload)?;
            }
        }
    }
    Ok(())
}

/// What callgrind counts: see `--toggle-collect`.
#[inline(never)]
fn measured(library: &mut dyn Library) -> Result<()> {
    library.answer()
}

fn run(
    library: &mut dyn Library,
    scenario: Scenario,
    payload: Payload,
    count: usize,
) -> Result<()> {
    // The first requests grow tables and fill caches.
    library.prepare(scenario, payload, count)?;
    library.answer()?;
    library.prepare(scenario, payload, count)?;
    measured(library)
}

fn time(library: &mut dyn Library, payload: Payload) -> Result<()> {
    let mut batches: Vec<Vec<u128>> = vec![Vec::new(); Scenario::ALL.len()];
    for round in 0..WARM_UP + BATCHES {
        for (scenario, batches) in Scenario::ALL.into_iter().zip(&mut batches) {
            library.prepare(scenario, payload, BATCH)?;
            let started = Instant::now();
            library.answer()?;
            let elapsed = started.elapsed().as_nanos() / BATCH as u128;
            if round >= WARM_UP {
                batches.push(elapsed);
            }
        }
    }
    for (scenario, batches) in Scenario::ALL.into_iter().zip(&mut batches) {
        batches.sort_unstable();
        let at = |share: usize| batches.get(batches.len() * share / 100).copied();
        report(&serde_json::json!({
            "library": library.name(),
            "payload": payload.name(),
            "scenario": scenario.name(),
            "nanoseconds": at(50),
            "nanoseconds_p25": at(25),
            "nanoseconds_p75": at(75),
        }))?;
    }
    Ok(())
}

#[cfg(feature = "allocations")]
fn allocations(library: &mut dyn Library, payload: Payload) -> Result<()> {
    for scenario in Scenario::ALL {
        library.prepare(scenario, payload, BATCH)?;
        library.answer()?;
        library.prepare(scenario, payload, BATCH)?;
        let mut answered = Ok(());
        let counted = allocation_counter::measure(|| answered = library.answer());
        answered?;
        report(&serde_json::json!({
            "library": library.name(),
            "payload": payload.name(),
            "scenario": scenario.name(),
            "allocations": counted.count_total as f64 / BATCH as f64,
            "allocated_bytes": counted.bytes_total as f64 / BATCH as f64,
        }))?;
    }
    Ok(())
}

fn report(line: &serde_json::Value) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
