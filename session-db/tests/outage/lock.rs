//! Other transactions that hold what a session needs, or that the database prefers.

use std::time::Duration;

use session_core::Owner;
use session_core::store::{EndScope, OwnerIndex as _, Saved, SessionStore as _};
use session_db::DbStoreConfig;
use session_db::sqlx::mysql::MySqlPoolOptions;
use session_db::sqlx::postgres::PgPoolOptions;
use session_db::sqlx::raw_sql;

use crate::servers::records::{
    NOW, PATIENT, bounded, chain, change, key_in_order as key, new, patient_manager,
};
use crate::servers::{Database, Server, request};
use crate::support::{assert_unharmed, assert_writes_unavailable, count, create_record, impatient};

pub(crate) async fn lock_row(database: Database) {
    let patient = database.store(DbStoreConfig::new()).await;
    let version = create_record(&patient).await.expect("the server runs");
    let store = impatient(&patient);
    let mut holder = database.beside().await;
    holder.execute("BEGIN").await;
    holder
        .execute("SELECT * FROM web_sessions FOR UPDATE")
        .await;
    assert_writes_unavailable(&store, &version, "holding a lock").await;
    // A reader waits for nobody.
    let loaded = patient.load(&key(1), NOW).await.expect("a reader");
    assert!(loaded.is_some(), "a locked row was taken for no session");
    // The server, too, gives them up by itself: none of them happens when the lock is gone.
    let mut watcher = database.beside().await;
    watcher.wait_for(waiting(database.server), "0").await;
    holder.execute("ROLLBACK").await;
    assert_unharmed(&patient, &version).await;
}

/// How many statements wait for a lock.
pub(crate) const fn waiting(server: Server) -> &'static str {
    match server {
        Server::MariaDb => {
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
        }
        Server::Postgres | Server::PgBouncer => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    }
}

/// The store ends two sessions of an owner, and meets a transaction that holds one of them and asks for the other. It is
/// the store's statement that is undone.
pub(crate) async fn deadlock(database: Database) {
    let patient = DbStoreConfig::new().with_timeout(Duration::from_secs(60));
    let store = database.store(patient.clone()).await;
    let owner = Owner::from("ada");
    for number in [1, 2] {
        let mut record = new("a");
        record.owner = Some(owner.clone());
        let created = store.create(&key(number), record, NOW).await;
        created.expect("the server runs");
    }
    let mut holder = database.beside().await;
    holder
        .execute(match database.server {
            // Who has written more is spared.
            Server::MariaDb => {
                "CREATE TABLE others (number INT); BEGIN; INSERT INTO others SELECT seq FROM seq_1_to_1000"
            }
            // Whose patience ends first looks for a deadlock, and gives way.
            Server::Postgres | Server::PgBouncer => {
                "ALTER DATABASE outage_deadlock SET deadlock_timeout = '3s'; SET deadlock_timeout = '1h'"
            }
        })
        .await;
    if database.server == Server::Postgres {
        holder.execute("BEGIN").await;
    }
    // Its connections are made now, with the new setting.
    let store = patient.connect(&database.url).await;
    let store = store.expect("the server runs");

    let lock = |number: u64| {
        format!(
            "SELECT version FROM web_sessions WHERE session_key = '{}' FOR UPDATE",
            key(number).as_str()
        )
    };
    // Both are of one owner, and are found in this order.
    holder.execute(&lock(2)).await;
    let ending = tokio::spawn(async move { store.end(&owner, EndScope::All).await });
    let mut watcher = database.beside().await;
    let deadlocks = match database.server {
        Server::MariaDb => {
            "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Innodb_deadlocks'"
        }
        Server::Postgres | Server::PgBouncer => {
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        }
    };
    let before = watcher.number(deadlocks).await;
    watcher.wait_for(waiting(database.server), "1").await;
    holder.execute(&lock(1)).await;
    // Perhaps more than one: the second try may be as quick as the holder.
    let before = before.to_string();
    watcher.wait_until(deadlocks, |now| now != before).await;
    holder.execute("COMMIT").await;
    match bounded("end", ending).await.expect("it does not panic") {
        Ok(ended) => assert_eq!(ended, 2, "sessions escaped in a deadlock"),
        Err(error) => panic!("the deadlock was not tried again: {}", chain(&error)),
    }
}

/// On connections whose isolation level makes PostgreSQL undo a writer that has waited for another.
pub(crate) async fn serialize(database: Database) {
    const WRITERS: u64 = 16;
    let config = DbStoreConfig::new().with_timeout(PATIENT);
    database.store(config.clone()).await;
    let store = match database.server {
        Server::MariaDb => {
            let pool = MySqlPoolOptions::new().after_connect(|connection, _| {
                Box::pin(async move {
                    let level = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE";
                    raw_sql(level).execute(connection).await.map(drop)
                })
            });
            let pool = pool.connect(&database.url).await.expect("the server runs");
            config.with_pool(pool)
        }
        Server::Postgres | Server::PgBouncer => {
            let settings = [("default_transaction_isolation", "serializable")];
            let url = database.url_with_settings(&settings);
            let pool = PgPoolOptions::new().connect(&url).await;
            config.with_pool(pool.expect("the server runs"))
        }
    };

    // The save waits for a transaction that moves the expiry, and is undone when that one commits.
    let version = create_record(&store).await.expect("the server runs");
    let mut holder = database.beside().await;
    holder.execute("BEGIN").await;
    holder
        .execute("UPDATE web_sessions SET expires_at = expires_at + 1")
        .await;
    let save = store.clone();
    let saving = tokio::spawn(async move { save.save(&key(1), &version, change("b"), NOW).await });
    let mut watcher = database.beside().await;
    watcher.wait_for(waiting(database.server), "1").await;
    holder.execute("COMMIT").await;
    let saved = bounded("save", saving).await.expect("it does not panic");
    assert!(
        matches!(saved, Ok(Saved::Stored(_))),
        "a save that was undone was answered {saved:?}"
    );
    if database.server == Server::Postgres {
        let undone =
            "SELECT xact_rollback > 0 FROM pg_stat_database WHERE datname = current_database()";
        watcher.wait_for(undone, "t").await;
    }

    // Managers of their own, as processes have them: within one, requests on a session take turns.
    let manager = patient_manager(store.clone());
    let created = request(&manager, None, |session| session.set("count", &0_u64)).await;
    let cookie = created.expect("the server runs").1.expect("a new session");
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (manager, cookie) = (patient_manager(store.clone()), cookie.clone());
        writers.push(tokio::spawn(async move {
            request(&manager, Some(&cookie), |session| {
                session.modify("count", |count: &mut u64| *count += 1)
            })
            .await
        }));
    }
    for writer in writers {
        match writer.await.expect("it does not panic") {
            Ok((modified, _)) => modified.expect("a number"),
            Err(error) => panic!("a writer did not get through: {}", chain(&error)),
        }
    }
    assert_eq!(count(&manager, &cookie).await, WRITERS, "updates were lost");
}
