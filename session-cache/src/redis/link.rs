//! The connection: made once for all callers, made again when it broke, and never waited for longer than a call may take.
//!
//! Nothing is sent again whose outcome is unknown, unless the caller says that doing it twice is as good as once. That is why the
//! library's own retries are off, and why its connection manager is not used, which also keeps a connection that has gone
//! silent.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue as _, ProtocolVersion,
    PushInfo, PushKind, Value,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::Topology;
use super::discovery;
use super::error::{Failure, Kind, parse_node};
use super::script::Script;

/// The way to the servers, shared by all callers.
pub(super) struct Link {
    topology: Topology,
    timeout: Duration,
    connect_timeout: Duration,
    current: Mutex<Option<Open>>,
    /// Held by whoever makes a connection; why the last attempt failed.
    connecting: tokio::sync::Mutex<Option<Failure>>,
    attempts: AtomicU64,
}

/// A connection that worked when it was last used.
#[derive(Clone)]
pub(super) struct Open {
    way: Way,
    is_closed: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Way {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// One of the servers that have sessions: by its address on a cluster, and else the only one.
#[derive(Debug)]
pub(super) struct Node(Option<(String, u16)>);

/// Whether a command whose outcome is unknown may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// No: its own effect would look like somebody else's.
    Never,
    /// Once more: twice is as good as once.
    Once,
}

/// How often a call follows a key that moves within a cluster. Each time waits twice as long as the one before.
const MOVES_MAX: u32 = 5;
const MOVE_PAUSE: Duration = Duration::from_millis(10);

/// How many commands may wait to be written. More than that wait in their callers.
const QUEUE_LENGTH: usize = 1_024;

impl Link {
    pub(super) fn new(topology: Topology, timeout: Duration, connect_timeout: Duration) -> Self {
        Self {
            topology,
            timeout,
            connect_timeout: connect_timeout.min(timeout),
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(None),
            attempts: AtomicU64::new(0),
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    pub(super) const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Sends a command, by its key's place in a cluster, and gives the answer.
    pub(super) async fn ask(&self, command: &Cmd, again: Again) -> Result<Value, Failure> {
        self.ask_until(command, again, Instant::now() + self.timeout)
            .await
    }

    /// Runs a script by its hash, and with its text where the server does not know it.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&[u8]],
        again: Again,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + self.timeout;
        let by_hash = script.by_hash(keys, arguments);
        match self.ask_until(&by_hash, again, deadline).await {
            Err(failure) if failure.kind == Kind::NoScript => {
                let in_full = script.in_full(keys, arguments);
                self.ask_until(&in_full, again, deadline).await
            }
            answer => answer,
        }
    }

    /// Asks each primary of a cluster, or the one server.
    pub(super) async fn ask_all(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + self.timeout;
        if !self.is_cluster() {
            let answer = self.ask_until(command, Again::Once, deadline).await?;
            return Ok(vec![answer]);
        }
        let answers = self.ask_primaries(command, deadline).await?;
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// What each primary of a cluster answers, by its address.
    async fn ask_primaries(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Vec<(Value, Value)>, Failure> {
        let open = self.open_until(deadline).await?;
        let Way::Cluster(mut cluster) = open.way.clone() else {
            return Err(Failure::strange());
        };
        let routing = RoutingInfo::MultiNode((
            MultipleNodeRoutingInfo::AllMasters,
            Some(ResponsePolicy::Special),
        ));
        let answer = timeout_at(deadline, cluster.route_command(command.clone(), routing)).await;
        match answer {
            Ok(Ok(Value::Map(answers))) => Ok(answers),
            Ok(Ok(_)) => Err(Failure::strange()),
            Ok(Err(error)) => Err(Failure::of(error)),
            Err(_elapsed) => Err(self.give_up(&open)),
        }
    }

    /// The servers that have sessions: each primary of a cluster, or the one server.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, Failure> {
        if !self.is_cluster() {
            return Ok(vec![Node(None)]);
        }
        let deadline = Instant::now() + self.timeout;
        let answers = self.ask_primaries(&redis::cmd("PING"), deadline).await?;
        let addresses = answers.into_iter().map(|(address, _)| {
            let address = String::from_redis_value(address).ok();
            let address = address.and_then(|address| parse_node(&address));
            address.map(|address| Node(Some(address)))
        });
        addresses
            .collect::<Option<_>>()
            .ok_or_else(Failure::strange)
    }

    /// Asks this server, and again if the connection breaks.
    pub(super) async fn ask_node(&self, command: &Cmd, node: &Node) -> Result<Value, Failure> {
        let Node(Some((host, port))) = node else {
            return self.ask(command, Again::Once).await;
        };
        let deadline = Instant::now() + self.timeout;
        let open = self.open_until(deadline).await?;
        let Way::Cluster(mut cluster) = open.way.clone() else {
            return Err(Failure::strange());
        };
        let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
            host: host.clone(),
            port: *port,
        });
        let answer = cluster.route_command(command.clone(), routing);
        match timeout_at(deadline, answer).await {
            Ok(answer) => answer.and_then(Value::extract_error).map_err(Failure::of),
            Err(_elapsed) => Err(self.give_up(&open)),
        }
    }

    async fn ask_until(
        &self,
        command: &Cmd,
        again: Again,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut asked_node = None;
        let mut losses = 0;
        let mut moves = 0;
        loop {
            // Where there may be a second attempt, a silent connection must not eat up the time for it.
            let until = match again {
                Again::Once if losses == 0 => {
                    deadline - deadline.saturating_duration_since(Instant::now()) / 2
                }
                _ => deadline,
            };
            let failure = match self.ask_once(command, asked_node.take(), until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.kind {
                Kind::Lost if again == Again::Once && losses == 0 => losses += 1,
                // None of these has done anything.
                Kind::Moved | Kind::Asked | Kind::Unsent | Kind::Demoted
                    if self.is_cluster() && moves < MOVES_MAX =>
                {
                    if failure.kind == Kind::Asked {
                        asked_node.clone_from(&failure.node);
                    } else {
                        let pause = sleep(MOVE_PAUSE * 2_u32.pow(moves));
                        if timeout_at(deadline, pause).await.is_err() {
                            return Err(failure);
                        }
                    }
                    moves += 1;
                }
                Kind::Moved | Kind::Asked if !self.is_cluster() => {
                    return Err(Failure::is_cluster());
                }
                _ => return Err(failure),
            }
            if Instant::now() >= deadline {
                return Err(failure);
            }
        }
    }

    async fn ask_once(
        &self,
        command: &Cmd,
        asked_node: Option<(String, u16)>,
        until: Instant,
    ) -> Result<Value, Failure> {
        let open = self.open_until(until).await?;
        let answer = match open.way.clone() {
            Way::Server(mut server) => timeout_at(until, server.req_packed_command(command)).await,
            Way::Cluster(mut cluster) => match asked_node {
                None => timeout_at(until, cluster.req_packed_command(command)).await,
                Some(node) => timeout_at(until, ask_node(&mut cluster, command, node)).await,
            },
        };
        let answer = match answer {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_elapsed) => return Err(self.give_up(&open)),
        };
        answer.map_err(|error| {
            let failure = Failure::of(error);
            // The nodes of a cluster are connected one by one, and the library sees to each.
            if failure.ends_connection() && !self.is_cluster() {
                open.close();
            }
            failure
        })
    }

    /// Nothing came: what is silent now will hardly speak again.
    fn give_up(&self, open: &Open) -> Failure {
        open.close();
        if self.is_cluster() {
            tracing::warn!("a node of the Redis cluster is silent; connecting anew");
        } else {
            tracing::warn!("Redis is silent; connecting anew");
        }
        Failure::silent()
    }

    /// The connection that there is, or a new one. All that wait for one share the attempt.
    async fn open_until(&self, until: Instant) -> Result<Open, Failure> {
        if let Some(open) = self.current() {
            return Ok(open);
        }
        match timeout_at(until, self.open()).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(Failure::unreachable()),
        }
    }

    async fn open(&self) -> Result<Open, Failure> {
        let seen = self.attempts.load(Ordering::Acquire);
        let mut last = self.connecting.lock().await;
        if let Some(open) = self.current() {
            return Ok(open);
        }
        if self.attempts.load(Ordering::Acquire) != seen
            && let Some(failure) = &*last
        {
            return Err(failure.clone());
        }
        let opened = match timeout(self.connect_timeout, self.connect()).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(Failure::unreachable()),
        };
        self.attempts.fetch_add(1, Ordering::AcqRel);
        match opened {
            Ok(open) => {
                *last = None;
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.clone());
                Ok(open)
            }
            Err(failure) => {
                *last = Some(failure.clone());
                Err(failure)
            }
        }
    }

    fn current(&self) -> Option<Open> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(Open::is_closed) {
            *current = None;
        }
        current.clone()
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let is_closed = Arc::new(AtomicBool::new(false));
        let way = match &self.topology {
            Topology::Standalone(info) => Way::Server(connect_to(info.clone(), &is_closed).await?),
            Topology::Sentinel {
                sentinels,
                service,
                server,
            } => Way::Server(
                discovery::connect_to_primary(
                    sentinels,
                    service,
                    server,
                    &is_closed,
                    self.connect_timeout,
                )
                .await?,
            ),
            Topology::Cluster(nodes) => Way::Cluster(self.connect_to_cluster(nodes).await?),
        };
        tracing::debug!(topology = ?self.topology, "connected to Redis");
        Ok(Open { way, is_closed })
    }

    async fn connect_to_cluster(
        &self,
        nodes: &[ConnectionInfo],
    ) -> Result<ClusterConnection, Failure> {
        super::tls::prepare(nodes.first());
        let client = ClusterClientBuilder::new(nodes.to_vec())
            .retries(0)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.timeout)
            .build()
            .map_err(Failure::of)?;
        client.get_async_connection().await.map_err(Failure::of)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("topology", &self.topology)
            .field("is_connected", &self.current().is_some())
            .finish_non_exhaustive()
    }
}

impl Open {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The next call makes a new one. Those that wait for answers on this one go on waiting.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}

/// A connection to one server, which says by `is_closed` when the server has closed it: then nothing is sent into the void.
pub(super) async fn connect_to(
    info: ConnectionInfo,
    is_closed: &Arc<AtomicBool>,
) -> Result<MultiplexedConnection, Failure> {
    super::tls::prepare(Some(&info));
    // Whoever calls this has a deadline of his own for all of it.
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE_LENGTH);
    if info.redis_settings().protocol() == ProtocolVersion::RESP3 {
        let is_closed = Arc::clone(is_closed);
        config = config.set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                is_closed.store(true, Ordering::Release);
            }
            Ok::<(), redis::aio::SendError>(())
        });
    }
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let client = Client::open(info.set_tcp_settings(tcp)).map_err(Failure::of)?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(Failure::of)
}

/// Asks the node that a key is moving to. It answers only right after `ASKING`, on the same connection.
async fn ask_node(
    cluster: &mut ClusterConnection,
    command: &Cmd,
    (host, port): (String, u16),
) -> Result<Value, redis::RedisError> {
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let node = SingleNodeRoutingInfo::ByAddress { host, port };
    let mut answers = cluster.route_pipeline(both, 0, 2, node).await?;
    answers.pop().unwrap_or(Value::Nil).extract_error()
}
