//! Whether our sessions have become dearer: instructions above the bare handler, in memory, now and before.

use crate::Result;

use super::results::{BARE, Results, Row};
use super::tables::{OURS, OURS_ACTIX, Table};

/// How much dearer is too much, as a ratio.
const RATIO_MAX: f64 = 1.05;

/// How what costs what has changed.
#[derive(Debug)]
pub(super) struct Comparison {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    name: String,
    before: f64,
    now: f64,
}

/// Compares what both runs have measured.
pub(super) fn compare(before: &Results, now: &Results) -> Result<Comparison> {
    let instructions = |row: &Row| row.instructions;
    let mut lines = Vec::new();
    for row in &before.rows {
        let key = &row.key;
        if ![OURS, OURS_ACTIX].contains(&&*key.library) || key.scenario == BARE {
            continue;
        }
        let Some(then) = before.above_bare(row, instructions) else {
            continue;
        };
        let found = now.find(&key.store, &key.library, &key.payload, &key.scenario);
        let Some(today) = found.and_then(|row| now.above_bare(row, instructions)) else {
            let what = format!(
                "{}, {}, {}, {}",
                key.library, key.store, key.payload, key.scenario
            );
            return Err(format!("instructions were counted for {what} before, and not now").into());
        };
        lines.push(Line {
            name: format!("{}, {}, {}", key.library, key.payload, key.scenario),
            before: then,
            now: today,
        });
    }
    if lines.is_empty() {
        return Err("the earlier run has no instructions to compare with".into());
    }
    Ok(Comparison { lines })
}

impl Comparison {
    pub(super) fn is_good(&self) -> bool {
        self.lines.iter().all(|line| !line.is_dearer())
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new(
            "Instructions above the bare handler, held against the earlier run",
            &["request", "before", "now", "ratio", ""],
        );
        for line in &self.lines {
            table.push([
                line.name.clone(),
                format!("{:.0}", line.before),
                format!("{:.0}", line.now),
                format!("{:.3}", line.ratio()),
                if line.is_dearer() { "DEARER" } else { "" }.to_owned(),
            ]);
        }
        format!("\n{}\n\n{}", table.title, table.markdown())
    }
}

impl Line {
    /// What costs next to nothing is compared as if it were one instruction.
    fn ratio(&self) -> f64 {
        self.now.max(1.0) / self.before.max(1.0)
    }

    fn is_dearer(&self) -> bool {
        self.ratio() > RATIO_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::sample::row;
    use super::*;

    fn results(read: f64) -> Results {
        Results {
            rows: vec![
                row(OURS, BARE, 1000.0),
                row(OURS, "s2", 1000.0 + read),
                row("peer", BARE, 1000.0),
                row("peer", "s2", 9000.0),
            ],
            ..Results::default()
        }
    }

    #[test]
    fn five_per_cent_more_instructions_are_borne_and_more_are_not() {
        for (now, is_good) in [
            (1000.0, true),
            (1050.0, true),
            (1051.0, false),
            (10.0, true),
        ] {
            let comparison = compare(&results(1000.0), &results(now)).unwrap();
            assert_eq!(comparison.is_good(), is_good, "{}", comparison.text());
        }
    }

    #[test]
    fn the_bare_handler_is_no_part_of_the_ratio() {
        let mut now = results(1100.0);
        for row in &mut now.rows {
            row.instructions = row.instructions.map(|number| number + 100_000.0);
        }
        let comparison = compare(&results(1000.0), &now).unwrap();
        assert!(
            !comparison.is_good(),
            "a larger handler hid what became dearer"
        );
    }

    #[test]
    fn ours_in_actix_is_held_against_ours_in_actix() {
        let with = |read| {
            let mut results = results(1000.0);
            results.rows.push(row(OURS_ACTIX, BARE, 500.0));
            results.rows.push(row(OURS_ACTIX, "s2", 500.0 + read));
            results
        };
        assert!(compare(&with(100.0), &with(105.0)).unwrap().is_good());
        assert!(!compare(&with(100.0), &with(106.0)).unwrap().is_good());
        // A run of before had no such column.
        assert!(compare(&results(1000.0), &with(106.0)).unwrap().is_good());
    }

    #[test]
    fn a_peer_that_became_dearer_is_no_fault_of_ours() {
        let mut now = results(1000.0);
        now.rows.pop();
        now.rows.push(row("peer", "s2", 90_000.0));
        assert!(compare(&results(1000.0), &now).unwrap().is_good());
    }

    #[test]
    fn what_was_counted_before_must_be_counted_now() {
        let mut now = results(1000.0);
        now.rows.retain(|row| row.key.scenario == BARE);
        let error = compare(&results(1000.0), &now).unwrap_err();
        assert!(error.to_string().contains("s2"), "{error}");
        compare(&Results::default(), &now).unwrap_err();
    }
}
