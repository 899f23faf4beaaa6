//! What an outage must look like to a caller, one operation after the other.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use session_core::store::{EndScope, Page, Saved, SessionStore as _, StoreError, Version};
use session_core::{Owner, SessionManager};
use session_db::{DbStore, DbStoreConfig, Error};

use crate::servers::records::{
    LATER, NOW, assert_unavailable, bounded, change, key_in_order as key, new,
};
use crate::servers::request;

/// Far less than a store usually has, so that these tests end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

/// A port at which nobody answers. It is kept from everybody else.
pub(crate) fn dead_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Every write to record 1 is answered as unavailable, with what `says` why, and ends.
pub(crate) async fn assert_writes_unavailable(store: &DbStore, version: &Version, says: &str) {
    let owner = Owner::from("ada");
    let index = store.owner_index().expect("there is one");
    let later = LATER.saturating_add(Duration::from_secs(9));
    let saved = bounded("save", store.save(&key(1), version, change("b"), NOW)).await;
    assert_unavailable(saved, says);
    let touched = bounded("touch", store.touch(&key(1), later, NOW)).await;
    assert_unavailable(touched, says);
    let (from, to) = (key(1), key(2));
    let rotated = store.rotate(&from, version, &to, change("c"), NOW);
    assert_unavailable(bounded("rotate", rotated).await, says);
    let deleted = bounded("delete", store.delete(&key(1))).await;
    assert_unavailable(deleted, says);
    for scope in [
        EndScope::One(key(1)),
        EndScope::AllExcept(key(3)),
        EndScope::All,
    ] {
        let ended = bounded("end", index.end(&owner, scope)).await;
        assert_unavailable(ended, says);
    }
}

/// Every operation is answered as unavailable, with what `says` why, and ends.
pub(crate) async fn assert_all_unavailable(store: &DbStore, version: &Version, says: &str) {
    let loaded = bounded("load", store.load(&key(1), NOW)).await;
    assert_unavailable(loaded, says);
    let created = bounded("create", store.create(&key(4), new("a"), NOW)).await;
    assert_unavailable(created, says);
    assert_writes_unavailable(store, version, says).await;
    let cleared = bounded("clear_expired", store.clear_expired(NOW, &mut |_| {})).await;
    assert_unavailable(cleared, says);
    let owner = Owner::from("ada");
    let index = store.owner_index().expect("there is one");
    let listed = bounded("list", index.sessions_of(&owner, Page::first(9), NOW)).await;
    assert_unavailable(listed.map(|sessions| sessions.len()), says);
    let scan = store.scan().expect("there is one");
    let page = bounded("scan", scan.page(Page::first(9))).await;
    assert_unavailable(page.map(|sessions| sessions.len()), says);
}

/// `check` names this, and nothing that is not so.
pub(crate) async fn assert_checked(store: &DbStore, finding: &str) {
    match store.check().await {
        Err(Error::NotReady { findings, .. }) => {
            assert!(
                findings.len() == 1 && findings[0].contains(finding),
                "not just {finding:?}: {findings:#?}"
            );
        }
        other => panic!("nothing about {finding:?} in {other:?}"),
    }
}

/// Record 1, whose owner is ada.
pub(crate) async fn create_record(store: &DbStore) -> Result<Version, StoreError> {
    let mut record = new("a");
    record.owner = Some(Owner::from("ada"));
    store.create(&key(1), record, NOW).await
}

/// Record 1 lives as it was created, and can be written again.
pub(crate) async fn assert_unharmed(store: &DbStore, version: &Version) {
    let record = store.load(&key(1), NOW).await.expect("it works again");
    let record = record.expect("the record survived");
    assert_eq!(record.payload.to_bytes().expect("bytes"), "a");
    assert_eq!(&record.version, version);
    let saved = store.save(&key(1), version, change("b"), NOW).await;
    assert!(
        matches!(saved, Ok(Saved::Stored(_))),
        "a save after the outage was answered {saved:?}"
    );
}

pub(crate) fn one_connection() -> DbStoreConfig {
    DbStoreConfig::new().with_connections_max(1)
}

/// A store on the same pool that gives up soon. The other is for what must work however busy the machine is.
pub(crate) fn impatient(patient: &DbStore) -> DbStore {
    DbStoreConfig::new()
        .with_timeout(PATIENCE)
        .with_pool(patient.pool())
}

pub(crate) async fn count(manager: &SessionManager, cookie: &str) -> u64 {
    let asked = request(manager, Some(cookie), |session| session.get::<u64>("count"));
    let (count, _) = asked.await.expect("the server runs");
    count.expect("a number").expect("the session survived")
}
