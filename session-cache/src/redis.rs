//! Redis and Valkey as a cache: one script for each operation, so that it is one step and one round trip.

mod check;
mod config;
mod discovery;
#[cfg(feature = "django")]
mod django;
mod error;
mod link;
mod owners;
mod scan;
mod script;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use session_core::Owner;
use session_core::store::{
    Change, ExpiryChange, OwnerIndex, Record, Saved, StoreError, StoreKey, StoreScan, Timestamp,
    Version,
};

use crate::cache::{Cache, SharedCache};
use crate::envelope::{millis, moment_number};
use crate::slot::{Entry, Lease, Slot, next_version};
use crate::store::CacheStore;

pub use check::{RedisFinding, RedisSubject, Severity};
pub use config::RedisCacheConfig;
#[cfg(feature = "django")]
pub use django::{DjangoCacheConfig, DjangoCacheStore, DjangoCachedDb};

use error::{Failure, NAME};
use link::{Again, Link};
use script::Script;

/// Sessions in Redis or Valkey, and nowhere else.
pub type RedisStore = CacheStore<RedisCache>;

/// A cache in Redis or Valkey, which all processes share.
///
/// Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct RedisCache(Arc<Inner>);

struct Inner {
    link: Link,
    prefix: String,
    /// What the keys of the owners' sets begin with. A store key has no colon, so that no slot is called so.
    sets: String,
    known_keys: scan::KnownKeys,
}

impl RedisStore {
    /// Sessions in the Redis at `url`, with the defaults of [`RedisCacheConfig`], whose
    /// [`from_url`](RedisCacheConfig::from_url) says what it may look like.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL can't be used or the server does not let this program in,
    /// [`StoreError::Unavailable`] when it can't be reached.
    ///
    /// # Cancel safety
    ///
    /// A connection that was made is closed.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self::new(RedisCacheConfig::from_url(url)?.connect().await?))
    }
}

impl RedisCache {
    fn of(config: RedisCacheConfig) -> Self {
        let (topology, prefix, timeout, connect_timeout) = config.into_parts();
        Self(Arc::new(Inner {
            link: Link::new(topology, timeout, connect_timeout),
            sets: format!("{prefix}owner:"),
            known_keys: scan::KnownKeys::default(),
            prefix,
        }))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.link().ask(&redis::cmd("PING"), Again::Once).await;
        answer
            .map(drop)
            .map_err(|failure| failure.into_error("connect"))
    }

    fn link(&self) -> &Link {
        &self.0.link
    }

    fn sets(&self) -> &str {
        &self.0.sets
    }

    fn slot_prefix(&self) -> &str {
        &self.0.prefix
    }

    fn slot_key(&self, key: &StoreKey) -> String {
        format!("{}{}", self.0.prefix, key.as_str())
    }

    /// What scripts call the owners' sets by. On a cluster they can't reach them.
    fn sets_for_scripts(&self) -> &[u8] {
        if self.link().is_cluster() {
            &[]
        } else {
            self.sets().as_bytes()
        }
    }

    /// Runs a script of one key that answers with a number.
    async fn step(
        &self,
        script: &Script,
        key: &StoreKey,
        arguments: &[&[u8]],
        again: Again,
        operation: &'static str,
    ) -> Result<bool, StoreError> {
        let slot = self.slot_key(key);
        let answer = self.link().run(script, &[&slot], arguments, again).await;
        match answer.map_err(|failure| failure.into_error(operation))? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            Value::Int(-1) => Err(unreadable()),
            _ => Err(Failure::strange().into_error(operation)),
        }
    }
}

/// What `compare_and_swap` and `rotate` tell their scripts.
struct ChangeArguments {
    expected: String,
    entry: Bytes,
    moved: &'static str,
    moment: String,
    moment_number: u64,
    now: String,
    owner: Option<Owner>,
    version: Version,
}

impl ChangeArguments {
    fn new(expected: &Version, change: Change, now: Timestamp) -> Result<Self, StoreError> {
        let version = next_version(expected);
        let (moved, moment) = match change.expiry {
            ExpiryChange::AtLeast(moment) => ("at_least", moment),
            ExpiryChange::Set(moment) => ("set", moment),
            _ => ("keep", now),
        };
        let owner = change.owner.clone();
        // The script puts the expiry in its place.
        let unmade = Record::new(change.payload.clone(), now, version.clone());
        let record = unmade.changed(change, version.clone());
        Ok(Self {
            expected: match expected {
                // As the head has it.
                Version::Counter(number) => format!("{number:016x}"),
                // Equal to none.
                _ => String::new(),
            },
            entry: Slot::Entry(Entry::original(record)).to_bytes(NAME)?,
            moved,
            moment: moment_number(moment).to_string(),
            moment_number: moment_number(moment),
            now: moment_number(now).to_string(),
            owner,
            version,
        })
    }

    /// The first five arguments of both scripts.
    fn first(&self) -> [&[u8]; 5] {
        [
            self.expected.as_bytes(),
            &self.entry,
            self.moved.as_bytes(),
            self.moment.as_bytes(),
            self.now.as_bytes(),
        ]
    }
}

/// What a script answers that may have to ask for more: a number, and perhaps a text.
fn parts(answer: Value) -> Result<(i64, Option<Vec<u8>>), Failure> {
    let parts = match answer {
        Value::Int(code) => return Ok((code, None)),
        Value::Array(parts) => parts,
        _ => return Err(Failure::strange()),
    };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(Value::Int(code)), None) => Ok((code, None)),
        (Some(Value::Int(code)), Some(Value::BulkString(text))) => Ok((code, Some(text))),
        _ => Err(Failure::strange()),
    }
}

fn number_in(text: Option<Vec<u8>>) -> Result<u64, Failure> {
    let text = text.and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(Failure::strange)
}

fn owner_in(text: Option<Vec<u8>>) -> Option<Owner> {
    text.and_then(|text| String::from_utf8(text).ok())
        .map(Owner::from)
}

fn unreadable() -> StoreError {
    StoreError::damaged(
        NAME,
        "what is kept under the session's key is no slot of this release; does another program use the same prefix?",
    )
}

/// How often an operation is told that the owner's set must know the session for longer first. Once is usual; each further time
/// somebody has changed the record in between.
const TELLINGS_MAX: usize = 8;

fn disturbed(operation: &'static str) -> StoreError {
    StoreError::unavailable(NAME, operation, "others kept changing the session")
}

#[async_trait]
impl Cache for RedisCache {
    fn system_name(&self) -> &'static str {
        "redis"
    }

    fn name(&self) -> &'static str {
        NAME
    }

    async fn get(&self, key: &StoreKey) -> Result<Slot, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.slot_key(key));
        let answer = self.link().ask(&command, Again::Once).await;
        match answer.map_err(|failure| failure.into_error("load"))? {
            Value::Nil => Ok(Slot::Empty),
            Value::BulkString(bytes) => Slot::from_bytes(NAME, bytes.into()),
            _ => Err(Failure::strange().into_error("load")),
        }
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: Lease,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let bytes = Slot::Leased { lease, life }.to_bytes(NAME)?;
        let life = millis(life).to_string();
        let arguments: [&[u8]; 2] = [&bytes, life.as_bytes()];
        self.step(&script::LEASE, key, &arguments, Again::Never, "lease")
            .await
    }

    async fn fill(
        &self,
        key: &StoreKey,
        lease: Lease,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let lease = format!("{:016x}", lease.number());
        let entry = Slot::Entry(entry).to_bytes(NAME)?;
        let now = moment_number(now).to_string();
        let arguments: [&[u8]; 3] = [lease.as_bytes(), &entry, now.as_bytes()];
        self.step(&script::FILL, key, &arguments, Again::Never, "fill")
            .await
    }

    async fn put_newer(
        &self,
        key: &StoreKey,
        entry: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let entry = Slot::Entry(entry).to_bytes(NAME)?;
        let now = moment_number(now).to_string();
        let arguments: [&[u8]; 2] = [&entry, now.as_bytes()];
        self.step(&script::PUT_NEWER, key, &arguments, Again::Never, "put")
            .await
    }

    async fn invalidate(&self, key: &StoreKey) -> Result<bool, StoreError> {
        const OPERATION: &str = "delete";
        let slot = self.slot_key(key);
        let arguments = [self.sets_for_scripts(), key.as_str().as_bytes()];
        let answer = self
            .link()
            .run(&script::INVALIDATE, &[&slot], &arguments, Again::Once)
            .await;
        let (code, owner) = answer
            .and_then(parts)
            .map_err(|failure| failure.into_error(OPERATION))?;
        if self.link().is_cluster()
            && let Some(owner) = owner_in(owner)
        {
            self.unindex(&owner, key).await;
        }
        Ok(code == 1)
    }

    async fn bury(&self, key: &StoreKey, life: Duration) -> Result<(), StoreError> {
        let life = millis(life).to_string();
        self.step(&script::BURY, key, &[life.as_bytes()], Again::Once, "bury")
            .await
            .map(drop)
    }

    async fn add(
        &self,
        key: &StoreKey,
        record: Record,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "create";
        let set = match &record.owner {
            Some(owner) if record.is_live(now) => {
                if self.link().is_cluster() {
                    self.index(owner, key, moment_number(record.expires_at), now)
                        .await
                        .map_err(|failure| failure.into_error(OPERATION))?;
                    None
                } else {
                    Some(self.set_of(owner))
                }
            }
            _ => None,
        };
        let slot = self.slot_key(key);
        let expires_at = moment_number(record.expires_at).to_string();
        let entry = Slot::Entry(Entry::original(record)).to_bytes(NAME)?;
        let now = moment_number(now).to_string();
        let keys: Vec<&str> = std::iter::once(&*slot).chain(set.as_deref()).collect();
        let arguments: [&[u8]; 4] = [
            &entry,
            now.as_bytes(),
            key.as_str().as_bytes(),
            expires_at.as_bytes(),
        ];
        let answer = self
            .link()
            .run(&script::ADD, &keys, &arguments, Again::Never)
            .await;
        match answer.map_err(|failure| failure.into_error(OPERATION))? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            Value::Int(-1) => Err(unreadable()),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    async fn compare_and_swap(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "save";
        let change = ChangeArguments::new(expected, change, now)?;
        let slot = self.slot_key(key);
        let is_cluster = self.link().is_cluster();
        let set = change.owner.as_ref().filter(|_| !is_cluster);
        let set = set.map(|owner| self.set_of(owner));
        let keys: Vec<&str> = std::iter::once(&*slot).chain(set.as_deref()).collect();
        let mut indexed_until = 0;
        if is_cluster
            && change.moved != "keep"
            && let Some(owner) = &change.owner
            && change.moment_number > moment_number(now)
        {
            // It would be told to otherwise.
            indexed_until = change.moment_number;
            self.index(owner, key, indexed_until, now)
                .await
                .map_err(|failure| failure.into_error(OPERATION))?;
        }
        for _ in 0..TELLINGS_MAX {
            let until = indexed_until.to_string();
            let mut arguments = Vec::from(change.first());
            arguments.extend([
                until.as_bytes(),
                key.as_str().as_bytes(),
                self.sets_for_scripts(),
            ]);
            let answer = self
                .link()
                .run(&script::COMPARE_AND_SWAP, &keys, &arguments, Again::Never)
                .await;
            let (code, text) = answer
                .and_then(parts)
                .map_err(|failure| failure.into_error(OPERATION))?;
            match (code, &change.owner) {
                (0, _) => return Ok(Saved::Gone),
                (1, _) => {
                    // Not where it has changed hands: it may have changed back since. A dead one stays dead.
                    let has_ended =
                        change.moved == "set" && change.moment_number <= moment_number(now);
                    if is_cluster
                        && has_ended
                        && let Some(before) = owner_in(text)
                    {
                        self.unindex(&before, key).await;
                    }
                    return Ok(Saved::Stored(change.version));
                }
                (2, _) => return Ok(Saved::Conflict),
                (-1, _) => return Err(unreadable()),
                (3, Some(owner)) => {
                    let indexed = match number_in(text) {
                        Ok(until) => {
                            indexed_until = until;
                            self.index(owner, key, until, now).await
                        }
                        Err(failure) => Err(failure),
                    };
                    indexed.map_err(|failure| failure.into_error(OPERATION))?;
                }
                _ => return Err(Failure::strange().into_error(OPERATION)),
            }
        }
        Err(disturbed(OPERATION))
    }

    async fn expire(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "renew";
        let slot = self.slot_key(key);
        let (until, at) = (moment_number(expires_at), moment_number(now));
        let (until_text, at) = (until.to_string(), at.to_string());
        let mut owner: Option<Owner> = None;
        for _ in 0..TELLINGS_MAX {
            let is_cluster = self.link().is_cluster();
            if is_cluster && let Some(owner) = &owner {
                self.index(owner, key, until, now)
                    .await
                    .map_err(|failure| failure.into_error(OPERATION))?;
            }
            let set = owner.as_ref().filter(|_| !is_cluster);
            let set = set.map(|owner| self.set_of(owner));
            let keys: Vec<&str> = std::iter::once(&*slot).chain(set.as_deref()).collect();
            let indexed_until: &[u8] = if is_cluster && owner.is_some() {
                until_text.as_bytes()
            } else {
                b"0"
            };
            let arguments: [&[u8]; 5] = [
                until_text.as_bytes(),
                at.as_bytes(),
                owner.as_ref().map_or("", Owner::as_str).as_bytes(),
                indexed_until,
                key.as_str().as_bytes(),
            ];
            let answer = self
                .link()
                .run(&script::EXPIRE, &keys, &arguments, Again::Once)
                .await;
            let (code, text) = answer
                .and_then(parts)
                .map_err(|failure| failure.into_error(OPERATION))?;
            match code {
                0 => return Ok(false),
                1 => return Ok(true),
                -1 => return Err(unreadable()),
                3 => owner = owner_in(text),
                _ => return Err(Failure::strange().into_error(OPERATION)),
            }
        }
        Err(disturbed(OPERATION))
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Saved>, StoreError> {
        const OPERATION: &str = "rotate";
        if self.link().is_cluster() {
            return Ok(None);
        }
        let change = ChangeArguments::new(expected, change, now)?;
        let (old, new) = (self.slot_key(from), self.slot_key(to));
        let set = change.owner.as_ref().map(|owner| self.set_of(owner));
        let keys: Vec<&str> = [&*old, &*new].into_iter().chain(set.as_deref()).collect();
        let mut arguments = Vec::from(change.first());
        arguments.extend([
            to.as_str().as_bytes(),
            from.as_str().as_bytes(),
            self.sets_for_scripts(),
        ]);
        let answer = self
            .link()
            .run(&script::ROTATE, &keys, &arguments, Again::Never)
            .await;
        let (code, _) = answer
            .and_then(parts)
            .map_err(|failure| failure.into_error(OPERATION))?;
        match code {
            0 => Ok(Some(Saved::Gone)),
            1 => Ok(Some(Saved::Stored(change.version))),
            2 => Ok(Some(Saved::Conflict)),
            4 => Err(StoreError::key_taken(NAME)),
            -1 => Err(unreadable()),
            _ => Err(Failure::strange().into_error(OPERATION)),
        }
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        Some(self)
    }
}

impl SharedCache for RedisCache {}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { link, prefix, .. } = &*self.0;
        f.debug_struct("RedisCache")
            .field("link", link)
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}
