//! What our stores' operations cost among many sessions: the numbers of one size, and the table of all.

use serde_json::{Value, json};

use crate::workspace::{list, text};

use super::results::Results;
use super::tables::Table;

/// How many times the cost among the fewest sessions a load or a save among the most may cost.
const TIMES_MAX: f64 = 1.5;

/// What our store's operations cost when it holds so many sessions of 125 bytes.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Growth {
    pub(super) store: String,
    pub(super) sessions: u64,
    /// The median turn's mean.
    pub(super) load_nanoseconds: f64,
    /// The median turn's mean.
    pub(super) save_nanoseconds: f64,
    /// Quartiles of the same as a multiple of what the smallest store needed in the same round. Absent from older files.
    pub(super) load_times_smallest: Option<[f64; 3]>,
    pub(super) save_times_smallest: Option<[f64; 3]>,
    /// In memory or on disk, whichever the store uses, without what an empty one takes.
    pub(super) bytes_each: f64,
    /// `None` where the store's server removes by itself what has expired.
    pub(super) purged_each_second: Option<f64>,
}

impl Growth {
    pub(super) fn read(json: &Value) -> Self {
        let number = |name: &str| json[name].as_f64().unwrap_or_default();
        let quartiles = |name: &str| {
            let numbers = list(json, name).filter_map(Value::as_f64);
            numbers.collect::<Vec<f64>>().try_into().ok()
        };
        Self {
            store: text(json, "store").to_owned(),
            sessions: json["sessions"].as_u64().unwrap_or_default(),
            load_nanoseconds: number("load_nanoseconds"),
            save_nanoseconds: number("save_nanoseconds"),
            load_times_smallest: quartiles("load_times_smallest"),
            save_times_smallest: quartiles("save_times_smallest"),
            bytes_each: number("bytes_each"),
            purged_each_second: json["purged_each_second"].as_f64(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self {
            store,
            sessions,
            load_nanoseconds,
            save_nanoseconds,
            load_times_smallest,
            save_times_smallest,
            bytes_each,
            purged_each_second,
        } = self;
        json!({
            "store": store,
            "sessions": sessions,
            "load_nanoseconds": load_nanoseconds,
            "save_nanoseconds": save_nanoseconds,
            "load_times_smallest": load_times_smallest,
            "save_times_smallest": save_times_smallest,
            "bytes_each": bytes_each,
            "purged_each_second": purged_each_second,
        })
    }
}

/// One row for each of our stores and each size.
pub(super) fn table(results: &Results) -> Table {
    let mut table = Table::new(
        format!(
            "Growth: our stores with many sessions of 125 bytes, without HTTP (at a million, at most × {TIMES_MAX})"
        ),
        &[
            "store",
            "sessions",
            "load, µs",
            "× the smallest (quartiles)",
            "save, µs",
            "× the smallest (quartiles)",
            "bytes each",
            "removed each second, once expired",
        ],
    );
    let mut rows: Vec<_> = results.growth.iter().collect();
    rows.sort_by_key(|row| (row.store.clone(), row.sessions));
    for Growth {
        store,
        sessions,
        load_nanoseconds,
        save_nanoseconds,
        load_times_smallest,
        save_times_smallest,
        bytes_each,
        purged_each_second,
    } in rows
    {
        let microseconds = |nanoseconds: &f64| {
            if *nanoseconds < 10_000.0 {
                format!("{:.2}", nanoseconds / 1000.0)
            } else {
                format!("{:.1}", nanoseconds / 1000.0)
            }
        };
        table.push([
            store.clone(),
            sessions.to_string(),
            microseconds(load_nanoseconds),
            times(*load_times_smallest),
            microseconds(save_nanoseconds),
            times(*save_times_smallest),
            format!("{bytes_each:.0}"),
            purged_each_second
                .map_or_else(|| "by the server".to_owned(), |each| format!("{each:.0}")),
        ]);
    }
    table
}

fn times(quartiles: Option<[f64; 3]>) -> String {
    match quartiles {
        None => "–".to_owned(),
        // It is the smallest.
        Some([low, middle, high]) if [low, middle, high] == [1.0; 3] => "1".to_owned(),
        Some([low, middle, high]) => format!("{middle:.2} ({low:.2}–{high:.2})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_before_has_no_ratios_and_is_shown_without() {
        let growth = Growth::read(&json!({"store": "file", "sessions": 1000}));
        assert_eq!(growth.load_times_smallest, None);
        let results = Results {
            growth: vec![growth],
            ..Results::default()
        };
        let markdown = table(&results).markdown();
        assert!(
            markdown.contains("| file | 1000 | 0.00 | – | 0.00 | – | 0 | by the server |"),
            "{markdown}"
        );
    }

    #[test]
    fn each_size_stands_beside_its_multiple_of_the_smallest() {
        let row = |sessions, times| Growth {
            store: "sqlite".to_owned(),
            sessions,
            load_nanoseconds: 30_000.0 * times,
            save_nanoseconds: 1200.0,
            load_times_smallest: Some([times; 3]),
            save_times_smallest: Some([1.0; 3]),
            bytes_each: 260.4,
            purged_each_second: Some(7.0),
        };
        let results = Results {
            growth: vec![row(1_000_000, 1.25), row(1000, 1.0)],
            ..Results::default()
        };
        let markdown = table(&results).markdown();
        let rows: Vec<_> = markdown.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| sqlite | 1000 | 30.0 | 1 | 1.20 | 1 | 260 | 7 |",
                "| sqlite | 1000000 | 37.5 | 1.25 (1.25–1.25) | 1.20 | 1 | 260 | 7 |",
            ]
        );
    }
}
