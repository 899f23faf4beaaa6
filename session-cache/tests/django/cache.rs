//! Sessions as Django's `cache` engine keeps them, beside what real Django did on a real Redis.

use std::sync::LazyLock;
use std::time::Duration;

use crate::support::nodes::Node;
use crate::support::{Server, chain, new_prefix};
use serde_json::Value;
use session_cache::{DjangoCacheConfig, DjangoCacheStore, RedisCacheConfig};
use session_core::adapter::Completion;
use session_core::django::DjangoSettings;
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreError, StoreKey, Timestamp,
};
use session_core::{Expiry, ManualClock, SessionBase, SessionError, SessionKey, SessionManager};

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!(
        "../../../session-core/tests/data/django-sessions.json"
    ))
    .expect("the vectors are JSON")
});

const KEY: &str = "redis000000000000000000000000001";
/// `SESSION_COOKIE_AGE`, unless the project says otherwise.
const AGE: i64 = 1_209_600;

/// A project's cache, and a way to the server beside it.
struct Project {
    node: Node,
    prefix: String,
    store: DjangoCacheStore,
    manager: SessionManager,
    now: Timestamp,
}

impl Project {
    /// `None` where there is no server, which says so aloud.
    async fn new() -> Option<Self> {
        let prefix = new_prefix();
        let store = config(&prefix)?.connect_store().await;
        let store = store.expect("the server answers");
        let node = Server::Standalone.node().expect("it was there");
        // Expiries are absolute here, and Django's are the server's.
        let (seconds, _micros): (i64, i64) = node.ask(&["TIME"]).await;
        let now = Timestamp::from_secs(seconds);
        let clock = ManualClock::at(std::time::UNIX_EPOCH);
        clock.set(now);
        let settings = DjangoSettings::new("a secret key")
            .with_engine("django.contrib.sessions.backends.cache");
        let manager = settings.manager(store.clone(), settings.policy());
        Some(Self {
            node,
            prefix,
            store,
            manager: manager.expect("Django's own policy").with_clock(clock),
            now,
        })
    }

    /// What Django calls the session.
    fn stored_key(&self, key: &str) -> String {
        format!("{}:1:django.contrib.sessions.cache{key}", self.prefix)
    }

    /// Django's save of some time ago.
    async fn django_saved(&self, value: &str) {
        let key = self.stored_key(KEY);
        let seconds = (AGE - 1_000).to_string();
        let _ok: String = self.node.ask(&["SET", &key, value, "EX", &seconds]).await;
    }

    /// What Django finds.
    async fn django_gets(&self, key: &str) -> Option<String> {
        self.node.ask(&["GET", &self.stored_key(key)]).await
    }

    /// For how long Django finds it, from when the test began.
    async fn lives_for(&self, key: &str) -> i64 {
        let end: i64 = self.node.ask(&["EXPIRETIME", &self.stored_key(key)]).await;
        end - self.now.as_secs()
    }

    async fn session(&self) -> Result<Option<SessionBase>, SessionError> {
        let key = SessionKey::parse(KEY.as_bytes()).expect("a key");
        self.manager.load(&key).await
    }
}

/// Of a project with this `KEY_PREFIX`.
fn config(key_prefix: &str) -> Option<DjangoCacheConfig> {
    let redis = RedisCacheConfig::from_url(&Server::Standalone.url()?).expect("xtask gives a URL");
    Some(DjangoCacheConfig::new(redis).with_key_prefix(key_prefix))
}

fn store_key() -> StoreKey {
    StoreKey::parse(KEY).expect("a key")
}

fn change(json: &str) -> Change {
    Change::new(Payload::from_bytes(json.to_owned()), ExpiryChange::Keep)
}

/// The recorded step with this name.
fn step(name: &str) -> &'static Value {
    let steps = VECTORS["cache"]["redis"].as_array().expect("a list");
    assert_eq!(
        steps.len(),
        21,
        "these are other steps than those that were read"
    );
    let found = steps.iter().find(|step| step["step"] == name);
    found.unwrap_or_else(|| panic!("there is no step {name}"))
}

#[tokio::test]
async fn sessions_have_the_keys_that_django_gives_them() {
    let cases = VECTORS["cache"]["keys"].as_array().expect("a list");
    let cases = cases.iter().filter(|case| case["backend"] == "cache");
    let mut count = 0;
    for case in cases {
        let text = |name: &str| case[name].as_str().expect("a text");
        // In front of Django's own key, so that tests side by side don't meet.
        let mine = new_prefix();
        let Some(config) = config(&format!("{mine}{}", text("key_prefix"))) else {
            return;
        };
        let version = case["version"].as_i64().expect("a number");
        let store = config.with_version(version).connect_store().await;
        let store = store.expect("the server answers");
        let key = StoreKey::parse(text("session_key")).expect("a key");
        let now = Timestamp::from_secs(4_102_444_800);
        let new = NewRecord::new(
            Payload::from_bytes("{}"),
            now.saturating_add(Duration::from_secs(60)),
        );
        store.create(&key, new, now).await.expect("a new key");

        let node = Server::Standalone.node().expect("it was there");
        let stored = format!("{mine}{}", text("stored_key"));
        let found: Option<String> = node.ask(&["GET", &stored]).await;
        assert_eq!(
            found.as_deref(),
            Some("{}"),
            "Django does not find {stored}"
        );
        count += 1;
    }
    assert_eq!(count, 4);
}

#[tokio::test]
async fn what_django_saved_is_read_and_what_is_saved_django_reads() {
    let Some(project) = Project::new().await else {
        return;
    };
    // What Django was sent and sent: SET key value NX EX age.
    let saved = &step("cache with a JSON serializer: first save")["commands"][1];
    let (value, age) = (&saved[2], &saved[5]);
    let value = value.as_str().expect("a text");
    assert_eq!(age.as_i64(), Some(AGE));
    project.django_saved(value).await;
    let session = project.session().await.expect("it can be read");
    let session = session.expect("Django has just saved it");
    assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
    assert_eq!(session.get::<String>("u").unwrap().as_deref(), Some("é"));

    session.set("a", &2).unwrap();
    session.save().await.expect("the server answers");
    assert_eq!(
        project.django_gets(KEY).await.as_deref(),
        Some(r#"{"a":2,"u":"\u00e9"}"#),
        "Django reads something else"
    );
    assert_eq!(project.lives_for(KEY).await, AGE);

    // The same session, begun here.
    let session = project.manager.start();
    session.set("a", &1).unwrap();
    session.set("u", "é").unwrap();
    session.save().await.expect("the server answers");
    let key = session.session_key().expect("it was saved");
    let key = key.expose_secret();
    assert_eq!(project.django_gets(key).await.as_deref(), Some(value));
    assert_eq!(project.lives_for(key).await, AGE);
}

#[tokio::test]
async fn expiry_log_out_and_a_new_key_leave_what_django_would_leave() {
    let Some(project) = Project::new().await else {
        return;
    };
    // "cache: save with 100 s expiry"
    project.django_saved(r#"{"a":1}"#).await;
    let session = project.session().await.unwrap().expect("it is there");
    session
        .set_expiry(Expiry::OnInactivity(Duration::from_secs(100)))
        .unwrap();
    session.save().await.unwrap();
    assert_eq!(project.lives_for(KEY).await, 100);

    // "cache: save with negative expiry deletes the key", and "cache: save after that"
    let other = project.session().await.unwrap().expect("it is there");
    session
        .set_expiry(Expiry::OnInactivity(Duration::ZERO))
        .unwrap();
    session.save().await.unwrap();
    assert_eq!(project.django_gets(KEY).await, None);
    other.set("a", &2).unwrap();
    let late = other.save().await;
    assert!(matches!(late, Err(SessionError::Interrupted)), "{late:?}");
    assert_eq!(
        project.django_gets(KEY).await,
        None,
        "a late save brought it back"
    );

    // "cache: cycle_key": the value is under the new key, with its time, and the old key is gone.
    project.django_saved(r#"{"a":1}"#).await;
    let slot = project.manager.slot();
    slot.present([KEY.as_bytes()]);
    let session = slot.session().await.unwrap();
    session.cycle_key();
    drop(slot.commit(Completion::Success).await.unwrap());
    let key = session.session_key().expect("it has moved");
    assert_eq!(project.django_gets(KEY).await, None);
    assert_eq!(
        project.django_gets(key.expose_secret()).await.as_deref(),
        Some(r#"{"a":1}"#)
    );
    assert_eq!(project.lives_for(key.expose_secret()).await, AGE);

    // "cache: flush"
    session.flush();
    session.save().await.unwrap();
    assert_eq!(project.django_gets(key.expose_secret()).await, None);
}

#[tokio::test]
async fn a_save_that_keeps_the_expiry_keeps_djangos_to_the_millisecond() {
    let Some(project) = Project::new().await else {
        return;
    };
    let stored = project.stored_key(KEY);
    let end = (project.now.as_secs() + 500) * 1000 + 499;
    let _ok: String = project
        .node
        .ask(&["SET", &stored, "{}", "PXAT", &end.to_string()])
        .await;
    let record = project.store.load(&store_key(), project.now).await.unwrap();
    let record = record.expect("it is there");
    assert_eq!(record.expires_at.as_secs(), project.now.as_secs() + 500);
    let saved = project
        .store
        .save(&store_key(), &record.version, change("[1]"), project.now)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    let kept: i64 = project.node.ask(&["PEXPIRETIME", &stored]).await;
    assert_eq!(kept, end, "a save moved the expiry");

    // What is never forgotten stays so.
    let _one: i64 = project.node.ask(&["PERSIST", &stored]).await;
    let record = project.store.load(&store_key(), project.now).await.unwrap();
    let record = record.expect("it is there");
    assert_eq!(record.expires_at, Timestamp::MAX);
    let saved = project
        .store
        .save(&store_key(), &record.version, change("[2]"), project.now)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    let kept: i64 = project.node.ask(&["PEXPIRETIME", &stored]).await;
    assert_eq!(kept, -1);
}

#[tokio::test]
async fn a_pickle_is_an_error_that_names_the_setting_and_is_left_alone() {
    let Some(project) = Project::new().await else {
        return;
    };
    let stored = project.stored_key(KEY);
    let pickle = step("cache: first save")["commands"][1][2]["base64"]
        .as_str()
        .expect("Django pickled it");
    let bytes = base64_bytes(pickle);
    let mut connection = project.node.connect().await;
    let _ok: String = redis::cmd("SET")
        .arg(&stored)
        .arg(&bytes)
        .query_async(&mut connection)
        .await
        .unwrap();
    let refused = project.session().await.expect_err("a pickle was read");
    let said = chain(&refused);
    assert!(
        said.contains("OPTIONS") && said.contains("django.core.signing.JSONSerializer"),
        "the error does not say what to change: {said}"
    );
    let kept: Vec<u8> = project.node.ask(&["GET", &stored]).await;
    assert_eq!(kept, bytes, "a session that can't be read was overwritten");
    assert!(project.store.delete(&store_key()).await.unwrap());
}

#[tokio::test]
async fn what_is_no_value_is_damaged_and_left_alone() {
    let Some(project) = Project::new().await else {
        return;
    };
    let stored = project.stored_key(KEY);
    let _one: i64 = project.node.ask(&["RPUSH", &stored, "x"]).await;
    let (store, key, now) = (&project.store, store_key(), project.now);
    let end = now.saturating_add(Duration::from_secs(60));
    let content = session_core::store::Version::Counter(1);
    let answers = [
        ("load", store.load(&key, now).await.map(drop)),
        (
            "create",
            store
                .create(&key, NewRecord::new(Payload::from_bytes("{}"), end), now)
                .await
                .map(drop),
        ),
        (
            "save",
            store
                .save(&key, &content, change("{}"), now)
                .await
                .map(drop),
        ),
        ("touch", store.touch(&key, end, now).await.map(drop)),
        (
            "rotate",
            store
                .rotate(&key, &content, &crate::support::key(7), change("{}"), now)
                .await
                .map(drop),
        ),
    ];
    for (operation, answer) in answers {
        assert!(
            matches!(answer, Err(StoreError::Damaged { .. })),
            "{operation}: {answer:?}"
        );
    }
    let kind: String = project.node.ask(&["TYPE", &stored]).await;
    assert_eq!(kind, "list");
}

#[tokio::test]
async fn neither_a_key_nor_a_session_is_shown() {
    let Some(project) = Project::new().await else {
        return;
    };
    let stored = project.stored_key(KEY);
    let _one: i64 = project.node.ask(&["RPUSH", &stored, "canary"]).await;
    let damaged = project
        .store
        .load(&store_key(), project.now)
        .await
        .unwrap_err();
    let shown = format!("{damaged:?} {} {:?}", chain(&damaged), project.store);
    assert!(!shown.contains(KEY) && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_cluster_is_refused_since_django_can_not_use_one() {
    let cluster = || RedisCacheConfig::cluster(["redis://127.0.0.1:1"]).expect("a URL");
    let refused = DjangoCacheConfig::new(cluster()).build_store();
    assert!(
        matches!(refused, Err(StoreError::Misconfigured { .. })),
        "{refused:?}"
    );
    let rows = session_core::MemoryStore::new();
    let settings = DjangoSettings::new("a secret key");
    let refused = DjangoCacheConfig::new(cluster()).build_cached_db(rows, &settings);
    assert!(
        matches!(refused, Err(StoreError::Misconfigured { .. })),
        "{refused:?}"
    );
}

/// The bytes of a base64 text.
fn base64_bytes(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = DIGITS
            .iter()
            .position(|known| *known == digit)
            .expect("base64");
        held = held << 6 | u32::try_from(value).expect("six bits");
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).expect("eight bits"));
        }
    }
    bytes
}
