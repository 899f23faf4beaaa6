//! Every order in which the calls of two requests on one session can meet, on the real code, over the real cache in memory,
//! with one eviction, one dropped step or one client that goes away at any moment; of three with `SESSION_TEST_FULL=1`. Enumerated, not sampled: an
//! order is left off only where it comes to a state that was seen already.

#[cfg(test)]
mod explore;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod script;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

use explore::{Deed, Explored, Setting, Trouble, explore};
use parts::Weakness;

/// The waits for the cache are bounded by tokio's timers, which are there and never ring.
#[cfg(test)]
fn with_timers<T>(explore: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    explore()
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "counts are worth seeing")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// All sets of so many deeds.
#[cfg(test)]
fn sets(deeds: usize, from: usize) -> Vec<Vec<Deed>> {
    if deeds == 0 {
        return vec![Vec::new()];
    }
    let mut sets = Vec::new();
    for (at, first) in Deed::ALL.into_iter().enumerate().skip(from) {
        for rest in self::sets(deeds - 1, at) {
            sets.push(std::iter::once(first).chain(rest).collect());
        }
    }
    sets
}

/// Whether what is too long for every run is wanted.
#[cfg(test)]
fn is_full() -> bool {
    std::env::var_os("SESSION_TEST_FULL").is_some()
}

/// Explores every set of deeds under each of the troubles, in one process and in several, cold and cached.
#[cfg(test)]
fn explore_all(sets: &[Vec<Deed>], troubles: &[Trouble]) -> Explored {
    let mut all = Explored::default();
    for deeds in sets {
        for trouble in troubles.iter().copied() {
            for (is_one_process, is_cached) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let setting = Setting {
                    deeds: deeds.clone(),
                    trouble,
                    is_one_process,
                    is_cached,
                    weakness: None,
                };
                let explored = with_timers(|| explore(&setting));
                if let Some(broken) = explored.broken {
                    panic!("{broken}");
                }
                all.runs += explored.runs;
                all.states += explored.states;
            }
        }
        // All of them take long, and somebody waits.
        if is_full() {
            say(&format!("{deeds:?}: {} orders so far", all.runs));
        }
    }
    all
}

#[test]
fn race_01_race_06_two_requests_in_every_order() {
    let all = explore_all(&sets(2, 0), &[Trouble::None]);
    say(&format!(
        "two requests: {} orders, {} states",
        all.runs, all.states
    ));
    assert!(all.runs > 500, "only {}: the requests don't meet", all.runs);
}

#[test]
fn race_01_race_06_two_requests_in_every_order_with_an_eviction_at_any_moment() {
    let all = explore_all(&sets(2, 0), &[Trouble::Eviction]);
    say(&format!(
        "two requests and an eviction: {} orders, {} states",
        all.runs, all.states
    ));
    assert!(all.runs > 1_000, "only {} orders", all.runs);
}

#[test]
fn race_01_race_06_two_requests_in_every_order_with_a_dropped_step_at_any_moment() {
    let all = explore_all(&sets(2, 0), &[Trouble::DroppedStep]);
    say(&format!(
        "two requests and a dropped step: {} orders, {} states",
        all.runs, all.states
    ));
    assert!(all.runs > 1_000, "only {} orders", all.runs);
}

#[test]
fn race_01_race_06_two_requests_in_every_order_of_which_one_is_abandoned_at_any_moment() {
    let all = explore_all(&sets(2, 0), &[Trouble::Abandoned]);
    say(&format!(
        "two requests, one of them abandoned: {} orders, {} states",
        all.runs, all.states
    ));
    assert!(all.runs > 1_000, "only {} orders", all.runs);
}

#[test]
fn race_01_race_06_three_requests_in_every_order() {
    let sets = if is_full() {
        sets(3, 0)
    } else {
        vec![
            vec![Deed::Load, Deed::Save, Deed::Delete],
            vec![Deed::Load, Deed::Touch, Deed::Save],
            vec![Deed::Load, Deed::Save, Deed::Rotate],
        ]
    };
    let all = explore_all(&sets, &[Trouble::None]);
    say(&format!(
        "three requests: {} orders, {} states",
        all.runs, all.states
    ));
    assert!(all.runs > 1_000, "only {} orders", all.runs);
}

/// Whether the exploration notices that the cache breaks a rule.
#[cfg(test)]
fn finds(weakness: Weakness, deeds: &[Deed], trouble: Trouble, is_cached: bool) {
    let setting = Setting {
        deeds: deeds.to_vec(),
        trouble,
        is_one_process: false,
        is_cached,
        weakness: Some(weakness),
    };
    let explored = with_timers(|| explore(&setting));
    let runs = explored.runs;
    match explored.broken {
        Some(broken) => say(&format!("found in order {runs}: {broken}")),
        None => panic!(
            "{weakness:?} breaks nothing in {runs} orders: the exploration would not notice it"
        ),
    }
    let sound = Setting {
        weakness: None,
        ..setting
    };
    let explored = with_timers(|| explore(&sound));
    assert!(
        explored.broken.is_none(),
        "it is not the weakness that was found: {:?}",
        explored.broken
    );
}

#[test]
fn a_cache_that_writes_into_an_empty_slot_is_found_out() {
    let deeds = [Deed::Retime, Deed::Save];
    finds(Weakness::WritesIntoEmptySlots, &deeds, Trouble::None, false);
    // Of a session that has ended: the tombstone was evicted.
    let deeds = [Deed::Retime, Deed::Delete];
    finds(
        Weakness::WritesIntoEmptySlots,
        &deeds,
        Trouble::Eviction,
        true,
    );
}

#[test]
fn a_cache_that_empties_a_tombstone_on_a_conflict_is_found_out() {
    // The second tombstone covers for the first, so that this needs a dropped step as well.
    let deeds = [Deed::Save, Deed::Leave];
    finds(
        Weakness::EmptiesTombstones,
        &deeds,
        Trouble::DroppedStep,
        true,
    );
}

#[test]
fn a_cache_that_fills_without_its_lease_is_found_out() {
    let deeds = [Deed::Load, Deed::Save];
    finds(Weakness::FillsWithoutItsLease, &deeds, Trouble::None, false);
}

#[test]
fn a_cache_that_fills_on_a_tombstone_is_found_out() {
    let deeds = [Deed::Load, Deed::Delete];
    finds(Weakness::FillsOnTombstones, &deeds, Trouble::None, false);
}

#[test]
fn a_cache_that_leaves_the_lease_of_an_older_reading_is_found_out() {
    let deeds = [Deed::Load, Deed::Save];
    finds(Weakness::LeavesLeases, &deeds, Trouble::None, false);
}

#[test]
fn a_cache_that_puts_an_older_copy_over_a_newer_one_is_found_out() {
    let deeds = [Deed::Retime, Deed::Retime];
    finds(Weakness::PutsOlderOverNewer, &deeds, Trouble::None, false);
}
