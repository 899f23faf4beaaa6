//! Many requests on one session in Django's table, in one process and in two, beside writes of Django's: nothing of ours is
//! lost, and what Django ended stays ended.
#![cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]

#[cfg(test)]
mod support;

#[cfg(test)]
mod requests {
    use session_core::{SessionKey, SessionManager};

    /// Fifty requests, or a part of them, each of which counts and leaves a name of its own.
    pub(crate) async fn count_at_once(
        manager: &SessionManager,
        key: &SessionKey,
        process: usize,
        requests: u32,
    ) -> Vec<u32> {
        let mut all = tokio::task::JoinSet::new();
        for request in 0..requests {
            let manager = manager.clone();
            let key = SessionKey::parse(key.expose_secret().as_bytes()).expect("a key");
            all.spawn(async move {
                let session = manager.load(&key).await.expect("the server is fine");
                let session = session.expect("nobody ended it");
                let draw = |last: &mut u32| {
                    *last += 1;
                    *last
                };
                let drawn = session.modify_now("number", draw).await;
                session
                    .set(format!("{process}/{request}").as_str(), &true)
                    .expect("it may be stored");
                session.save().await.expect("all get through");
                drawn.expect("all get through")
            });
        }
        let mut drawn = all.join_all().await;
        drawn.sort_unstable();
        drawn
    }

    /// A stored session, and its key.
    pub(crate) async fn stored(manager: &SessionManager) -> SessionKey {
        let session = manager.start();
        session.set("number", &0_u32).expect("it may be stored");
        session.save().await.expect("a new session");
        session.session_key().expect("it was saved")
    }
}

use requests::{count_at_once, stored};
use session_core::SessionKey;
use session_core::store::SessionStore;
use support::beside::Beside;
use support::children::{is_child_beside_django, run_children};
use support::django::{make_table, new_store, patient_manager, settings, store_in};
use support::{Server, block_on, new_table};

#[test]
fn fifty_writers_lose_no_count_and_no_name() {
    for server in Server::all("fifty_writers_lose_no_count_and_no_name") {
        block_on(async {
            let store = new_store(&server, &settings()).await;
            let manager = patient_manager(store, &settings());
            let key = stored(&manager).await;
            let drawn = count_at_once(&manager, &key, 0, 50).await;
            let all: Vec<u32> = (1..=50).collect();
            assert_eq!(drawn, all, "{}: a number was drawn twice", server.name);
            let session = manager.load(&key).await.unwrap().unwrap();
            assert_eq!(session.get("number").unwrap(), Some(50), "{}", server.name);
            assert_eq!(session.len(), 51, "{}: a name was lost", server.name);
        });
    }
}

#[test]
fn fifty_writers_in_two_processes_lose_no_count_and_no_name() {
    const TEST: &str = "fifty_writers_in_two_processes_lose_no_count_and_no_name";
    if is_child_beside_django(async |process, store, task| {
        let manager = patient_manager(store, &settings());
        let key = SessionKey::parse(task.as_bytes()).expect("the parent has it from a session");
        let drawn = count_at_once(&manager, &key, process, 25).await;
        let drawn: Vec<String> = drawn.iter().map(u32::to_string).collect();
        drawn.join(",")
    }) {
        return;
    }
    for server in Server::all(TEST) {
        let table = new_table();
        let key = block_on(async {
            make_table(&server, &table).await;
            let store = store_in(&server, &table, &settings()).await;
            stored(&patient_manager(store, &settings())).await
        });
        let said = run_children(TEST, &server, &table, 2, key.expose_secret());
        let mut drawn: Vec<u32> = said
            .iter()
            .flat_map(|said| said.split(','))
            .flat_map(str::parse)
            .collect();
        drawn.sort_unstable();
        let all: Vec<u32> = (1..=50).collect();
        assert_eq!(drawn, all, "{}: drawn twice, or never", server.name);
        block_on(async {
            let store = store_in(&server, &table, &settings()).await;
            let manager = patient_manager(store, &settings());
            let session = manager.load(&key).await.unwrap().unwrap();
            assert_eq!(session.len(), 51, "{}: a name was lost", server.name);
        });
    }
}

#[test]
fn a_session_that_django_ends_among_our_writers_stays_ended() {
    for server in Server::all("a_session_that_django_ends_among_our_writers_stays_ended") {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let store = store_in(&server, &table, &settings()).await;
            let manager = patient_manager(store.clone(), &settings());
            let key = stored(&manager).await;
            let mut loaded = Vec::new();
            for _ in 0..10 {
                loaded.push(manager.load(&key).await.unwrap().unwrap());
            }
            let mut writers = tokio::task::JoinSet::new();
            let (first, rest) = loaded.split_first().unwrap();
            first.set("first", &true).unwrap();
            first.save().await.expect("it lives");
            let mut django = Beside::connect(&server.url).await;
            django.execute(&format!("DELETE FROM {table}")).await;
            for session in rest {
                let session = session.clone();
                writers.spawn(async move {
                    session.set("late", &true).unwrap();
                    session.save().await
                });
            }
            for saved in writers.join_all().await {
                assert!(
                    matches!(saved, Err(session_core::SessionError::Interrupted)),
                    "{}: {saved:?}",
                    server.name
                );
            }
            assert!(manager.load(&key).await.unwrap().is_none(), "it is back");
            let left = store
                .clear_expired(session_core::store::Timestamp::MAX, &mut |_| {})
                .await;
            assert_eq!(left.unwrap(), 0, "{}: a row is back", server.name);
        });
    }
}
