//! How many sessions are created for visitors who are not logged in.

use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::error::SessionError;
use crate::events;
use crate::policy::Policy;

/// What was created in the present minute, in this process.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    created: u32,
}

impl Budget {
    /// Takes one session out of the budget, or refuses it.
    pub(crate) fn take(&self, policy: &Policy, now: Timestamp) -> Result<(), SessionError> {
        let Some(per_minute_max) = policy.new_anonymous_per_minute_max() else {
            return Ok(());
        };
        let number = now.as_secs().div_euclid(60);
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that goes back by a little does not begin another minute; one that was put right by more does.
        if number > minute.number || number < minute.number.saturating_sub(1) {
            *minute = Minute { number, created: 0 };
        }
        if minute.created >= per_minute_max {
            if minute.created == per_minute_max {
                // Told once in a minute.
                minute.created += u32::from(per_minute_max < u32::MAX);
                drop(minute);
                events::too_many_new_sessions(per_minute_max);
            }
            return Err(SessionError::TooManyNewSessions { per_minute_max });
        }
        minute.created += 1;
        Ok(())
    }
}
