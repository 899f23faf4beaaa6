//! What is wrong, or may go wrong, with the servers' settings: found when a program starts, and said in words.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use redis::{FromRedisValue as _, Value};
use session_core::store::StoreError;

use super::RedisCache;
use super::config::Topology;
use super::error::Failure;
use super::link::Again;

/// What [`RedisCache::check`] found, by what must be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisFinding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: RedisSubject,
    /// What was found, what that means for sessions, and what to do.
    pub advice: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Sessions may be lost or outlive their end, in ways that the documentation names. Some live with that.
    Warning,
    /// Sessions that live here alone will be lost, or can't be kept.
    Error,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisSubject {
    /// The server is too old.
    Version,
    /// What the server does when its memory is full.
    Eviction,
    /// What is left after a restart.
    Persistence,
    /// What a failover loses.
    Replication,
    /// Whether the cluster serves all keys.
    Cluster,
}

impl fmt::Display for RedisFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.advice)
    }
}

/// The oldest server with all that the scripts and the connection use.
const VERSION_MIN: (u32, u32) = (6, 2);

impl RedisCache {
    /// Looks at the servers' settings, for a program that starts: what sessions in a [`CacheStore`](crate::CacheStore), which are
    /// nowhere else, have to fear. Empty if there is nothing to say. The worst comes first.
    ///
    /// In front of a database, persistence and replicas are of no importance, and an eviction costs a look-up.
    ///
    /// ```no_run
    /// # async fn example(store: session_cache::RedisStore) -> Result<(), Box<dyn std::error::Error>> {
    /// for finding in store.cache().check().await? {
    ///     eprintln!("{:?}: {finding}", finding.severity);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when a server can't be asked, [`StoreError::Misconfigured`] when it does not let this program
    /// ask: that takes `+info`, and on a cluster `+cluster|info`.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn check(&self) -> Result<Vec<RedisFinding>, StoreError> {
        const OPERATION: &str = "check";
        let facts = self
            .facts()
            .await
            .map_err(|failure| failure.into_error(OPERATION))?;
        let mut findings: Vec<RedisFinding> = Vec::new();
        for facts in facts {
            for finding in facts.findings() {
                // Two nodes with the same flaw are one finding.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        findings.sort_by_key(|finding| Reverse(finding.severity));
        Ok(findings)
    }

    /// What each primary says of itself.
    async fn facts(&self) -> Result<Vec<Facts>, Failure> {
        let link = self.link();
        let answers = link.ask_all(&redis::cmd("INFO")).await?;
        let mut all: Vec<Facts> = answers
            .into_iter()
            .map(|answer| {
                Facts::parse(answer, matches!(link.topology(), Topology::Sentinel { .. }))
            })
            .collect::<Result<_, _>>()?;
        if link.is_cluster() {
            let mut command = redis::cmd("CLUSTER");
            let answer = link.ask(command.arg("INFO"), Again::Once).await?;
            if let Some(first) = all.first_mut() {
                first.add(answer)?;
            }
        }
        Ok(all)
    }
}

/// What one server says of itself, by name.
struct Facts {
    by_name: BTreeMap<String, String>,
    has_sentinels: bool,
}

impl Facts {
    fn parse(answer: Value, has_sentinels: bool) -> Result<Self, Failure> {
        let mut facts = Self {
            by_name: BTreeMap::new(),
            has_sentinels,
        };
        facts.add(answer)?;
        Ok(facts)
    }

    fn add(&mut self, answer: Value) -> Result<(), Failure> {
        let text = String::from_redis_value(answer).map_err(|_other| Failure::strange())?;
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        self.by_name
            .extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(())
    }

    fn get(&self, name: &str) -> &str {
        self.by_name.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }

    fn findings(&self) -> Vec<RedisFinding> {
        [
            self.version(),
            self.eviction(),
            self.persistence(),
            self.replication(),
            self.cluster(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Valkey gives the version of Redis that it is compatible with under the old name.
    fn version(&self) -> Option<RedisFinding> {
        let version = self.get("redis_version");
        let mut parts = version.split('.').map_while(|part| part.parse().ok());
        let found = (parts.next()?, parts.next().unwrap_or(0));
        if found >= VERSION_MIN {
            return None;
        }
        let (major, minor) = VERSION_MIN;
        Some(RedisFinding {
            severity: Severity::Error,
            subject: RedisSubject::Version,
            advice: format!(
                "the server is Redis {version}, and {major}.{minor} is the oldest that is supported: update it"
            ),
        })
    }

    fn eviction(&self) -> Option<RedisFinding> {
        let policy = self.get("maxmemory_policy");
        if policy.is_empty() || policy == "noeviction" {
            return None;
        }
        let (severity, when) = match self.number("maxmemory") {
            Some(0) => (
                Severity::Warning,
                "its memory has no limit now, so that nothing happens until somebody sets one",
            ),
            _ => (
                Severity::Error,
                "it does so when its memory is full: visitors are logged out, and sessions may be missing from \"log out everywhere\"",
            ),
        };
        Some(RedisFinding {
            severity,
            subject: RedisSubject::Eviction,
            advice: format!(
                "the server's maxmemory-policy is {policy}, which may drop live sessions; {when}. Give sessions a server with `maxmemory-policy noeviction` and enough memory"
            ),
        })
    }

    fn persistence(&self) -> Option<RedisFinding> {
        if self.get("aof_enabled") == "1" {
            return None;
        }
        Some(RedisFinding {
            severity: Severity::Warning,
            subject: RedisSubject::Persistence,
            advice: "the server writes no append-only file: a restart goes back to its last snapshot, or to nothing if it makes none, so that sessions since then are gone and those that ended since then are back. Set `appendonly yes`; with `appendfsync everysec` at most about a second is lost"
                .to_owned(),
        })
    }

    fn replication(&self) -> Option<RedisFinding> {
        let advice = if self.get("role") == "slave" {
            "this is a replica, which takes no writes: give the primary's address, or use Sentinel"
                .to_owned()
        } else if self.has_sentinels && self.number("connected_slaves") == Some(0) {
            "Sentinels watch over this primary, and no replica follows it: there is nothing to fail over to".to_owned()
        } else if self.has_sentinels && self.number("min_slaves_good_slaves").is_none() {
            "an old primary that is cut off goes on taking writes, which are lost after the failover: set `min-replicas-to-write 1` and `min-replicas-max-lag 10`, which bounds that to 10 seconds".to_owned()
        } else {
            return None;
        };
        let severity = if self.get("role") == "slave" {
            Severity::Error
        } else {
            Severity::Warning
        };
        Some(RedisFinding {
            severity,
            subject: RedisSubject::Replication,
            advice,
        })
    }

    fn cluster(&self) -> Option<RedisFinding> {
        let state = self.get("cluster_state");
        if state.is_empty() || state == "ok" {
            return None;
        }
        Some(RedisFinding {
            severity: Severity::Error,
            subject: RedisSubject::Cluster,
            advice: "the cluster does not serve all keys (cluster_state is not ok): see CLUSTER INFO and CLUSTER NODES"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(info: &str, has_sentinels: bool) -> Vec<(RedisSubject, Severity)> {
        let answer = Value::BulkString(info.replace(' ', "\r\n").into_bytes());
        let facts = Facts::parse(answer, has_sentinels).expect("this is text");
        let findings = facts.findings();
        findings
            .iter()
            .map(|finding| (finding.subject, finding.severity))
            .collect()
    }

    #[test]
    fn each_setting_that_may_lose_sessions_is_found() {
        use RedisSubject as About;
        use Severity::{Error, Warning};
        let good = "redis_version:7.0.15 maxmemory_policy:noeviction maxmemory:9 aof_enabled:1 role:master";
        for (info, has_sentinels, expected) in [
            ("", false, vec![]),
            ("redis_version:6.0.16", false, vec![(About::Version, Error)]),
            ("redis_version:6.2.0", false, vec![]),
            ("redis_version:10.0", false, vec![]),
            (
                "maxmemory_policy:allkeys-lru maxmemory:9",
                false,
                vec![(About::Eviction, Error)],
            ),
            (
                "maxmemory_policy:volatile-ttl maxmemory:9",
                false,
                vec![(About::Eviction, Error)],
            ),
            (
                "maxmemory_policy:allkeys-lru maxmemory:0",
                false,
                vec![(About::Eviction, Warning)],
            ),
            ("aof_enabled:0", false, vec![(About::Persistence, Warning)]),
            ("role:slave", false, vec![(About::Replication, Error)]),
            (
                "connected_slaves:0",
                true,
                vec![(About::Replication, Warning)],
            ),
            (
                "connected_slaves:1",
                true,
                vec![(About::Replication, Warning)],
            ),
            ("connected_slaves:1 min_slaves_good_slaves:1", true, vec![]),
            ("connected_slaves:0", false, vec![]),
            ("cluster_state:fail", false, vec![(About::Cluster, Error)]),
            ("cluster_state:ok", false, vec![]),
        ] {
            assert_eq!(
                subjects(&format!("{good} {info}"), has_sentinels),
                expected,
                "{info}"
            );
        }
    }
}
