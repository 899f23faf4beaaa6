//! The way to Redis: slow, silent, cut in the middle of an answer.

use std::time::{Duration, Instant};

use session_cache::Cache as _;
use session_core::store::{
    Change, ExpiryChange, Payload, Saved, SessionStore as _, StoreError, StoreKey, Version,
};

use crate::pair::{Bystander, CALL_MAX, GRACE, Pair, STANDALONE, bounded, site};
use crate::redis_servers::proxy::Proxy;
use crate::support::everything::{assert_within_the_bound, does_everything};
use crate::support::servers::{CountedStore, Redis, Site};
use crate::support::site::STALENESS_MAX;
use crate::support::{NOW, change, key, new, shown};
use crate::traffic::{Past, Traffic};

/// A site whose way to Redis goes through a proxy, and the same site without.
async fn through_a_proxy() -> Option<(Site, Site, Proxy)> {
    let beside = site(Redis::Standalone)?;
    let proxy = Proxy::to(&beside.redis).await;
    let mut through = beside.clone();
    through.redis = proxy.url(&beside.redis);
    Some((through, beside, proxy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_way_to_redis_that_falls_silent_costs_speed_and_nothing_else() {
    let _alone = STANDALONE.lock().await;
    let Some((through, _, proxy)) = through_a_proxy().await else {
        return;
    };
    let (pair, bystander) = (Pair::of(&through).await, Bystander::beside(&through).await);
    let traffic = Traffic::start(&pair, 8, Past::Gone);
    traffic.visits(30).await;
    proxy.fall_silent(true);
    bystander.works_without_its_cache().await;
    traffic.visits(20).await;
    // What was held back arrives now, long after it was given up.
    proxy.speak();
    pair.fills_its_cache(1).await;
    traffic.visits(30).await;
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_answers_late_is_waited_for_within_its_limit_and_not_beyond() {
    let _alone = STANDALONE.lock().await;
    let Some((mut through, beside, proxy)) = through_a_proxy().await else {
        return;
    };
    // Far from both sides of the limit, whatever the machine has to do besides.
    let limit = Duration::from_secs(2);
    through.config = through.config.with_cache_timeout(limit);
    let (late, other) = (through.counted().await, beside.counted().await);
    proxy.delay(Duration::from_millis(50));
    does_everything(&late, true).await;

    late.create(&key(11), new("x"), NOW).await.unwrap();
    for store in [&late, &other] {
        assert!(shown(store, &key(11), NOW).await.is_some());
    }
    proxy.delay(limit * 4);
    let started = Instant::now();
    let loaded = bounded("load", shown(&late, &key(11), NOW)).await;
    assert_eq!(loaded.as_deref(), Some("x"), "a slow cache fails a read");
    assert_within_the_bound(&bounded("delete", late.delete(&key(11))).await);
    assert!(
        started.elapsed() < limit * 3 + GRACE,
        "a slow cache is waited for beyond its limit"
    );
    assert!(shown(&late, &key(11), NOW).await.is_none());
    // The tombstones did arrive, and only their answers are late.
    let beyond = NOW.saturating_add(STALENESS_MAX);
    assert!(shown(&other, &key(11), beyond).await.is_none());
    proxy.delay(Duration::ZERO);
    assert!(shown(&late, &key(11), NOW).await.is_none());
}

/// What is done while one of its answers from Redis is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    LoadCold,
    LoadCached,
    Save,
    Retime,
    Touch,
    Rotate,
    Delete,
}

impl Deed {
    const ALL: [Self; 7] = [
        Self::LoadCold,
        Self::LoadCached,
        Self::Save,
        Self::Retime,
        Self::Touch,
        Self::Rotate,
        Self::Delete,
    ];

    /// Does it, and says what is to be read of the session afterwards, and whether the answer speaks for all processes.
    async fn done(
        self,
        store: &CountedStore,
        key: &StoreKey,
        to: &StoreKey,
        version: &Version,
    ) -> (Option<&'static str>, bool) {
        let what = format!("{self:?}");
        match self {
            Self::LoadCold | Self::LoadCached => {
                let seen = bounded(&what, shown(store, key, NOW)).await;
                assert_eq!(seen.as_deref(), Some("old"), "a read is lost");
                (Some("old"), false)
            }
            Self::Save | Self::Retime => {
                let expiry = match self {
                    Self::Save => ExpiryChange::Keep,
                    _ => ExpiryChange::Set(crate::support::LATER),
                };
                let change = Change::new(Payload::from_bytes("new"), expiry);
                let saved = bounded(&what, store.save(key, version, change, NOW)).await;
                assert!(matches!(saved, Ok(Saved::Stored(_))), "{what}: {saved:?}");
                (Some("new"), false)
            }
            Self::Touch => {
                let expires_at = crate::support::LATER.saturating_add(Duration::from_secs(1));
                let touched = bounded(&what, store.touch(key, expires_at, NOW)).await;
                assert!(touched.expect("the database answers"), "{what}");
                (Some("old"), false)
            }
            Self::Rotate => {
                let moved = store.rotate(key, version, to, change("new"), NOW);
                let moved = bounded(&what, moved).await;
                assert!(matches!(moved, Ok(Saved::Stored(_))), "{what}: {moved:?}");
                (None, false)
            }
            Self::Delete => match bounded(&what, store.delete(key)).await {
                Ok(was_there) => {
                    assert!(was_there, "a log-out says that there was no session");
                    (None, true)
                }
                Err(StoreError::DeletedWithin { .. }) => (None, false),
                Err(error) => panic!("a log-out was answered with: {error:?}"),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_of_redis_that_is_cut_in_the_middle_changes_no_answer() {
    let _alone = STANDALONE.lock().await;
    let Some((through, beside, proxy)) = through_a_proxy().await else {
        return;
    };
    let (store, other) = (through.counted().await, beside.counted().await);
    // So that the server knows the scripts, and no answer is that it does not.
    does_everything(&store, true).await;
    let mut number = 1_000;
    for deed in Deed::ALL {
        for after in [0, 1, 7] {
            let mut cuts = 0;
            loop {
                number += 2;
                let (one, two) = (key(number), key(number + 1));
                let version = other.create(&one, new("old"), NOW).await.unwrap();
                if deed != Deed::LoadCold {
                    shown(&other, &one, NOW).await;
                }
                connect_again(&store).await;
                proxy.cut_answer_behind(cuts, after);
                let (left, is_assured) = deed.done(&store, &one, &two, &version).await;
                let was_cut = !proxy.spare();
                check(&store, &other, &one, left, is_assured).await;
                if deed == Deed::Rotate {
                    check(&store, &other, &two, Some("new"), true).await;
                }
                if !was_cut {
                    break;
                }
                cuts += 1;
            }
            assert!(cuts > 0, "{deed:?} asks Redis nothing: nothing was cut");
        }
    }
}

/// The process itself at once, and the other beyond the bound, or at once if that was assured, reads what the row says.
async fn check(
    store: &CountedStore,
    other: &CountedStore,
    key: &StoreKey,
    left: Option<&str>,
    is_assured: bool,
) {
    let seen = bounded("load", shown(store, key, NOW)).await;
    assert_eq!(seen.as_deref(), left, "a process does not know what it did");
    if is_assured {
        assert_eq!(shown(other, key, NOW).await.as_deref(), left);
    }
    let beyond = NOW.saturating_add(STALENESS_MAX);
    let seen = shown(other, key, beyond).await;
    assert_eq!(
        seen.as_deref(),
        left,
        "a copy from before is read beyond the bound"
    );
    let row = shown(store.database().inner(), key, NOW).await;
    assert_eq!(row.as_deref(), left, "the row is not what was answered");
}

/// The handshake of a new connection has answers of its own.
async fn connect_again(store: &CountedStore) {
    let started = Instant::now();
    while store.cache().get(&key(999)).await.is_err() {
        assert!(
            started.elapsed() < CALL_MAX + GRACE,
            "it does not reconnect"
        );
    }
}
