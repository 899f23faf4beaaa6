//! Runs the tool, and makes stores with sessions for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use session_core::store::{NewRecord, Page, Payload, Record, SessionStore, StoreKey, Timestamp};
use session_core::{Clock as _, Owner, SessionBase, SessionManager, SystemClock};
use session_db::{DbStoreConfig, SyncPolicy};
use session_file::{FileStoreConfig, SyncPolicy as FileSync};
use tempfile::TempDir;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            err: String::from_utf8(output.stderr).expect("it prints UTF-8"),
        }
    }

    /// With this exit code, or the test fails with what was said.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).expect("one object of JSON");
        assert!(value.is_object(), "{value}");
        assert_eq!(
            value["exit_code"].as_i64(),
            self.code.map(i64::from),
            "the exit code is said wrong"
        );
        value
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
}

/// The tool, with nothing in its environment that it would look at.
pub(crate) fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessions"));
    command.args(arguments).env_remove("SESSIONS_STORE");
    command
}

#[track_caller]
pub(crate) fn sessions(arguments: &[&str]) -> Ended {
    Ended::of(tool(arguments).output().expect("it can be started"))
}

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Sqlite,
}

/// A store in a folder of its own, and the word that names it.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) kind: Kind,
    pub(crate) named: String,
}

impl Site {
    /// Nothing is there yet.
    pub(crate) fn empty(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().display();
        let named = match kind {
            Kind::File => format!("file:{path}/sessions"),
            Kind::Sqlite => format!("sqlite:{path}/app.db"),
        };
        Self {
            folder,
            kind,
            named,
        }
    }

    /// Ready for sessions.
    pub(crate) fn migrated(kind: Kind) -> Self {
        let site = Self::empty(kind);
        sessions(&["migrate", "--store", &site.named]).with(0);
        site
    }

    pub(crate) const BOTH: [Kind; 2] = [Kind::File, Kind::Sqlite];

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The store, as the application opens it, but for the time that a disk takes.
    pub(crate) async fn store(&self) -> Arc<dyn SessionStore> {
        let place = self.named.split_once(':').expect("a scheme").1;
        match self.kind {
            Kind::File => {
                let config = FileStoreConfig::new(place).with_sync(FileSync::Never);
                Arc::new(config.open().expect("it is ready"))
            }
            Kind::Sqlite => {
                let config = DbStoreConfig::new().with_sync(SyncPolicy::AtCheckpoints);
                let store = config.connect(&self.named).await;
                Arc::new(store.expect("it is ready"))
            }
        }
    }

    pub(crate) async fn manager(&self) -> SessionManager {
        SessionManager::new(self.store().await)
    }

    /// All live records by their keys.
    pub(crate) async fn records(&self) -> BTreeMap<StoreKey, String> {
        records(&*self.store().await).await
    }
}

/// All live records of a store by their keys, without their versions, which are each store's own.
pub(crate) async fn records(store: &dyn SessionStore) -> BTreeMap<StoreKey, String> {
    let scan = store.scan().expect("it has one");
    let (mut all, mut page) = (BTreeMap::new(), Page::first(1_000));
    loop {
        let found = scan.page(page).await.expect("it can be read");
        let Some((last, _)) = found.last() else {
            return all;
        };
        page = Page::after(last.clone(), 1_000);
        let live = found
            .into_iter()
            .filter(|(_, record)| record.is_live(now()));
        all.extend(live.map(|(key, record)| (key, shown(&record))));
    }
}

/// A record in words.
pub(crate) fn shown(record: &Record) -> String {
    let payload = record.payload.to_bytes().expect("bytes");
    format!(
        "{payload:?} {} {:?} {:?} {:?}",
        record.expires_at.as_secs(),
        record.owner.as_ref().map(Owner::as_str),
        record
            .label
            .as_ref()
            .map(session_core::store::Label::as_str),
        record.created_at,
    )
}

pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}

pub(crate) fn key(n: u64) -> StoreKey {
    // As evenly over all keys as hashes are.
    let first = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    StoreKey::parse(&format!("{first:016x}{n:024x}")).expect("forty digits")
}

/// A record that lives so many seconds from now, or has been dead for so long.
pub(crate) fn lives(secs: i64, payload: &str) -> NewRecord {
    let expires_at = Timestamp::from_secs(now().as_secs() + secs);
    NewRecord::new(Payload::from_bytes(payload.to_owned()), expires_at)
}

/// Before any record of the tests has expired, so that it may be created.
pub(crate) fn long_ago() -> Timestamp {
    now().saturating_sub(Duration::from_secs(1_000_000))
}

/// A session with this name in its data.
pub(crate) async fn started(manager: &SessionManager, name: &str) -> SessionBase {
    let session = manager.start();
    session.set("name", name).expect("it is small");
    session.save().await.expect("the store is there");
    session
}

/// The same of somebody who has logged in.
pub(crate) async fn logged_in(manager: &SessionManager, owner: &str, label: &str) -> SessionBase {
    let session = manager.start();
    session.set("name", owner).expect("it is small");
    session.log_in(owner).expect("an owner");
    session.set_label(label).expect("a label");
    session.save().await.expect("the store is there");
    session
}
