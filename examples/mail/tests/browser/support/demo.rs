//! The demo itself: the program as it is built, serving for one walk.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::database;
use super::wire::{self, Answer};

/// What the session's cookie is called.
pub(crate) const COOKIE: &str = "__Host-sessionid";

/// Where the demo keeps sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Files,
    Sqlite,
    Postgres,
    MariaDb,
    Redis,
    RedisCluster,
    /// PostgreSQL, with Redis in front.
    Cached,
}

impl Store {
    /// Where the store's servers answer, as xtask says it.
    const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Memory | Self::Files | Self::Sqlite => &[],
            Self::Postgres => &["SESSION_TEST_POSTGRES"],
            Self::MariaDb => &["SESSION_TEST_MARIADB"],
            Self::Redis => &["SESSION_TEST_REDIS"],
            Self::RedisCluster => &["SESSION_TEST_REDIS_CLUSTER"],
            Self::Cached => &["SESSION_TEST_POSTGRES", "SESSION_TEST_REDIS"],
        }
    }

    /// What is missing to keep sessions there.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let is_missing = |name: &&str| std::env::var_os(name).is_none();
        self.variables().iter().copied().find(is_missing)
    }

    /// What the demo is told: a place that is empty, for the walk called `name`.
    async fn argument(self, folder: &Path, name: &str) -> String {
        let url = |number: usize| {
            let url = std::env::var(self.variables()[number]);
            url.expect("a walk asks what is missing before it starts")
        };
        let database = async || {
            let name = format!("walk_{}", name.replace('-', "_"));
            database::made_at(&url(0), &name).await
        };
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite => format!("sqlite:{}", folder.join("sessions.db").display()),
            Self::Files => format!("file:{}", folder.join("sessions").display()),
            Self::Postgres | Self::MariaDb => database().await,
            // Walks share these servers, and each has visitors of its own.
            Self::Redis | Self::RedisCluster => url(0),
            Self::Cached => format!("cached:{}+{}", url(1), database().await),
        }
    }
}

/// Serves until it is dropped.
pub(crate) struct Demo {
    /// Ends with a slash.
    pub(crate) url: String,
    process: Child,
    // Kept open: a program that can't print panics.
    _output: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Demo {
    /// Starts it on a free port, for the walk called `name`.
    pub(crate) async fn start(store: Store, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store.argument(folder.path(), name).await;
        let mut process = Command::new(env!("CARGO_BIN_EXE_mail"))
            .args(["--port", "0", "--store", &store])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints its address once it listens.
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in the line: {line}"));
        Self {
            url: url.to_owned(),
            process,
            _output: output,
            _folder: folder,
        }
    }

    /// The page at `path`, as somebody sees it who has got hold of this key.
    pub(crate) fn page_with_key(&self, path: &str, key: &str) -> String {
        let answer = self.send("GET", path, key, "");
        assert_eq!(answer.status, 200, "the demo did not answer {path}");
        answer.body
    }

    /// Posts a form as a browser does that has this key.
    pub(crate) fn post_with_key(&self, path: &str, key: &str, form: &str) -> Answer {
        self.send("POST", path, key, form)
    }

    fn send(&self, method: &str, path: &str, key: &str, form: &str) -> Answer {
        let head = [
            &*format!("{method} {path} HTTP/1.1"),
            "Content-Type: application/x-www-form-urlencoded",
            &*format!("Cookie: {COOKIE}={key}"),
        ];
        wire::send(&self.url, &head, form)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
