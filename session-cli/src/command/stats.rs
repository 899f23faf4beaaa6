//! Counts all sessions: live and expired, by owner, by size, by age.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value, json};
use session_core::Owner;
use session_core::store::{Record, StoreError, Timestamp};

use super::histogram::Histogram;
use super::now;
use crate::backend::Opening;
use crate::outcome::{Failure, Report};
use crate::place::Place;
use crate::progress::{Progress, Voice, part_before};
use crate::text::{counted, harmless, number, sessions, size};
use crate::walk::Walk;

pub(super) async fn run(at: &Place, top: usize, voice: Voice) -> Result<Report, Failure> {
    let store = at.open(Opening::Existing).await?.store();
    let mut progress = Progress::new(voice, "counting");
    let mut walk = Walk::through(&*store)?;
    let mut census = Census::at(now());
    while let Some((key, record)) = walk.next().await? {
        census.count(&record)?;
        progress.at(part_before(&key), sessions(census.seen()));
    }
    drop(progress);
    Ok(census.report(at, top))
}

/// What is known of those that were counted.
struct Census {
    now: Timestamp,
    expired: u64,
    anonymous: u64,
    owners: HashMap<Owner, u64>,
    /// Of the live ones, in bytes.
    sizes: Vec<u64>,
    by_size: Histogram,
    by_age: Histogram,
    by_life_left: Histogram,
}

impl Census {
    fn at(now: Timestamp) -> Self {
        Self {
            now,
            expired: 0,
            anonymous: 0,
            owners: HashMap::new(),
            sizes: Vec::new(),
            by_size: Histogram::of_sizes(),
            by_age: Histogram::of_durations(),
            by_life_left: Histogram::of_durations(),
        }
    }

    fn count(&mut self, record: &Record) -> Result<(), StoreError> {
        if !record.is_live(self.now) {
            self.expired += 1;
            return Ok(());
        }
        let bytes = u64::try_from(record.payload.to_bytes()?.len()).unwrap_or(u64::MAX);
        self.sizes.push(bytes);
        self.by_size.add(bytes);
        match &record.owner {
            Some(owner) => *self.owners.entry(owner.clone()).or_default() += 1,
            None => self.anonymous += 1,
        }
        match record.created_at {
            Some(began) => self.by_age.add(self.now.saturating_since(began).as_secs()),
            None => self.by_age.add_unknown(),
        }
        let left = record.expires_at.saturating_since(self.now);
        self.by_life_left.add(left.as_secs());
        Ok(())
    }

    fn live(&self) -> u64 {
        u64::try_from(self.sizes.len()).unwrap_or(u64::MAX)
    }

    fn seen(&self) -> u64 {
        self.live() + self.expired
    }

    fn report(mut self, at: &Place, top: usize) -> Report {
        self.sizes.sort_unstable();
        let sizes = Sizes::of(&self.sizes);
        let mut owners: Vec<(&Owner, &u64)> = self.owners.iter().collect();
        owners.sort_by_key(|(owner, count)| (Reverse(**count), *owner));
        owners.truncate(top);
        let text = self.text(at, &sizes, &owners);
        let top: Vec<Value> = owners
            .iter()
            .map(|(owner, count)| json!({ "owner": owner.as_str(), "sessions": count }))
            .collect();
        let Sizes {
            total,
            half,
            most,
            largest,
        } = sizes;
        let json = json!({
            "store": at.to_string(),
            "live": self.live(),
            "expired": self.expired,
            "anonymous": self.anonymous,
            "owners": self.owners.len(),
            "top_owners": top,
            "bytes": { "total": total, "half_below": half, "95_percent_below": most, "largest": largest },
            "by_size": self.by_size.as_json(),
            "by_age_secs": self.by_age.as_json(),
            "by_life_left_secs": self.by_life_left.as_json(),
        });
        Report::done(text, json)
    }

    fn text(&self, at: &Place, sizes: &Sizes, top: &[(&Owner, &u64)]) -> String {
        let live = self.live();
        let logged_in = live - self.anonymous;
        let owners = u64::try_from(self.owners.len()).unwrap_or(u64::MAX);
        let mut text = format!(
            "{at}\n  live     {}: {} of {}, {} of nobody\n  expired  {}",
            number(live),
            number(logged_in),
            counted(owners, "owner", "owners"),
            number(self.anonymous),
            number(self.expired),
        );
        if self.expired > 0 {
            text += "; `sessions clear-expired` removes them";
        }
        if live == 0 {
            return text;
        }
        text += &format!(
            "\n  data     {}; half have no more than {}, 95 of 100 no more than {}, the largest {}",
            size(sizes.total),
            size(sizes.half),
            size(sizes.most),
            size(sizes.largest),
        );
        text += &format!("\n\nsize{}", self.by_size.drawn());
        text += &format!("\n\nage{}", self.by_age.drawn());
        text += &format!("\n\nexpires in{}", self.by_life_left.drawn());
        if !top.is_empty() {
            text += "\n\nowners with the most sessions";
        }
        for (owner, count) in top {
            text += &format!("\n  {:>9}  {}", number(**count), harmless(owner.as_str()));
        }
        text
    }
}

/// How large they are, in bytes.
struct Sizes {
    total: u64,
    half: u64,
    most: u64,
    largest: u64,
}

impl Sizes {
    /// Of sizes in order.
    fn of(sorted: &[u64]) -> Self {
        let below = |percent: usize| {
            let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(place).copied().unwrap_or(0)
        };
        Self {
            total: sorted.iter().sum(),
            half: below(50),
            most: below(95),
            largest: below(100),
        }
    }
}
