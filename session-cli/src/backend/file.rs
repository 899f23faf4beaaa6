//! Sessions in files.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use session_core::store::{Page, SessionStore, StoreScan as _};
use session_file::FileStore;

use super::{Backend, Finding, Opening};
use crate::outcome::{Failure, chain};

pub(super) struct Files {
    store: FileStore,
    folder: String,
}

impl Files {
    pub(super) fn open(folder: &Path, opening: Opening) -> Result<Self, Failure> {
        // Opening one makes it, and takes an empty folder for its own.
        if opening == Opening::Existing && !has_files(folder) {
            return Err(Failure::failed(
                "there is no such folder, or it is empty: look at its name, or make it with `sessions migrate`",
            ));
        }
        Ok(Self {
            store: FileStore::open(folder)?,
            folder: folder.display().to_string(),
        })
    }
}

/// A folder that can't be looked into is left to the store, which says why.
fn has_files(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut files) => files.next().is_some(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

#[async_trait]
impl Backend for Files {
    fn store(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.store.clone())
    }

    async fn migrate(&self) -> Result<String, Failure> {
        Ok(format!("the folder {} is ready", self.folder))
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        // Its mode and its owner were looked at when it was opened.
        let read = self.store.page(Page::first(1)).await;
        Ok(read
            .err()
            .map(|error| Finding::error(chain(&error)))
            .into_iter()
            .collect())
    }
}
