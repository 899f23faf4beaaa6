//! Keys and records, and what is asserted of answers.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use std::fmt::Write as _;
use std::time::Duration;

use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, StoreError, StoreKey, Timestamp,
};
use session_core::{Limits, Policy, SessionManager};
use session_db::DbStore;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
pub(crate) const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// The longest that a state is waited for: only a hang takes so long.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

/// More patient than any machine is slow, for what has to get through.
pub(crate) const PATIENT: Duration = Duration::from_secs(90);

/// A manager that is as patient.
pub(crate) fn patient_manager(store: DbStore) -> SessionManager {
    let mut limits = Limits::default();
    limits.store_timeout = PATIENT;
    limits.commit_timeout = PATIENT;
    SessionManager::new(store).with_policy(Policy::new().with_limits(limits))
}

/// A key as a hash makes it.
pub(crate) fn key(number: u64) -> StoreKey {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StoreKey::parse(&format!("{spread:016x}{number:024x}")).expect("hexadecimal digits are a key")
}

/// Keys in the order of their numbers.
pub(crate) fn key_in_order(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{number:040x}")).expect("hexadecimal digits are a key")
}

pub(crate) fn new(payload: &str) -> NewRecord {
    NewRecord::new(Payload::from_bytes(payload.to_owned()), LATER)
}

pub(crate) fn new_of(owner: &str) -> NewRecord {
    let mut record = new("data");
    record.owner = Some(owner.into());
    record
}

pub(crate) fn change(payload: &str) -> Change {
    Change::new(Payload::from_bytes(payload.to_owned()), ExpiryChange::Keep)
}

pub(crate) fn text(record: &Record) -> String {
    let bytes = record.payload.to_bytes().expect("bytes are bytes");
    String::from_utf8(bytes.to_vec()).expect("the tests write text")
}

/// What an error and its sources say.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Everything that a log may get to see of an error.
pub(crate) fn everything(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, " {error} {error:?}").expect("strings take text");
        source = error.source();
    }
    text
}

/// Passes if the answer is [`StoreError::Unavailable`], and says `advice` somewhere.
#[track_caller]
pub(crate) fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, advice: &str) {
    match result {
        Err(error @ StoreError::Unavailable { .. }) => {
            let text = everything(&error);
            assert!(text.contains(advice), "no {advice:?} in: {text}");
        }
        other => panic!("should be unavailable ({advice}), was {other:?}"),
    }
}

/// Runs a call that must end by itself, well before this gives up.
pub(crate) async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, call)
        .await
        .unwrap_or_else(|_elapsed| panic!("{what} never ended"))
}
