//! The nodes of the cluster: which there are, who has a key, and whether they serve.

use std::time::{Duration, Instant};

use session_core::store::StoreKey;

use super::nodes::Node;
use super::{Server, WAIT_MAX};

/// A node that serves, with its id.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) id: String,
}

pub(crate) async fn members() -> Vec<Member> {
    let node = Server::Cluster.node().expect("it was there");
    let text: String = node.ask(&["CLUSTER", "NODES"]).await;
    let members = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (id, address) = (fields.next()?, fields.next()?);
        let (address, _) = address.split_once('@')?;
        Some(Member {
            node: Server::Cluster.node_at(address),
            id: id.to_owned(),
        })
    });
    members.collect()
}

/// The node whose slots have the key, by asking each.
pub(crate) async fn holder_of(prefix: &str, key: &StoreKey) -> Member {
    let name = format!("{prefix}{}", key.as_str());
    for member in members().await {
        let mut connection = member.node.connect().await;
        let answer = member
            .node
            .ask_on::<bool>(&mut connection, &["EXISTS", &name])
            .await;
        if answer.is_ok_and(|exists| exists) {
            return member;
        }
    }
    panic!("no node has the key");
}

/// Waits until every node says that the cluster serves.
pub(crate) async fn healthy() {
    let started = Instant::now();
    for member in members().await {
        loop {
            let info: String = member.node.ask(&["CLUSTER", "INFO"]).await;
            if info.contains("cluster_state:ok") {
                break;
            }
            assert!(
                started.elapsed() < WAIT_MAX,
                "the cluster stays down: {info}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
