//! What ran and how it went: counts what `cargo test` printed, and lays out the table at the end.

use std::time::Duration;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) counts: Counts,
    pub(crate) took: Duration,
    /// Why it failed or was skipped.
    pub(crate) reason: Option<String>,
}

/// How many tests, or checks that are not tests, went how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// What a skip means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    AreAllowed,
    AreFailures,
}

/// Everything that ran so far.
pub(crate) struct Report {
    skips: Skips,
    rows: Vec<Row>,
}

impl Row {
    pub(crate) fn passed(name: impl Into<String>, took: Duration) -> Self {
        let counts = Counts {
            passed: 1,
            ..Counts::default()
        };
        Self::counted(name, counts, took)
    }

    pub(crate) fn failed(
        name: impl Into<String>,
        took: Duration,
        reason: impl Into<String>,
    ) -> Self {
        let counts = Counts {
            failed: 1,
            ..Counts::default()
        };
        Self {
            reason: Some(reason.into()),
            ..Self::counted(name, counts, took)
        }
    }

    pub(crate) fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        let counts = Counts {
            skipped: 1,
            ..Counts::default()
        };
        Self {
            reason: Some(reason.into()),
            ..Self::counted(name, counts, Duration::ZERO)
        }
    }

    pub(crate) fn counted(name: impl Into<String>, counts: Counts, took: Duration) -> Self {
        Self {
            name: name.into(),
            counts,
            took,
            reason: None,
        }
    }

    pub(crate) const fn verdict(&self) -> &'static str {
        match self.counts {
            Counts { failed: 1.., .. } => "FAILED",
            Counts { skipped: 1.., .. } => "SKIPPED",
            Counts { passed: 0, .. } => "empty",
            Counts { .. } => "passed",
        }
    }
}

impl Counts {
    /// Adds up the lines with which each test program ends: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    pub(crate) fn read(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            // A test may have left the line unfinished that the result is printed on.
            let Some((_, result)) = line.split_once("test result: ") else {
                continue;
            };
            let numbers = result.split_once(". ").map_or("", |(_, numbers)| numbers);
            for part in numbers.split(';') {
                let Some((number, what)) = part.trim().split_once(' ') else {
                    continue;
                };
                let number = number.parse().unwrap_or(0);
                match what {
                    "passed" => counts.passed += number,
                    "failed" => counts.failed += number,
                    "ignored" => counts.skipped += number,
                    _ => {}
                }
            }
        }
        counts
    }
}

impl Report {
    pub(crate) const fn new(skips: Skips) -> Self {
        Self {
            skips,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, mut row: Row) {
        if self.skips == Skips::AreFailures && row.counts.skipped > 0 {
            row.counts.failed += row.counts.skipped;
            row.counts.skipped = 0;
            let why = row.reason.unwrap_or_else(|| "ignored tests".to_owned());
            row.reason = Some(format!("nothing may be skipped here: {why}"));
        }
        self.rows.push(row);
    }

    /// The latest row, as it will stand in the table.
    pub(crate) fn latest(&self) -> Option<&Row> {
        self.rows.last()
    }

    pub(crate) fn is_good(&self) -> bool {
        self.total().failed == 0
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for row in &self.rows {
            total.passed += row.counts.passed;
            total.failed += row.counts.failed;
            total.skipped += row.counts.skipped;
        }
        total
    }

    /// The table, with the sums alone on the last line.
    pub(crate) fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0);
        let mut table = format!(
            "{:width$}  {:7}  {:>6}  {:>6}  {:>7}  {:>8}\n",
            "what ran", "verdict", "passed", "failed", "skipped", "seconds"
        );
        for row in &self.rows {
            let Row {
                name,
                counts,
                took,
                reason,
            } = row;
            let line = format!(
                "{name:width$}  {:7}  {:6}  {:6}  {:7}  {:8.1}  {}",
                row.verdict(),
                counts.passed,
                counts.failed,
                counts.skipped,
                took.as_secs_f64(),
                reason.as_deref().unwrap_or_default()
            );
            table.push_str(line.trim_end());
            table.push('\n');
        }
        let Counts {
            passed,
            failed,
            skipped,
        } = self.total();
        table.push_str(&format!(
            "\n{passed} passed, {failed} failed, {skipped} skipped"
        ));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(1250);

    #[test]
    fn the_results_of_all_test_programs_are_added_up() {
        let output = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
half a line test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests session_core
test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s
";
        let counts = Counts {
            passed: 17,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(Counts::read(output), counts);
        assert_eq!(Counts::read("error: could not compile"), Counts::default());
    }

    #[test]
    fn the_table_ends_with_the_sums_alone_on_a_line() {
        let mut report = Report::new(Skips::AreAllowed);
        report.push(Row::passed("fmt", TOOK));
        report.push(Row::skipped("browser", "chromedriver is not installed"));
        let table = report.table();
        assert!(
            table.contains(
                "browser  SKIPPED       0       0        1       0.0  chromedriver is not installed"
            ),
            "{table}"
        );
        assert_eq!(
            table.lines().last(),
            Some("1 passed, 0 failed, 1 skipped"),
            "{table}"
        );
        assert!(report.is_good());
    }

    #[test]
    fn one_failure_makes_the_whole_run_a_failure() {
        let mut report = Report::new(Skips::AreAllowed);
        report.push(Row::passed("fmt", TOOK));
        report.push(Row::failed("docs", TOOK, "exit code 101"));
        report.push(Row::passed("tidy", TOOK));
        assert!(!report.is_good());
    }

    #[test]
    fn in_ci_a_skip_is_a_failure_and_still_says_why() {
        let mut report = Report::new(Skips::AreFailures);
        report.push(Row::skipped("browser", "chromedriver is not installed"));
        assert!(!report.is_good());
        let table = report.table();
        assert!(table.contains("FAILED"), "{table}");
        assert!(table.contains("chromedriver is not installed"), "{table}");
        assert!(
            table.ends_with("\n0 passed, 1 failed, 0 skipped"),
            "{table}"
        );
    }

    #[test]
    fn in_ci_an_ignored_test_is_a_failure() {
        let mut report = Report::new(Skips::AreFailures);
        let counts = Counts {
            passed: 5,
            failed: 0,
            skipped: 1,
        };
        report.push(Row::counted("tests", counts, TOOK));
        assert!(!report.is_good());
    }
}
