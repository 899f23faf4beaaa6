//! Requests of several processes on one table: nothing is lost, nothing is revived, on each of the databases.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

#[cfg(test)]
mod requests {
    use session_core::{SessionError, SessionKey, SessionManager};
    use session_db::DbStore;

    use crate::support::records::patient_manager;

    /// A stored session, and its key.
    pub(crate) async fn stored(manager: &SessionManager) -> SessionKey {
        let session = manager.start();
        session.set("number", &0_u32).expect("it may be stored");
        session.save().await.expect("a new session");
        session.session_key().expect("it was saved")
    }

    pub(crate) fn key_in(task: &str) -> SessionKey {
        SessionKey::parse(task.as_bytes()).expect("the parent has it from a session")
    }

    pub(crate) fn keys_in(task: &str) -> Vec<SessionKey> {
        task.split(' ').map(key_in).collect()
    }

    /// Writes a session until somebody ends it, and says how often that worked.
    pub(crate) async fn write_until_ended(store: DbStore, key: SessionKey, name: String) -> u32 {
        let manager = patient_manager(store);
        let mut written = 0;
        loop {
            let session = manager.load(&key).await.expect("the server is fine");
            let Some(session) = session else {
                return written;
            };
            session.set(&name, &written).expect("it may be stored");
            match session.save().await {
                Ok(()) => written += 1,
                Err(SessionError::Interrupted) => return written,
                // The other writers never leave it alone; nothing was lost, and it is tried again.
                Err(SessionError::Contended) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

use requests::{key_in, keys_in, stored, write_until_ended};
use session_core::SessionError;
use session_core::store::{Saved, SessionStore};
use support::children::{is_child, run_children};
use support::records::{NOW, change, key, new, patient_manager, text};
use support::{Server, block_on, load, new_table};

#[test]
fn race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name() {
    const TEST: &str = "race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name";
    const REQUESTS: u32 = 25;
    if is_child(async |number, store, task| {
        let manager = patient_manager(store);
        let mut requests = tokio::task::JoinSet::new();
        for request in 0..REQUESTS {
            let (manager, key) = (manager.clone(), key_in(&task));
            requests.spawn(async move {
                let session = manager.load(&key).await.expect("the server is fine");
                let session = session.expect("nobody ended it");
                let draw = |last: &mut u32| {
                    *last += 1;
                    *last
                };
                let drawn = session.modify_now("number", draw).await;
                session
                    .set(format!("{number}/{request}").as_str(), &true)
                    .expect("it may be stored");
                session.save().await.expect("all get through");
                drawn.expect("all get through").to_string()
            });
        }
        requests.join_all().await.join(",")
    }) {
        return;
    }
    for server in Server::all(TEST) {
        let table = new_table();
        let key = block_on(async {
            let manager = patient_manager(server.store_in(&table).await);
            stored(&manager).await
        });
        let said = run_children(TEST, &server, &table, 2, key.expose_secret());
        let mut drawn: Vec<u32> = said
            .iter()
            .flat_map(|said| said.split(','))
            .flat_map(str::parse)
            .collect();
        drawn.sort_unstable();
        let all: Vec<u32> = (1..=2 * REQUESTS).collect();
        assert_eq!(
            drawn, all,
            "{}: a number was drawn twice, or never",
            server.name
        );
        block_on(async {
            let store = server.store_in(&table).await;
            let manager = patient_manager(store);
            let session = manager.load(&key).await.expect("the server is fine");
            let session = session.expect("nobody ended it");
            let number: Option<u32> = session.get("number").unwrap();
            assert_eq!(number, Some(2 * REQUESTS), "{}: a count", server.name);
            assert_eq!(session.len(), 51, "{}: a name was lost", server.name);
        });
    }
}

#[test]
fn race_01_nothing_revives_what_one_process_logs_out_while_another_writes() {
    const TEST: &str = "race_01_nothing_revives_what_one_process_logs_out_while_another_writes";
    const SESSIONS: usize = 20;
    if is_child(async |number, store, task| {
        let mut sessions = tokio::task::JoinSet::new();
        for (at, key) in keys_in(&task).into_iter().enumerate() {
            let store = store.clone();
            sessions.spawn(async move {
                if number > 0 {
                    return write_until_ended(store, key, format!("by {number}")).await;
                }
                let manager = patient_manager(store);
                // Not before the others write, and each at another point of what they do.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
                let mut looks = 0;
                while looks <= at {
                    let session = manager.load(&key).await.expect("the server is fine");
                    let is_written = session.expect("nobody else ends it").len() > 1;
                    looks += usize::from(is_written);
                    assert!(std::time::Instant::now() < deadline, "nobody writes");
                }
                let session = manager.load(&key).await.expect("the server is fine");
                let session = session.expect("nobody else ends it");
                session.log_out();
                session.save().await.expect("a logout always gets through");
                let found = manager.load(&key).await.expect("the server is fine");
                assert!(found.is_none(), "it lives after its logout");
                1
            });
        }
        sessions.join_all().await.iter().sum::<u32>().to_string()
    }) {
        return;
    }
    for server in Server::all(TEST) {
        let table = new_table();
        let keys = block_on(async {
            let manager = patient_manager(server.store_in(&table).await);
            let mut keys = Vec::new();
            for _ in 0..SESSIONS {
                keys.push(stored(&manager).await);
            }
            keys
        });
        let secrets: Vec<&str> = keys.iter().map(|key| key.expose_secret()).collect();
        run_children(TEST, &server, &table, 3, &secrets.join(" "));
        block_on(async {
            let store = server.store_in(&table).await;
            let scan = store.scan().expect("there is one");
            let page = scan.page(session_core::store::Page::first(100)).await;
            assert_eq!(page.unwrap().len(), 0, "{}: one is back", server.name);
        });
    }
}

#[test]
fn one_of_two_processes_gets_each_session_that_both_rotate() {
    const TEST: &str = "one_of_two_processes_gets_each_session_that_both_rotate";
    const SESSIONS: usize = 30;
    if is_child(async |_, store, task| {
        let manager = patient_manager(store);
        let mut got = Vec::new();
        for key in keys_in(&task) {
            let Some(session) = manager.load(&key).await.expect("the server is fine") else {
                continue;
            };
            session.cycle_key();
            match session.save().await {
                Ok(()) => {
                    let new = session.session_key().expect("it was saved");
                    got.push(new.expose_secret().to_owned());
                }
                Err(SessionError::Interrupted) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        got.join(" ")
    }) {
        return;
    }
    for server in Server::all(TEST) {
        let table = new_table();
        let keys = block_on(async {
            let manager = patient_manager(server.store_in(&table).await);
            let mut keys = Vec::new();
            for _ in 0..SESSIONS {
                keys.push(stored(&manager).await);
            }
            keys
        });
        let secrets: Vec<&str> = keys.iter().map(|key| key.expose_secret()).collect();
        let said = run_children(TEST, &server, &table, 2, &secrets.join(" "));
        let got: Vec<&str> = said
            .iter()
            .flat_map(|said| said.split(' '))
            .filter(|key| !key.is_empty())
            .collect();
        assert_eq!(
            got.len(),
            SESSIONS,
            "{}: a session went two ways, or none",
            server.name
        );
        block_on(async {
            let manager = patient_manager(server.store_in(&table).await);
            for key in &keys {
                let old = manager.load(key).await.expect("the server is fine");
                assert!(old.is_none(), "{}: an old key lives", server.name);
            }
            for key in got {
                let new = manager.load(&key_in(key)).await;
                let new = new.expect("the server is fine");
                assert!(new.is_some(), "{}: a new key opens nothing", server.name);
            }
        });
    }
}

#[test]
fn eight_processes_write_one_file_and_each_write_gets_its_turn() {
    const TEST: &str = "eight_processes_write_one_file_and_each_write_gets_its_turn";
    const PROCESSES: u64 = 8;
    const WRITERS: u64 = 4;
    const EACH: u64 = 25;
    let shared = key(1);
    if is_child(async |number, store, _| {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (store, shared) = (store.clone(), shared.clone());
            let own = key(1_000 + 100 * number as u64 + writer);
            writers.spawn(async move {
                let mut version = store.create(&own, new("0"), NOW).await.expect("busy?");
                for round in 1..=EACH {
                    let saved = store.save(&own, &version, change(&round.to_string()), NOW);
                    let Saved::Stored(next) = saved.await.expect("busy is waited for") else {
                        panic!("nobody else writes it");
                    };
                    version = next;
                    increment(&store, &shared).await;
                }
            });
        }
        writers.join_all().await;
        String::new()
    }) {
        return;
    }
    let server = Server::sqlite();
    let table = new_table();
    let store = block_on(server.store_in(&table));
    block_on(store.create(&shared, new("0"), NOW)).expect("a new key");
    run_children(TEST, &server, &table, 8, "");
    block_on(async {
        let record = load(&store, &shared).await.expect("it is never ended");
        let expected = (PROCESSES * WRITERS * EACH).to_string();
        assert_eq!(text(&record), expected, "lost updates");
        for number in 0..PROCESSES {
            for writer in 0..WRITERS {
                let own = load(&store, &key(1_000 + 100 * number + writer)).await;
                assert_eq!(text(&own.expect("it was created")), EACH.to_string());
            }
        }
    });
}

#[cfg(test)]
async fn increment(store: &session_db::DbStore, shared: &session_core::store::StoreKey) {
    loop {
        let record = load(store, shared).await.expect("it is never ended");
        let next = text(&record).parse::<u64>().expect("a number") + 1;
        let saved = store
            .save(shared, &record.version, change(&next.to_string()), NOW)
            .await;
        match saved.expect("busy is waited for, and not failed") {
            Saved::Stored(_) => return,
            Saved::Conflict => {}
            other => panic!("{other:?}"),
        }
    }
}
