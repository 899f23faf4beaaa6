//! No error, no event and no `Debug` shows a key, an owner, a label, data or a password, whatever goes wrong.
#![cfg(all(feature = "redis", feature = "memory"))]

#[cfg(test)]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_cache::{Cache as _, CacheStore, MemoryCache, RedisCacheConfig};
use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, Label, NewRecord, Page, Payload, SessionStore, StoreKey,
    Version,
};
use support::proxy::Proxy;
use support::{LATER, NOW, Server, chain, connected};
use tracing_subscriber::fmt::MakeWriter;

/// In everything that nobody may see.
const MARK: &str = "canarycanarycanarycanary";

/// All that is logged while the tests run, at every level, by this crate and by those that it uses.
#[cfg(test)]
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
fn key(number: u64) -> StoreKey {
    StoreKey::parse(&format!("{MARK}{number:016}")).expect("letters and digits are a key")
}

#[cfg(test)]
fn owner() -> Owner {
    Owner::from(format!("{MARK} owner"))
}

#[cfg(test)]
fn record() -> NewRecord {
    let mut record = NewRecord::new(Payload::from_bytes(format!("{MARK} data")), LATER);
    record.owner = Some(owner());
    record.label = Some(Label::new(&format!("{MARK} label")));
    record
}

#[cfg(test)]
fn change() -> Change {
    let payload = Payload::from_bytes(format!("{MARK} changed"));
    let mut change = Change::new(payload, ExpiryChange::Keep);
    change.owner = Some(owner());
    change
}

/// Everything that a log may get to see of an error.
#[cfg(test)]
fn everything(error: &(dyn std::error::Error + 'static)) -> String {
    format!("{error:?} {}", chain(error))
}

/// All operations, on the record at key 1 and free keys: what went wrong of them, as text.
#[cfg(test)]
async fn errors_of(store: &dyn SessionStore, version: &Version) -> Vec<String> {
    let mut errors = vec![
        store.load(&key(1), NOW).await.err(),
        store.create(&key(1), record(), NOW).await.err(),
        store.create(&key(3), record(), NOW).await.err(),
        store.save(&key(1), version, change(), NOW).await.err(),
        store
            .rotate(&key(1), version, &key(2), change(), NOW)
            .await
            .err(),
        store
            .rotate(&key(1), version, &key(4), change(), NOW)
            .await
            .err(),
        store
            .touch(&key(1), LATER.saturating_add(Duration::from_secs(1)), NOW)
            .await
            .err(),
        store.delete(&key(9)).await.err(),
    ];
    if let Some(index) = store.owner_index() {
        errors.push(
            index
                .sessions_of(&owner(), Page::first(10), NOW)
                .await
                .err(),
        );
        errors.push(index.end(&owner(), EndScope::One(key(9))).await.err());
        errors.push(index.end(&owner(), EndScope::All).await.err());
    }
    let errors = errors.iter().flatten();
    errors.map(|error| everything(error)).collect()
}

#[cfg(test)]
fn assert_clean(what: &str, texts: &[String]) {
    for text in texts {
        assert!(!text.contains(MARK), "{what} shows a secret: {text}");
    }
}

#[tokio::test]
async fn leak_01_leak_04_nothing_shows_a_secret() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();

    let memory = CacheStore::new(MemoryCache::new());
    let version = memory.create(&key(1), record(), NOW).await.unwrap();
    assert_clean("the memory cache", &errors_of(&memory, &version).await);
    assert_clean("the memory cache", &[format!("{memory:?}")]);

    let passwords = [
        format!("redis://:{MARK}@127.0.0.1:1/0"),
        format!("redis://{MARK}:{MARK}@127.0.0.1:1/{MARK}"),
        format!("redis-sentinel://u:{MARK}@127.0.0.1:1/service"),
        format!("redis-cluster://:{MARK}@127.0.0.1:1"),
        format!("nonsense {MARK}"),
    ];
    for url in &passwords {
        match RedisCacheConfig::from_url(url) {
            Ok(config) => {
                let shown = format!("{config:?}");
                let error = config.connect().await.expect_err("nobody is at port 1");
                assert_clean("a configuration", &[shown, everything(&error)]);
            }
            Err(error) => assert_clean("a URL", &[everything(&error)]),
        }
    }

    for server in Server::ALL {
        let Some(url) = server.url() else { continue };
        let prefix = support::new_prefix();
        let cache = connected(server.config_with_prefix(&prefix).unwrap()).await;
        let store = CacheStore::new(cache.clone());
        let version = store.create(&key(1), record(), NOW).await.unwrap();
        store.create(&key(2), record(), NOW).await.unwrap();
        // Taken keys and old versions.
        errors_of(&store, &Version::Counter(3)).await;
        let errors = errors_of(&store, &version).await;
        assert_clean("an ordinary refusal", &errors);
        assert_clean("Debug", &[format!("{store:?}"), format!("{cache:?}")]);
        let slot = cache.get(&key(1)).await.unwrap();
        assert_clean("a slot", &[format!("{slot:?}")]);
        if server != Server::Standalone {
            continue;
        }
        // What can't be read, and what is of another type.
        let node = server.node().unwrap();
        let name = format!("{prefix}{}", key(1).as_str());
        let spoilt = format!("{MARK} is no slot");
        for spoil in [&["SET", &name, &spoilt][..], &["LPUSH", &name, MARK]] {
            let _removed: i64 = node.ask(&["DEL", &name]).await;
            let _answer: redis::Value = node.ask(spoil).await;
            let errors = errors_of(&store, &version).await;
            assert!(
                !errors.is_empty(),
                "nothing went wrong, so that nothing was tested"
            );
            assert_clean("what can't be read", &errors);
        }
        // A full server, and one that does not answer.
        let _removed: i64 = node.ask(&["DEL", &name]).await;
        node.set("maxmemory", "1").await;
        let errors = errors_of(&store, &version).await;
        node.set("maxmemory", "0").await;
        assert!(
            !errors.is_empty(),
            "nothing went wrong, so that nothing was tested"
        );
        assert_clean("a full server", &errors);

        let proxy = Proxy::to(&url).await;
        let through = RedisCacheConfig::from_url(&proxy.url(&url)).unwrap();
        let through = through.with_timeout(Duration::from_millis(300));
        let through = CacheStore::new(connected(through).await);
        proxy.fall_silent(true);
        let errors = errors_of(&through, &version).await;
        assert!(errors.len() >= 10, "{errors:?}");
        assert_clean("a silent server", &errors);
    }

    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        text.contains("silent") || Server::Standalone.url().is_none(),
        "nothing was logged, so that nothing was tested"
    );
    if let Some(at) = text.find(MARK) {
        let from = text[..at].rfind('\n').unwrap_or(0);
        panic!(
            "a log line shows a secret: {}",
            &text[from..(at + 200).min(text.len())]
        );
    }
}
