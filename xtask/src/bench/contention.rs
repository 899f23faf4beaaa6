//! Many clients that write one session at once: the numbers of one store, and the table of all.

use serde_json::{Value, json};

use crate::workspace::text;

use super::results::Results;
use super::tables::Table;

/// How long one save may take with all its attempts, in nanoseconds: the limit of session-core's `commit`.
const DEADLINE: f64 = 5e9;

/// What became of all clients' changes.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Contention {
    pub(super) store: String,
    /// Managers with connections of their own.
    pub(super) nodes: u64,
    pub(super) clients: u64,
    /// Of all clients.
    pub(super) modifies: u64,
    /// What the counter says in the end.
    pub(super) kept: u64,
    pub(super) failed: u64,
    /// Saves that met a newer version, and were tried again.
    pub(super) conflicts: u64,
    /// From the first to the last.
    pub(super) nanoseconds: f64,
    pub(super) median_wait_nanoseconds: f64,
    pub(super) longest_wait_nanoseconds: f64,
}

impl Contention {
    pub(super) fn read(json: &Value) -> Self {
        let whole = |name: &str| json[name].as_u64().unwrap_or_default();
        let number = |name: &str| json[name].as_f64().unwrap_or_default();
        Self {
            store: text(json, "store").to_owned(),
            nodes: whole("nodes"),
            clients: whole("clients"),
            modifies: whole("modifies"),
            kept: whole("kept"),
            failed: whole("failed"),
            conflicts: whole("conflicts"),
            nanoseconds: number("nanoseconds"),
            median_wait_nanoseconds: number("median_wait_nanoseconds"),
            longest_wait_nanoseconds: number("longest_wait_nanoseconds"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self {
            store,
            nodes,
            clients,
            modifies,
            kept,
            failed,
            conflicts,
            nanoseconds,
            median_wait_nanoseconds,
            longest_wait_nanoseconds,
        } = self;
        json!({
            "store": store,
            "nodes": nodes,
            "clients": clients,
            "modifies": modifies,
            "kept": kept,
            "failed": failed,
            "conflicts": conflicts,
            "nanoseconds": nanoseconds,
            "median_wait_nanoseconds": median_wait_nanoseconds,
            "longest_wait_nanoseconds": longest_wait_nanoseconds,
        })
    }

    /// Nothing was lost, and nobody waited for too long.
    fn is_good(&self) -> bool {
        self.failed == 0 && self.kept == self.modifies && self.longest_wait_nanoseconds <= DEADLINE
    }
}

/// One row for each of our stores and number of nodes.
pub(super) fn table(results: &Results) -> Table {
    let clients = results.contention.first().map_or(0, |first| first.clients);
    let mut table = Table::new(
        format!(
            "{clients} clients write one session at the same time: our stores, without HTTP (deadline of a save: {:.0} s)",
            DEADLINE / 1e9
        ),
        &[
            "store",
            "nodes",
            "kept",
            "failed",
            "tried again",
            "all together, ms",
            "each, µs",
            "wait for one, median, ms",
            "longest, ms",
        ],
    );
    for contention in &results.contention {
        let Contention {
            store,
            nodes,
            clients: _,
            modifies,
            kept,
            failed,
            conflicts,
            nanoseconds,
            median_wait_nanoseconds,
            longest_wait_nanoseconds,
        } = contention;
        let kept = format!("{kept} of {modifies}");
        table.push([
            store.clone(),
            nodes.to_string(),
            if contention.is_good() {
                kept
            } else {
                format!("**{kept}**")
            },
            failed.to_string(),
            conflicts.to_string(),
            format!("{:.0}", nanoseconds / 1e6),
            format!("{:.0}", nanoseconds / 1e3 / *modifies as f64),
            format!("{:.1}", median_wait_nanoseconds / 1e6),
            format!("{:.1}", longest_wait_nanoseconds / 1e6),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Contention {
        Contention {
            store: "file".to_owned(),
            nodes: 2,
            clients: 64,
            modifies: 640,
            kept: 640,
            failed: 0,
            conflicts: 365,
            nanoseconds: 128e6,
            median_wait_nanoseconds: 1.25e6,
            longest_wait_nanoseconds: 40e6,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(Contention::read(&sample().to_json()), sample());
    }

    #[test]
    fn whatever_was_lost_or_late_stands_out() {
        let lost = Contention {
            kept: 639,
            ..sample()
        };
        let failed = Contention {
            failed: 1,
            ..sample()
        };
        let late = Contention {
            longest_wait_nanoseconds: 6e9,
            ..sample()
        };
        let results = Results {
            contention: vec![sample(), lost, failed, late],
            ..Results::default()
        };
        let markdown = table(&results).markdown();
        let rows: Vec<_> = markdown.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| file | 2 | 640 of 640 | 0 | 365 | 128 | 200 | 1.2 | 40.0 |",
                "| file | 2 | **639 of 640** | 0 | 365 | 128 | 200 | 1.2 | 40.0 |",
                "| file | 2 | **640 of 640** | 1 | 365 | 128 | 200 | 1.2 | 40.0 |",
                "| file | 2 | **640 of 640** | 0 | 365 | 128 | 200 | 1.2 | 6000.0 |",
            ]
        );
    }
}
