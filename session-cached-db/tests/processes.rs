//! Requests of several processes on one site, Redis in front of PostgreSQL: nothing is lost, nothing is revived, and no process
//! reads what another has ended.

#[cfg(test)]
#[path = "../../session-cache/tests/support/mod.rs"]
mod redis_servers;
#[cfg(test)]
mod support;

use std::time::{Duration, Instant};

use session_cache::RedisCache;
use session_cached_db::CachedDbStore;
use session_core::{SessionError, SessionKey, SessionManager};
use session_db::DbStore;

use redis_servers::Server;
use redis_servers::children::{block_on, is_child_with, run_children};
use support::servers::{Redis, Site, patient_manager};

/// In each process.
#[cfg(test)]
const REQUESTS: u32 = 25;

#[cfg(test)]
type Store = CachedDbStore<RedisCache, DbStore>;

#[cfg(test)]
const PAIRS: [(Server, Redis); 3] = [
    (Server::Standalone, Redis::Standalone),
    (Server::Cluster, Redis::Cluster),
    (Server::Sentinel, Redis::Sentinel),
];

/// What a child does with a store of its own, on the site of its parent.
#[cfg(test)]
fn is_child<F>(does: impl FnOnce(usize, Store, String) -> F) -> bool
where
    F: Future<Output = String>,
{
    let connects = async |server: Server, name: String| {
        let (_, redis) = PAIRS
            .into_iter()
            .find(|(known, _)| *known == server)
            .expect("all are known");
        let site = Site::named(redis, &name).expect("the parent has it");
        site.process().await
    };
    is_child_with(connects, does)
}

/// Sessions that are stored and cached, and what others are told of them.
#[cfg(test)]
async fn stored_sessions(site: &Site, sessions: usize) -> (Vec<SessionKey>, String) {
    let manager = site.manager().await;
    let mut keys = Vec::new();
    for _ in 0..sessions {
        let session = manager.start();
        session.set("number", &0_u32).expect("it may be stored");
        session.save().await.expect("a new session");
        let key = session.session_key().expect("it was saved");
        assert!(lives(&manager, &key).await, "a new session is not read");
        keys.push(key);
    }
    let secrets: Vec<&str> = keys.iter().map(SessionKey::expose_secret).collect();
    let task = secrets.join(" ");
    (keys, task)
}

#[cfg(test)]
async fn lives(manager: &SessionManager, key: &SessionKey) -> bool {
    let found = manager.load(key).await;
    found.expect("both servers are fine").is_some()
}

#[cfg(test)]
fn keys_in(task: &str) -> Vec<SessionKey> {
    let keys = task.split(' ').filter(|key| !key.is_empty());
    keys.map(|key| SessionKey::parse(key.as_bytes()).expect("it is from a session"))
        .collect()
}

#[test]
fn race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name() {
    const TEST: &str = "race_02_race_03_fifty_requests_in_two_processes_lose_no_count_and_no_name";
    if is_child(async |number, store, task| {
        let manager = patient_manager(store);
        let mut requests = tokio::task::JoinSet::new();
        for request in 0..REQUESTS {
            let (manager, key) = (manager.clone(), keys_in(&task).remove(0));
            requests.spawn(async move {
                let session = manager.load(&key).await.expect("both servers are fine");
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
    for (server, redis) in PAIRS {
        let Some(site) = Site::new(redis) else {
            continue;
        };
        let (keys, task) = block_on(stored_sessions(&site, 1));
        let said = run_children(TEST, server, &site.name, 2, &task);
        let mut drawn: Vec<u32> = said
            .iter()
            .flat_map(|said| said.split(','))
            .flat_map(str::parse)
            .collect();
        drawn.sort_unstable();
        let all: Vec<u32> = (1..=2 * REQUESTS).collect();
        assert_eq!(drawn, all, "{server:?}: a number was drawn twice, or never");
        block_on(async {
            let manager = site.manager().await;
            let session = manager.load(&keys[0]).await.expect("both servers are fine");
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
            let manager = patient_manager(store.clone());
            sessions.spawn(async move {
                if number == 0 {
                    log_out_beside_writers(&manager, &key, at).await;
                } else {
                    write_until_ended(&manager, &key, &format!("by {number}")).await;
                }
                // Who has seen the end sees it from now on, whatever the others are still about to write.
                for _ in 0..20 {
                    assert!(!lives(&manager, &key).await, "it is back after its end");
                }
            });
        }
        sessions.join_all().await;
        String::new()
    }) {
        return;
    }
    for (server, redis) in PAIRS {
        let Some(site) = Site::new(redis) else {
            continue;
        };
        let (keys, task) = block_on(stored_sessions(&site, SESSIONS));
        run_children(TEST, server, &site.name, 3, &task);
        block_on(async {
            let manager = site.manager().await;
            for key in &keys {
                assert!(
                    !lives(&manager, key).await,
                    "{server:?}: a session is back after its log-out"
                );
            }
        });
    }
}

/// Not before others write, and for each session at another point of what they do.
#[cfg(test)]
async fn log_out_beside_writers(manager: &SessionManager, key: &SessionKey, at: usize) {
    let started = Instant::now();
    let mut looks = 0;
    while looks <= at {
        let session = manager.load(key).await.expect("both servers are fine");
        let is_written = session.expect("nobody else ends it").len() > 1;
        looks += usize::from(is_written);
        assert!(started.elapsed() < Duration::from_secs(60), "nobody writes");
    }
    let session = manager.load(key).await.expect("both servers are fine");
    let session = session.expect("nobody else ends it");
    session.log_out();
    session.save().await.expect("a log-out is assured");
}

/// Writes a session until somebody has ended it.
#[cfg(test)]
async fn write_until_ended(manager: &SessionManager, key: &SessionKey, name: &str) {
    let mut written = 0_u32;
    loop {
        let session = manager.load(key).await.expect("both servers are fine");
        let Some(session) = session else {
            return;
        };
        session.set(name, &written).expect("it may be stored");
        match session.save().await {
            Ok(()) => written += 1,
            Err(SessionError::Interrupted) => return,
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
        let manager = patient_manager(store);
        let mut got = Vec::new();
        for key in keys_in(&task) {
            let Some(session) = manager.load(&key).await.expect("both servers are fine") else {
                continue;
            };
            session.cycle_key();
            match session.save().await {
                Ok(()) => {
                    let new = session.session_key().expect("it was saved");
                    assert!(lives(&manager, &new).await, "a new key opens nothing");
                    got.push(new.expose_secret().to_owned());
                }
                Err(SessionError::Interrupted) => {}
                Err(other) => panic!("{other:?}"),
            }
            assert!(!lives(&manager, &key).await, "an old key is read");
        }
        got.join(" ")
    }) {
        return;
    }
    for (server, redis) in PAIRS {
        let Some(site) = Site::new(redis) else {
            continue;
        };
        let (keys, task) = block_on(stored_sessions(&site, SESSIONS));
        let said = run_children(TEST, server, &site.name, 2, &task);
        let got = keys_in(&said.join(" "));
        assert_eq!(
            got.len(),
            SESSIONS,
            "{server:?}: a session went two ways, or none"
        );
        block_on(async {
            let manager = site.manager().await;
            for key in &keys {
                assert!(!lives(&manager, key).await, "{server:?}: an old key lives");
            }
            for key in &got {
                assert!(
                    lives(&manager, key).await,
                    "{server:?}: a new key opens nothing"
                );
            }
        });
    }
}
