//! The contract of every store, on files.

use session_file::SyncPolicy;

#[cfg(test)]
mod support {
    use session_file::{FileStore, FileStoreConfig, SyncPolicy};
    use tempfile::TempDir;

    pub(crate) fn store(sync: SyncPolicy) -> (FileStore, TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = FileStoreConfig::new(folder.path().join("sessions")).with_sync(sync);
        (config.open().expect("a store in a new folder"), folder)
    }
}

session_core::conformance_suite!(|| async { support::store(SyncPolicy::Never) });
session_core::conformance_suite!(
    || async { support::store(SyncPolicy::EveryWrite) },
    name: synced
);
