//! What the database and the cache in front of it hold is of no use without the server's secrets, and what has ended has ended in
//! both.

#[cfg(test)]
mod support;

use std::fs;
use std::sync::Arc;

use session_cache::MemoryCache;
use session_cached_db::CachedDbStore;
use session_core::conformance::live_with_secrets;
use session_db::DbStore;
use support::servers::Redis;

session_core::security_suite!(
    || async { over_sqlite().await },
    name: memory_and_sqlite
);
session_core::security_suite!(
    || async { support::servers::store_or_standin(Redis::Standalone).await },
    name: redis_and_postgres
);

#[expect(
    clippy::expect_used,
    reason = "this makes what the tests need, and can't go on without"
)]
async fn over_sqlite() -> (CachedDbStore<MemoryCache, DbStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let database = DbStore::connect(&url).await.expect("a new file");
    database.migrate().await.expect("a new table");
    let store = CachedDbStore::single_process(MemoryCache::new(), database);
    (store, folder)
}

#[tokio::test]
async fn rest_01_neither_the_database_nor_its_files_tell_a_key_a_name_or_a_value() {
    let (store, folder) = over_sqlite().await;
    let canaries = live_with_secrets(Arc::new(store)).await.unwrap();
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let found = canaries
            .found_in(&fs::read(&path).unwrap())
            .map(str::to_owned);
        assert_eq!(found, None, "in {}", path.display());
        files += 1;
    }
    assert!(files >= 1, "nothing was looked at");
}

#[tokio::test]
async fn rest_01_neither_the_cache_nor_the_database_of_two_servers_tell_a_key_a_name_or_a_value() {
    let Some(site) = support::servers::Site::new(Redis::Standalone) else {
        return;
    };
    let store = site.process().await;
    let canaries = live_with_secrets(Arc::new(store)).await.unwrap();
    let client = redis::Client::open(site.redis.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, page): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{}*", site.prefix()))
            .query_async(&mut connection)
            .await
            .unwrap();
        names.extend(page);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!(!names.is_empty(), "no copy was kept");
    for name in names {
        assert_eq!(
            canaries.found_in(name.as_bytes()),
            None,
            "in a key of Redis"
        );
        let copy: Vec<u8> = redis::cmd("GET")
            .arg(&name)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(canaries.found_in(&copy), None, "in a copy");
    }
}
