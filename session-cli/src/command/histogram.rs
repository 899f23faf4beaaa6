//! Counts drawn as bars, in the terminal.

use serde_json::{Value, json};

use crate::text::number;

/// A range of durations or sizes, and how many fell into it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bucket {
    name: &'static str,
    /// Values below this. The last bucket takes the rest.
    below: u64,
    count: u64,
}

/// How often values fell into each range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    buckets: Vec<Bucket>,
    unknown: u64,
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

impl Histogram {
    /// Of durations in seconds.
    pub(super) fn of_durations() -> Self {
        Self::of(&[
            ("under 1 hour", HOUR),
            ("1 to 6 hours", 6 * HOUR),
            ("6 to 24 hours", DAY),
            ("1 to 3 days", 3 * DAY),
            ("3 to 7 days", 7 * DAY),
            ("1 to 2 weeks", 14 * DAY),
            ("2 to 4 weeks", 28 * DAY),
            ("4 to 12 weeks", 84 * DAY),
            ("over 12 weeks", u64::MAX),
        ])
    }

    /// Of sizes in bytes.
    pub(super) fn of_sizes() -> Self {
        Self::of(&[
            ("under 256 B", 256),
            ("256 B to 1 KiB", 1 << 10),
            ("1 to 4 KiB", 4 << 10),
            ("4 to 16 KiB", 16 << 10),
            ("16 to 64 KiB", 64 << 10),
            ("64 to 256 KiB", 256 << 10),
            ("over 256 KiB", u64::MAX),
        ])
    }

    fn of(buckets: &[(&'static str, u64)]) -> Self {
        let empty = |&(name, below)| Bucket {
            name,
            below,
            count: 0,
        };
        Self {
            buckets: buckets.iter().map(empty).collect(),
            unknown: 0,
        }
    }

    pub(super) fn add(&mut self, value: u64) {
        let fits = |bucket: &&mut Bucket| value < bucket.below || bucket.below == u64::MAX;
        if let Some(bucket) = self.buckets.iter_mut().find(fits) {
            bucket.count += 1;
        }
    }

    /// One whose value nobody knows.
    pub(super) const fn add_unknown(&mut self) {
        self.unknown += 1;
    }

    /// One line for each range, down to the last that has any.
    pub(super) fn drawn(&self) -> String {
        const WIDTH: u64 = 40;
        let used = self.buckets.iter().rposition(|bucket| bucket.count > 0);
        let shown = used.map_or(0, |last| last + 1);
        let known = self.buckets.iter().take(shown);
        let known = known.map(|bucket| (bucket.name, bucket.count));
        let rows: Vec<_> = known
            .chain((self.unknown > 0).then_some(("unknown", self.unknown)))
            .collect();
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let mut text = String::new();
        for (name, count) in rows {
            // Whoever is there is seen.
            let cells = (count * WIDTH).div_ceil(most.max(1));
            let bar = "█".repeat(usize::try_from(cells).unwrap_or(0));
            text += &format!("\n  {name:<15} {bar} {}", number(count));
        }
        text
    }

    pub(super) fn as_json(&self) -> Value {
        let buckets = self.buckets.iter().map(|Bucket { name, below, count }| {
            let below = (*below != u64::MAX).then_some(*below);
            json!({ "name": name, "below": below, "count": count })
        });
        json!({ "buckets": buckets.collect::<Vec<_>>(), "unknown": self.unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_its_range_and_the_longest_bar_is_of_the_most() {
        let mut ages = Histogram::of_durations();
        for secs in [0, HOUR - 1, HOUR, 2 * DAY, 2 * DAY] {
            ages.add(secs);
        }
        ages.add(u64::MAX);
        ages.add_unknown();
        let drawn = ages.drawn();
        let lines: Vec<&str> = drawn.trim_start_matches('\n').lines().collect();
        assert_eq!(lines.len(), 10, "{drawn}");
        assert!(
            lines[0].ends_with(" 2") && lines[0].contains(&"█".repeat(40)),
            "{drawn}"
        );
        assert!(
            lines[1].ends_with(" 1") && lines[1].matches('█').count() == 20,
            "{drawn}"
        );
        assert!(
            lines[2].ends_with(" 0") && !lines[2].contains('█'),
            "{drawn}"
        );
        assert!(
            lines[8].starts_with("  over 12 weeks") && lines[8].ends_with(" 1"),
            "{drawn}"
        );
        assert!(
            lines[9].starts_with("  unknown") && lines[9].ends_with(" 1"),
            "{drawn}"
        );
    }

    #[test]
    fn ranges_that_nobody_reaches_are_not_drawn() {
        let mut sizes = Histogram::of_sizes();
        assert_eq!(sizes.drawn(), "");
        sizes.add(10);
        assert_eq!(
            sizes.drawn().lines().count(),
            2,
            "a line break, and one line"
        );
    }
}
