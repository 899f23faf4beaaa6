//! Moves between every kind of store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_core::SessionManager;
use session_core::store::SessionStore;

use crate::place::{Server, at_home};
use crate::support::{Ended, key, lives, logged_in, now, records, sessions, started};
use crate::writers::{assert_same, visit};

#[track_caller]
fn copy(from: &str, to: &str, journal: &Path) -> Ended {
    let journal = journal.display().to_string();
    sessions(&["copy", from, to, "--journal", &journal, "--json", "--quiet"])
}

#[tokio::test]
async fn sessions_that_go_through_every_store_come_home_as_they_were() {
    let home = at_home();
    let manager = home.manager().await;
    for n in 0..5 {
        logged_in(&manager, &format!("owner {n}"), "a label, ä").await;
        started(&manager, "nobody").await;
    }
    let store = home.store().await;
    for n in 0..215 {
        store
            .create(&key(n), lives(5_000, &format!("of {n}")), now())
            .await
            .unwrap();
    }
    let before = home.records().await;
    let mut at = home.named.clone();
    let mut stops: Vec<(String, Arc<dyn SessionStore>)> = Vec::new();
    for place in Server::ALL.into_iter().filter_map(Server::place) {
        stops.push((place.named.clone(), place.store().await));
    }
    let back = at_home();
    stops.push((back.named.clone(), back.store().await));
    for (n, (to, store)) in stops.iter().enumerate() {
        let journal = home.folder().join(format!("journal {n}"));
        let done = copy(&at, to, &journal).with(0).json();
        assert_eq!(done["written"]["created"], before.len(), "{done}");
        assert_same(&before, &records(&**store).await);
        let again = copy(&at, to, &journal).with(0).json();
        assert_eq!(again["same"], before.len(), "{again}");
        // What has ended in TO stays so, in every kind of store.
        store.delete(&key(7)).await.unwrap();
        let third = copy(&at, to, &journal).with(0).json();
        assert_eq!(third["ended_in_to"], 1, "{third}");
        let mut without = before.clone();
        without.remove(&key(7)).expect("it was there");
        assert_same(&without, &records(&**store).await);
        store
            .create(&key(7), lives(5_000, "back"), now())
            .await
            .unwrap();
        at.clone_from(to);
        // As it was, for the next stop.
        let seventh = home
            .store()
            .await
            .load(&key(7), now())
            .await
            .unwrap()
            .expect("it lives there");
        store.delete(&key(7)).await.unwrap();
        let mut new = lives(5_000, "of 7");
        new.expires_at = seventh.expires_at;
        store.create(&key(7), new, now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_from_postgres_to_redis_beside_writers_loses_and_revives_nothing() {
    let (Some(from), Some(to)) = (Server::Postgres.place(), Server::Redis.place()) else {
        return;
    };
    let home = at_home();
    let journal = home.folder().join("journal");
    let manager = SessionManager::new(from.store().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..3)
        .map(|visitor| tokio::spawn(visit(manager.clone(), visitor, Arc::clone(&is_over))))
        .collect();
    for _ in 0..3 {
        let (from, to, journal) = (from.named.clone(), to.named.clone(), journal.clone());
        let copied = tokio::task::spawn_blocking(move || copy(&from, &to, &journal));
        let copied = copied.await.unwrap();
        assert!(matches!(copied.code, Some(0 | 3)), "{copied:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut alive = Vec::new();
    for visitor in visitors {
        alive.extend(visitor.await.unwrap());
    }
    copy(&from.named, &to.named, &journal).with(0);
    let (from, to) = (from.store().await, to.store().await);
    assert_same(&records(&*from).await, &records(&*to).await);
    let manager = SessionManager::new(to);
    for session in alive {
        let key = session.session_key().expect("it was saved");
        assert!(
            manager.load(&key).await.unwrap().is_some(),
            "a visitor was logged out by the move"
        );
    }
}

#[tokio::test]
async fn a_session_that_is_too_large_for_the_new_store_does_not_stop_the_others() {
    let Some(to) = Server::MariaDb.place() else {
        return;
    };
    let home = at_home();
    let store = home.store().await;
    for n in 0..5 {
        store
            .create(&key(n), lives(500, "small"), now())
            .await
            .unwrap();
    }
    // More than MariaDB takes in one statement, unless it is told to.
    let large = "x".repeat(17 << 20);
    store
        .create(&key(9), lives(500, &large), now())
        .await
        .unwrap();
    let journal = home.folder().join("journal");
    for created in [5, 0] {
        let done = copy(&home.named, &to.named, &journal).with(3).json();
        assert_eq!(done["written"]["created"], created, "{done}");
        assert_eq!(done["refused"], 1, "{done}");
        assert_eq!(
            done["ended_in_to"], 0,
            "what never arrived is taken for ended: {done}"
        );
    }
    store.delete(&key(9)).await.unwrap();
    copy(&home.named, &to.named, &journal).with(0);
}
