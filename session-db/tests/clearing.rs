//! The task that clears what has expired: it works, survives trouble, and stops when it is told to. And batches: all of
//! them, with progress after each.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

use std::time::Duration;

use session_core::store::{NewRecord, Page, Payload, SessionStore, StoreScan, Timestamp};
use session_db::{DbPool, DbStore, sqlx};
use support::records::{LATER, NOW, key, new};
use support::{Server, block_on, new_table};

/// A record that expired long ago by any clock.
#[cfg(test)]
async fn create_expired(store: &DbStore, number: u64) {
    let new = NewRecord::new(Payload::from_bytes("old"), Timestamp::from_secs(1_000));
    let created = store
        .create(&key(number), new, Timestamp::from_secs(500))
        .await;
    created.expect("a new key");
}

#[cfg(test)]
async fn rows(store: &DbStore) -> usize {
    store.page(Page::first(10_000)).await.expect("a page").len()
}

#[cfg(test)]
async fn until_rows(store: &DbStore, expected: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while rows(store).await != expected {
        assert!(
            std::time::Instant::now() < deadline,
            "what has expired is not cleared"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
async fn execute(store: &DbStore, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let done = match store.pool() {
        DbPool::Sqlite(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::Postgres(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::MySql(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        other => panic!("{other:?} is new"),
    };
    done.expect("the test's own SQL is fine");
}

#[test]
fn the_task_clears_survives_trouble_and_stops() {
    for server in Server::all("the_task_clears_survives_trouble_and_stops") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            store.create(&key(1), new("living"), NOW).await.unwrap();
            create_expired(&store, 2).await;
            let task = store.spawn_clear_expired(Duration::from_millis(20));
            until_rows(&store, 1).await;

            // The table is away for a while, and the task does not end over it.
            execute(
                &store,
                &format!("ALTER TABLE {table} RENAME TO {table}_away"),
            )
            .await;
            let missing = store.load(&key(1), NOW).await;
            assert!(missing.is_err(), "the table is away");
            tokio::time::sleep(Duration::from_millis(100)).await;
            execute(
                &store,
                &format!("ALTER TABLE {table}_away RENAME TO {table}"),
            )
            .await;
            create_expired(&store, 3).await;
            until_rows(&store, 1).await;

            task.stop().await;
            create_expired(&store, 4).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(rows(&store).await, 2, "{}: it goes on", server.name);

            let dropped = store.spawn_clear_expired(Duration::from_secs(1_000_000));
            drop(dropped);
            assert_eq!(rows(&store).await, 2);
        });
    }
}

#[test]
fn dos_08_more_than_a_batch_is_cleared_in_several_with_progress_after_each() {
    const TEST: &str = "dos_08_more_than_a_batch_is_cleared_in_several_with_progress_after_each";
    for server in Server::all(TEST) {
        block_on(async {
            let store = server.store().await;
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..6_u64 {
                let store = store.clone();
                writers.spawn(async move {
                    for number in 0..250 {
                        let key = key(1_000 * writer + number);
                        store.create(&key, new("old"), NOW).await.unwrap();
                    }
                });
            }
            writers.join_all().await;
            let mut reports = Vec::new();
            let cleared = store
                .clear_expired(LATER, &mut |total| reports.push(total))
                .await;
            assert_eq!(cleared.unwrap(), 1_500, "{}", server.name);
            assert_eq!(reports, [500, 1_000, 1_500, 1_500], "{}", server.name);
            assert_eq!(rows(&store).await, 0, "{}", server.name);
        });
    }
}
