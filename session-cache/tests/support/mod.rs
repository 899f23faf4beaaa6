//! What the tests of this crate share: the servers that they are given, keys and records.
#![expect(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

pub(crate) mod children;
pub(crate) mod cluster;
pub(crate) mod monitor;
pub(crate) mod nodes;
pub(crate) mod proxy;
pub(crate) mod standin;

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::Duration;

use session_cache::{CacheStore, RedisCache, RedisCacheConfig, RedisStore};
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, SessionStore, StoreError, StoreKey, Timestamp,
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
pub(crate) const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// The longest that a state is waited for: only a hang takes so long.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Which server, as xtask starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Standalone,
    Cluster,
    Sentinel,
}

impl Server {
    pub(crate) const ALL: [Self; 3] = [Self::Standalone, Self::Cluster, Self::Sentinel];

    const fn variable(self) -> &'static str {
        match self {
            Self::Standalone => "SESSION_TEST_REDIS",
            Self::Cluster => "SESSION_TEST_REDIS_CLUSTER",
            Self::Sentinel => "SESSION_TEST_REDIS_SENTINEL",
        }
    }

    /// Where it answers. Without it this says so aloud, and in CI the test fails.
    pub(crate) fn url(self) -> Option<String> {
        let variable = self.variable();
        if let Ok(url) = std::env::var(variable) {
            return Some(url);
        }
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{variable} is not set, and in CI nothing may be skipped"
        );
        // Not `eprintln!`, which a test that passes keeps to itself.
        writeln!(
            std::io::stderr(),
            "SKIPPED: {variable} is not set; run `cargo xtask services` and export what it prints"
        )
        .expect("standard error is there");
        None
    }

    /// How to reach it, with a prefix that nobody else uses.
    pub(crate) fn config(self) -> Option<RedisCacheConfig> {
        self.config_with_prefix(&new_prefix())
    }

    pub(crate) fn config_with_prefix(self, prefix: &str) -> Option<RedisCacheConfig> {
        let config = RedisCacheConfig::from_url(&self.url()?).expect("xtask gives a URL");
        Some(config.with_prefix(prefix).expect("a prefix"))
    }

    /// A cache that shares nothing with another test's.
    pub(crate) async fn cache(self) -> Option<RedisCache> {
        Some(connected(self.config()?).await)
    }

    pub(crate) async fn store(self) -> Option<RedisStore> {
        Some(CacheStore::new(self.cache().await?))
    }

    /// For the contract's tests, which need a store to say anything at all.
    pub(crate) async fn store_or_standin(self) -> Box<dyn SessionStore> {
        match self.store().await {
            Some(store) => Box::new(store),
            None => Box::new(standin::Standin::default()),
        }
    }
}

pub(crate) async fn connected(config: RedisCacheConfig) -> RedisCache {
    config.connect().await.expect("the server answers")
}

pub(crate) fn new_prefix() -> String {
    format!("t{:016x}:", RandomState::new().hash_one(0_u8))
}

/// A key as a hash makes it.
pub(crate) fn key(number: u64) -> StoreKey {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StoreKey::parse(&format!("{spread:016x}{number:024x}")).expect("hexadecimal digits are a key")
}

pub(crate) fn new(payload: &str) -> NewRecord {
    NewRecord::new(Payload::from_bytes(payload.to_owned()), LATER)
}

pub(crate) fn new_of(owner: &str) -> NewRecord {
    let mut record = new("data");
    record.owner = Some(owner.into());
    record
}

pub(crate) fn change(payload: &str) -> Change {
    Change::new(Payload::from_bytes(payload.to_owned()), ExpiryChange::Keep)
}

pub(crate) fn text(record: &Record) -> String {
    let bytes = record.payload.to_bytes().expect("bytes are bytes");
    String::from_utf8(bytes.to_vec()).expect("the tests write text")
}

pub(crate) async fn load(store: &RedisStore, key: &StoreKey) -> Option<Record> {
    store
        .load(key, NOW)
        .await
        .expect("a record that can be read")
}

/// What an error and its sources say.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Passes if the answer is [`StoreError::Unavailable`].
pub(crate) fn assert_unavailable<T: std::fmt::Debug>(what: &str, answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Unavailable { .. }) => {}
        Err(error) => panic!("{what} was answered with: {}", chain(&error)),
        Ok(answer) => panic!("{what} was answered with {answer:?}"),
    }
}

/// Runs a call that must end by itself, well before this gives up.
pub(crate) async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, call)
        .await
        .unwrap_or_else(|_elapsed| panic!("{what} never ended"))
}
