//! What the tests of this crate share: caches that fail, hang, come late or forget, stores that say what became of the row,
//! and records.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

pub(crate) mod assured;
pub(crate) mod events;
pub(crate) mod everything;
pub(crate) mod evictable;
pub(crate) mod fault_cache;
pub(crate) mod scenarios;
pub(crate) mod servers;
pub(crate) mod site;

use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, SessionStore, StoreKey, Timestamp,
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
pub(crate) const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// A key as a hash makes it.
pub(crate) fn key(number: u64) -> StoreKey {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StoreKey::parse(&format!("{spread:016x}{number:024x}")).expect("hexadecimal digits are a key")
}

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs() + secs)
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

/// What a visitor would be shown at `now`.
pub(crate) async fn shown(
    store: &dyn SessionStore,
    key: &StoreKey,
    now: Timestamp,
) -> Option<String> {
    let record = store.load(key, now).await.expect("the database answers");
    record.as_ref().map(text)
}
