//! Where Django is, and how it and our service are started beside it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::Browser;

/// A Django that runs, as xtask has written it down.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Place {
    url: String,
    python: String,
    manage: String,
    environment: BTreeMap<String, String>,
    settings: Value,
}

/// Our service in front of a Django.
pub(crate) struct Both {
    /// Of both: without a slash at the end.
    origin: String,
    _rust: Program,
    /// If it is not the one that xtask started.
    _django: Option<Program>,
    _settings: NamedTempFile,
}

/// A program that has said where it serves. It is killed when this is dropped.
struct Program {
    origin: String,
    _process: Child,
    // Kept open: a program that can't print may end.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Place {
    /// The one that this variable names. Without it this says so aloud, and in CI the test fails.
    pub(crate) fn named(variable: &str) -> Option<Self> {
        if let Ok(path) = std::env::var(variable) {
            let address = std::fs::read(path).expect("xtask has written the address down");
            return Some(serde_json::from_slice(&address).expect("an address"));
        }
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{variable} is not set, and in CI nothing may be skipped"
        );
        // Not `eprintln!`, which a test that passes keeps to itself.
        writeln!(
            std::io::stderr(),
            "SKIPPED: {variable} is not set; run `cargo xtask services` and export what it prints"
        )
        .expect("standard error is there");
        None
    }

    /// Our service beside the Django that runs.
    pub(crate) async fn both(&self) -> Both {
        self.in_front_of(self.url.clone(), None).await
    }

    /// The same project with other secret keys, and a Django and a service of its own for them.
    pub(crate) async fn with_keys(&self, key: &str, fallbacks: &[&str]) -> Both {
        self.with([
            ("SECRET_KEY", json!(key), key.to_owned()),
            (
                "SECRET_KEY_FALLBACKS",
                json!(fallbacks),
                fallbacks.join(" "),
            ),
        ])
        .await
    }

    /// The same project with its sessions in files, in this folder.
    pub(crate) async fn with_files_in(&self, folder: &Path) -> Both {
        let folder = folder.to_str().expect("a path that is text").to_owned();
        let engine = "django.contrib.sessions.backends.file".to_owned();
        self.with([
            ("SESSION_ENGINE", json!(engine), engine),
            ("SESSION_FILE_PATH", json!(folder), folder),
        ])
        .await
    }

    /// The same project with some settings changed: each with its value, and how a variable spells that.
    async fn with(&self, changed: [(&str, Value, String); 2]) -> Both {
        let mut place = self.clone();
        for (name, value, spelled) in changed {
            place.settings[name] = value;
            place.environment.insert(name.to_owned(), spelled);
        }
        let mut serve = place.manage(&["runserver", "--noreload", "--skip-checks", "127.0.0.1:0"]);
        serve.stderr(Stdio::null());
        let django = Program::start(serve).await;
        let url = django.origin.clone();
        place.in_front_of(url, Some(django)).await
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.environment["SECRET_KEY"]
    }

    fn database_url(&self) -> &str {
        &self.environment["DATABASE_URL"]
    }

    /// One of Django's commands.
    pub(crate) fn manage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(&self.manage)
            .args(arguments)
            .envs(&self.environment)
            .env("PYTHONUNBUFFERED", "1");
        command
    }

    /// A new user, whose name is their password. One that an earlier run left is made new.
    pub(crate) async fn add_user(&self, name: &str) {
        let code = format!(
            "from django.contrib.auth.models import User; User.objects.filter(username='{name}').delete(); \
             User.objects.create_user('{name}', password='{name}')"
        );
        let mut shell = self.manage(&["shell", "-v", "0", "-c", &code]);
        assert!(
            shell.status().await.unwrap().success(),
            "Django can't add {name}"
        );
    }

    /// Runs a statement in the database.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut connection = self.connection().await;
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }

    /// How many of these keys the table has, dead or alive.
    pub(crate) async fn rows(&self, keys: &[String]) -> usize {
        let mut connection = self.connection().await;
        let all: Vec<(String,)> = sqlx::query_as("SELECT session_key FROM django_session")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        all.iter().filter(|(key,)| keys.contains(key)).count()
    }

    async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(self.database_url()).await.unwrap()
    }

    async fn in_front_of(&self, django_url: String, django: Option<Program>) -> Both {
        let mut settings = NamedTempFile::new().unwrap();
        settings
            .write_all(self.settings.to_string().as_bytes())
            .unwrap();
        let mut service = Command::new(env!("CARGO_BIN_EXE_django-and-axum"));
        service
            .args(["--port", "0", "--django", &django_url, "--settings"])
            .arg(settings.path())
            .env("DATABASE_URL", self.database_url());
        let rust = Program::start(service).await;
        Both {
            origin: rust.origin.clone(),
            _rust: rust,
            _django: django,
            _settings: settings,
        }
    }
}

impl Both {
    /// Somebody who has never been here.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(&self.origin)
    }

    /// The same cookies, at these services.
    pub(crate) fn browser_with_cookies_of(&self, other: &Browser) -> Browser {
        other.at_another(&self.origin)
    }
}

impl Program {
    async fn start(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Both print their address once they listen.
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            let line = output.next_line().await.unwrap();
            let line = line.expect("the program ended without an address");
            let address = line
                .split_whitespace()
                .find(|word| word.starts_with("http://127"));
            if let Some(address) = address {
                return Self {
                    origin: address.trim_end_matches('/').to_owned(),
                    _process: process,
                    _output: output,
                };
            }
        }
    }
}
