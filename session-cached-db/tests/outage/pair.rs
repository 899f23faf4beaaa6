//! Two processes of one site, and what is expected of them when the cache is away.

use std::time::{Duration, Instant};

use session_cache::{Cache as _, Slot};
use session_cached_db::CachedDbConfig;
use session_core::store::SessionStore as _;

use crate::redis_servers::WAIT_MAX;
use crate::support::everything::does_everything;
use crate::support::servers::{CountedStore, PATIENT, Redis, Site};
use crate::support::{NOW, key, new};

/// What one call may take: the database's time and four time limits of the cache, and that three times for who waits for
/// another's reading. The crate's documentation says so.
pub(crate) const CALL_MAX: Duration = PATIENT
    .saturating_mul(3)
    .saturating_add(CACHE_LIMIT.saturating_mul(12));

/// What a call to the cache may take here, which is the default.
const CACHE_LIMIT: Duration = Duration::from_millis(250);

/// How much later than its bound a call may be answered on a busy machine.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Each test has the server to itself.
pub(crate) static STANDALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) here: CountedStore,
    pub(crate) there: CountedStore,
}

/// A site as an application has it, that loses its patience with a cache soon.
pub(crate) fn site(redis: Redis) -> Option<Site> {
    let mut site = Site::new(redis)?;
    site.config = CachedDbConfig::new().with_cache_timeout(CACHE_LIMIT);
    Some(site)
}

impl Pair {
    pub(crate) async fn of(site: &Site) -> Self {
        Self {
            here: site.counted().await,
            there: site.counted().await,
        }
    }

    /// Waits until both processes put copies into the cache again, by themselves. `from` is a number whose keys nobody uses.
    pub(crate) async fn fills_its_cache(&self, from: u64) {
        for (number, store) in (from..).zip([&self.here, &self.there]) {
            fills_its_cache(store, number).await;
        }
    }
}

async fn fills_its_cache(store: &CountedStore, number: u64) {
    let key = key(number);
    bounded("create", store.create(&key, new("x"), NOW))
        .await
        .expect("the database answers");
    let started = Instant::now();
    loop {
        bounded("load", store.load(&key, NOW))
            .await
            .expect("the database answers");
        if let Ok(Slot::Entry(_)) = store.cache().get(&key).await {
            return;
        }
        assert!(
            started.elapsed() < WAIT_MAX,
            "the cache is never used again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A site like `site` that shares nothing with it, to try everything on while the cache is away.
pub(crate) struct Bystander(CountedStore);

impl Bystander {
    pub(crate) async fn beside(site: &Site) -> Self {
        let mut other = site.clone();
        other.name.push('b');
        Self(other.counted().await)
    }

    /// Everything works, and an end says what could not be assured.
    pub(crate) async fn works_without_its_cache(&self) {
        does_everything(&self.0, false).await;
    }
}

/// A call that must end within its bound.
pub(crate) async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(CALL_MAX + GRACE, call)
        .await
        .unwrap_or_else(|_elapsed| panic!("{what} did not end within its bound"))
}
