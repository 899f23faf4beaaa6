//! How often a request goes to Redis and to PostgreSQL, by what the servers themselves say that they were sent.

#[cfg(test)]
#[path = "../../session-cache/tests/support/mod.rs"]
mod redis_servers;
#[cfg(test)]
mod support;

use std::time::Duration;

use session_core::adapter::{Completion, Outcome};
use session_core::{Expiry, SessionBase, SessionManager};
use session_db::sqlx::{self, Connection as _, PgConnection, Row as _};

use redis_servers::Server;
use redis_servers::monitor::Monitor;
use support::servers::{Redis, Site};

/// What each request costs of Redis and of PostgreSQL: the crate's documentation promises it, on a cluster as well.
const PROMISED: [(&str, usize, i64); 13] = [
    ("a request that never asks for its session", 0, 0),
    ("the same with a cookie", 0, 0),
    ("a first write", 0, 1),
    ("a read without a copy", 3, 1),
    ("a read", 1, 0),
    ("a write to an existing session", 3, 1),
    ("a read after a write", 1, 0),
    ("a write that changes the expiry", 2, 1),
    ("a log-in on an existing session", 3, 1),
    ("the first read after it", 3, 1),
    ("a read of a session with an owner", 1, 0),
    ("a log-out that does not load", 2, 1),
    ("a request with the key of a session that is gone", 1, 1),
];

#[cfg(test)]
struct Walk {
    manager: SessionManager,
    monitor: Monitor,
    prefix: String,
    statements: Statements,
    costs: Vec<(Vec<String>, i64)>,
}

/// What PostgreSQL has been sent about one table.
#[cfg(test)]
struct Statements {
    connection: PgConnection,
    table: String,
    before: i64,
}

#[cfg(test)]
impl Statements {
    async fn about(table: &str, url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("the server runs");
        let extended = sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
        let extended = extended.execute(&mut connection).await;
        extended.expect("the role may extend its database");
        Self {
            connection,
            table: table.to_owned(),
            before: 0,
        }
    }

    /// How many since the last call.
    async fn more(&mut self) -> i64 {
        // In what the server keeps of this one, the pattern is `$1`.
        let sql =
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE $1";
        let row = sqlx::query(sql)
            .bind(format!("%{}%", self.table))
            .fetch_one(&mut self.connection)
            .await;
        let all: i64 = row.expect("the server counts").get(0);
        let more = all - self.before;
        self.before = all;
        more
    }
}

#[cfg(test)]
impl Walk {
    /// One request: the client sends `cookie`, the handler does `does`. Gives the cookie that the client has afterwards.
    async fn request(&mut self, cookie: &str, does: impl FnOnce(&SessionBase)) -> String {
        let slot = self.manager.slot();
        slot.present((!cookie.is_empty()).then_some(cookie.as_bytes()));
        does(&slot.session().await.expect("both servers work"));
        let committed = slot.commit(Completion::Success).await;
        self.count().await;
        match committed.expect("both servers work") {
            Outcome::Issue { value, .. } => value.expose_secret().to_owned(),
            _ => cookie.to_owned(),
        }
    }

    async fn untouched(&mut self, cookie: Option<&str>, logs_out: bool) {
        let slot = self.manager.slot();
        slot.present(cookie.map(str::as_bytes));
        if logs_out {
            slot.log_out();
        }
        let committed = slot.commit(Completion::Success).await;
        drop(committed.expect("both servers work"));
        self.count().await;
    }

    async fn count(&mut self) {
        let commands = self.monitor.commands(&self.prefix).await;
        let statements = self.statements.more().await;
        self.costs.push((commands, statements));
    }

    async fn all(&mut self) {
        let is_there = |session: &SessionBase| {
            assert!(session.contains_key("name"), "the session was lost");
        };
        let set = |session: &SessionBase, name: &str| {
            session.set("name", name).expect("it may be stored");
        };
        self.untouched(None, false).await;
        let unknown = "abcdefghijklmnopqrstuvwxyz012345";
        self.untouched(Some(unknown), false).await;
        let cookie = self.request("", |session| set(session, "Ada")).await;
        self.request(&cookie, is_there).await;
        self.request(&cookie, is_there).await;
        self.request(&cookie, |session| set(session, "Bob")).await;
        self.request(&cookie, is_there).await;
        self.request(&cookie, |session| {
            let hour = Expiry::OnInactivity(Duration::from_secs(3_600));
            session.set_expiry(hour).expect("an expiry");
        })
        .await;
        let cookie = self
            .request(&cookie, |session| session.log_in("ada").expect("an owner"))
            .await;
        self.request(&cookie, is_there).await;
        self.request(&cookie, is_there).await;
        self.untouched(Some(&cookie), true).await;
        self.request(&cookie, |session| {
            assert!(session.is_empty(), "the session survived its log-out");
        })
        .await;
    }
}

#[cfg(test)]
async fn costs(server: Server, redis: Redis) -> Option<Vec<(Vec<String>, i64)>> {
    let site = Site::new(redis)?;
    let mut walk = Walk {
        manager: site.manager().await,
        monitor: Monitor::of(server).await,
        prefix: site.prefix(),
        statements: Statements::about(&site.name, &site.postgres).await,
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
    for (server, redis) in [
        (Server::Standalone, Redis::Standalone),
        (Server::Cluster, Redis::Cluster),
        (Server::Sentinel, Redis::Sentinel),
    ] {
        let Some(costs) = costs(server, redis).await else {
            continue;
        };
        assert_eq!(costs.len(), PROMISED.len());
        for ((what, of_redis, of_postgres), (commands, statements)) in PROMISED.iter().zip(costs) {
            assert_eq!(
                commands.len(),
                *of_redis,
                "{server:?}: {what}, to Redis: {commands:#?}"
            );
            assert_eq!(
                statements, *of_postgres,
                "{server:?}: {what}, to PostgreSQL"
            );
        }
    }
}
