//! The contract of every store, in a folder that Django could use.
#![cfg(feature = "django")]

use session_file::SyncPolicy;

#[cfg(test)]
mod support {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use session_core::django::DjangoSettings;
    use session_file::{DjangoFileStore, FileStoreConfig, SyncPolicy};
    use tempfile::TempDir;

    pub(crate) fn store(sync: SyncPolicy) -> (DjangoFileStore, TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let closed = Permissions::from_mode(0o700);
        fs::set_permissions(folder.path(), closed).expect("the folder is ours");
        let config = FileStoreConfig::new(folder.path()).with_sync(sync);
        let store = config.open_beside_django(&DjangoSettings::new("a secret key"));
        (store.expect("a store in a new folder"), folder)
    }
}

session_core::conformance_suite!(
    || async { support::store(SyncPolicy::Never) },
    except: [
        owner_index = "Django's files name no owner",
        scan = "Django offers none",
        owner_label_and_creation_time = "Django's files have no place for them",
        versions_are_unique = "no place for a version: the content itself is compared",
    ],
);
session_core::conformance_suite!(
    || async { support::store(SyncPolicy::EveryWrite) },
    name: synced,
    except: [
        owner_index = "Django's files name no owner",
        scan = "Django offers none",
        owner_label_and_creation_time = "Django's files have no place for them",
        versions_are_unique = "no place for a version: the content itself is compared",
    ],
);
