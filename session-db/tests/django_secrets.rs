//! No error, no event and no `Debug` of a store beside Django shows a key or data, whatever goes wrong. That the keys are in
//! clear in the table is said when the store is made.
#![cfg(all(
    feature = "sqlite",
    feature = "postgres",
    feature = "mysql",
    feature = "django"
))]

#[cfg(test)]
mod support;

#[cfg(test)]
mod log {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    /// All that is logged while the tests run, at every level.
    #[derive(Clone, Default)]
    pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        /// Everything of this process goes there from now on.
        pub(crate) fn listen() -> Self {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}

use std::fmt::Write as _;

use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, SessionStore, StoreError, StoreKey, Version,
    VersionContent,
};
use session_db::DjangoDbStore;
use support::beside::Beside;
use support::django::{make_table, settings, store_in};
use support::records::{LATER, NOW, everything};
use support::{Server, block_on, new_table};

/// In everything that nobody may see.
const MARK: &str = "canarycanarycanary";

#[cfg(test)]
fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{MARK}{number:016}")).expect("letters and digits are a key")
}

#[cfg(test)]
fn data(what: &str) -> Payload {
    Payload::from_bytes(format!("{MARK}.{what}"))
}

/// All operations, on the session at key 1 and a free key: what went wrong of them, as text.
#[cfg(test)]
async fn errors_of(store: &DjangoDbStore) -> Vec<String> {
    let version = Version::Content(VersionContent::new(data("old").to_bytes().unwrap()));
    let new = || NewRecord::new(data("old"), LATER);
    let change = || Change::new(data("changed"), ExpiryChange::AtLeast(LATER));
    let errors: Vec<Option<StoreError>> = vec![
        store.load(&key(1), NOW).await.err(),
        store.create(&key(1), new(), NOW).await.err(),
        store.create(&key(3), new(), NOW).await.err(),
        store
            .rotate(&key(1), &version, &key(2), change(), NOW)
            .await
            .err(),
        store.save(&key(1), &version, change(), NOW).await.err(),
        store.touch(&key(1), LATER, NOW).await.err(),
        store.clear_expired(NOW, &mut |_| {}).await.err(),
        store.delete(&key(9)).await.err(),
    ];
    errors
        .iter()
        .flatten()
        .map(|error| everything(error))
        .collect()
}

#[test]
fn nothing_secret_is_shown_by_what_goes_wrong_beside_django() {
    let log = log::Log::listen();
    let mut seen = String::new();
    for server in Server::all("nothing_secret_is_shown_by_what_goes_wrong_beside_django") {
        block_on(async {
            let table = new_table();
            make_table(&server, &table).await;
            let mut beside = Beside::connect(&server.url).await;
            let store = store_in(&server, &table, &settings()).await;
            let mut expect = |what: &str, errors: Vec<String>| {
                assert!(!errors.is_empty(), "{}: no error with {what}", server.name);
                writeln!(seen, "{}: {what}: {errors:#?}", server.name).unwrap();
            };
            for number in [1, 2] {
                let new = NewRecord::new(data("old"), LATER);
                store.create(&key(number), new, NOW).await.unwrap();
            }
            expect("keys that are taken", errors_of(&store).await);

            // The servers quote the row in each of these.
            let unique = match server.name {
                "mariadb" => {
                    format!("CREATE UNIQUE INDEX {table}_u ON {table} (session_data(90))")
                }
                _ => format!("CREATE UNIQUE INDEX {table}_u ON {table} (session_data)"),
            };
            for number in [1, 2, 3] {
                store.delete(&key(number)).await.unwrap();
            }
            let new = NewRecord::new(data("old"), LATER);
            store.create(&key(1), new, NOW).await.unwrap();
            beside.execute(&unique).await;
            expect("a unique index", errors_of(&store).await);

            beside.execute(&format!("DROP TABLE {table}")).await;
            expect("no table", errors_of(&store).await);
            let other = format!(
                "CREATE TABLE {table} (session_key varchar(40) PRIMARY KEY, session_data text, expire_date varchar(40) NOT NULL, owner varchar(9) NOT NULL)"
            );
            beside.execute(&other).await;
            let new = NewRecord::new(data("old"), LATER);
            let error = store.create(&key(1), new, NOW).await.unwrap_err();
            expect("another table", vec![everything(&error)]);

            let no_text = NewRecord::new(Payload::from_bytes(format!("{MARK}\0")), LATER);
            let error = store.create(&key(7), no_text, NOW).await.unwrap_err();
            expect("no text", vec![everything(&error)]);
            writeln!(seen, "{store:?}").unwrap();
        });
    }
    let logged = log.text();
    assert!(
        logged.contains("holds their keys in clear"),
        "nobody is told that the keys are in clear"
    );
    for (place, text) in [("an error", seen), ("the log", logged)] {
        let at = text.find(MARK);
        let around = at.map(|at| &text[at.saturating_sub(300)..(at + 60).min(text.len())]);
        assert!(around.is_none(), "{place} shows a secret: {around:?}");
        assert!(text.len() > 1_000, "{place} is not looked at");
    }
}
