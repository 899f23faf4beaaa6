//! The one list of clauses, the macro that makes tests of it, and what runs a clause.

use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use crate::conformance::ability::{self, Ability};
use crate::conformance::broken::{Broken, chain, ensure};
use crate::conformance::clause;
use crate::conformance::clause::setting::{self, NOW};
use crate::conformance::fixture::{BoxFuture, Fixture, Store, Stores};
use crate::store::StoreError;

/// One sentence of the contract, and the test of it.
#[non_exhaustive]
pub struct Clause {
    /// The sentence, which is also the test's name.
    pub name: &'static str,
    /// What a store must offer for the clause to concern it.
    pub needs: Option<Ability>,
    check: Check,
}

pub(super) type Check = fn(Stores) -> BoxFuture<Result<(), Broken>>;

impl Clause {
    /// The clause with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let known = CLAUSES.iter();
        #[cfg(feature = "sealed")]
        let known = known.chain(crate::conformance::SECURITY_CLAUSES);
        known.into_iter().find(|clause| clause.name == name)
    }

    pub(super) const fn new(name: &'static str, needs: Option<Ability>, check: Check) -> Self {
        Self { name, needs, check }
    }

    /// Tests the stores that `new_store` makes, in a tokio runtime of its own; `lacking` is what they don't offer.
    ///
    /// This is what the tests of [`conformance_suite!`](crate::conformance_suite) call. Call it yourself to show that a
    /// clause catches a store that is broken on purpose.
    ///
    /// # Errors
    ///
    /// What the store did against the clause.
    pub fn check<N, M, F>(&self, new_store: N, lacking: &[Ability]) -> Result<(), Broken>
    where
        N: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = F> + Send + 'static,
        F: Fixture,
    {
        let stores = Stores::new(new_store, lacking.to_vec());
        match self.needs {
            Some(ability) if !stores.offer(ability) => in_runtime(confirm_lack(ability, stores)),
            _ => in_runtime((self.check)(stores)),
        }
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clause")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// The body of every generated test.
///
/// # Panics
///
/// When the store breaks the clause.
#[doc(hidden)]
#[expect(
    clippy::panic,
    reason = "this is the body of a test, and says so to the test harness"
)]
pub fn run<N, M, F>(suite: &str, name: &str, except: &[(Ability, &str)], new_store: N)
where
    N: Fn() -> M + Send + Sync + 'static,
    M: Future<Output = F> + Send + 'static,
    F: Fixture,
{
    let Some(clause) = Clause::named(name) else {
        panic!("there is no clause named {name}");
    };
    if let Some(blank) = except.iter().find(|(_, reason)| reason.trim().is_empty()) {
        panic!("say why the store does not offer {}", blank.0.name());
    }
    let lacking: Vec<Ability> = except.iter().map(|(ability, _)| *ability).collect();
    if let Err(broken) = clause.check(new_store, &lacking) {
        panic!("{name}: {broken}");
    }
    let excused = except.iter().find(|(ability, _)| {
        clause.needs == Some(*ability)
            || (clause.needs == Some(ability::clear_expired)
                && *ability == ability::keeps_expired_records)
    });
    if let Some((ability, reason)) = excused {
        // Not `eprintln!`, which the test harness hides for a test that passes.
        let line = format!(
            "{suite}::{name}: not offered: {} ({reason})\n",
            ability.name()
        );
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

/// Longer than any clause takes over a slow network; a store that hangs is told apart from one that is slow.
const CLAUSE_TIME_MAX: Duration = Duration::from_secs(300);

fn in_runtime(check: impl Future<Output = Result<(), Broken>>) -> Result<(), Broken> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Broken::new(format!("tokio's runtime did not start: {error}")))?;
    runtime.block_on(async {
        tokio::time::timeout(CLAUSE_TIME_MAX, check)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Broken::new(format!(
                    "the store still had not answered after {CLAUSE_TIME_MAX:?}"
                )))
            })
    })
}

/// An exception for something that the store does offer would keep it untested.
async fn confirm_lack(ability: Ability, stores: Stores) -> Result<(), Broken> {
    let store: Store = stores.fresh().await;
    let name = ability.name();
    if ability == ability::owner_index {
        ensure!(
            store.owner_index().is_none(),
            "the store offers {name}: remove the exception, so that it is tested"
        );
    }
    if ability == ability::scan {
        ensure!(
            store.scan().is_none(),
            "the store offers {name}: remove the exception, so that it is tested"
        );
    }
    if ability == ability::clear_expired && !stores.offer(ability::keeps_expired_records) {
        store
            .create(&setting::key(1), setting::new("a"), NOW)
            .await?;
        let answer = store.clear_expired(setting::END, &mut |_| {}).await;
        ensure!(
            matches!(answer, Ok(0)),
            "a store that forgets expired sessions by itself has none to clear and answers Ok(0); found {}",
            answer.map_or_else(|error| chain(&error), |removed| format!("Ok({removed})"))
        );
    } else if ability == ability::clear_expired {
        let answer = store.clear_expired(NOW, &mut |_| {}).await;
        ensure!(
            matches!(answer, Err(StoreError::Unsupported { .. })),
            "a store that can't clear expired sessions answers Unsupported, so that no operator believes in it; found {}",
            answer.map_or_else(|error| chain(&error), |removed| format!("Ok({removed})"))
        );
    }
    Ok(())
}

/// Every clause, by the file of `clause/` that it is in, with what it needs. The only list there is.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_clauses {
    ($callback:path, $($context:tt)*) => {
        $callback! {
            $($context)*
            round_trip::load_gives_back_every_byte;
            round_trip::load_gives_back_a_mebibyte;
            round_trip::load_of_a_key_that_was_never_there_is_none;
            round_trip::keys_of_every_length_are_kept_apart;
            round_trip::expiries_come_back_to_the_second;
            round_trip::owner_label_and_creation_time_come_back, owner_label_and_creation_time;
            round_trip::every_live_record_survives_memory_pressure, survives_memory_pressure;
            create::create_never_overwrites_a_live_record;
            create::create_replaces_an_expired_record;
            create::of_concurrent_creates_one_wins;
            create::a_record_that_is_created_expired_does_not_exist;
            create::versions_are_never_issued_twice, versions_are_unique;
            create::errors_show_no_key_and_no_data;
            save::every_save_gives_a_newer_version;
            save::a_save_at_an_old_version_conflicts_and_changes_nothing;
            save::of_fifty_saves_at_one_version_one_wins;
            save::fifty_writers_who_try_again_lose_no_update;
            expiry::a_record_ends_at_the_second_it_expires;
            expiry::save_keeps_extends_or_sets_the_expiry;
            expiry::a_save_with_a_past_expiry_ends_the_record;
            expiry::a_touch_before_a_save_is_not_lost;
            expiry::concurrent_touches_and_saves_lose_nothing;
            touch::touch_moves_the_expiry_and_nothing_else;
            touch::touch_never_shortens;
            touch::concurrent_touches_end_at_the_latest;
            gone::save_of_an_absent_record_is_gone_and_leaves_no_trace;
            gone::touch_of_an_absent_record_is_false_and_leaves_no_trace;
            gone::rotate_of_an_absent_record_is_gone_and_leaves_no_trace;
            delete::delete_is_final_and_can_be_repeated;
            delete::of_twenty_deletes_one_gets_true;
            delete::nothing_that_races_a_delete_brings_the_record_back;
            rotate::rotate_moves_the_session_with_its_changes;
            rotate::rotate_leaves_exactly_one_key_alive;
            rotate::a_rotate_at_an_old_version_conflicts_and_changes_nothing;
            rotate::rotate_onto_a_live_record_is_refused_and_both_stay;
            rotate::rotate_onto_an_expired_record_replaces_it;
            rotate::of_concurrent_rotates_one_wins;
            rotate::of_a_rotate_and_a_save_one_wins;
            rotate::a_rotate_against_a_delete_leaves_no_second_session;
            default_bodies::the_default_rotate_leaves_one_key_whichever_step_fails;
            default_bodies::the_default_rotate_sees_who_comes_between_its_steps;
            default_bodies::the_default_touch_survives_whichever_step_fails;
            default_bodies::the_default_touch_sees_who_comes_between_its_steps;
            cancel::a_dropped_create_has_happened_or_not;
            cancel::a_dropped_save_has_happened_or_not;
            cancel::a_dropped_touch_has_happened_or_not;
            cancel::a_dropped_delete_has_happened_or_not;
            cancel::a_dropped_rotate_leaves_no_second_session;
            cancel::a_dropped_load_changes_nothing;
            cancel::a_dropped_clear_expired_can_be_run_again, clear_expired;
            cancel::a_dropped_end_can_be_run_again, owner_index;
            model::random_programs_end_as_over_the_memory_store;
            owner_index::the_index_lists_an_owners_live_sessions_in_pages, owner_index;
            owner_index::the_index_shows_the_records_as_load_does, owner_index;
            owner_index::owners_are_told_apart_byte_by_byte, owner_index;
            owner_index::the_index_follows_every_change_of_owner, owner_index;
            owner_index::ending_one_session_spares_the_others, owner_index;
            owner_index::ending_the_others_spares_this_one, owner_index;
            owner_index::ending_all_ends_all_and_nobody_elses, owner_index;
            owner_index::end_misses_nobody_who_logged_in_before_it_began, owner_index;
            owner_index::nobody_escapes_end_by_rotating, owner_index;
            maintenance::clear_expired_removes_and_counts_exactly_the_expired, clear_expired;
            maintenance::clear_expired_reports_a_running_total, clear_expired;
            maintenance::clear_expired_is_safe_beside_another_and_live_traffic, clear_expired;
            maintenance::scan_pages_through_every_record_once_in_order, scan;
            maintenance::scan_sees_what_stays_while_others_come_and_go, scan;
        }
    };
}

/// One test per clause of the storage contract: see [`conformance`](mod@crate::conformance).
///
/// `conformance_suite!(new_store)`, or with any of `name: module_name` and `except: [ability = "reason", ...]` after
/// it, in this order.
#[macro_export]
macro_rules! conformance_suite {
    ($new_store:expr $(, except: [$($ability:ident = $reason:expr),* $(,)?])? $(,)?) => {
        $crate::conformance_suite!($new_store, name: conformance $(, except: [$($ability = $reason),*])?);
    };
    ($new_store:expr, name: $suite:ident $(, except: [$($ability:ident = $reason:expr),* $(,)?])? $(,)?) => {
        mod $suite {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "whatever the argument names")]
            use super::*;

            const EXCEPT: &[($crate::conformance::ability::Ability, &str)] =
                &[$($(($crate::conformance::ability::$ability, $reason)),*)?];

            $crate::__conformance_clauses! {
                $crate::__conformance_tests,
                [$suite, $new_store]
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$suite:ident, $new_store:expr] $($topic:ident::$name:ident $(, $needs:ident)?;)+) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::run(stringify!($suite), stringify!($name), EXCEPT, $new_store);
            }
        )+
    };
}

macro_rules! list {
    ([$(#[$doc:meta])+ $list:ident, $at:ident] $($topic:ident::$name:ident $(, $needs:ident)?;)+) => {
        $(#[$doc])+
        pub static $list: &[Clause] = &[
            $(Clause::new(
                stringify!($name),
                list!(@needs $($needs)?),
                |stores| Box::pin($at::$topic::$name(stores)),
            ),)+
        ];
    };
    (@needs) => { None };
    (@needs $needs:ident) => { Some(ability::$needs) };
}
#[cfg(feature = "sealed")]
pub(super) use list;

__conformance_clauses! { list, [
    /// Every clause of the storage contract.
    CLAUSES, clause
] }
