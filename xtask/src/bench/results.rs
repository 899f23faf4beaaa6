//! What was measured, and how it is kept: the JSON that a later run is held against.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::workspace::{list, text};

use super::contention::Contention;
use super::growth::Growth;
use super::load::Load;
use super::machine::Machine;
use super::verdicts::Verdict;

/// Raised when a file of before could be misread.
const SCHEMA: u64 = 1;

/// One run.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) growth: Vec<Growth>,
    pub(super) contention: Vec<Contention>,
    pub(super) load: Vec<Load>,
}

/// What one request costs, on average over a batch. Everything is the whole request, handler and all, if nothing else is said.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Without SHA-256, of which callgrind sees a version in software.
    pub(super) instructions: Option<f64>,
    /// Those of SHA-256.
    pub(super) digest_instructions: Option<f64>,
    /// The instructions, by who spends them.
    pub(super) spent: BTreeMap<String, f64>,
    pub(super) allocations: Option<f64>,
    pub(super) allocated_bytes: Option<f64>,
    /// The median batch.
    pub(super) nanoseconds: Option<f64>,
    /// Quartiles of what a batch took longer than the bare handler's batch of the same round, in nanoseconds.
    pub(super) above: Option<[f64; 3]>,
    /// Between the program and the store's server.
    pub(super) round_trips: Option<f64>,
}

/// What a row is about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) store: String,
    pub(super) library: String,
    pub(super) payload: String,
    pub(super) scenario: String,
}

impl Results {
    pub(super) fn from_json(json: &Value) -> Result<Self> {
        if json["schema"] != SCHEMA {
            return Err("this was written by another version: measure again".into());
        }
        let mut results = Self {
            machine: Machine::from_json(&json["machine"]),
            rows: Vec::new(),
            verdicts: list(json, "correctness").map(Verdict::read).collect(),
            growth: list(json, "growth").map(Growth::read).collect(),
            // Absent from what was written before clients met on one session.
            contention: list(json, "contention").map(Contention::read).collect(),
            // Absent from what was written before servers were put under load.
            load: list(json, "load").map(Load::read).collect(),
        };
        for row in list(json, "requests") {
            results.add(row);
        }
        Ok(results)
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        let verdicts: Vec<Value> = self.verdicts.iter().map(Verdict::to_json).collect();
        let growth: Vec<Value> = self.growth.iter().map(Growth::to_json).collect();
        let contention = self.contention.iter().map(Contention::to_json);
        let contention: Vec<Value> = contention.collect();
        let load: Vec<Value> = self.load.iter().map(Load::to_json).collect();
        json!({
            "schema": SCHEMA,
            "machine": self.machine.to_json(),
            "requests": rows,
            "correctness": verdicts,
            "growth": growth,
            "contention": contention,
            "load": load,
        })
    }

    /// Takes what `json` says about a request into the row that is about it.
    pub(super) fn add(&mut self, json: &Value) {
        let key = Key::read(json);
        let at = self.rows.iter().position(|row| row.key == key);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                key,
                ..Row::default()
            });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(at) {
            row.take(json);
        }
    }

    pub(super) fn find(
        &self,
        store: &str,
        library: &str,
        payload: &str,
        scenario: &str,
    ) -> Option<&Row> {
        self.rows.iter().find(|Row { key, .. }| {
            key.store == store
                && key.library == library
                && key.payload == payload
                && key.scenario == scenario
        })
    }

    /// `measure` of a scenario, less that of the bare handler of the same library.
    pub(super) fn above_bare(&self, row: &Row, measure: fn(&Row) -> Option<f64>) -> Option<f64> {
        let Key {
            store,
            library,
            payload,
            ..
        } = &row.key;
        let bare = self.find(store, library, payload, BARE)?;
        Some(measure(row)? - measure(bare)?)
    }

    /// The libraries with rows about `store`, in the order in which they were measured.
    pub(super) fn libraries(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<&str> {
        let mut libraries: Vec<&str> = Vec::new();
        for Row { key, .. } in &self.rows {
            if is_wanted(key) && !libraries.contains(&key.library.as_str()) {
                libraries.push(&key.library);
            }
        }
        libraries
    }
}

/// The scenario without a layer.
pub(super) const BARE: &str = "s0";

impl Key {
    fn read(json: &Value) -> Self {
        Self {
            store: text(json, "store").to_owned(),
            library: text(json, "library").to_owned(),
            payload: text(json, "payload").to_owned(),
            scenario: text(json, "scenario").to_owned(),
        }
    }
}

impl Row {
    fn take(&mut self, json: &Value) {
        let Self {
            key: _,
            instructions,
            digest_instructions,
            spent,
            allocations,
            allocated_bytes,
            nanoseconds,
            above,
            round_trips,
        } = self;
        if let Some(numbers) = json["spent"].as_object() {
            let numbers = numbers.iter();
            *spent = numbers
                .filter_map(|(spender, number)| Some((spender.clone(), number.as_f64()?)))
                .collect();
        }
        for (name, value) in [
            ("instructions", instructions),
            ("digest_instructions", digest_instructions),
            ("allocations", allocations),
            ("allocated_bytes", allocated_bytes),
            ("nanoseconds", nanoseconds),
            ("round_trips", round_trips),
        ] {
            if let Some(number) = json[name].as_f64() {
                *value = Some(number);
            }
        }
        let numbers: Vec<f64> = list(json, "above").filter_map(Value::as_f64).collect();
        if let Ok(quartiles) = numbers.try_into() {
            *above = Some(quartiles);
        }
    }

    fn to_json(&self) -> Value {
        let Self {
            key,
            instructions,
            digest_instructions,
            spent,
            allocations,
            allocated_bytes,
            nanoseconds,
            above,
            round_trips,
        } = self;
        let mut json = Map::new();
        for (name, word) in [
            ("store", &key.store),
            ("library", &key.library),
            ("payload", &key.payload),
            ("scenario", &key.scenario),
        ] {
            json.insert(name.to_owned(), json!(word));
        }
        for (name, number) in [
            ("instructions", instructions),
            ("digest_instructions", digest_instructions),
            ("allocations", allocations),
            ("allocated_bytes", allocated_bytes),
            ("nanoseconds", nanoseconds),
            ("round_trips", round_trips),
        ] {
            if let Some(number) = number {
                json.insert(name.to_owned(), json!(number));
            }
        }
        if !spent.is_empty() {
            json.insert("spent".to_owned(), json!(spent));
        }
        if let Some(above) = above {
            json.insert("above".to_owned(), json!(above));
        }
        Value::Object(json)
    }
}

#[cfg(test)]
pub(super) mod sample {
    use super::*;

    /// A row about a small session in memory.
    pub(in super::super) fn row(library: &str, scenario: &str, instructions: f64) -> Row {
        Row {
            key: Key {
                store: "memory".to_owned(),
                library: library.to_owned(),
                payload: "small".to_owned(),
                scenario: scenario.to_owned(),
            },
            instructions: Some(instructions),
            ..Row::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut results = Results {
            machine: Machine {
                cpu: "sample <&\"".to_owned(),
                cores: 2,
                ..Machine::default()
            },
            rows: vec![sample::row("ours", "s0", 100.0)],
            verdicts: vec![Verdict {
                case: "counter".to_owned(),
                nodes: 2,
                is_right: true,
                ..Verdict::default()
            }],
            growth: vec![
                Growth {
                    sessions: 1000,
                    load_nanoseconds: 2.5,
                    ..Growth::default()
                },
                Growth {
                    purged_each_second: Some(7.0),
                    ..Growth::default()
                },
            ],
            contention: vec![Contention {
                kept: 640,
                ..Contention::default()
            }],
            load: vec![Load {
                cpu_times_bare: [1.0, 1.25, 1.5],
                ..Load::default()
            }],
        };
        results.rows.push(Row {
            above: Some([1.0, 2.5, 4.0]),
            round_trips: Some(2.0),
            allocations: Some(7.25),
            spent: BTreeMap::from([("tokio".to_owned(), 20.5)]),
            ..sample::row("ours", "s3", 900.0)
        });
        let read = Results::from_json(&results.to_json()).unwrap();
        assert_eq!(read, results);
    }

    #[test]
    fn a_file_of_another_schema_is_refused() {
        let mut json = Results::default().to_json();
        json["schema"] = json!(SCHEMA + 1);
        Results::from_json(&json).unwrap_err();
        Results::from_json(&json!({})).unwrap_err();
    }

    #[test]
    fn what_several_programs_say_about_a_request_is_one_row() {
        let mut results = Results::default();
        for json in [
            json!({"store": "memory", "library": "ours", "payload": "small", "scenario": "s1", "allocations": 7.0}),
            json!({"store": "memory", "library": "ours", "payload": "small", "scenario": "s1", "nanoseconds": 600.0}),
        ] {
            results.add(&json);
        }
        assert_eq!(results.rows.len(), 1);
        let row = results.find("memory", "ours", "small", "s1").unwrap();
        assert_eq!((row.allocations, row.nanoseconds), (Some(7.0), Some(600.0)));
    }

    #[test]
    fn a_request_is_held_against_the_bare_handler_of_its_own_library() {
        let results = Results {
            rows: vec![
                sample::row("ours", BARE, 1000.0),
                sample::row("peer", BARE, 3000.0),
                sample::row("peer", "s2", 10_000.0),
            ],
            ..Results::default()
        };
        let row = results.find("memory", "peer", "small", "s2").unwrap();
        let above = results.above_bare(row, |row| row.instructions);
        assert_eq!(above, Some(7000.0));
    }
}
