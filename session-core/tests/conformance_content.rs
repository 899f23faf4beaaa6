//! A table as Django makes it passes what concerns it: key, data and expiry, and the data itself for a version.
#![cfg(feature = "conformance")]

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use session_core::store::{
    Change, NewRecord, Payload, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp,
    Version, VersionContent,
};

/// Three columns, as in `django_session`.
#[derive(Debug, Default)]
struct ThreeColumns {
    rows: Mutex<HashMap<StoreKey, Row>>,
}

#[derive(Debug, Clone)]
struct Row {
    // Not plain bytes, whose `Debug` would show a session's data.
    data: VersionContent,
    expires_at: Timestamp,
}

impl Row {
    fn version(&self) -> Version {
        Version::Content(self.data.clone())
    }
}

impl ThreeColumns {
    fn rows(&self) -> MutexGuard<'_, HashMap<StoreKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for ThreeColumns {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let rows = self.rows();
        let live = rows.get(key).filter(|row| row.expires_at > now);
        Ok(live.map(|row| {
            let payload = Payload::from_bytes(row.data.as_bytes().clone());
            Record::new(payload, row.expires_at, row.version())
        }))
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let row = Row {
            data: VersionContent::new(new.payload.to_bytes()?),
            expires_at: new.expires_at,
        };
        let version = row.version();
        let mut rows = self.rows();
        if rows.get(key).is_some_and(|row| row.expires_at > now) {
            return Err(StoreError::key_taken("the three columns"));
        }
        rows.insert(key.clone(), row);
        Ok(version)
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let data = VersionContent::new(change.payload.to_bytes()?);
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(key).filter(|row| row.expires_at > now) else {
            return Ok(Saved::Gone);
        };
        if row.version() != *expected {
            return Ok(Saved::Conflict);
        }
        *row = Row {
            data,
            expires_at: change.expiry.apply(row.expires_at),
        };
        Ok(Saved::Stored(row.version()))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Ok(self.rows().remove(key).is_some())
    }
}

session_core::conformance_suite!(
    || async { ThreeColumns::default() },
    except: [
        clear_expired = "not one of the four methods",
        owner_index = "no column for an owner",
        scan = "not one of the four methods",
        owner_label_and_creation_time = "no columns for them",
        versions_are_unique = "no column for a version: the data itself is compared",
    ],
);
