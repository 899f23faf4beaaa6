//! The conformance kit catches stores that are broken on purpose: every clause has at least one that it must refuse.
#![cfg(feature = "conformance")]
#![expect(
    clippy::panic,
    reason = "a helper of these tests says which store was not caught"
)]

mod flawed;

use std::collections::BTreeSet;

use session_core::conformance::{Broken, CLAUSES, Clause};

use crate::flawed::{Flaw, FlawedStore};

// Without a flaw it passes everything: what the clauses below catch is the flaw and nothing else.
session_core::conformance_suite!(|| async { FlawedStore::new(None) }, name: without_a_flaw);
#[cfg(feature = "sealed")]
session_core::security_suite!(|| async { FlawedStore::new(None) }, name: secure_without_a_flaw);

/// Which flaws each clause must catch: one test per clause.
macro_rules! caught {
    ($list:ident, $catches:ident: $($clause:ident: $($flaw:ident),+;)+) => {
        const $list: &[&str] = &[$(stringify!($clause)),+];

        mod $catches {
            use super::*;

            $(
                #[test]
                fn $clause() {
                    $(assert_caught(stringify!($clause), Flaw::$flaw);)+
                }
            )+
        }
    };
}

caught! {
    CAUGHT, catches:
    load_gives_back_every_byte: KeepsText, EmptyIsMissing, TrimsSpace;
    load_gives_back_a_mebibyte: CutsAt64KiB;
    load_of_a_key_that_was_never_there_is_none: ServesStrangers;
    keys_of_every_length_are_kept_apart: CutsKeys;
    expiries_come_back_to_the_second: ExpiryIn32Bits, ExpiryInMinutes;
    owner_label_and_creation_time_come_back: KeepsOldOwner, EmptyLabelIsNone, TouchForgetsOwner, OwnerInAscii;
    every_live_record_survives_memory_pressure: Evicts;
    create_never_overwrites_a_live_record: CreateOverwrites, TakenIsUnavailable;
    create_replaces_an_expired_record: ExpiredKeepsKeyTaken, CreateKeepsExpiredOwner;
    of_concurrent_creates_one_wins: CreateInTwoSteps;
    a_record_that_is_created_expired_does_not_exist: PastExpiryMeansDefault;
    versions_are_never_issued_twice: VersionsStartAnew;
    errors_show_no_key_and_no_data: ErrorQuotesKey, DebugShowsData;
    every_save_gives_a_newer_version: VersionStays, VersionsFall;
    a_save_at_an_old_version_conflicts_and_changes_nothing: LastWriterWins, ConflictMovesExpiry;
    of_fifty_saves_at_one_version_one_wins: SaveInTwoSteps;
    fifty_writers_who_try_again_lose_no_update: SaveInTwoSteps;
    a_record_ends_at_the_second_it_expires: LivesASecondLonger, NeverExpires;
    save_keeps_extends_or_sets_the_expiry: AtLeastSets, KeepRenews;
    a_save_with_a_past_expiry_ends_the_record: PastExpiryMeansDefault, ExpiryOnlyForward;
    a_touch_before_a_save_is_not_lost: SaveRestoresExpiry;
    concurrent_touches_and_saves_lose_nothing: TouchInTwoSteps;
    touch_moves_the_expiry_and_nothing_else: TouchDoesNothing, TouchForgetsOwner;
    touch_never_shortens: TouchSets;
    concurrent_touches_end_at_the_latest: TouchInTwoSteps;
    save_of_an_absent_record_is_gone_and_leaves_no_trace: SaveCreates, SaveRevives;
    touch_of_an_absent_record_is_false_and_leaves_no_trace: TouchRevives;
    rotate_of_an_absent_record_is_gone_and_leaves_no_trace: RotateRevives;
    delete_is_final_and_can_be_repeated: LoadIsCached, DeleteIsAlwaysTrue;
    of_twenty_deletes_one_gets_true: DeleteInTwoSteps;
    nothing_that_races_a_delete_brings_the_record_back: SaveInTwoSteps, TouchInTwoSteps;
    rotate_moves_the_session_with_its_changes: RotateDropsChanges;
    rotate_leaves_exactly_one_key_alive: RotateCopies, RotateEndsOldByClock;
    a_rotate_at_an_old_version_conflicts_and_changes_nothing: RotateIgnoresVersion;
    rotate_onto_a_live_record_is_refused_and_both_stay: RotateOverwrites;
    rotate_onto_an_expired_record_replaces_it: ExpiredKeepsKeyTaken, RotateKeepsTargetsOwner;
    of_concurrent_rotates_one_wins: RotateInTwoSteps, RotateWritesLate;
    of_a_rotate_and_a_save_one_wins: RotateInTwoSteps, RotateWritesLate;
    a_rotate_against_a_delete_leaves_no_second_session: RotateWritesLate;
    the_default_rotate_leaves_one_key_whichever_step_fails: PastExpiryMeansDefault, ExpiryOnlyForward;
    the_default_rotate_sees_who_comes_between_its_steps: LastWriterWins, SaveRevives;
    the_default_touch_survives_whichever_step_fails: AtLeastKeeps;
    the_default_touch_sees_who_comes_between_its_steps: LastWriterWins, SaveCreates;
    a_dropped_create_has_happened_or_not: TornCreate;
    a_dropped_save_has_happened_or_not: TornSave, DropLeavesLock;
    a_dropped_touch_has_happened_or_not: TornTouch, DropLeavesLock;
    a_dropped_delete_has_happened_or_not: TornDelete, DropLeavesLock;
    a_dropped_rotate_leaves_no_second_session: RotateInTwoSteps, DropLeavesLock;
    a_dropped_load_changes_nothing: LoadTakes;
    a_dropped_clear_expired_can_be_run_again: DropLeavesCleaner;
    a_dropped_end_can_be_run_again: DropLeavesEnder;
    random_programs_end_as_over_the_memory_store: KeepsOldOwner, SaveRevives;
    the_index_lists_an_owners_live_sessions_in_pages: ListsExpired, PageRepeatsItsStart, ListIgnoresLimit;
    the_index_shows_the_records_as_load_does: ListIsStale;
    owners_are_told_apart_byte_by_byte: OwnersIgnoreCase;
    the_index_follows_every_change_of_owner: IndexForgetsRotate, IndexLags;
    ending_one_session_spares_the_others: EndIgnoresOwner, EndLeavesRecord;
    ending_the_others_spares_this_one: ExceptIsIgnored;
    ending_all_ends_all_and_nobody_elses: EndsOnePage, EndMiscounts;
    end_misses_nobody_who_logged_in_before_it_began: IndexLags;
    nobody_escapes_end_by_rotating: EndInTwoSteps;
    clear_expired_removes_and_counts_exactly_the_expired: ClearsOneSecondMore, ClearMiscounts, ClearKeepsRecords;
    clear_expired_reports_a_running_total: ProgressStartsAnew, ProgressIsSilent;
    clear_expired_is_safe_beside_another_and_live_traffic: ClearInTwoSteps;
    scan_pages_through_every_record_once_in_order: ScanSkipsExpired, PageRepeatsItsStart;
    scan_sees_what_stays_while_others_come_and_go: ScanCountsRecords;
}

#[cfg(feature = "sealed")]
caught! {
    CAUGHT_BY_SECURITY, security_catches:
    rest_02_what_a_dump_holds_is_no_cookie: KeepsText;
    rest_06_data_08_a_payload_is_believed_at_its_own_record_alone_and_left_as_it_is: KeepsText;
    rest_09_a_session_moves_to_a_new_digest_key_at_its_next_write: RotateCopies, RotateDropsChanges;
    rest_10_sessions_are_resealed_beside_live_traffic: LastWriterWins;
    rest_13_a_plain_payload_is_refused_until_its_window_opens_and_sealed_in_it: KeepsText;
    fix_03_end_01_a_key_opens_nothing_after_its_log_out: LoadIsCached;
    end_03_of_fifty_log_outs_one_ends_the_session: DeleteIsAlwaysTrue;
    end_04_a_list_of_sessions_shows_no_key: ListIsStale, IndexLags;
    end_05_a_handle_ends_a_session_of_its_own_owner_alone: EndLeavesRecord, LoadIsCached;
    end_06_end_08_ending_all_ends_what_was_and_spares_what_comes: IndexLags, ExceptIsIgnored, EndsOnePage;
    end_10_a_moment_ends_every_session_that_began_before_it: KeepsText;
    end_11_of_fifty_log_ins_as_many_live_as_the_limit_says: IndexLags, EndLeavesRecord;
    fix_06_rot_03_the_old_key_is_dead_once_a_log_in_has_answered: RotateCopies, SaveCreates;
    rot_04_a_rotation_that_fails_leaves_one_key: RotateCopies, RotateEndsOldByClock;
    race_01_nothing_late_brings_a_session_back: SaveCreates;
    race_02_race_03_concurrent_requests_lose_nothing: LastWriterWins;
    race_04_a_value_is_handed_to_one_of_twenty: LastWriterWins;
    fail_03_what_was_done_although_nobody_answered_is_not_done_twice: LoadIsCached;
}

fn assert_caught(name: &str, flaw: Flaw) {
    let verdict = check(name, move || async move { FlawedStore::new(Some(flaw)) });
    let Err(broken) = verdict else {
        panic!("{name} lets {flaw:?} pass");
    };
    let said = broken.to_string();
    assert!(
        !said.contains("still had not answered") && !said.contains("the kit's own"),
        "the clause caught {flaw:?} by accident: {said}"
    );
}

fn check<N, F>(name: &str, new_store: N) -> Result<(), Broken>
where
    N: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = FlawedStore> + Send + 'static,
{
    match Clause::named(name) {
        Some(clause) => clause.check(new_store, &[]),
        None => panic!("there is no clause named {name}"),
    }
}

fn every_clause() -> impl Iterator<Item = &'static Clause> {
    let all = CLAUSES.iter();
    #[cfg(feature = "sealed")]
    let all = all.chain(session_core::conformance::SECURITY_CLAUSES);
    all
}

#[test]
fn every_clause_has_a_broken_store_that_it_catches() {
    let clauses: BTreeSet<&str> = every_clause().map(|clause| clause.name).collect();
    let caught = CAUGHT.iter();
    #[cfg(feature = "sealed")]
    let caught = caught.chain(CAUGHT_BY_SECURITY);
    let caught: BTreeSet<&str> = caught.copied().collect();
    let untested: Vec<_> = clauses.difference(&caught).collect();
    assert!(
        untested.is_empty(),
        "these clauses might pass every store: {untested:?}"
    );
    let unknown: Vec<_> = caught.difference(&clauses).collect();
    assert!(unknown.is_empty(), "these are no clauses: {unknown:?}");
}

#[test]
fn clauses_have_names_of_their_own() {
    let names: BTreeSet<&str> = every_clause().map(|clause| clause.name).collect();
    assert_eq!(
        names.len(),
        every_clause().count(),
        "one of two clauses of one name would never run"
    );
}

#[test]
fn an_ability_that_is_there_can_not_be_excused() {
    use session_core::conformance::ability;

    for (ability, needed) in [
        (ability::owner_index, ability::owner_index),
        (ability::scan, ability::scan),
        (ability::clear_expired, ability::clear_expired),
        (ability::keeps_expired_records, ability::clear_expired),
    ] {
        let concerned = every_clause().filter(|clause| clause.needs == Some(needed));
        for clause in concerned {
            let verdict = clause.check(|| async { FlawedStore::new(None) }, &[ability]);
            assert!(
                verdict.is_err(),
                "the store has {ability:?}, and {} is skipped all the same",
                clause.name
            );
        }
    }
}

#[test]
fn a_store_that_can_not_be_made_fails_its_clause() {
    let outcome = std::panic::catch_unwind(|| {
        check("load_gives_back_every_byte", || async {
            assert!(std::hint::black_box(false), "no server");
            FlawedStore::new(None)
        })
    });
    assert!(outcome.is_err(), "a store that can't be made passes");
}

#[test]
#[should_panic(expected = "say why the store does not offer scan")]
fn an_exception_without_a_reason_fails() {
    use session_core::conformance::{ability, run};

    let except = &[(ability::scan, " ")];
    run("suite", CLAUSES[0].name, except, || async {
        FlawedStore::new(None)
    });
}
