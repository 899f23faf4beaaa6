//! What servers bear over HTTP: the numbers of one scenario, and the table of all.

use serde_json::{Value, json};

use crate::workspace::{list, text};

use super::results::{BARE, Results};
use super::tables::{OURS, SCENARIOS, Table, label};

/// The stores with which servers are put under load.
pub(super) const MEMORY: &str = "memory";
pub(super) const REDIS: &str = "redis";

/// What a request may cost the server's processor, as a multiple of the bare handler.
const TARGETS: [(&str, &str, f64); 6] = [
    (MEMORY, "s1", 1.05),
    (MEMORY, "s2", 1.10),
    (MEMORY, "s3", 1.15),
    (REDIS, "s1", 1.05),
    (REDIS, "s2", 1.9),
    (REDIS, "s3", 3.0),
];

/// What one library's server with one worker thread bore in one scenario: medians over all rounds.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Load {
    pub(super) store: String,
    pub(super) library: String,
    pub(super) scenario: String,
    pub(super) requests_each_second: f64,
    /// Of the server's processor, for each request.
    pub(super) cpu_nanoseconds: f64,
    /// Quartiles of the same as a multiple of the bare handler's, in the slices beside, in the same server.
    pub(super) cpu_times_bare: [f64; 3],
    /// Half of the answers came as soon as that, 99 of 100, and 999 of 1000.
    pub(super) p50_nanoseconds: f64,
    pub(super) p99_nanoseconds: f64,
    pub(super) p999_nanoseconds: f64,
}

impl Load {
    pub(super) fn read(json: &Value) -> Self {
        let number = |name: &str| json[name].as_f64().unwrap_or_default();
        let quartiles = list(json, "cpu_times_bare").filter_map(Value::as_f64);
        let quartiles: Vec<f64> = quartiles.collect();
        Self {
            store: text(json, "store").to_owned(),
            library: text(json, "library").to_owned(),
            scenario: text(json, "scenario").to_owned(),
            requests_each_second: number("requests_each_second"),
            cpu_nanoseconds: number("cpu_nanoseconds"),
            cpu_times_bare: quartiles.try_into().unwrap_or_default(),
            p50_nanoseconds: number("p50_nanoseconds"),
            p99_nanoseconds: number("p99_nanoseconds"),
            p999_nanoseconds: number("p999_nanoseconds"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self {
            store,
            library,
            scenario,
            requests_each_second,
            cpu_nanoseconds,
            cpu_times_bare,
            p50_nanoseconds,
            p99_nanoseconds,
            p999_nanoseconds,
        } = self;
        json!({
            "store": store,
            "library": library,
            "scenario": scenario,
            "requests_each_second": requests_each_second,
            "cpu_nanoseconds": cpu_nanoseconds,
            "cpu_times_bare": cpu_times_bare,
            "p50_nanoseconds": p50_nanoseconds,
            "p99_nanoseconds": p99_nanoseconds,
            "p999_nanoseconds": p999_nanoseconds,
        })
    }
}

/// One row for each scenario and library with its sessions in `store`.
pub(super) fn table(results: &Results, store: &str) -> Table {
    let mut table = Table::new(
        format!("Load over HTTP, {store}, 125 bytes, one worker thread"),
        &[
            "request",
            "library",
            "requests each second",
            "server CPU, µs",
            "× bare (quartiles)",
            "ours, at most",
            "p50, µs",
            "p99, µs",
            "p99.9, µs",
        ],
    );
    for (scenario, name) in std::iter::once((BARE, "bare")).chain(SCENARIOS) {
        let loads = results.load.iter();
        for load in loads.filter(|load| load.store == store && load.scenario == scenario) {
            let [low, middle, high] = load.cpu_times_bare;
            let target = TARGETS
                .iter()
                .find(|(of, name, _)| *of == store && *name == scenario && load.library == OURS);
            let microseconds = |nanoseconds: f64| format!("{:.0}", nanoseconds / 1000.0);
            table.push([
                label(scenario, name),
                load.library.clone(),
                format!("{:.0}", load.requests_each_second),
                format!("{:.1}", load.cpu_nanoseconds / 1000.0),
                if scenario == BARE {
                    "1".to_owned()
                } else {
                    format!("{middle:.2} ({low:.2}–{high:.2})")
                },
                target.map_or_else(|| "–".to_owned(), |(.., times)| format!("{times:.2}")),
                microseconds(load.p50_nanoseconds),
                microseconds(load.p99_nanoseconds),
                microseconds(load.p999_nanoseconds),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(library: &str, scenario: &str, times: f64) -> Load {
        Load {
            store: MEMORY.to_owned(),
            library: library.to_owned(),
            scenario: scenario.to_owned(),
            requests_each_second: 50_000.4,
            cpu_nanoseconds: 10_000.0 * times,
            cpu_times_bare: [times - 0.01, times, times + 0.01],
            p50_nanoseconds: 500_000.0,
            p99_nanoseconds: 900_000.0,
            p999_nanoseconds: 1_900_000.0,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let load = load(OURS, "s2", 1.5);
        assert_eq!(Load::read(&load.to_json()), load);
    }

    #[test]
    fn ours_stands_beside_its_target_and_above_its_peers_in_each_scenario() {
        let results = Results {
            load: vec![
                load(OURS, BARE, 1.0),
                load(OURS, "s2", 1.2),
                load("peer", "s2", 1.4),
                Load {
                    store: REDIS.to_owned(),
                    ..load(OURS, "s2", 9.0)
                },
            ],
            ..Results::default()
        };
        let markdown = table(&results, MEMORY).markdown();
        let rows: Vec<_> = markdown.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| s0 bare | ours | 50000 | 10.0 | 1 | – | 500 | 900 | 1900 |",
                "| s2 read | ours | 50000 | 12.0 | 1.20 (1.19–1.21) | 1.10 | 500 | 900 | 1900 |",
                "| s2 read | peer | 50000 | 14.0 | 1.40 (1.39–1.41) | – | 500 | 900 | 1900 |",
            ]
        );
    }
}
