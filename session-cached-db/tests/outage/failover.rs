//! A primary that is killed under a Sentinel, and a node of a cluster that is.

use crate::pair::{Pair, site};
use crate::redis_servers::Server;
use crate::redis_servers::cluster::{healthy, holder_of};
use crate::support::servers::Redis;
use crate::support::site::STALENESS_MAX;
use crate::support::{NOW, key, new, shown};
use crate::traffic::{Past, Traffic};

use session_core::store::SessionStore as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_costs_speed_and_shows_nothing_beyond_the_bound() {
    let Some(site) = site(Redis::Sentinel) else {
        return;
    };
    let pair = Pair::of(&site).await;
    let primary = Server::Sentinel.primary().await;
    primary.replicated().await;
    // The replica may lack what the primary was told last: that is the past.
    let traffic = Traffic::start(&pair, 8, Past::MayReturn);
    traffic.visits(30).await;
    let victim = primary.victim().await;
    victim.kill();
    traffic.visits(30).await;
    pair.fills_its_cache(1).await;
    traffic.visits(30).await;
    victim.let_it_start();
    primary.wait_for_fact("role", "slave").await;
    traffic.visits(30).await;
    traffic.stop().await;
    Server::Sentinel.primary().await.replicated().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_loses_a_node_costs_speed_and_nothing_else() {
    let Some(site) = site(Redis::Cluster) else {
        return;
    };
    let pair = Pair::of(&site).await;
    // A session on the node that dies, with a copy.
    let Pair { here, there } = &pair;
    here.create(&key(1), new("x"), NOW).await.unwrap();
    assert!(shown(here, &key(1), NOW).await.is_some());
    let holder = holder_of(&site.prefix(), &key(1)).await;
    let traffic = Traffic::start(&pair, 8, Past::Gone);
    traffic.visits(30).await;
    let victim = holder.node.victim().await;
    victim.kill();
    assert_eq!(shown(here, &key(1), NOW).await.as_deref(), Some("x"));
    let ended = here.delete(&key(1)).await;
    crate::support::everything::assert_within_the_bound(&ended);
    for store in [here, there] {
        let beyond = NOW.saturating_add(STALENESS_MAX);
        assert!(shown(store, &key(1), beyond).await.is_none());
    }
    traffic.visits(30).await;
    victim.let_it_start();
    healthy().await;
    // Wherever their slots are.
    for from in 0..10 {
        pair.fills_its_cache(100 + 2 * from).await;
    }
    traffic.visits(30).await;
    traffic.stop().await;
}
