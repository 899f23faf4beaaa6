//! The contract of every store, and what visitors do at once, with Redis in front of PostgreSQL: standalone, as a cluster and
//! with Sentinels.

#[cfg(test)]
mod support;

use session_core::conformance::Operation;
use session_core::store::{Saved, SessionStore};

use support::scenarios::{self, Pair};
use support::servers::{CountedStore, Redis, Site};
use support::{NOW, change, key, new, shown};

session_core::conformance_suite!(
    || async { support::servers::store_or_standin(Redis::Standalone).await },
    name: standalone
);
session_core::conformance_suite!(
    || async { support::servers::store_or_standin(Redis::Cluster).await },
    name: cluster
);
session_core::conformance_suite!(
    || async { support::servers::store_or_standin(Redis::Sentinel).await },
    name: sentinel
);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_lose_no_update_and_bring_nothing_back() {
    for redis in Redis::ALL {
        let Some(site) = Site::new(redis) else {
            continue;
        };
        let pair = Pair {
            one: site.manager().await,
            other: site.manager().await,
        };
        scenarios::all(&pair).await;
    }
}

#[tokio::test]
async fn a_copy_in_redis_spares_the_database_and_ends_with_its_session() {
    for redis in Redis::ALL {
        let Some(site) = Site::new(redis) else {
            continue;
        };
        let (here, there) = (site.counted().await, site.counted().await);
        let version = here.create(&key(1), new("old"), NOW).await.unwrap();
        for _ in 0..10 {
            for store in [&here, &there] {
                assert_eq!(shown(store, &key(1), NOW).await.as_deref(), Some("old"));
            }
        }
        let reads = |store: &CountedStore| store.database().count(Operation::Load);
        assert_eq!(
            reads(&here) + reads(&there),
            1,
            "{redis:?}: a cached session is read from the database"
        );
        let saved = there.save(&key(1), &version, change("new"), NOW).await;
        assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
        assert_eq!(shown(&here, &key(1), NOW).await.as_deref(), Some("new"));
        assert_eq!(
            reads(&here) + reads(&there),
            1,
            "{redis:?}: a save does not put its copy into the cache"
        );
        assert!(there.delete(&key(1)).await.unwrap());
        for store in [&here, &there] {
            assert!(
                shown(store, &key(1), NOW).await.is_none(),
                "{redis:?}: a session is read after its log-out"
            );
        }
    }
}
