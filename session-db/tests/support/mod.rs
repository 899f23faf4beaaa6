//! What the tests of this crate share: the databases that they are given, tables of their own in them, keys and records, and
//! children that are this test again.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) mod beside;
pub(crate) mod changed_rows;
pub(crate) mod children;
#[cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]
pub(crate) mod django;
pub(crate) mod records;

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::process::Command;

use session_core::store::{EndScope, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp};
use session_db::{DbStore, DbStoreConfig, TableName};

use records::{LATER, NOW, PATIENT, change, key, new, new_of};

/// A database that the tests run on, and a folder that must live as long, if it is a file.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    folder: Option<tempfile::TempDir>,
}

impl Server {
    /// A new file.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            name: "sqlite",
            url: format!("sqlite:{}", folder.path().join("test.db").display()),
            folder: Some(folder),
        }
    }

    /// The PostgreSQL that `SESSION_TEST_POSTGRES` names.
    pub(crate) fn postgres(test: &str) -> Option<Self> {
        Self::given("postgres", "SESSION_TEST_POSTGRES", test)
    }

    /// The MariaDB that `SESSION_TEST_MARIADB` names.
    pub(crate) fn mariadb(test: &str) -> Option<Self> {
        Self::given("mariadb", "SESSION_TEST_MARIADB", test)
    }

    /// All that there are.
    pub(crate) fn all(test: &str) -> Vec<Self> {
        let mut servers = vec![Self::sqlite()];
        servers.extend(Self::postgres(test));
        servers.extend(Self::mariadb(test));
        servers
    }

    fn given(name: &'static str, variable: &str, test: &str) -> Option<Self> {
        if let Ok(url) = std::env::var(variable) {
            return Some(Self {
                name,
                url,
                folder: None,
            });
        }
        cannot_run(test, &format!("{variable} names no server"));
        None
    }

    /// The same server again; of a file, another name for it.
    pub(crate) fn same(&self) -> Self {
        Self {
            name: self.name,
            url: self.url.clone(),
            folder: None,
        }
    }

    /// The server's URL for another role.
    pub(crate) fn url_of(&self, role: &str, password: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a server's URL");
        let (_, host) = rest.split_once('@').expect("a URL with a role");
        format!("{scheme}://{role}:{password}@{host}")
    }

    /// A store in a table of its own.
    pub(crate) async fn store(&self) -> DbStore {
        self.store_in(&new_table()).await
    }

    pub(crate) async fn store_in(&self, table: &str) -> DbStore {
        let store = self.config(table).connect(&self.url).await;
        let store = store.expect("the server answers");
        store.migrate().await.expect("the role may make tables");
        store
    }

    pub(crate) fn config(&self, table: &str) -> DbStoreConfig {
        DbStoreConfig::new()
            .with_timeout(PATIENT)
            .with_table(TableName::parse(table).expect("a name"))
            .with_connections_max(6)
    }
}

/// The name of a table that nobody else uses.
pub(crate) fn new_table() -> String {
    format!("t_{:016x}", RandomState::new().hash_one(0_u8))
}

pub(crate) async fn load(store: &DbStore, key: &StoreKey) -> Option<Record> {
    store
        .load(key, NOW)
        .await
        .expect("a record that can be read")
}

/// Every operation of a store, once or twice.
pub(crate) async fn do_everything(store: &DbStore) {
    let owner = session_core::Owner::from("ada");
    let index = store.owner_index().expect("there is one");
    let version = store.create(&key(1), new_of("ada"), NOW).await.unwrap();
    let taken = store.create(&key(1), new("other"), NOW).await;
    assert!(
        matches!(taken, Err(StoreError::KeyTaken { .. })),
        "{taken:?}"
    );
    store.create(&key(1), new_of("ada"), LATER).await.unwrap();
    store.delete(&key(1)).await.unwrap();
    let version_of_the_dead = version;
    let version = store.create(&key(1), new_of("ada"), NOW).await.unwrap();
    let saved = store
        .save(&key(1), &version_of_the_dead, change("x"), NOW)
        .await;
    assert_eq!(saved.unwrap(), Saved::Conflict);
    let mut owned = change("saved");
    owned.owner = Some(owner.clone());
    let saved = store.save(&key(1), &version, owned.clone(), NOW).await;
    let Ok(Saved::Stored(version)) = saved else {
        panic!("{saved:?}");
    };
    let later = Timestamp::from_secs(LATER.as_secs() + 1);
    assert!(store.touch(&key(1), later, NOW).await.unwrap());
    // Onto an expired record.
    store.create(&key(2), new("old"), NOW).await.unwrap();
    let rotated = store.rotate(&key(1), &version, &key(2), owned, LATER).await;
    assert!(matches!(rotated, Ok(Saved::Stored(_))), "{rotated:?}");
    let page = session_core::store::Page::first(10);
    let listed = index.sessions_of(&owner, page.clone(), NOW).await.unwrap();
    assert_eq!(listed.len(), 1);
    let scan = store.scan().expect("there is one");
    assert_eq!(scan.page(page).await.unwrap().len(), 1);
    for (number, scope) in [
        (3, EndScope::One(key(3))),
        (4, EndScope::AllExcept(key(2))),
        (5, EndScope::All),
    ] {
        let made = store.create(&key(number), new_of("ada"), NOW).await;
        assert!(made.is_ok(), "{made:?}");
        let ended = index.end(&owner, scope).await.unwrap();
        assert_eq!(ended, if number == 5 { 2 } else { 1 });
    }
    store.create(&key(6), new("x"), NOW).await.unwrap();
    assert_eq!(store.clear_expired(LATER, &mut |_| {}).await.unwrap(), 1);
}

/// This test again, as another program: `test` is its full name, and `role` what it finds in `SESSION_DB_TEST_ROLE`.
pub(crate) fn this_test_as(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("SESSION_DB_TEST_ROLE", role);
    command
}

/// What the parent wants this process to do, if this process is a child.
pub(crate) fn role() -> Option<String> {
    std::env::var("SESSION_DB_TEST_ROLE").ok()
}

/// Says aloud that a test could not run here. In CI that is a failure.
pub(crate) fn cannot_run(test: &str, why: &str) {
    assert!(
        std::env::var("CI").is_err(),
        "{test} did not run, and in CI it must: {why}"
    );
    writeln!(std::io::stderr(), "\n*** SKIPPED {test}: {why} ***\n").expect("stderr takes text");
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
