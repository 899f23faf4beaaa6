//! The servers themselves, beside the cache: to look into them, to set them, and to kill them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

use super::{Server, WAIT_MAX};

/// One server, as its administrator sees it.
#[derive(Clone)]
pub(crate) struct Node {
    info: redis::ConnectionInfo,
}

impl Server {
    /// The server that the URL names: the one there is, a node of the cluster, or the Sentinel.
    pub(crate) fn node(self) -> Option<Node> {
        let url = self.url()?;
        let (_, rest) = url.split_once("://").expect("a URL");
        let rest = match self {
            Self::Standalone => rest,
            Self::Cluster => rest,
            // The Sentinel itself asks for no password.
            Self::Sentinel => {
                let (_, host) = rest.split_once('@').expect("a URL with a user");
                host.split_once('/').expect("a URL with a service").0
            }
        };
        Some(Node::at(&format!("redis://{rest}")))
    }

    /// The primary that the Sentinel names now.
    pub(crate) async fn primary(self) -> Node {
        let sentinel = self.node().expect("a Sentinel");
        let (host, port): (String, u16) = sentinel
            .ask(&["SENTINEL", "get-master-addr-by-name", "sessions"])
            .await;
        self.node_at(&format!("{host}:{port}"))
    }

    /// Another server with the same user and password.
    pub(crate) fn node_at(self, address: &str) -> Node {
        let url = self.url().expect("it was there");
        let (_, rest) = url.split_once("://").expect("a URL");
        let (credentials, _) = rest.split_once('@').expect("a URL with a password");
        Node::at(&format!("redis://{credentials}@{address}"))
    }
}

impl Node {
    fn at(url: &str) -> Self {
        let info = redis::IntoConnectionInfo::into_connection_info(url).expect("a URL");
        Self { info }
    }

    /// Its address, and an administrator.
    pub(crate) fn credentials(&self) -> (String, String, String) {
        let settings = self.info.redis_settings();
        (
            self.info.addr().to_string(),
            settings.username().unwrap_or("default").to_owned(),
            settings.password().unwrap_or_default().to_owned(),
        )
    }

    /// Connects, also to a server that is just starting again.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.info.clone()).expect("a URL");
        let started = Instant::now();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(WAIT_MAX));
        loop {
            match client
                .get_multiplexed_async_connection_with_config(&config)
                .await
            {
                Ok(connection) => return connection,
                Err(error) => assert!(
                    started.elapsed() < WAIT_MAX,
                    "the server does not answer: {error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect().await;
        self.ask_on(&mut connection, words)
            .await
            .unwrap_or_else(|error| panic!("{words:?} failed: {error}"))
    }

    pub(crate) async fn ask_on<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        words: &[&str],
    ) -> redis::RedisResult<T> {
        let (name, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(name);
        for word in arguments {
            command.arg(*word);
        }
        command.query_async(connection).await
    }

    pub(crate) async fn set(&self, name: &str, value: &str) {
        let () = self.ask(&["CONFIG", "SET", name, value]).await;
    }

    pub(crate) async fn setting(&self, name: &str) -> String {
        let (_, value): (String, String) = self.ask(&["CONFIG", "GET", name]).await;
        value
    }

    /// A line of `INFO`, as soon as the server gives it: one that changes its role closes connections.
    pub(crate) async fn fact(&self, name: &str) -> String {
        let started = Instant::now();
        loop {
            let mut connection = self.connect().await;
            let info = self.ask_on::<String>(&mut connection, &["INFO", "everything"]);
            let info = info.await.unwrap_or_default();
            let lines = info.lines().map(str::trim);
            let mut pairs = lines.filter_map(|line| line.split_once(':'));
            if let Some((_, value)) = pairs.find(|(found, _)| *found == name) {
                return value.to_owned();
            }
            assert!(
                started.elapsed() < WAIT_MAX,
                "the server says nothing of {name}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn wait_for_fact(&self, name: &str, expected: &str) {
        let started = Instant::now();
        loop {
            let found = self.fact(name).await;
            if found == expected {
                return;
            }
            assert!(started.elapsed() < WAIT_MAX, "{name} is still {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until what was written so far survives a failover.
    pub(crate) async fn replicated(&self) {
        let started = Instant::now();
        self.wait_for_fact("connected_slaves", "1").await;
        let mut connection = self.connect().await;
        loop {
            let replicas: i64 = self
                .ask_on(&mut connection, &["WAIT", "1", "1000"])
                .await
                .expect("the primary answers");
            if replicas == 1 {
                return;
            }
            assert!(started.elapsed() < WAIT_MAX, "the replica does not follow");
        }
    }

    /// So that it can be killed, and is down then until the victim is dropped.
    pub(crate) async fn victim(&self) -> Victim {
        let folder = PathBuf::from(self.setting("dir").await);
        Victim {
            down: folder.join("down"),
            process: self.fact("process_id").await,
        }
    }
}

/// A server that may be killed. It may start again when this is dropped.
pub(crate) struct Victim {
    /// Keeps it down as long as it exists.
    down: PathBuf,
    process: String,
}

impl Victim {
    /// One that is not killed, only frozen.
    pub(crate) fn to_freeze(process: String) -> Self {
        Self {
            down: PathBuf::from("/nonexistent/down"),
            process,
        }
    }

    /// Ends it in the middle of whatever it does, and keeps it down.
    pub(crate) fn kill(&self) {
        File::create(&self.down).expect("the server's folder is ours");
        self.signal("KILL");
    }

    /// Has it do nothing, without ending its connections.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal, &self.process])
            .status();
        assert!(
            status.expect("kill is there").success(),
            "the server could not be sent {signal}"
        );
    }

    pub(crate) fn let_it_start(&self) {
        drop(fs::remove_file(&self.down));
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.let_it_start();
    }
}
