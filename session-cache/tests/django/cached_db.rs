//! Sessions beside Django's `cached_db`: which of its copies are dropped, and what happens where its cache is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::nodes::Node;
use crate::support::proxy::Proxy;
use crate::support::{LATER, NOW, Server, WAIT_MAX, change, key, new, new_prefix};
use session_cache::{DjangoCacheConfig, DjangoCachedDb, RedisCacheConfig};
use session_core::MemoryStore;
use session_core::conformance::{FaultStore, Operation};
use session_core::django::DjangoSettings;
use session_core::store::{Saved, SessionStore, StoreError, StoreKey};

type Rows = Arc<FaultStore<MemoryStore>>;

/// A project whose cache is behind a proxy.
struct Project {
    node: Node,
    proxy: Proxy,
    prefix: String,
    store: DjangoCachedDb<Rows>,
}

impl Project {
    async fn new() -> Option<Self> {
        let url = Server::Standalone.url()?;
        let proxy = Proxy::to(&url).await;
        let prefix = new_prefix();
        let redis = RedisCacheConfig::from_url(&proxy.url(&url)).expect("a URL");
        let redis = redis.with_timeout(Duration::from_millis(200));
        let rows = Arc::new(FaultStore::new(MemoryStore::new()));
        let store = DjangoCacheConfig::new(redis)
            .with_key_prefix(&prefix)
            .connect_cached_db(rows, &DjangoSettings::new("a secret key"))
            .await
            .expect("the server answers");
        let node = Server::Standalone.node().expect("it was there");
        Some(Self {
            node,
            proxy,
            prefix,
            store,
        })
    }

    fn copy_key(&self, key: &StoreKey) -> String {
        format!(
            "{}:1:django.contrib.sessions.cached_db{}",
            self.prefix,
            key.as_str()
        )
    }

    /// Django reads the row and keeps a copy.
    async fn django_copies(&self, key: &StoreKey) {
        let _ok: String = self
            .node
            .ask(&["SET", &self.copy_key(key), "a pickle", "EX", "1209600"])
            .await;
    }

    async fn has_copy(&self, key: &StoreKey) -> bool {
        let found: i64 = self.node.ask(&["EXISTS", &self.copy_key(key)]).await;
        found == 1
    }

    async fn until_there_is_no_copy(&self, key: &StoreKey) {
        let started = Instant::now();
        while self.has_copy(key).await {
            assert!(
                started.elapsed() < WAIT_MAX,
                "Django's copy was never dropped"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A row, and Django's copy of it.
    async fn shared_session(&self, number: u64) -> StoreKey {
        let key = key(number);
        self.store
            .create(&key, new("old"), NOW)
            .await
            .expect("a new key");
        self.django_copies(&key).await;
        key
    }
}

async fn version_of(project: &Project, key: &StoreKey) -> session_core::store::Version {
    let found = project.store.load(key, NOW).await.expect("memory answers");
    found.expect("the row is there").version
}

#[test]
fn copies_have_the_keys_that_django_gives_them() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!(
        "../../../session-core/tests/data/django-sessions.json"
    ))
    .expect("the vectors are JSON");
    let cases = vectors["cache"]["keys"].as_array().expect("a list");
    let cases: Vec<_> = cases
        .iter()
        .filter(|case| case["backend"] == "cached_db")
        .collect();
    assert_eq!(cases.len(), 4);
    let Some(url) = Server::Standalone.url() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let node = Server::Standalone.node().expect("it was there");
        for case in cases {
            let text = |name: &str| case[name].as_str().expect("a text");
            let mine = new_prefix();
            let redis = RedisCacheConfig::from_url(&url).expect("a URL");
            let store = DjangoCacheConfig::new(redis)
                .with_key_prefix(format!("{mine}{}", text("key_prefix")))
                .with_version(case["version"].as_i64().expect("a number"))
                .connect_cached_db(MemoryStore::new(), &DjangoSettings::new("a secret key"))
                .await
                .expect("the server answers");
            let stored = format!("{mine}{}", text("stored_key"));
            let _ok: String = node.ask(&["SET", &stored, "a pickle", "EX", "60"]).await;
            let key = StoreKey::parse(text("session_key")).expect("a key");
            let _was_there = store.delete(&key).await.expect("the server answers");
            let left: i64 = node.ask(&["EXISTS", &stored]).await;
            assert_eq!(left, 0, "the copy at {stored} was not dropped");
        }
    });
}

#[tokio::test]
async fn whatever_changes_a_row_drops_djangos_copy_of_it() {
    let Some(project) = Project::new().await else {
        return;
    };
    let store = &project.store;

    let key = project.shared_session(1).await;
    let version = version_of(&project, &key).await;
    assert!(project.has_copy(&key).await, "reading dropped the copy");
    let saved = store
        .save(&key, &version, change("new"), NOW)
        .await
        .unwrap();
    assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");
    assert!(
        !project.has_copy(&key).await,
        "Django reads what the session was"
    );

    // Another program was faster. If it was Django, its copy is the right one.
    let key = project.shared_session(2).await;
    let version = version_of(&project, &key).await;
    let rows = store.rows();
    let _saved = rows
        .save(&key, &version, change("theirs"), NOW)
        .await
        .unwrap();
    let refused = store
        .save(&key, &version, change("ours"), NOW)
        .await
        .unwrap();
    assert_eq!(refused, Saved::Conflict);
    assert!(
        project.has_copy(&key).await,
        "a save that wrote nothing dropped the copy"
    );

    // The row is gone without the cache's knowledge: Django would let the visitor in until the copy has expired.
    let _was_there = rows.delete(&key).await.unwrap();
    let refused = store
        .save(&key, &version, change("ours"), NOW)
        .await
        .unwrap();
    assert_eq!(refused, Saved::Gone);
    assert!(
        !project.has_copy(&key).await,
        "a session that has ended lives on as a copy"
    );

    let key = project.shared_session(3).await;
    assert!(store.delete(&key).await.unwrap());
    assert!(
        !project.has_copy(&key).await,
        "Django lets in who has logged out"
    );

    let from = project.shared_session(4).await;
    let version = version_of(&project, &from).await;
    let saved = store
        .rotate(&from, &version, &crate::support::key(5), change("new"), NOW)
        .await
        .unwrap();
    assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");
    assert!(
        !project.has_copy(&from).await,
        "the old key is good on Django's side"
    );

    let key = project.shared_session(6).await;
    assert!(store.touch(&key, LATER, NOW).await.unwrap());
    assert!(
        project.has_copy(&key).await,
        "nothing that Django could misread was changed"
    );
}

#[tokio::test]
async fn a_copy_that_django_kept_while_the_row_was_written_is_dropped_soon_after() {
    let Some(project) = Project::new().await else {
        return;
    };
    let key = project.shared_session(1).await;
    assert!(project.store.delete(&key).await.unwrap());
    // A request on Django's side had read the row before it was deleted.
    project.django_copies(&key).await;
    project.until_there_is_no_copy(&key).await;
}

#[tokio::test]
async fn without_the_cache_a_save_stands_and_its_copy_is_dropped_when_the_cache_is_back() {
    let Some(project) = Project::new().await else {
        return;
    };
    let key = project.shared_session(1).await;
    let version = version_of(&project, &key).await;
    project.proxy.fall_silent(true);
    let saved = project.store.save(&key, &version, change("new"), NOW).await;
    let Ok(Saved::Stored(version)) = saved else {
        panic!("the row was written, and the answer was {saved:?}");
    };
    assert_eq!(version_of(&project, &key).await, version);
    let shown = format!("{:?}", project.store);
    assert!(
        shown.contains("Owed(1)") && !shown.contains(key.as_str()),
        "{shown}"
    );
    assert!(project.has_copy(&key).await, "the cache was not away");

    project.proxy.speak();
    project.until_there_is_no_copy(&key).await;
}

#[tokio::test]
async fn without_the_cache_a_log_out_says_that_a_copy_lives_on() {
    let Some(project) = Project::new().await else {
        return;
    };
    let key = project.shared_session(1).await;
    project.proxy.fall_silent(true);
    let answer = project.store.delete(&key).await;
    let Err(StoreError::DeletedWithin { bound, .. }) = answer else {
        panic!("Django still lets the visitor in, and the answer was {answer:?}");
    };
    assert_eq!(bound, Duration::from_secs(1_209_600), "SESSION_COOKIE_AGE");
    let row = project.store.load(&key, NOW).await.unwrap();
    assert!(row.is_none(), "the row is still there");
}

#[tokio::test]
async fn without_the_cache_no_key_is_changed() {
    let Some(project) = Project::new().await else {
        return;
    };
    let from = project.shared_session(1).await;
    let to = key(2);
    let version = version_of(&project, &from).await;
    project.proxy.fall_silent(true);
    let answer = project
        .store
        .rotate(&from, &version, &to, change("new"), NOW)
        .await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable { .. })),
        "{answer:?}"
    );
    assert_eq!(
        version_of(&project, &from).await,
        version,
        "the row was changed"
    );
    let moved = project.store.load(&to, NOW).await.unwrap();
    assert!(moved.is_none(), "there are two keys to one session");
}

#[tokio::test]
async fn a_cache_that_goes_away_while_a_key_is_changed_makes_it_say_so() {
    let Some(project) = Project::new().await else {
        return;
    };
    let from = project.shared_session(1).await;
    let version = version_of(&project, &from).await;
    let gate = project.store.rows().hold(Operation::Rotate);
    let rotating = tokio::spawn({
        let (store, from) = (project.store.clone(), from.clone());
        async move {
            store
                .rotate(&from, &version, &key(2), change("new"), NOW)
                .await
        }
    });
    gate.reached().await;
    assert!(
        !project.has_copy(&from).await,
        "the copy goes before the row moves"
    );
    // A request on Django's side keeps the row that is about to move.
    project.django_copies(&from).await;
    project.proxy.fall_silent(true);
    gate.release();
    let answer = rotating.await.expect("no panic");
    assert!(
        matches!(answer, Err(StoreError::DeletedWithin { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_save_that_nobody_waits_for_any_more_drops_the_copy_all_the_same() {
    let Some(project) = Project::new().await else {
        return;
    };
    let key = project.shared_session(1).await;
    let version = version_of(&project, &key).await;
    let gate = project.store.rows().hold(Operation::Save);
    let saving = tokio::spawn({
        let (store, key) = (project.store.clone(), key.clone());
        async move { store.save(&key, &version, change("new"), NOW).await }
    });
    gate.reached().await;
    saving.abort();
    assert!(saving.await.expect_err("it was dropped").is_cancelled());
    gate.release();
    project.until_there_is_no_copy(&key).await;
}
