//! What the cache in memory drops is said. A process of its own: a test beside it that drops a session while nobody listens
//! would switch the event off for all.
#![cfg(feature = "memory")]

use std::sync::{Arc, Mutex};

use session_cache::{CacheStore, MemoryCacheConfig};
use session_core::store::{NewRecord, Payload, SessionStore as _, StoreKey, Timestamp};
use tracing_subscriber::fmt::MakeWriter;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

#[cfg(test)]
fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{number:040x}")).expect("hexadecimal digits are a key")
}

#[cfg(test)]
fn new() -> NewRecord {
    NewRecord::new(Payload::from_bytes(vec![b'x'; 10]), LATER)
}

/// What was logged.
#[cfg(test)]
#[derive(Clone, Default)]
struct Heard {
    text: Arc<Mutex<Vec<u8>>>,
}

#[cfg(test)]
impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl MakeWriter<'_> for Heard {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn every_eviction_is_an_event() {
    let heard = Heard::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(heard.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    let cache = MemoryCacheConfig::new().with_entries_max(10).build();
    let store = CacheStore::new(cache.clone());
    for number in 0..15 {
        store.create(&key(number), new(), NOW).await.unwrap();
        cache.settle();
    }
    let text = String::from_utf8(heard.text.lock().unwrap().clone()).unwrap();
    let events = text
        .lines()
        .filter(|line| line.contains("dropped a session"))
        .count();
    assert_eq!(u64::try_from(events).unwrap(), cache.evicted(), "{text}");
    assert!(events >= 5, "sessions were dropped silently: {text}");
    assert!(!text.contains(key(1).as_str()), "a key was logged");
}
