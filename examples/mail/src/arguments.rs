//! What the demo is started with.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt as _};
use session_db::{ClearExpiredTask, DbStore};
use session_file::FileStore;
use session_http::{MemoryStore, SessionManager};

use crate::BoxError;

pub(crate) const HELP: &str = "\
mail [--port N] [--store STORE]

  --port N        the port on 127.0.0.1; 0 takes any free one (default 8000)
  --store STORE   where sessions are kept:
                    memory      in this process; a restart forgets them
                    file:DIR    one file each in this folder
                    sqlite:FILE, postgres://…, mysql://…
                                in this database, which must exist unless it is a file
                                (default sqlite:target/demo-sessions.db)";

/// The schemes of databases' URLs.
const DATABASES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Serve(Arguments),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) store: Store,
}

/// Where sessions are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    File(PathBuf),
    Database(String),
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
            None => match spec
                .to_str()
                .and_then(|spec| spec.split_once(':').map(|(scheme, _)| (scheme, spec)))
            {
                Some((scheme, url)) if DATABASES.contains(&scheme) => {
                    Ok(Self::Database(url.to_owned()))
                }
                _ => Err(format!("there is no store {}", spec.display()).into()),
            },
        }
    }

    pub(crate) async fn open(&self) -> Result<Opened, BoxError> {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let mut cleaner = None;
        let manager = match self {
            Self::Memory => SessionManager::new(MemoryStore::new()),
            Self::File(folder) => SessionManager::new(FileStore::open(folder)?),
            Self::Database(url) => {
                let store = DbStore::connect(url).await?;
                store.migrate().await?;
                store.check().await?;
                cleaner = Some(store.spawn_clear_expired(HOUR));
                SessionManager::new(store)
            }
        };
        let manager = manager.require_owner_index()?;
        Ok(Opened {
            manager,
            _cleaner: cleaner,
        })
    }
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
            ("--port 0 --store memory", 0, Store::Memory),
            ("--store=file:a/b:c", 8000, Store::File("a/b:c".into())),
        ];
        for (line, port, store) in cases {
            let expected = Command::Serve(Arguments { port, store });
            assert_eq!(parsed(line), Ok(expected), "`{line}`");
        }
        assert_eq!(parsed("--help"), Ok(Command::Help));
    }

    #[test]
    fn a_password_is_not_printed() {
        let store = Store::Database("postgres://ada:engine@localhost/mail".into());
        assert_eq!(store.to_string(), "the postgres database");
    }

    #[test]
    fn a_mistake_is_named() {
        let cases = [
            ("--port", "--port"),
            ("--port eighty", "eighty"),
            ("--port 70000", "70000"),
            ("--store", "--store"),
            ("--store redis", "redis"),
            ("--store memory:1", "memory:1"),
            ("--store file", "file"),
            ("--store file:", "needs a folder"),
            ("--stroe memory", "--stroe"),
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
