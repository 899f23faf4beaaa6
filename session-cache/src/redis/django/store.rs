//! The sessions of Django's `cache` engine: what each operation does to Django's own keys and values.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use session_core::store::{
    Change, ExpiryChange, NewRecord, OwnerIndex, Payload, Record, Saved, SessionStore, StoreError,
    StoreKey, StoreScan, Timestamp, Version, VersionContent,
};

use super::Space;
use crate::redis::error::{Failure, NAME};
use crate::redis::link::Again;
use crate::redis::script::{self, Script};

/// The sessions of a Django project with `SESSION_ENGINE = "django.contrib.sessions.backends.cache"`, in its own Redis and under
/// its own keys. Made by [`DjangoCacheConfig`](crate::DjangoCacheConfig).
///
/// Cheap to clone; clones share the connection.
///
/// # What the project needs
///
/// A cache of its own for the sessions, whose values are JSON. By default Django pickles what it caches, and a pickle can run
/// code: it is not read here. The error for one names the setting to change, and the value is left as it is.
///
/// ```python
/// CACHES = {
///     "default": {…},
///     "sessions": {
///         "BACKEND": "django.core.cache.backends.redis.RedisCache",
///         "LOCATION": "redis://…",
///         "OPTIONS": {"serializer": "django.core.signing.JSONSerializer"},
///     },
/// }
/// SESSION_CACHE_ALIAS = "sessions"
/// ```
///
/// # When a session ends
///
/// When Redis forgets its key, and never later than that: Django keeps no other expiry. Here that moment is read as a time of
/// day, to the nearest second, and is compared with the time that the caller gives, as everywhere. So the clocks of this machine
/// and of the server must agree as well as those of Django's machines do; where this one is fast, a session ends early here.
///
/// # Beside Django's writes
///
/// Among programs that use this store nothing is lost: a save is one script, which compares the data that are stored with those
/// that were read. Django reads, and writes later, whatever is there: the last one wins, and a log-out between the two is undone.
/// A session whose data are changed and changed back in between counts as unchanged, since there is no place for a version.
///
/// # Durability
///
/// That of the Redis. What it loses or evicts is gone, and its visitors have to log in again.
#[derive(Debug, Clone)]
pub struct DjangoCacheStore(Arc<Space>);

impl DjangoCacheStore {
    pub(super) fn new(space: Space) -> Self {
        tracing::info!(
            "sessions are shared with Django: what Redis calls them by are their keys, and not hashes of these"
        );
        Self(Arc::new(space))
    }

    /// Runs a script that answers with a number.
    async fn step(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
        again: Again,
        operation: &'static str,
    ) -> Result<i64, StoreError> {
        let answer = self.0.link.run(script, keys, arguments, again).await;
        match answer.map_err(|failure| failure.into_error(operation))? {
            Value::Int(-1) => Err(no_session()),
            Value::Int(code) => Ok(code),
            _ => Err(Failure::strange().into_error(operation)),
        }
    }

    /// Saves, and moves if there is another key to move to.
    async fn change(
        &self,
        keys: &[&str],
        expected: &Version,
        change: &Change,
        now: Timestamp,
        operation: &'static str,
    ) -> Result<Saved, StoreError> {
        let (how, moment) = match change.expiry {
            ExpiryChange::AtLeast(moment) => ("at_least", moment),
            ExpiryChange::Set(moment) => ("set", moment),
            _ => ("keep", now),
        };
        let mut compared = Vec::new();
        if let Version::Content(content) = expected {
            compared.reserve(content.as_bytes().len() + 1);
            compared.push(b'=');
            compared.extend_from_slice(content.as_bytes());
        }
        let data = change.payload.to_bytes()?;
        let (moment, now) = (unix(moment), unix(now));
        let arguments = [
            &*compared,
            &*data,
            how.as_bytes(),
            moment.as_bytes(),
            now.as_bytes(),
        ];
        let code = self
            .step(
                &script::DJANGO_CHANGE,
                keys,
                &arguments,
                Again::Never,
                operation,
            )
            .await?;
        match code {
            0 => Ok(Saved::Gone),
            1 => Ok(Saved::Stored(version(data))),
            2 => Ok(Saved::Conflict),
            4 => Err(StoreError::key_taken(NAME)),
            _ => Err(Failure::strange().into_error(operation)),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for DjangoCacheStore {
    fn system_name(&self) -> &'static str {
        "redis"
    }

    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "load";
        let key = self.0.key(key);
        let answer = self
            .0
            .link
            .run(&script::DJANGO_LOAD, &[&key], &[], Again::Once)
            .await;
        let parts = match answer.map_err(|failure| failure.into_error(OPERATION))? {
            Value::Nil => return Ok(None),
            Value::Array(parts) => parts,
            _ => return Err(Failure::strange().into_error(OPERATION)),
        };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some(Value::BulkString(data)), Some(Value::Int(expires_at))) => {
                let data = Bytes::from(data);
                let payload = Payload::from_bytes(data.clone());
                let expires_at = Timestamp::from_secs(expires_at);
                let record = Record::new(payload, expires_at, version(data));
                Ok(record.is_live(now).then_some(record))
            }
            (Some(Value::Int(-1)), None) => Err(no_session()),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        const OPERATION: &str = "create";
        let data = new.payload.to_bytes()?;
        let (key, expires_at, now) = (self.0.key(key), unix(new.expires_at), unix(now));
        let arguments = [&*data, expires_at.as_bytes(), now.as_bytes()];
        let code = self
            .step(
                &script::DJANGO_CREATE,
                &[&key],
                &arguments,
                Again::Never,
                OPERATION,
            )
            .await?;
        match code {
            0 => Err(StoreError::key_taken(NAME)),
            1 => Ok(version(data)),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let key = self.0.key(key);
        self.change(&[&key], expected, &change, now, "save").await
    }

    /// Whatever is kept under the key is removed, a pickle as well.
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        const OPERATION: &str = "delete";
        let mut command = redis::cmd("DEL");
        command.arg(self.0.key(key));
        let answer = self.0.link.ask(&command, Again::Once).await;
        match answer.map_err(|failure| failure.into_error(OPERATION))? {
            Value::Int(removed) => Ok(removed > 0),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let (key, expires_at, now) = (self.0.key(key), unix(expires_at), unix(now));
        let arguments = [expires_at.as_bytes(), now.as_bytes()];
        let code = self
            .step(
                &script::DJANGO_TOUCH,
                &[&key],
                &arguments,
                Again::Once,
                OPERATION,
            )
            .await?;
        match code {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let (from, to) = (self.0.key(from), self.0.key(to));
        self.change(&[&from, &to], expected, &change, now, "rotate")
            .await
    }

    /// Has nothing to do and answers 0: Redis forgets what has expired by itself.
    async fn clear_expired(
        &self,
        _now: Timestamp,
        _progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        None
    }
}

/// There is no place for a number: the data are their own version.
fn version(data: Bytes) -> Version {
    Version::Content(VersionContent::new(data))
}

fn unix(moment: Timestamp) -> String {
    moment.as_secs().to_string()
}

fn no_session() -> StoreError {
    StoreError::damaged(
        NAME,
        "what is kept under the session's key is no string; does another program use the same prefix?",
    )
}
