//! What the servers are sent, by their own account: `MONITOR`, which tells a client's commands from those within scripts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::nodes::Node;
use super::{Server, WAIT_MAX};

/// Listens to all servers of a kind.
pub(crate) struct Monitor {
    nodes: Vec<(Node, Arc<Mutex<Vec<String>>>)>,
    marks: AtomicU64,
}

impl Monitor {
    pub(crate) async fn of(server: Server) -> Self {
        let nodes = match server {
            Server::Cluster => {
                let node = server.node().expect("it was there");
                let text: String = node.ask(&["CLUSTER", "NODES"]).await;
                let addresses = text
                    .lines()
                    .filter_map(|line| line.split([' ', '@']).nth(1));
                addresses.map(|address| server.node_at(address)).collect()
            }
            Server::Sentinel => vec![server.primary().await],
            Server::Standalone => vec![server.node().expect("it was there")],
        };
        let mut monitored = Vec::new();
        for node in nodes {
            let lines = listen(&node).await;
            monitored.push((node, lines));
        }
        Self {
            nodes: monitored,
            marks: AtomicU64::new(0),
        }
    }

    /// The commands since the last call that clients sent about keys with this prefix.
    pub(crate) async fn commands(&self, prefix: &str) -> Vec<String> {
        let mark = format!("mark-{}", self.marks.fetch_add(1, Ordering::Relaxed));
        let mut all = Vec::new();
        for (node, lines) in &self.nodes {
            let _echo: String = node.ask(&["ECHO", &mark]).await;
            let started = Instant::now();
            loop {
                if let Some(heard) = until_mark(lines, &mark) {
                    all.extend(heard);
                    break;
                }
                assert!(started.elapsed() < WAIT_MAX, "the monitor hears nothing");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        all.retain(|line| line.contains(prefix) && !line.contains(" lua] "));
        all
    }
}

fn until_mark(lines: &Mutex<Vec<String>>, mark: &str) -> Option<Vec<String>> {
    let mut heard = lines.lock().expect("nothing panics under this lock");
    let end = heard.iter().position(|line| line.contains(mark))?;
    Some(heard.drain(..=end).collect())
}

async fn listen(node: &Node) -> Arc<Mutex<Vec<String>>> {
    let (address, user, password) = node.credentials();
    let mut stream = TcpStream::connect(address).await.expect("the server runs");
    let hello = format!("AUTH {user} {password}\r\nMONITOR\r\n");
    stream
        .write_all(hello.as_bytes())
        .await
        .expect("the server listens");
    let mut lines = BufReader::new(stream).lines();
    for _ in ["AUTH", "MONITOR"] {
        let answer = lines.next_line().await.expect("an answer");
        assert_eq!(answer.as_deref(), Some("+OK"));
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            keeps
                .lock()
                .expect("nothing panics under this lock")
                .push(line);
        }
    });
    heard
}
