//! Redis itself: killed, restarted empty, restarted as it was before a log-out, frozen.

use std::path::PathBuf;
use std::time::Duration;

use session_cache::{Cache as _, Slot};
use session_core::store::{Saved, SessionStore as _, StoreKey, Version};

use crate::pair::{Bystander, Pair, STANDALONE, site};
use crate::redis_servers::Server;
use crate::support::servers::{CountedStore, Redis};
use crate::support::site::STALENESS_MAX;
use crate::support::{NOW, at, change, key, new, shown};
use crate::traffic::{Past, Traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_killed_and_comes_back_empty_costs_speed_and_nothing_else() {
    let _alone = STANDALONE.lock().await;
    let Some(site) = site(Redis::Standalone) else {
        return;
    };
    let (pair, bystander) = (Pair::of(&site).await, Bystander::beside(&site).await);
    let traffic = Traffic::start(&pair, 8, Past::Gone);
    traffic.visits(30).await;
    let node = Server::Standalone.node().expect("it was there");
    let victim = node.victim().await;
    victim.kill();
    bystander.works_without_its_cache().await;
    traffic.visits(30).await;
    victim.let_it_start();
    pair.fills_its_cache(1).await;
    traffic.visits(30).await;
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_hangs_and_then_does_what_it_was_told_long_ago_shows_nothing_old() {
    let _alone = STANDALONE.lock().await;
    let Some(site) = site(Redis::Standalone) else {
        return;
    };
    let (pair, bystander) = (Pair::of(&site).await, Bystander::beside(&site).await);
    let traffic = Traffic::start(&pair, 8, Past::Gone);
    traffic.visits(30).await;
    let node = Server::Standalone.node().expect("it was there");
    let victim = node.victim().await;
    victim.freeze();
    bystander.works_without_its_cache().await;
    traffic.visits(20).await;
    victim.thaw();
    pair.fills_its_cache(1).await;
    traffic.visits(30).await;
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_full_takes_no_copy_and_whoever_has_saved_reads_what_was_saved() {
    let _alone = STANDALONE.lock().await;
    let Some(site) = site(Redis::Standalone) else {
        return;
    };
    let pair = Pair::of(&site).await;
    let Pair { here, there } = &pair;
    let (saved, ended) = (key(1), key(2));
    let version = cached(here, &saved).await;
    cached(here, &ended).await;
    let node = Server::Standalone.node().expect("it was there");
    node.set("maxmemory", "1").await;
    let answer = here.save(&saved, &version, change("new"), NOW).await;
    let slot = there.cache().get(&saved).await;
    let seen_here = shown(here, &saved, NOW).await;
    let deleted = here.delete(&ended).await;
    let ended_here = shown(here, &ended, NOW).await;
    let ended_there = shown(there, &ended, NOW).await;
    let beyond = NOW.saturating_add(STALENESS_MAX);
    let (saved_beyond, ended_beyond) = (
        shown(there, &saved, beyond).await,
        shown(there, &ended, beyond).await,
    );
    node.set("maxmemory", "0").await;

    assert!(matches!(answer, Ok(Saved::Stored(_))), "{answer:?}");
    assert!(
        matches!(slot, Ok(Slot::Entry(entry)) if entry.record.version == version),
        "a full server took the copy: this test shows nothing"
    );
    assert_eq!(
        seen_here.as_deref(),
        Some("new"),
        "whoever saved does not read what was saved"
    );
    assert_eq!(
        saved_beyond.as_deref(),
        Some("new"),
        "an older copy is read beyond the bound"
    );
    assert!(ended_here.is_none(), "whoever logged out is logged in");
    assert!(
        deleted.is_err() || ended_there.is_none(),
        "a session is read after a log-out that was assured"
    );
    assert!(
        ended_beyond.is_none(),
        "a session that has ended is read beyond the bound"
    );
    pair.fills_its_cache(100).await;
}

/// Longer than any machine takes to restart a server: what is left of a copy's life must not run out by the server's clock.
const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_comes_back_as_before_a_log_out_shows_nothing_beyond_the_deadline_of_each_copy()
 {
    let _alone = STANDALONE.lock().await;
    let Some(mut site) = site(Redis::Standalone) else {
        return;
    };
    site.config = site.config.with_staleness_max(LONG);
    let pair = Pair::of(&site).await;
    let Pair { here, there } = &pair;
    let (ended, saved, moved, new_key) = (key(1), key(2), key(3), key(4));
    let mut versions = Vec::new();
    for key in [&ended, &saved, &moved] {
        versions.push(cached(here, key).await);
    }
    let node = Server::Standalone.node().expect("it was there");
    let () = node.ask(&["SAVE"]).await;

    assert!(here.delete(&ended).await.expect("it is assured"));
    let answer = here.save(&saved, &versions[1], change("new"), NOW).await;
    assert!(matches!(answer, Ok(Saved::Stored(_))), "{answer:?}");
    let answer = here
        .rotate(&moved, &versions[2], &new_key, change("moved"), NOW)
        .await;
    assert!(matches!(answer, Ok(Saved::Stored(_))), "{answer:?}");

    let victim = node.victim().await;
    victim.kill();
    assert!(shown(there, &ended, NOW).await.is_none());
    assert_eq!(shown(there, &saved, NOW).await.as_deref(), Some("new"));
    victim.let_it_start();
    pair.fills_its_cache(100).await;

    let bound = i64::try_from(LONG.as_secs()).expect("an hour");
    for store in [there, here] {
        for (key, within, beyond) in [
            (&ended, Some("old"), None),
            (&saved, Some("old"), Some("new")),
            (&moved, Some("old"), None),
        ] {
            let seen = shown(store, key, at(bound - 1)).await;
            assert_eq!(
                seen.as_deref(),
                within,
                "the old snapshot was not read: this test shows nothing"
            );
            let seen = shown(store, key, at(bound)).await;
            assert_eq!(
                seen.as_deref(),
                beyond,
                "the past is read beyond the deadline of its copy"
            );
        }
    }
    // Nothing is built on the past: a save on it conflicts, and from then on the row is read.
    let late = there.save(&saved, &versions[1], change("late"), NOW).await;
    assert_eq!(
        late.unwrap(),
        Saved::Conflict,
        "an older state overwrote the row"
    );
    for store in [there, here] {
        assert_eq!(shown(store, &saved, NOW).await.as_deref(), Some("new"));
    }
    for (key, version) in [(&ended, &versions[0]), (&moved, &versions[2])] {
        let late = there.save(key, version, change("late"), NOW).await;
        assert_eq!(
            late.unwrap(),
            Saved::Gone,
            "a save brought an ended session back"
        );
        for store in [there, here] {
            assert!(
                shown(store, key, NOW).await.is_none(),
                "a save found a session gone, and it is still read"
            );
        }
    }
    assert_eq!(shown(here, &new_key, NOW).await.as_deref(), Some("moved"));
    forget_the_snapshot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_goes_back_in_time_while_visitors_come_loses_nothing_that_was_saved() {
    let _alone = STANDALONE.lock().await;
    let Some(site) = site(Redis::Standalone) else {
        return;
    };
    let pair = Pair::of(&site).await;
    let traffic = Traffic::start(&pair, 8, Past::MayReturn);
    traffic.visits(30).await;
    let node = Server::Standalone.node().expect("it was there");
    let () = node.ask(&["SAVE"]).await;
    traffic.visits(30).await;
    let victim = node.victim().await;
    victim.kill();
    traffic.visits(20).await;
    victim.let_it_start();
    pair.fills_its_cache(1).await;
    traffic.visits(30).await;
    traffic.stop().await;
    forget_the_snapshot().await;
}

/// A session with a copy in the cache, and its version.
async fn cached(store: &CountedStore, key: &StoreKey) -> Version {
    let version = store.create(key, new("old"), NOW).await.expect("both run");
    assert_eq!(shown(store, key, NOW).await.as_deref(), Some("old"));
    let slot = store.cache().get(key).await;
    assert!(matches!(slot, Ok(Slot::Entry(_))), "{slot:?}");
    version
}

/// So that the next who kills it finds it empty.
async fn forget_the_snapshot() {
    let node = Server::Standalone.node().expect("it was there");
    let folder = PathBuf::from(node.setting("dir").await);
    let () = node.ask(&["FLUSHALL"]).await;
    std::fs::remove_file(folder.join("dump.rdb")).expect("the snapshot");
}
