//! What the servers' codes come to: a trigger answers every write with the code that is to be met, and counts the tries.

use std::time::Duration;

use session_core::store::{Saved, SessionStore as _, Version};
use session_db::{DbStore, DbStoreConfig};

use crate::servers::Database;
use crate::servers::beside::Beside;
use crate::servers::records::{
    LATER, NOW, PATIENT, assert_unavailable, change, key_in_order as key,
};
use crate::support::create_record;

/// What a code means for a statement that failed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The database undid it: every statement is tried again, and not for ever.
    Undone,
    /// It may have happened: what can be repeated is tried once more.
    Lost,
    /// Nobody tries again.
    Final,
}

use Meaning::{Final, Lost, Undone};

/// Each SQLSTATE of PostgreSQL's that is no fault of a session.
const OF_POSTGRES: [(&str, Meaning); 11] = [
    // Serialization, deadlock.
    ("40001", Undone),
    ("40P01", Undone),
    // The connection, and a server that ends or has crashed.
    ("08006", Lost),
    ("57P01", Lost),
    ("57P02", Lost),
    // Starting, a lock, a statement's time, read-only, connections, disk.
    ("57P03", Final),
    ("55P03", Final),
    ("57014", Final),
    ("25006", Final),
    ("53300", Final),
    ("53100", Final),
];

/// The same of MariaDB's numbers, each with its SQLSTATE.
const OF_MARIADB: [(u16, &str, Meaning); 11] = [
    // A deadlock, a row that changed meanwhile, a table that did.
    (1213, "40001", Undone),
    (1020, "HY000", Undone),
    (1615, "HY000", Undone),
    // A server that ends, and a connection that it ended.
    (1053, "08S01", Lost),
    (1927, "70100", Lost),
    // A lock, a statement's time, a cancelled one, read-only, connections, disk.
    (1205, "HY000", Final),
    (1969, "70100", Final),
    (1317, "70100", Final),
    (1290, "HY000", Final),
    (1040, "08004", Final),
    (1114, "HY000", Final),
];

pub(crate) async fn undone_by_postgres(database: Database) {
    let (store, version) = with_a_record(&database).await;
    let mut beside = database.beside().await;
    // A sequence does not go back with what is undone.
    beside
        .execute(
            "CREATE SEQUENCE tries; CREATE TABLE fault (code text);
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE wanted text;
             BEGIN
                 PERFORM nextval('tries');
                 SELECT code INTO wanted FROM fault;
                 RAISE EXCEPTION 'as it was wanted' USING ERRCODE = wanted;
             END $$;
             CREATE TRIGGER fail BEFORE UPDATE OR DELETE ON web_sessions FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await;
    for (code, meaning) in OF_POSTGRES {
        let fault = format!("TRUNCATE fault; INSERT INTO fault VALUES ('{code}')");
        beside.execute(&fault).await;
        let says = format!("PostgreSQL, SQLSTATE {code}: ");
        let reset = "SELECT setval('tries', 1, false)";
        let count = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tries";
        assert_met(
            &store,
            &version,
            (&says, meaning),
            &mut beside,
            reset,
            count,
        )
        .await;
    }
    beside.execute("DROP TRIGGER fail ON web_sessions").await;
    assert_nothing_happened(&store, &version).await;
}

pub(crate) async fn undone_by_mariadb(database: Database) {
    let (store, version) = with_a_record(&database).await;
    let mut beside = database.beside().await;
    // A table of this engine does not go back with what is undone.
    beside
        .execute("CREATE TABLE tries (number INT) ENGINE = MyISAM")
        .await;
    for (number, state, meaning) in OF_MARIADB {
        for event in ["UPDATE", "DELETE"] {
            let trigger = format!(
                "CREATE OR REPLACE TRIGGER fail_{event} BEFORE {event} ON web_sessions FOR EACH ROW
                 BEGIN
                     INSERT INTO tries VALUES (1);
                     SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number};
                 END"
            );
            beside.execute(&trigger).await;
        }
        let says = format!("MariaDB/MySQL, {number} (SQLSTATE {state}): ");
        let count = "SELECT COUNT(*) FROM tries";
        let reset = "TRUNCATE tries";
        assert_met(
            &store,
            &version,
            (&says, meaning),
            &mut beside,
            reset,
            count,
        )
        .await;
    }
    beside
        .execute("DROP TRIGGER fail_UPDATE; DROP TRIGGER fail_DELETE")
        .await;
    assert_nothing_happened(&store, &version).await;
}

async fn with_a_record(database: &Database) -> (DbStore, Version) {
    let store = database
        .store(DbStoreConfig::new().with_timeout(PATIENT))
        .await;
    let version = create_record(&store).await.expect("the server runs");
    (store, version)
}

/// What can't be repeated and what can be: each is unavailable, says why, and was sent as often as may be.
async fn assert_met(
    store: &DbStore,
    version: &Version,
    (says, meaning): (&str, Meaning),
    beside: &mut Beside,
    reset: &str,
    count: &str,
) {
    const TRIES_MAX: i64 = 10;
    let operations: &[&str] = match meaning {
        // All are sent again alike, with pauses in between.
        Undone => &["save"],
        Lost | Final => &["save", "rotate", "touch", "delete"],
    };
    for operation in operations {
        beside.execute(reset).await;
        let is_repeatable = match *operation {
            "save" => {
                let saved = store.save(&key(1), version, change("b"), NOW).await;
                assert_unavailable(saved, says);
                false
            }
            "rotate" => {
                let (from, to) = (key(1), key(2));
                let rotated = store.rotate(&from, version, &to, change("b"), NOW).await;
                assert_unavailable(rotated, says);
                false
            }
            "touch" => {
                let later = LATER.saturating_add(Duration::from_secs(9));
                assert_unavailable(store.touch(&key(1), later, NOW).await, says);
                true
            }
            _ => {
                assert_unavailable(store.delete(&key(1)).await, says);
                true
            }
        };
        let tries = beside.number(count).await;
        let expected = match (meaning, is_repeatable) {
            (Undone, _) => TRIES_MAX,
            (Lost, true) => 2,
            (Lost, false) | (Final, _) => 1,
        };
        assert_eq!(tries, expected, "tries of a {operation} that met {says}");
    }
}

async fn assert_nothing_happened(store: &DbStore, version: &Version) {
    let record = store.load(&key(1), NOW).await.expect("it works again");
    let record = record.expect("what could not be ended lives");
    assert_eq!(&record.version, version);
    assert_eq!(record.expires_at, LATER, "a renewal that failed was done");
    let saved = store.save(&key(1), version, change("c"), NOW).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
}
