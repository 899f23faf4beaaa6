//! The tools of the conformance kit do to a call what they say, and to no other.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use session_core::conformance::{
    Call, CountingStore, DefaultBodies, FaultStore, FourMethodStore, Operation,
};
use session_core::store::{
    EndScope, NewRecord, Page, Payload, SessionStore, StoreError, StoreKey, Timestamp,
};
use session_core::{MemoryStore, Owner};

const NOW: Timestamp = Timestamp::from_secs(1_000);

#[cfg(test)]
mod support {
    use super::*;

    pub(crate) fn key(text: &str) -> StoreKey {
        StoreKey::parse(text).expect("letters and digits")
    }

    pub(crate) fn record() -> NewRecord {
        NewRecord::new(Payload::from_bytes("x"), Timestamp::from_secs(2_000))
    }
}
use support::{key, record};

type Faulty = FaultStore<CountingStore<MemoryStore>>;

fn faulty() -> Faulty {
    FaultStore::new(CountingStore::new(MemoryStore::new()))
}

#[tokio::test]
async fn a_refused_call_does_not_reach_the_store_and_the_next_one_does() {
    let store = faulty();
    store.refuse(Operation::Create);
    assert!(
        store.load(&key("a"), NOW).await.is_ok(),
        "another operation failed"
    );
    let refused = store.create(&key("a"), record(), NOW).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(
        store.inner().count(Operation::Create),
        0,
        "it reached the store"
    );
    assert!(
        store.create(&key("a"), record(), NOW).await.is_ok(),
        "it failed twice"
    );
    assert!(store.clear_faults(), "the fault has met a call");
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_has_happened() {
    let store = faulty();
    store.lose_answer(Operation::Create);
    let lost = store.create(&key("a"), record(), NOW).await;
    assert!(
        matches!(lost, Err(StoreError::Unavailable { .. })),
        "{lost:?}"
    );
    assert!(
        store.load(&key("a"), NOW).await.unwrap().is_some(),
        "it has not happened"
    );
}

#[tokio::test]
async fn an_error_of_ones_own_is_the_one_that_is_given() {
    let store = faulty();
    store.refuse_with(Operation::Delete, || StoreError::key_taken("the test"));
    let refused = store.delete(&key("a")).await;
    assert!(
        matches!(refused, Err(StoreError::KeyTaken { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn calls_are_counted_from_the_moment_the_fault_is_set_up() {
    let store = faulty();
    store.load(&key("a"), NOW).await.unwrap();
    store.refuse(Call::of(Operation::Load).nth(2));
    store.refuse(Call::any().nth(4).and_later());
    let mut failed = Vec::new();
    for n in 1..=6 {
        if store.load(&key("a"), NOW).await.is_err() {
            failed.push(n);
        }
    }
    assert_eq!(failed, [2, 4, 5, 6]);
}

#[tokio::test]
async fn a_fault_that_never_happened_is_reported() {
    let store = faulty();
    store.refuse(Operation::Save);
    store.load(&key("a"), NOW).await.unwrap();
    assert!(
        !store.clear_faults(),
        "a test that showed nothing looks like one that did"
    );
    assert!(store.clear_faults(), "cleared faults are forgotten");
}

#[tokio::test]
async fn a_held_call_has_not_happened_and_a_held_answer_has() {
    for (before_it_happens, expected) in [(true, 0), (false, 1)] {
        let store = Arc::new(faulty());
        let gate = if before_it_happens {
            store.hold(Operation::Create)
        } else {
            store.hold_answer(Operation::Create)
        };
        let creating = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.create(&key("a"), record(), NOW).await }
        });
        gate.reached().await;
        assert!(gate.is_reached());
        assert_eq!(store.inner().count(Operation::Create), expected);
        assert!(!creating.is_finished(), "the gate holds nothing");
        gate.release();
        assert!(creating.await.unwrap().is_ok(), "what was held failed");
    }
}

#[tokio::test]
async fn dropping_a_gate_releases_the_call() {
    let store = Arc::new(faulty());
    let gate = store.hold(Operation::Load);
    let loading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.load(&key("a"), NOW).await }
    });
    gate.reached().await;
    drop(gate);
    assert!(loading.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn wrappers_pass_on_the_owner_index_and_the_scan_and_meet_their_calls() {
    let store = faulty();
    let ada = Owner::from("ada");
    let mut owned = record();
    owned.owner = Some(ada.clone());
    store.create(&key("a"), owned, NOW).await.unwrap();

    let index = store.owner_index().expect("the memory store has one");
    store.refuse(Operation::SessionsOf);
    drop(
        index
            .sessions_of(&ada, Page::first(9), NOW)
            .await
            .unwrap_err(),
    );
    assert_eq!(
        index
            .sessions_of(&ada, Page::first(9), NOW)
            .await
            .unwrap()
            .len(),
        1
    );
    store.refuse(Operation::Scan);
    let scan = store.scan().expect("the memory store has one");
    drop(scan.page(Page::first(9)).await.unwrap_err());
    assert_eq!(scan.page(Page::first(9)).await.unwrap().len(), 1);
    store.lose_answer(Operation::End);
    drop(index.end(&ada, EndScope::All).await.unwrap_err());
    assert!(
        store.load(&key("a"), NOW).await.unwrap().is_none(),
        "it has not happened"
    );

    let counts = Operation::ALL.map(|one| store.inner().count(one));
    assert_eq!(
        counts,
        [1, 1, 0, 0, 0, 0, 0, 1, 1, 1],
        "in the order of `Operation::ALL`"
    );
    assert_eq!(store.inner().total(), 5);
    store.inner().reset();
    assert_eq!(store.inner().total(), 0);
}

#[tokio::test]
async fn a_store_without_an_index_has_none_behind_a_wrapper_either() {
    let store = FaultStore::new(CountingStore::new(FourMethodStore::new()));
    assert!(store.owner_index().is_none());
    assert!(store.scan().is_none());
}

#[tokio::test]
async fn default_bodies_ask_the_four_methods_and_nothing_else() {
    let store = DefaultBodies::new(CountingStore::new(MemoryStore::new()));
    store.create(&key("a"), record(), NOW).await.unwrap();
    assert!(
        store
            .touch(&key("a"), Timestamp::from_secs(3_000), NOW)
            .await
            .unwrap()
    );
    assert_eq!(store.inner().count(Operation::Touch), 0);
    assert_eq!(store.inner().count(Operation::Load), 1);
    assert_eq!(store.inner().count(Operation::Save), 1);
    assert!(store.owner_index().is_none());
}
