//! Requests of several processes on one Redis: nothing is lost, nothing is revived, on a server, a cluster and under a Sentinel.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use session_cache::{CacheStore, RedisStore};
use session_core::{SessionError, SessionKey, SessionManager};
use support::children::{block_on, is_child, run_children};
use support::{Server, connected, new_prefix};

#[cfg(test)]
async fn manager_of(server: Server, prefix: &str) -> Option<SessionManager> {
    let config = server.config_with_prefix(prefix)?;
    let store: RedisStore = CacheStore::new(connected(config).await);
    Some(SessionManager::new(store))
}

/// A stored session, and its key.
#[cfg(test)]
async fn stored(manager: &SessionManager) -> SessionKey {
    let session = manager.start();
    session.set("number", &0_u32).expect("it may be stored");
    session.save().await.expect("a new session");
    session.session_key().expect("it was saved")
}

#[cfg(test)]
fn key_in(task: &str) -> SessionKey {
    SessionKey::parse(task.as_bytes()).expect("the parent has it from a session")
}

#[cfg(test)]
fn keys_in(task: &str) -> Vec<SessionKey> {
    task.split(' ').map(key_in).collect()
}

#[test]
fn race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name() {
    const TEST: &str = "race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name";
    const REQUESTS: u32 = 25;
    if is_child(async |number, store, task| {
        let manager = SessionManager::new(store);
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
    for server in Server::ALL {
        let prefix = new_prefix();
        let Some(manager) = block_on(manager_of(server, &prefix)) else {
            continue;
        };
        drop(manager);
        let key = block_on(async {
            let manager = manager_of(server, &prefix).await.expect("it was there");
            stored(&manager).await
        });
        let said = run_children(TEST, server, &prefix, 2, key.expose_secret());
        let mut drawn: Vec<u32> = said
            .iter()
            .flat_map(|said| said.split(','))
            .flat_map(str::parse)
            .collect();
        drawn.sort_unstable();
        let all: Vec<u32> = (1..=2 * REQUESTS).collect();
        assert_eq!(drawn, all, "{server:?}: a number was drawn twice, or never");
        block_on(async {
            let manager = manager_of(server, &prefix).await.expect("it was there");
            let session = manager.load(&key).await.expect("the server is fine");
            let session = session.expect("nobody ended it");
            let number: Option<u32> = session.get("number").unwrap();
            assert_eq!(number, Some(2 * REQUESTS), "{server:?}: a count was lost");
            assert_eq!(session.len(), 51, "{server:?}: a name was lost");
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
            let manager = SessionManager::new(store.clone());
            sessions.spawn(async move {
                if number > 0 {
                    return write_until_ended(&manager, key, &format!("by {number}")).await;
                }
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
    for server in Server::ALL {
        let prefix = new_prefix();
        let Some(keys) = block_on(stored_sessions(server, &prefix, SESSIONS)) else {
            continue;
        };
        let secrets: Vec<&str> = keys.iter().map(SessionKey::expose_secret).collect();
        run_children(TEST, server, &prefix, 3, &secrets.join(" "));
        block_on(async {
            let manager = manager_of(server, &prefix).await.expect("it was there");
            for key in &keys {
                let found = manager.load(key).await.expect("the server is fine");
                assert!(
                    found.is_none(),
                    "{server:?}: a session is back after its logout"
                );
            }
        });
    }
}

#[cfg(test)]
async fn stored_sessions(server: Server, prefix: &str, sessions: usize) -> Option<Vec<SessionKey>> {
    let manager = manager_of(server, prefix).await?;
    let mut keys = Vec::new();
    for _ in 0..sessions {
        keys.push(stored(&manager).await);
    }
    Some(keys)
}

/// Writes a session until somebody ends it, and says how often that worked.
#[cfg(test)]
async fn write_until_ended(manager: &SessionManager, key: SessionKey, name: &str) -> u32 {
    let mut written = 0;
    loop {
        let session = manager.load(&key).await.expect("the server is fine");
        let Some(session) = session else {
            return written;
        };
        session.set(name, &written).expect("it may be stored");
        match session.save().await {
            Ok(()) => written += 1,
            Err(SessionError::Interrupted) => return written,
            // The other writers never leave it alone; nothing was lost, and it is tried again.
            Err(SessionError::Contended) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_of_two_processes_gets_each_session_that_both_rotate() {
    const TEST: &str = "one_of_two_processes_gets_each_session_that_both_rotate";
    const SESSIONS: usize = 30;
    if is_child(async |_, store, task| {
        let manager = SessionManager::new(store);
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
    for server in Server::ALL {
        let prefix = new_prefix();
        let Some(keys) = block_on(stored_sessions(server, &prefix, SESSIONS)) else {
            continue;
        };
        let secrets: Vec<&str> = keys.iter().map(SessionKey::expose_secret).collect();
        let said = run_children(TEST, server, &prefix, 2, &secrets.join(" "));
        let got: Vec<&str> = said
            .iter()
            .flat_map(|said| said.split(' '))
            .filter(|key| !key.is_empty())
            .collect();
        assert_eq!(
            got.len(),
            SESSIONS,
            "{server:?}: a session went two ways, or none"
        );
        block_on(async {
            let manager = manager_of(server, &prefix).await.expect("it was there");
            for key in &keys {
                let old = manager.load(key).await.expect("the server is fine");
                assert!(old.is_none(), "{server:?}: an old key lives");
            }
            for key in got {
                let new = manager.load(&key_in(key)).await;
                let new = new.expect("the server is fine");
                assert!(new.is_some(), "{server:?}: a new key opens nothing");
            }
        });
    }
}
