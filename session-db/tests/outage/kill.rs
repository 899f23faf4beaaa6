//! A server that is killed again and again while eight writers write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::{SessionError, SessionManager};
use session_db::DbStoreConfig;

use crate::servers::records::{WAIT_MAX, chain};
use crate::servers::victim::Victim;
use crate::servers::{Database, request};
use crate::support::count;

/// What a writer knows of the two counters that it writes.
#[derive(Default)]
struct Knowledge {
    /// How often it was told that its write to the shared session was stored.
    shared_stored: AtomicU64,
    /// How often it was told that this is not known.
    shared_unknown: AtomicU64,
    /// The last number in its own session that it was told is stored.
    own_stored: AtomicU64,
    /// The last number that it tried to store.
    own_tried: AtomicU64,
    failures: AtomicU64,
}

pub(crate) async fn kill(database: Database) {
    const WRITERS: usize = 8;
    /// Between two kills each writer stores at least so often.
    const STORED_BETWEEN: u64 = 20;

    // Both ways of coming back, and with `--full` often.
    let kills = match std::env::var_os("SESSION_TEST_FULL") {
        Some(_) => 10,
        None => 2,
    };
    // Less than the manager's own patience, so that it is the store that answers.
    let config = DbStoreConfig::new().with_timeout(Duration::from_secs(2));
    let manager = SessionManager::new(database.store(config).await);
    let victim = Victim::of(database.server, &mut database.administration().await).await;
    let new_session = async || {
        let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
        let (set, cookie) = created.expect("the server runs");
        set.expect("a number");
        Arc::<str>::from(cookie.expect("a new session"))
    };
    let shared = new_session().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let own = new_session().await;
        let knows = Arc::new(Knowledge::default());
        let task = tokio::spawn(write_until_over(
            manager.clone(),
            (Arc::clone(&own), Arc::clone(&shared)),
            Arc::clone(&knows),
            Arc::clone(&is_over),
        ));
        writers.push((own, knows, task));
    }

    let all_know = async |what: &str, number: fn(&Knowledge) -> u64, least: u64| {
        let started = Instant::now();
        while writers.iter().any(|(_, knows, _)| number(knows) < least) {
            assert!(
                started.elapsed() < WAIT_MAX
                    && writers.iter().all(|(_, _, task)| !task.is_finished()),
                "not every writer has {what} {least} times"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let stored = |knows: &Knowledge| knows.shared_stored.load(Ordering::SeqCst);
    let failures = |knows: &Knowledge| knows.failures.load(Ordering::SeqCst);
    for round in 0..kills {
        let before = writers.iter().map(|(_, knows, _)| stored(knows)).max();
        all_know("stored", stored, before.unwrap_or(0) + STORED_BETWEEN).await;
        let before = writers.iter().map(|(_, knows, _)| failures(knows)).max();
        victim.kill();
        // Every other time the server is back at once, and in between only after everybody has noticed.
        if round % 2 == 0 {
            all_know("failed", failures, before.unwrap_or(0) + 1).await;
        }
        victim.let_it_start();
    }
    let before = writers.iter().map(|(_, knows, _)| stored(knows)).max();
    all_know("stored", stored, before.unwrap_or(0) + STORED_BETWEEN).await;
    is_over.store(true, Ordering::SeqCst);

    let (mut shared_least, mut shared_most) = (0, 0);
    for (own, knows, task) in writers {
        task.await.expect("a writer met what it must not meet");
        let stored = knows.own_stored.load(Ordering::SeqCst);
        let tried = knows.own_tried.load(Ordering::SeqCst);
        let found = count(&manager, &own).await;
        assert!(
            (stored..=tried).contains(&found),
            "{stored} was acknowledged, {tried} was tried, and {found} is there"
        );
        let stored = knows.shared_stored.load(Ordering::SeqCst);
        shared_least += stored;
        shared_most += stored + knows.shared_unknown.load(Ordering::SeqCst);
    }
    let found = count(&manager, &shared).await;
    assert!(
        (shared_least..=shared_most).contains(&found),
        "{shared_least} increments were acknowledged, at most {shared_most} happened, and {found} are there"
    );
}

/// Counts in a session of its own, where it sets each number, and in one that all share, where it adds.
async fn write_until_over(
    manager: SessionManager,
    (own, shared): (Arc<str>, Arc<str>),
    knows: Arc<Knowledge>,
    is_over: Arc<AtomicBool>,
) {
    let mut number = 0_u64;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        knows.own_tried.store(number, Ordering::SeqCst);
        let written = request(&manager, Some(&own), |session| {
            assert!(session.session_key().is_some(), "the own session is gone");
            session.set("count", &number)
        })
        .await;
        if is_stored(&knows, written) {
            knows.own_stored.store(number, Ordering::SeqCst);
        }
        let written = request(&manager, Some(&shared), |session| {
            assert!(
                session.session_key().is_some(),
                "the shared session is gone"
            );
            session.modify("count", |count: &mut u64| *count += 1)
        })
        .await;
        if is_stored(&knows, written) {
            knows.shared_stored.fetch_add(1, Ordering::SeqCst);
        } else {
            knows.shared_unknown.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn is_stored(
    knows: &Knowledge,
    written: Result<(Result<(), SessionError>, Option<String>), SessionError>,
) -> bool {
    match written {
        Ok((set, _)) => {
            set.expect("a number");
            true
        }
        Err(error) if error.is_unavailable() => {
            knows.failures.fetch_add(1, Ordering::SeqCst);
            false
        }
        Err(error) => panic!("a killed server was taken for: {}", chain(&error)),
    }
}
