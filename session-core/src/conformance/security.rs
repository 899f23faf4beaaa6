//! The list of clauses about security, the macro that makes tests of it, and what a dump is searched for.
//!
//! Each clause runs requests over a store through a manager with server secrets, and is named after the rows of the security
//! requirements that it proves.

mod at_rest;
mod ending;
mod races;
mod site;

use std::sync::Arc;

use crate::conformance::Broken;
use crate::conformance::ability;
use crate::conformance::canaries::Canaries;
use crate::conformance::suite::{Clause, list};
use crate::key::KeyPolicy;
use crate::outcome::Completion;
use crate::owner::Owner;
use crate::store::SessionStore;

use site::Site;

/// Every clause, by the file of `security/` that it is in, with what it needs. The only list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! __security_clauses {
    ($callback:path, $($context:tt)*) => {
        $callback! {
            $($context)*
            at_rest::rest_02_what_a_dump_holds_is_no_cookie;
            at_rest::rest_06_data_08_a_payload_is_believed_at_its_own_record_alone_and_left_as_it_is, owner_label_and_creation_time;
            at_rest::rest_09_a_session_moves_to_a_new_digest_key_at_its_next_write;
            at_rest::rest_10_sessions_are_resealed_beside_live_traffic, scan;
            at_rest::rest_13_a_plain_payload_is_refused_until_its_window_opens_and_sealed_in_it;
            ending::fix_03_end_01_a_key_opens_nothing_after_its_log_out;
            ending::end_03_of_fifty_log_outs_one_ends_the_session;
            ending::end_04_a_list_of_sessions_shows_no_key, owner_index;
            ending::end_05_a_handle_ends_a_session_of_its_own_owner_alone, owner_index;
            ending::end_06_end_08_ending_all_ends_what_was_and_spares_what_comes, owner_index;
            ending::end_10_a_moment_ends_every_session_that_began_before_it, owner_label_and_creation_time;
            ending::end_11_of_fifty_log_ins_as_many_live_as_the_limit_says, owner_index;
            ending::fix_06_rot_03_the_old_key_is_dead_once_a_log_in_has_answered;
            ending::rot_04_a_rotation_that_fails_leaves_one_key, owner_index;
            races::race_01_nothing_late_brings_a_session_back;
            races::race_02_race_03_concurrent_requests_lose_nothing;
            races::race_04_a_value_is_handed_to_one_of_twenty;
            races::fail_03_what_was_done_although_nobody_answered_is_not_done_twice;
        }
    };
}

/// One test per clause about security, in a module named `security`: see [`conformance`](mod@crate::conformance). Takes what
/// [`conformance_suite!`](crate::conformance_suite) takes. Features `conformance` and `sealed`.
///
/// ```
/// use session_core::MemoryStore;
///
/// session_core::security_suite!(|| async { MemoryStore::new() });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! security_suite {
    ($new_store:expr $(, except: [$($ability:ident = $reason:expr),* $(,)?])? $(,)?) => {
        $crate::security_suite!($new_store, name: security $(, except: [$($ability = $reason),*])?);
    };
    ($new_store:expr, name: $suite:ident $(, except: [$($ability:ident = $reason:expr),* $(,)?])? $(,)?) => {
        mod $suite {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "whatever the argument names")]
            use super::*;

            const EXCEPT: &[($crate::conformance::ability::Ability, &str)] =
                &[$($(($crate::conformance::ability::$ability, $reason)),*)?];

            $crate::__security_clauses! {
                $crate::__conformance_tests,
                [$suite, $new_store]
            }
        }
    };
}

__security_clauses! { list, [
    /// Every clause about security: what [`security_suite!`](crate::security_suite) makes tests of.
    SECURITY_CLAUSES, self
] }

/// Uses `store` as an application with server secrets does, every operation of it, and leaves sessions in it: what is then
/// searched for in all that the store has left on disks, in memory, in logs and in backups, where it must not be.
///
/// The names that applications use, the values, the keys, and the hash of each key that somebody without the secret can compute are
/// sealed or hashed. Owners and labels are not: lists need them.
///
/// # Errors
///
/// What the store answered.
///
/// # Cancel safety
///
/// Some sessions are left, and nobody knows what to search for.
pub async fn live_with_secrets(store: Arc<dyn SessionStore>) -> Result<Canaries, Broken> {
    const NAME: &str = "canary-of-a-name";
    const VALUE: &str = "canary-of-a-value";
    let mut canaries = Canaries::new();
    canaries.add("a name", NAME);
    canaries.add("a value", VALUE);
    let site = Site::over(store)?;
    let mut keys = Vec::new();
    for n in 0..4_u32 {
        let first = site.visitor(|session| session.set(NAME, VALUE)).await?;
        let log_in = site.request(Some(&first)).await?;
        log_in.session.log_in(Owner::from(n % 2))?;
        log_in.session.set_label("a phone")?;
        let key = site::issued(log_in.finish().await?)?;
        drop(site.does(&key, |session| session.set("n", VALUE)).await?);
        keys.extend([first, key]);
    }
    site.clock
        .advance(std::time::Duration::from_secs(7 * 24 * 60 * 60));
    for key in &keys {
        // Some are renewed, and the first ones are unknown.
        let request = site.request(Some(key)).await?;
        drop(request.session.get::<String>(NAME)?);
        drop(request.slot.commit(Completion::Success).await?);
    }
    if let Some(last) = keys.last() {
        let request = site.request(Some(last)).await?;
        if site.manager.store().owner_index().is_some() {
            drop(request.session.own_sessions().await?);
            request.session.end_others().await?;
        }
    }
    for key in &keys {
        canaries.add("a session's key", key.expose_secret());
        canaries.add(
            "a hash that anybody can compute",
            KeyPolicy::Hashed.store_key(key).as_str(),
        );
    }
    Ok(canaries)
}
