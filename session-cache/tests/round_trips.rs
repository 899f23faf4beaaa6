//! How often a request goes to Redis, by what the servers themselves say that they were sent.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use session_cache::{CacheStore, RedisStore};
use session_core::adapter::{Completion, Outcome};
use session_core::{ManualClock, SessionBase, SessionManager};
use support::monitor::Monitor;
use support::{NOW, Server, connected, new_prefix};

/// What each request costs, off a cluster and on one: the crate's documentation promises it.
const PROMISED: [(&str, usize, usize); 13] = [
    ("a request that never asks for its session", 0, 0),
    ("the same with a cookie", 0, 0),
    ("a first write", 1, 1),
    ("a read", 1, 1),
    ("a write to an existing session", 2, 2),
    ("a read when a renewal is due", 2, 2),
    ("a log-in on an existing session", 2, 7),
    ("a write to a session with an owner", 2, 2),
    ("a list of one's only session", 3, 3),
    ("a log-out that does not load", 1, 2),
    ("a request with the key of a session that is gone", 1, 1),
    ("a log-in without a session", 1, 2),
    ("a log-out of a loaded session", 2, 3),
];

#[cfg(test)]
struct Walk {
    manager: SessionManager,
    clock: Arc<ManualClock>,
    monitor: Monitor,
    prefix: String,
    costs: Vec<Vec<String>>,
}

#[cfg(test)]
impl Walk {
    async fn request<R>(
        &mut self,
        cookie: Option<&str>,
        does: impl AsyncFnOnce(&SessionBase) -> R,
    ) -> (R, Option<String>) {
        let slot = self.manager.slot();
        slot.present(cookie.map(str::as_bytes));
        let session = slot.session().await.expect("the server works");
        let result = does(&session).await;
        let outcome = slot
            .commit(Completion::Success)
            .await
            .expect("the server works");
        self.costs.push(self.monitor.commands(&self.prefix).await);
        match outcome {
            Outcome::Issue { value, .. } => (result, Some(value.expose_secret().to_owned())),
            _ => (result, None),
        }
    }

    async fn untouched(&mut self, cookie: Option<&str>, log_out: bool) {
        let slot = self.manager.slot();
        slot.present(cookie.map(str::as_bytes));
        if log_out {
            slot.log_out();
        }
        drop(
            slot.commit(Completion::Success)
                .await
                .expect("the server works"),
        );
        self.costs.push(self.monitor.commands(&self.prefix).await);
    }

    async fn all(&mut self) {
        self.untouched(None, false).await;
        self.untouched(Some("abcdefghijklmnopqrstuvwxyz012345"), false)
            .await;
        let (_, cookie) = self
            .request(None, async |session| {
                session.set("name", "Ada").expect("it may be stored");
            })
            .await;
        let cookie = cookie.expect("a new session");
        self.request(Some(&cookie), async |session| {
            assert!(session.contains_key("name"), "the session was lost");
        })
        .await;
        self.request(Some(&cookie), async |session| {
            session.set("name", "Bob").expect("it may be stored");
        })
        .await;
        self.clock.advance(Duration::from_secs(3 * 86_400));
        self.request(Some(&cookie), async |session| {
            assert!(session.contains_key("name"), "the session was lost");
        })
        .await;
        let (_, cookie) = self
            .request(Some(&cookie), async |session| {
                session.log_in("ada").expect("an owner");
            })
            .await;
        let cookie = cookie.expect("a new key at the log-in");
        self.request(Some(&cookie), async |session| {
            session.set("name", "Eve").expect("it may be stored");
        })
        .await;
        self.request(Some(&cookie), async |session| {
            let own = session.own_sessions().await.expect("the server works");
            assert_eq!(own.len(), 1);
        })
        .await;
        self.untouched(Some(&cookie), true).await;
        self.request(Some(&cookie), async |session| {
            assert!(session.is_empty(), "the session survived its log-out");
        })
        .await;
        let (_, cookie) = self
            .request(None, async |session| {
                session.log_in("ada").expect("an owner");
            })
            .await;
        let cookie = cookie.expect("a new session");
        self.request(Some(&cookie), async |session| session.log_out())
            .await;
    }
}

#[cfg(test)]
async fn costs(server: Server) -> Option<Vec<Vec<String>>> {
    let prefix = new_prefix();
    let config = server.config_with_prefix(&prefix)?;
    let store: RedisStore = CacheStore::new(connected(config).await);
    let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
    clock.set(NOW);
    let mut walk = Walk {
        manager: SessionManager::new(store).with_clock(Arc::clone(&clock)),
        clock,
        monitor: Monitor::of(server).await,
        prefix,
        costs: Vec::new(),
    };
    // Each of a cluster's nodes must have been sent each script once.
    for _ in 0..if server == Server::Cluster { 20 } else { 1 } {
        walk.all().await;
    }
    walk.costs.clear();
    walk.all().await;
    Some(walk.costs)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_costs_more_than_is_promised() {
    for server in Server::ALL {
        let Some(costs) = costs(server).await else {
            continue;
        };
        assert_eq!(costs.len(), PROMISED.len());
        for ((what, alone, cluster), commands) in PROMISED.iter().zip(costs) {
            let promised = if server == Server::Cluster {
                cluster
            } else {
                alone
            };
            let cost = commands.len();
            assert_eq!(cost, *promised, "{server:?}: {what}: {commands:#?}");
        }
    }
}
