//! What the demo is started with.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt as _};
use session_cache::{CacheStore, RedisCache, RedisCacheConfig};
use session_cached_db::CachedDbStore;
use session_db::{ClearExpiredTask, DbStore};
use session_file::FileStore;
use session_http::{MemoryStore, SessionManager};

use crate::BoxError;

pub(crate) const HELP: &str = "\
mail [--port N] [--store STORE] [--metrics]

  --port N        the port on 127.0.0.1; 0 takes any free one (default 8000)
  --store STORE   where sessions are kept:
                    memory      in this process; a restart forgets them
                    file:DIR    one file each in this folder
                    sqlite:FILE, postgres://…, mysql://…
                                in this database, which must exist unless it is a file
                                (default sqlite:target/demo-sessions.db)
                    redis://…, redis-sentinel://…, redis-cluster://…
                                in Redis or Valkey
                    cached:REDIS+DATABASE
                                in this database, with this Redis in front of it, as in
                                cached:redis://127.0.0.1/+sqlite:target/demo-sessions.db
  --metrics       tell Prometheus, at /metrics, what the sessions do";

/// The schemes of databases' URLs.
const DATABASES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// The schemes of Redis' URLs.
const CACHES: [&str; 3] = ["redis", "redis-sentinel", "redis-cluster"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Serve(Arguments),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) store: Store,
    /// Whether there is a page for Prometheus.
    pub(crate) metrics: bool,
}

/// Where sessions are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    File(PathBuf),
    Database(String),
    Redis(String),
    Cached { cache: String, database: String },
}

/// A store that is ready, and what has to live as long.
pub(crate) struct Opened {
    pub(crate) manager: SessionManager,
    _cleaner: Option<ClearExpiredTask>,
}

/// What `arguments` ask for. They come without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, BoxError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut arguments = Arguments {
        port: 8000,
        store: Store::Database("sqlite:target/demo-sessions.db".to_owned()),
        metrics: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => {
                let value = parser.value()?;
                arguments.port = value
                    .parse()
                    .map_err(|_not_a_port| format!("there is no port {}", value.display()))?;
            }
            Long("store") => arguments.store = Store::parse(&parser.value()?)?,
            Long("metrics") => arguments.metrics = true,
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Serve(arguments))
}

impl Store {
    fn parse(spec: &OsStr) -> Result<Self, BoxError> {
        if spec == "memory" {
            return Ok(Self::Memory);
        }
        // A folder's name need not be UTF-8.
        match spec.as_bytes().strip_prefix(b"file:") {
            Some([]) => Err("file: needs a folder, as in file:target/demo-sessions".into()),
            Some(folder) => Ok(Self::File(PathBuf::from(OsStr::from_bytes(folder)))),
            None => spec
                .to_str()
                .and_then(Self::of_url)
                .ok_or_else(|| format!("there is no store {}", spec.display()).into()),
        }
    }

    fn of_url(url: &str) -> Option<Self> {
        if let Some(both) = url.strip_prefix("cached:") {
            // A URL of a database begins behind a plus; a password in Redis' URL may hold one as well.
            let mut splits = both.match_indices('+').map(|(at, _)| both.split_at(at));
            return splits.find_map(|(cache, behind)| {
                let database = behind.get(1..)?;
                (is_of(&CACHES, cache) && is_of(&DATABASES, database)).then(|| Self::Cached {
                    cache: cache.to_owned(),
                    database: database.to_owned(),
                })
            });
        }
        if is_of(&DATABASES, url) {
            Some(Self::Database(url.to_owned()))
        } else if is_of(&CACHES, url) {
            Some(Self::Redis(url.to_owned()))
        } else {
            None
        }
    }

    pub(crate) async fn open(&self) -> Result<Opened, BoxError> {
        let mut cleaner = None;
        let manager = match self {
            Self::Memory => SessionManager::new(MemoryStore::new()),
            Self::File(folder) => SessionManager::new(FileStore::open(folder)?),
            Self::Database(url) => {
                let store = database(url).await?;
                cleaner = Some(store.spawn_clear_expired(HOUR));
                SessionManager::new(store)
            }
            Self::Redis(url) => SessionManager::new(CacheStore::new(redis(url).await?)),
            Self::Cached {
                cache,
                database: url,
            } => {
                let store = database(url).await?;
                cleaner = Some(store.spawn_clear_expired(HOUR));
                SessionManager::new(CachedDbStore::new(redis(cache).await?, store))
            }
        };
        let manager = manager.require_owner_index()?;
        Ok(Opened {
            manager,
            _cleaner: cleaner,
        })
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn database(url: &str) -> Result<DbStore, BoxError> {
    let store = DbStore::connect(url).await?;
    store.migrate().await?;
    store.check().await?;
    Ok(store)
}

async fn redis(url: &str) -> Result<RedisCache, BoxError> {
    let cache = RedisCacheConfig::from_url(url)?.connect().await?;
    for finding in cache.check().await? {
        tracing::warn!("{finding}");
    }
    Ok(cache)
}

/// Whether a URL has one of these schemes.
fn is_of(schemes: &[&str], url: &str) -> bool {
    url.split_once(':')
        .is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(folder) => write!(f, "files in {}", folder.display()),
            // The rest of a server's URL may hold a password.
            Self::Database(url) => match url.split_once("://") {
                Some((scheme, _)) => write!(f, "the {scheme} database"),
                None => f.write_str(url),
            },
            Self::Redis(_) => f.write_str("Redis"),
            Self::Cached { database, .. } => {
                write!(f, "{} behind Redis", Self::Database(database.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_served() {
        let cases = [
            (
                "",
                8000,
                Store::Database("sqlite:target/demo-sessions.db".into()),
            ),
            (
                "--store postgres://ada@localhost/mail",
                8000,
                Store::Database("postgres://ada@localhost/mail".into()),
            ),
            (
                "--store redis-cluster://h1,h2",
                8000,
                Store::Redis("redis-cluster://h1,h2".into()),
            ),
            (
                "--store cached:redis://:a+b:c@h/0+sqlite:x+y.db",
                8000,
                Store::Cached {
                    cache: "redis://:a+b:c@h/0".into(),
                    database: "sqlite:x+y.db".into(),
                },
            ),
            ("--port 0 --store memory", 0, Store::Memory),
            ("--metrics --store memory", 8000, Store::Memory),
            ("--store=file:a/b:c", 8000, Store::File("a/b:c".into())),
        ];
        for (line, port, store) in cases {
            let metrics = line.contains("--metrics");
            let expected = Command::Serve(Arguments {
                port,
                store,
                metrics,
            });
            assert_eq!(parsed(line), Ok(expected), "`{line}`");
        }
        assert_eq!(parsed("--help"), Ok(Command::Help));
    }

    #[test]
    fn a_password_is_not_printed() {
        for (store, shown) in [
            (
                "postgres://ada:engine@localhost/mail",
                "the postgres database",
            ),
            ("redis://:engine@localhost/", "Redis"),
            (
                "cached:redis://:engine@h/+mysql://ada:engine@h/mail",
                "the mysql database behind Redis",
            ),
        ] {
            let parsed = Store::of_url(store).map(|store| store.to_string());
            assert_eq!(parsed.as_deref(), Some(shown));
        }
    }

    #[test]
    fn a_mistake_is_named() {
        let cases = [
            ("--port", "--port"),
            ("--port eighty", "eighty"),
            ("--port 70000", "70000"),
            ("--store", "--store"),
            ("--store redis", "redis"),
            ("--store cached:redis://h/", "cached:redis://h/"),
            ("--store cached:sqlite:a+sqlite:b", "cached:sqlite:a"),
            ("--store memory:1", "memory:1"),
            ("--store file", "file"),
            ("--store file:", "needs a folder"),
            ("--stroe memory", "--stroe"),
            ("--metrics=9000", "9000"),
            ("memory", "memory"),
        ];
        for (line, named) in cases {
            let message = parsed(line).expect_err(line);
            assert!(
                message.contains(named),
                "`{line}` was refused with: {message}"
            );
        }
    }
}
