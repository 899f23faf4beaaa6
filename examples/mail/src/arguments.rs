//! What the demo is started with.

use std::fmt;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, ValueExt as _};
use session_file::FileStore;
use session_http::{MemoryStore, SessionManager};

use crate::BoxError;

pub(crate) const HELP: &str = "\
mail [--port N] [--store STORE]

  --port N        the port on 127.0.0.1; 0 takes any free one (default 8000)
  --store STORE   where sessions are kept:
                    memory      in this process; a restart forgets them
                    file:DIR    one file each in this folder (default file:target/demo-sessions)";

pub(crate) enum Command {
    Help,
    Serve(Arguments),
}

pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) store: Store,
}

/// Where sessions are kept.
pub(crate) enum Store {
    Memory,
    File(PathBuf),
}

pub(crate) fn parse() -> Result<Command, BoxError> {
    let mut parser = lexopt::Parser::from_env();
    let mut arguments = Arguments {
        port: 8000,
        store: Store::File(PathBuf::from("target/demo-sessions")),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => arguments.port = parser.value()?.parse()?,
            Long("store") => arguments.store = Store::parse(&parser.value()?.string()?)?,
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Serve(arguments))
}

impl Store {
    fn parse(text: &str) -> Result<Self, BoxError> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("file", folder)) if !folder.is_empty() => Ok(Self::File(PathBuf::from(folder))),
            _ => Err(format!("no such store: {text}").into()),
        }
    }

    pub(crate) fn open(&self) -> Result<SessionManager, BoxError> {
        let manager = match self {
            Self::Memory => SessionManager::new(MemoryStore::new()),
            Self::File(folder) => SessionManager::new(FileStore::open(folder)?),
        };
        Ok(manager.require_owner_index()?)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(folder) => write!(f, "files in {}", folder.display()),
        }
    }
}
