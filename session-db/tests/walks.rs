//! Damaged rows are passed by on the way through all sessions and through those of an owner, and end no walk too early.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

use session_core::Owner;
use session_core::store::{OwnerIndex, Page, SessionStore, StoreError, StoreKey, StoreScan};
use session_db::DbPool;
use session_db::sqlx;
use support::records::{NOW, key, new_of};
use support::{Server, block_on, new_table};

/// The keys that a walk meets, page by page, as a job walks that stops at a page that is not full.
#[cfg(test)]
async fn walked<F>(limit: usize, page: impl Fn(Page) -> F) -> Vec<StoreKey>
where
    F: Future<Output = Result<Vec<StoreKey>, StoreError>>,
{
    let mut keys = Vec::new();
    let mut next = Page::first(limit);
    loop {
        let found = page(next).await.expect("a page");
        let is_last = found.len() < limit;
        keys.extend(found);
        match keys.last() {
            Some(last) if !is_last => next = Page::after(last.clone(), limit),
            _ => return keys,
        }
    }
}

#[test]
fn a_damaged_row_is_passed_by_and_the_walk_goes_on() {
    block_on(async {
        let server = Server::sqlite();
        let table = new_table();
        let store = server.config(&table).connect(&server.url).await.unwrap();
        store.migrate().await.unwrap();
        for number in 0..9 {
            let record = new_of("ada");
            store.create(&key(number), record, NOW).await.unwrap();
        }
        let DbPool::Sqlite(pool) = store.pool() else {
            panic!("another pool");
        };
        let mut expected: Vec<StoreKey> = (0..9).map(key).collect();
        expected.sort_unstable();
        // The first, two beside each other, and the last.
        for place in [8, 4, 3, 0] {
            let damaged = expected.remove(place);
            let text = format!("UPDATE {table} SET version = -1 WHERE session_key = ?");
            let update = sqlx::query(sqlx::AssertSqlSafe(text)).bind(damaged.as_str());
            update.execute(&pool).await.unwrap();
        }
        for limit in 1..=10 {
            let all = walked(limit, async |page: Page| {
                let records = store.page(page).await?;
                Ok(records.into_iter().map(|(key, _)| key).collect())
            });
            assert_eq!(all.await, expected, "all, {limit} at a time");
            let own = walked(limit, async |page: Page| {
                let records = store.sessions_of(&Owner::from("ada"), page, NOW).await?;
                Ok(records.into_iter().map(|(key, _)| key).collect())
            });
            assert_eq!(own.await, expected, "an owner's, {limit} at a time");
        }
    });
}
