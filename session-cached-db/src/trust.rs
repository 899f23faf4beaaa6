//! Which copies this process does not believe.
//!
//! When a step on the cache fails after the row was written, the slot may still hold the copy from before. Others may read
//! it until the staleness bound has passed. This process knows better, and has to: whoever was told that a write is stored
//! reads it, and a merge after a conflict would otherwise load the same old copy, and conflict again, until the bound. The
//! rules, all of them:
//!
//! 1. Such a key is doubted for as long as a copy may live. A load of a doubted key empties the slot first; once that has
//!    worked, the doubt is over. As long as it does not work, the row is read and nothing is filled.
//! 2. So many keys are remembered and no more. One too many, and no copy at all is believed for as long as a copy may live.
//!
//! A step that was given up and arrives later is harmless: the cache puts nothing over a newer version, fills nothing
//! without the lease, and a tombstone is only ever meant for a session that ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::store::StoreKey;
use tokio::time::Instant;

/// Keys that are doubted one by one: 100 KiB of them. More than that fail only while the cache is down.
const DOUBTS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Trust {
    /// For how long a copy may live.
    bound: Duration,
    /// So that a load asks for no lock as long as there is nothing to doubt.
    is_shaken: AtomicBool,
    doubts: Mutex<Doubts>,
}

#[derive(Debug, Default)]
struct Doubts {
    keys: HashMap<StoreKey, Doubt>,
    everything_until: Option<Instant>,
    last_number: u64,
}

/// One failed step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    number: u64,
    until: Instant,
}

/// What a load may do with the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Belief {
    /// Take what it holds.
    All,
    /// Empty the slot first.
    AfterEmptying(Doubt),
    /// Leave it alone.
    Nothing,
}

impl Trust {
    pub(crate) fn new(staleness_max: Duration) -> Self {
        Self {
            bound: staleness_max,
            is_shaken: AtomicBool::new(false),
            doubts: Mutex::default(),
        }
    }

    /// A step on this slot has failed.
    pub(crate) fn doubt(&self, key: &StoreKey) {
        let now = Instant::now();
        let until = now + self.bound;
        let mut doubts = self.lock();
        self.is_shaken.store(true, Ordering::SeqCst);
        if doubts.keys.len() >= DOUBTS_MAX {
            doubts.keys.retain(|_, doubt| doubt.until > now);
        }
        if doubts.keys.len() >= DOUBTS_MAX && !doubts.keys.contains_key(key) {
            doubts.keys.clear();
            doubts.everything_until = Some(until);
            drop(doubts);
            tracing::warn!(
                bound = ?self.bound,
                "too many steps on the cache have failed: no copy is believed until the staleness bound has passed"
            );
            return;
        }
        doubts.last_number += 1;
        let number = doubts.last_number;
        doubts.keys.insert(key.clone(), Doubt { number, until });
    }

    pub(crate) fn in_slot(&self, key: &StoreKey) -> Belief {
        if !self.is_shaken.load(Ordering::SeqCst) {
            return Belief::All;
        }
        let now = Instant::now();
        let mut doubts = self.lock();
        if doubts.everything_until.is_some_and(|until| until > now) {
            return Belief::Nothing;
        }
        doubts.everything_until = None;
        match doubts.keys.get(key).copied() {
            Some(doubt) if doubt.until > now => Belief::AfterEmptying(doubt),
            Some(doubt) => {
                self.forget(&mut doubts, key, doubt);
                Belief::All
            }
            None => Belief::All,
        }
    }

    /// The slot was emptied after `doubt` arose.
    pub(crate) fn settle(&self, key: &StoreKey, doubt: Doubt) {
        self.forget(&mut self.lock(), key, doubt);
    }

    fn forget(&self, doubts: &mut Doubts, key: &StoreKey, doubt: Doubt) {
        // Another step may have failed meanwhile.
        if doubts
            .keys
            .get(key)
            .is_some_and(|held| held.number == doubt.number)
        {
            doubts.keys.remove(key);
        }
        if doubts.keys.is_empty() && doubts.everything_until.is_none() {
            self.is_shaken.store(false, Ordering::SeqCst);
        }
    }

    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(60);

    fn key(number: usize) -> StoreKey {
        StoreKey::parse(&format!("{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_doubted_until_it_was_emptied_or_the_bound_has_passed() {
        let trust = Trust::new(BOUND);
        trust.doubt(&key(1));
        trust.doubt(&key(2));
        assert!(matches!(trust.in_slot(&key(3)), Belief::All));
        let Belief::AfterEmptying(doubt) = trust.in_slot(&key(1)) else {
            panic!("a failed step is forgotten");
        };
        // Another step fails while the slot is being emptied for the first.
        trust.doubt(&key(1));
        trust.settle(&key(1), doubt);
        let Belief::AfterEmptying(doubt) = trust.in_slot(&key(1)) else {
            panic!("the second failed step is forgotten with the first");
        };
        trust.settle(&key(1), doubt);
        assert!(matches!(trust.in_slot(&key(1)), Belief::All));
        tokio::time::advance(BOUND).await;
        assert!(matches!(trust.in_slot(&key(2)), Belief::All));
        assert!(
            !trust.is_shaken.load(Ordering::SeqCst),
            "loads lock forever"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_doubt_too_many_and_nothing_is_believed_until_the_bound_has_passed() {
        let trust = Trust::new(BOUND);
        for number in 0..DOUBTS_MAX {
            trust.doubt(&key(number));
        }
        assert!(matches!(trust.in_slot(&key(DOUBTS_MAX)), Belief::All));
        trust.doubt(&key(DOUBTS_MAX));
        for number in [0, DOUBTS_MAX, DOUBTS_MAX + 1] {
            assert!(matches!(trust.in_slot(&key(number)), Belief::Nothing));
        }
        tokio::time::advance(BOUND).await;
        assert!(matches!(trust.in_slot(&key(0)), Belief::All));
    }

    #[tokio::test(start_paused = true)]
    async fn doubts_whose_time_has_passed_make_room() {
        let trust = Trust::new(BOUND);
        for number in 0..DOUBTS_MAX {
            trust.doubt(&key(number));
        }
        tokio::time::advance(BOUND).await;
        trust.doubt(&key(DOUBTS_MAX));
        assert!(matches!(trust.in_slot(&key(0)), Belief::All));
        assert!(matches!(
            trust.in_slot(&key(DOUBTS_MAX)),
            Belief::AfterEmptying(_)
        ));
    }
}
