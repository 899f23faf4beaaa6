//! The way through all sessions: Redis knows no order, so that all keys are asked for first, and then the sessions in their order.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use redis::FromRedisValue as _;
use session_core::store::{Page, Record, StoreError, StoreKey, StoreScan};

use super::RedisCache;
use super::error::Failure;
use super::link::Node;
use crate::cache::Cache as _;
use crate::slot::Slot;

const SCAN: &str = "page through all sessions";

/// How many keys a server looks at before it answers: little enough that nobody waits for it.
const KEYS_AT_ONCE: usize = 1_000;

/// How many records are asked for at once.
const RECORDS_AT_ONCE: usize = 64;

/// The keys that a first page has found, in order, for the pages behind it. Whoever has none, or another's, asks for them anew
/// and misses nothing that stays.
#[derive(Debug, Default)]
pub(super) struct KnownKeys(Mutex<Option<Arc<[StoreKey]>>>);

impl KnownKeys {
    fn get(&self) -> Option<Arc<[StoreKey]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn set(&self, keys: Option<Arc<[StoreKey]>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl RedisCache {
    /// The keys of all slots, in order.
    async fn all_keys(&self) -> Result<Arc<[StoreKey]>, Failure> {
        let mut keys = Vec::new();
        for node in self.link().nodes().await? {
            self.keys_of(&node, &mut keys).await?;
        }
        // A server may name a key twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys.into())
    }

    async fn keys_of(&self, node: &Node, keys: &mut Vec<StoreKey>) -> Result<(), Failure> {
        let prefix = self.slot_prefix();
        let mut cursor = String::from("0");
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(&cursor).arg("MATCH").arg(format!("{prefix}*"));
            command.arg("COUNT").arg(KEYS_AT_ONCE);
            let answer = self.link().ask_node(&command, node).await?;
            let (next, names) = <(String, Vec<Vec<u8>>)>::from_redis_value(answer)
                .map_err(|_other_shape| Failure::strange())?;
            // The owners' sets, and what others keep under the prefix, have names that are no keys.
            let named = names.iter().filter_map(|name| {
                let key = name.strip_prefix(prefix.as_bytes())?;
                StoreKey::parse(std::str::from_utf8(key).ok()?)
            });
            keys.extend(named);
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// The record, expired or not. What can't be read, and what is no record, is passed by.
    async fn record_at(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        match self.get(key).await {
            Ok(Slot::Entry(entry)) => Ok(Some(entry.record)),
            Ok(_) | Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl StoreScan for RedisCache {
    /// The first page asks the servers for all keys, which the cache keeps until the last page: 41 bytes for each. While slots of a
    /// cluster move from one node to another, a session may be missed.
    async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let Page { after, limit, .. } = page;
        let known = self.0.known_keys.get().filter(|_| after.is_some());
        let keys = match known {
            Some(keys) => keys,
            None => {
                let keys = self.all_keys().await;
                let keys = keys.map_err(|failure| failure.into_error(SCAN))?;
                self.0.known_keys.set(Some(Arc::clone(&keys)));
                keys
            }
        };
        let start = after.map_or(0, |after| keys.partition_point(|key| *key <= after));
        let rest = keys.iter().skip(start);
        let mut records = stream::iter(rest.map(StoreKey::clone))
            .map(|key| async move {
                let record = self.record_at(&key).await;
                record.map(|record| record.map(|record| (key, record)))
            })
            .buffered(RECORDS_AT_ONCE.min(limit.max(1)));
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(next) = records.next().await
        {
            found.extend(next?);
        }
        if found.is_empty() {
            self.0.known_keys.set(None);
        }
        Ok(found)
    }
}
