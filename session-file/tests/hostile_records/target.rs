//! What is thrown at the format of files: for the test here and for cargo-fuzz, which includes this file.
//!
//! Whatever a session's file holds, it is a session, none, or an error of this one session.

use std::path::PathBuf;

use session_core::store::{NewRecord, Payload, SessionStore as _, StoreError, StoreKey, Timestamp};
use session_file::{FileStore, FileStoreConfig, SyncPolicy};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_001_000);

pub(crate) struct Target {
    runtime: Runtime,
    store: FileStore,
    key: StoreKey,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Target {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = FileStoreConfig::new(folder.path())
            .with_sync(SyncPolicy::Never)
            .open()
            .expect("an empty folder is a store's");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let key = StoreKey::parse("0123456789abcdef0123456789abcdef01234567").expect("a store key");
        let mut new = NewRecord::new(Payload::from_bytes("{}"), LATER);
        new.owner = Some("ada".into());
        new.created_at = Some(NOW);
        let created = runtime.block_on(store.create(&key, new, NOW));
        created.expect("an empty folder takes a session");
        let file = find(folder.path(), key.as_str()).expect("the session has a file");
        Self {
            runtime,
            store,
            key,
            file,
            _folder: folder,
        }
    }

    /// What the store itself writes.
    pub(crate) fn good(&self) -> Vec<u8> {
        std::fs::read(&self.file).expect("the file is there")
    }

    /// Whether it was a session.
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody else reads this file while it is written"
    )]
    pub(crate) fn record(&self, input: &[u8]) -> bool {
        std::fs::write(&self.file, input).expect("the file can be written");
        match self.runtime.block_on(self.store.load(&self.key, NOW)) {
            Ok(Some(record)) => {
                assert!(record.is_live(NOW), "an expired session is served");
                let payload = record.payload.to_bytes().expect("bytes are bytes");
                assert!(payload.len() <= input.len(), "a payload came from nowhere");
                true
            }
            Ok(None) | Err(StoreError::Damaged { .. } | StoreError::Misconfigured { .. }) => false,
            Err(error) => panic!("one session's bytes are everybody's trouble: {error:?}"),
        }
    }
}

/// The file below `folder` whose name has the key in it.
fn find(folder: &std::path::Path, key: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_string_lossy().into_owned();
        if path.is_dir() {
            if let Some(found) = find(&path, key) {
                return Some(found);
            }
        } else if name.contains(key) {
            return Some(path);
        }
    }
    None
}
