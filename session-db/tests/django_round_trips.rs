//! How often a request beside Django goes to the database, counted on the wire, and where there is none, by what the driver
//! says to have sent.
#![cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]

#[cfg(test)]
mod servers;

#[cfg(test)]
mod support {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use session_core::ManualClock;
    use session_core::adapter::Completion;
    use session_core::django::{DjangoSettings, DjangoUser};
    use session_db::DjangoDbStore;

    use crate::servers::proxy::Proxy;
    use crate::servers::records::NOW;
    use crate::servers::{request, statements};

    /// What each request costs: the store's documentation promises it.
    const PROMISED: [(&str, u64); 8] = [
        ("a request that never asks for its session", 0),
        ("a first write", 1),
        ("a read", 1),
        ("a write to an existing session", 2),
        ("a log-in on an existing session", 2),
        ("a log-out that does not load", 1),
        ("a request with the key of a session that is gone", 1),
        ("a log-in without a session", 1),
    ];

    /// Counts what is sent over the store's only connection.
    pub(crate) struct Meter {
        pub(crate) store: DjangoDbStore,
        pub(crate) wire: Option<Proxy>,
        before: u64,
        readings: Vec<u64>,
    }

    impl Meter {
        pub(crate) fn new(store: DjangoDbStore, wire: Option<Proxy>) -> Self {
            Self {
                store,
                wire,
                before: 0,
                readings: Vec::new(),
            }
        }

        fn read(&mut self) {
            let sent = self.sent();
            self.readings.push(sent - self.before);
            self.before = sent;
        }

        fn sent(&self) -> u64 {
            match &self.wire {
                Some(wire) => wire.round_trips(),
                None => u64::try_from(statements::sent_by_sqlite().len()).expect("few enough"),
            }
        }

        /// Walks through every kind of request, and compares what they cost with what is promised.
        pub(crate) async fn assert_promised(&mut self) {
            // Every statement is prepared the first time.
            self.walk().await;
            self.readings.clear();
            self.walk().await;
            assert_eq!(self.readings.len(), PROMISED.len());
            for ((what, promised), reading) in PROMISED.iter().zip(&self.readings) {
                assert_eq!(reading, promised, "round trips of {what}");
            }
        }

        async fn walk(&mut self) {
            const WORKS: &str = "the database works";
            const BACKEND: &str = "django.contrib.auth.backends.ModelBackend";
            let settings = DjangoSettings::new("the secret key of these tests");
            let clock = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
            clock.set(NOW);
            let manager = settings.manager(self.store.clone(), settings.policy());
            let manager = manager.expect(WORKS).with_clock(Arc::clone(&clock));
            let user = DjangoUser::new(&settings, 42, BACKEND, "pbkdf2_sha256$…");

            let slot = manager.slot();
            slot.present([&b"abcdefghijklmnopqrstuvwxyz012345"[..]]);
            drop(slot.commit(Completion::Success).await.expect(WORKS));
            self.read();

            let (written, cookie) = request(&manager, None, |session| session.set("name", "Ada"))
                .await
                .expect(WORKS);
            written.expect("a name and a value");
            let cookie = cookie.expect("a new session");
            self.read();
            let (name, _) = request(&manager, Some(&cookie), |session| {
                session.get::<String>("name")
            })
            .await
            .expect(WORKS);
            assert_eq!(name.expect("text").as_deref(), Some("Ada"));
            self.read();
            clock.advance(Duration::from_secs(60));
            let (written, _) = request(&manager, Some(&cookie), |session| session.set("name", "B"))
                .await
                .expect(WORKS);
            written.expect("a name and a value");
            self.read();
            let (logged_in, cookie) =
                request(&manager, Some(&cookie), |session| user.log_in(session))
                    .await
                    .expect(WORKS);
            logged_in.expect("a user");
            let cookie = cookie.expect("a new key at the log-in");
            self.read();

            let slot = manager.slot();
            slot.present([cookie.as_bytes()]);
            slot.log_out();
            drop(slot.commit(Completion::Success).await.expect(WORKS));
            self.read();
            let (is_empty, _) = request(&manager, Some(&cookie), |session| session.is_empty())
                .await
                .expect(WORKS);
            assert!(is_empty, "the session survived its log-out");
            self.read();
            let (logged_in, _) = request(&manager, None, |session| user.log_in(session))
                .await
                .expect(WORKS);
            logged_in.expect("a user");
            self.read();
        }
    }
}

use session_core::django::DjangoSettings;
use session_db::{DbStoreConfig, DjangoDbStore};

use servers::beside::Beside;
use servers::proxy::Proxy;
use servers::{Server, statements};
use support::Meter;

/// Django's table, as its migration makes it, and a store of it with one connection.
#[cfg(test)]
async fn store(url: &str, database: &str) -> DjangoDbStore {
    let vectors = include_str!("../../session-core/tests/data/django-sessions.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let mut beside = Beside::connect(url).await;
    for text in vectors["db"]["schema"][database].as_array().unwrap() {
        beside.execute(text.as_str().unwrap()).await;
    }
    let config = DbStoreConfig::new().with_connections_max(1);
    let settings = DjangoSettings::new("the secret key of these tests");
    let store = config.connect_beside_django(url, &settings).await;
    store.expect("the database is there")
}

#[tokio::test]
async fn postgres_is_asked_no_more_than_is_promised() {
    let Some(mut database) = Server::Postgres.database("django_round_trips").await else {
        return;
    };
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = store(&database.url, "postgresql").await;
    Meter::new(store, Some(proxy)).assert_promised().await;
}

#[tokio::test]
async fn mariadb_is_asked_no_more_than_is_promised() {
    let Some(mut database) = Server::MariaDb.database("django_round_trips").await else {
        return;
    };
    let proxy = Proxy::to(&database.url);
    database.url = proxy.url(&database.url);
    let store = store(&database.url, "mysql").await;
    Meter::new(store, Some(proxy)).assert_promised().await;
}

#[tokio::test]
async fn sqlite_is_asked_no_more_than_is_promised() {
    statements::listen();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!(
        "sqlite:{}?mode=rwc",
        folder.path().join("db.sqlite3").display()
    );
    let store = store(&url, "sqlite").await;
    Meter::new(store, None).assert_promised().await;
}
