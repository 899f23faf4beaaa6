//! The contract of every store, on SQLite.
#![cfg(feature = "sqlite")]

#[cfg(test)]
mod support {
    use session_db::{DbStore, DbStoreConfig, SyncPolicy};
    use tempfile::TempDir;

    /// A store in a file of its own.
    pub(crate) async fn in_a_file(sync: SyncPolicy) -> (DbStore, TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let config = DbStoreConfig::new().with_sync(sync);
        let store = config.connect(&url).await.expect("a new file");
        store.migrate().await.expect("a new table");
        (store, folder)
    }

    /// A store that is gone when it is dropped.
    pub(crate) async fn in_memory() -> DbStore {
        let store = DbStore::connect("sqlite::memory:").await;
        let store = store.expect("a database in memory");
        store.migrate().await.expect("a new table");
        store
    }
}

session_core::conformance_suite!(|| async {
    support::in_a_file(session_db::SyncPolicy::AtCheckpoints).await
});
session_core::conformance_suite!(
    || async { support::in_a_file(session_db::SyncPolicy::EveryWrite).await },
    name: synced
);
session_core::conformance_suite!(
    || async { support::in_memory().await },
    name: memory
);
