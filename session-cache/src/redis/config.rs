//! How a Redis is reached: its topology, who this program is to it, and how patient it is.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use session_core::store::StoreError;

use super::RedisCache;
use super::error::NAME;

/// Where a Redis or Valkey is, and how to talk to it.
///
/// ```no_run
/// use std::time::Duration;
/// use session_cache::{CacheStore, RedisCacheConfig};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = RedisCacheConfig::sentinel(["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"], "sessions")?
///     .with_credentials(None, "the servers' password")
///     .with_prefix("shop:session:")?
///     .with_timeout(Duration::from_secs(2))
///     .connect()
///     .await?;
/// let store = CacheStore::new(cache);
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a configuration does nothing until it is connected"]
pub struct RedisCacheConfig {
    topology: Topology,
    prefix: String,
    timeout: Duration,
    connect_timeout: Duration,
}

/// Which servers there are.
#[derive(Clone)]
pub(super) enum Topology {
    Standalone(ConnectionInfo),
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        /// Who this program is to the servers, as opposed to the Sentinels.
        server: RedisConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

/// The longest prefix. Every key has it, so it had better be short.
const PREFIX_BYTES_MAX: usize = 128;

const URL_ADVICE: &str = "write redis://user:password@host:6379/0, rediss:// for TLS or unix:///path/to/socket, with special characters in %XX form";

impl RedisCacheConfig {
    /// One server, at a URL such as `redis://user:password@host:6379/0`; `rediss://` with TLS (feature `tls-rustls`),
    /// `unix:///run/redis.sock?db=0&pass=…` through a socket.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL can't be used. It may hold a password and is not shown.
    pub fn standalone(url: &str) -> Result<Self, StoreError> {
        Ok(Self::new(Topology::Standalone(parse(url)?)))
    }

    /// The primary that these Sentinels know as `service`, and the next one after a failover. The user and password in the
    /// URLs are for the Sentinels; those of the servers are given by [`with_credentials`](Self::with_credentials). With
    /// `rediss://` the servers are spoken to by TLS, too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when there is no URL, or one that can't be used.
    pub fn sentinel<U: AsRef<str>>(
        sentinels: impl IntoIterator<Item = U>,
        service: &str,
    ) -> Result<Self, StoreError> {
        let sentinels = parse_all(sentinels)?;
        if service.is_empty() {
            return Err(misconfigured(
                "name the service as the Sentinels do (sentinel monitor <name> …)",
            ));
        }
        Ok(Self::new(Topology::Sentinel {
            sentinels,
            service: service.to_owned(),
            server: RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3),
        }))
    }

    /// The cluster that these nodes are part of. One is enough; the others are for when that one is down.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when there is no URL, one that can't be used, or several with different users, passwords
    /// or schemes.
    pub fn cluster<U: AsRef<str>>(nodes: impl IntoIterator<Item = U>) -> Result<Self, StoreError> {
        let nodes = parse_all(nodes)?;
        let is_socket =
            |node: &ConnectionInfo| matches!(node.addr(), redis::ConnectionAddr::Unix(_));
        if nodes.iter().any(is_socket) {
            return Err(misconfigured(
                "the nodes of a cluster are reached by host and port",
            ));
        }
        Ok(Self::new(Topology::Cluster(nodes)))
    }

    /// Any of these by one text, as configuration files have it: a URL as for [`standalone`](Self::standalone),
    /// `redis-sentinel://user:password@host:26379,host:26379/service/0` with the user and password of the servers, or
    /// `redis-cluster://user:password@host:6379,host:6379`. With TLS they begin with `rediss`.
    ///
    /// # Errors
    ///
    /// As for the constructor that it stands for.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| misconfigured(URL_ADVICE))?;
        let Some((plain @ ("redis" | "rediss"), topology)) = scheme.split_once('-') else {
            return Self::standalone(url);
        };
        let (credentials, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let at = if credentials.is_empty() { "" } else { "@" };
        match topology {
            "cluster" if path.is_empty() => Self::cluster(
                hosts
                    .split(',')
                    .map(|host| format!("{plain}://{credentials}{at}{host}")),
            ),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, "0"));
                let mut config = Self::sentinel(
                    hosts.split(',').map(|host| format!("{plain}://{host}")),
                    service,
                )?;
                // Any host does: what is wanted is user, password and database.
                let servers = parse(&format!("{plain}://{credentials}{at}localhost/{database}"))?;
                if let Topology::Sentinel { server, .. } = &mut config.topology {
                    *server = servers.redis_settings().clone();
                }
                Ok(config)
            }
            _ => Err(misconfigured(
                "write redis-cluster://host:6379,host:6379 or redis-sentinel://host:26379,host:26379/service",
            )),
        }
    }

    fn new(topology: Topology) -> Self {
        Self {
            topology,
            prefix: "session:".to_owned(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// Who this program is to the servers: a password, and a user if the server has an ACL. In place of those in the URL.
    pub fn with_credentials(mut self, user: Option<&str>, password: &str) -> Self {
        self.with_settings(|settings| {
            let settings = settings.set_password(password);
            match user {
                Some(user) => settings.set_username(user),
                None => settings,
            }
        });
        self
    }

    /// The number of the database on the servers, in place of the one in the URL. A cluster has only 0.
    pub fn with_database(mut self, database: i64) -> Self {
        self.with_settings(|settings| settings.set_db(database));
        self
    }

    fn with_settings(&mut self, change: impl Fn(RedisConnectionInfo) -> RedisConnectionInfo) {
        let changed = |info: &ConnectionInfo| {
            let settings = change(info.redis_settings().clone());
            info.clone().set_redis_settings(settings)
        };
        match &mut self.topology {
            Topology::Standalone(info) => *info = changed(info),
            Topology::Sentinel { server, .. } => *server = change(server.clone()),
            Topology::Cluster(nodes) => {
                for node in nodes {
                    *node = changed(node);
                }
            }
        }
    }

    /// What every key begins with: `session:` by default. Two applications on one server need two of them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when it is longer than 128 bytes, or holds anything but letters, digits and `:._-/`. A brace
    /// would put all keys onto one node of a cluster.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, StoreError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b":._-/".contains(&byte);
        if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(is_fit) {
            return Err(misconfigured(
                "a prefix of keys has at most 128 letters, digits and :._-/",
            ));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// How long a call may take, a new connection included, before it is
    /// [`StoreError::Unavailable`]. 5 seconds by default, as the manager's own bound.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one attempt to connect may take, at most the timeout of the call that waits for it. 5 seconds by default.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// A cache that connects when it is first used.
    #[must_use]
    pub fn build(self) -> RedisCache {
        RedisCache::of(self)
    }

    /// A cache that is connected.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no server can be reached, [`StoreError::Misconfigured`] when it does not let this
    /// program in.
    ///
    /// # Cancel safety
    ///
    /// A connection that was made is closed.
    pub async fn connect(self) -> Result<RedisCache, StoreError> {
        let cache = self.build();
        cache.ping().await?;
        Ok(cache)
    }

    #[cfg(feature = "django")]
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn into_parts(self) -> (Topology, String, Duration, Duration) {
        let Self {
            topology,
            prefix,
            timeout,
            connect_timeout,
        } = self;
        (topology, prefix, timeout, connect_timeout)
    }
}

impl fmt::Debug for RedisCacheConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCacheConfig")
            .field("topology", &self.topology)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// Addresses may be shown; users, passwords and URLs are not.
impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standalone(_) => f.write_str("Standalone(…)"),
            Self::Sentinel { sentinels, .. } => write!(f, "Sentinel({})", sentinels.len()),
            Self::Cluster(nodes) => write!(f, "Cluster({})", nodes.len()),
        }
    }
}

fn parse_all<U: AsRef<str>>(
    urls: impl IntoIterator<Item = U>,
) -> Result<Vec<ConnectionInfo>, StoreError> {
    let all: Vec<ConnectionInfo> = urls
        .into_iter()
        .map(|url| parse(url.as_ref()))
        .collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err(misconfigured("give at least one URL"));
    }
    Ok(all)
}

fn parse(url: &str) -> Result<ConnectionInfo, StoreError> {
    if url.starts_with("rediss:") && !cfg!(feature = "tls-rustls") {
        return Err(misconfigured(
            "rediss:// is TLS: enable the feature `tls-rustls` of session-cache",
        ));
    }
    // The library's error may quote the URL, with its password.
    let info = url
        .into_connection_info()
        .map_err(|_may_quote| misconfigured(URL_ADVICE))?;
    if url.contains("protocol=") {
        return Ok(info);
    }
    let settings = info.redis_settings().clone();
    Ok(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3)))
}

fn misconfigured(advice: &'static str) -> StoreError {
    StoreError::misconfigured(NAME, advice, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(config: Result<RedisCacheConfig, StoreError>) -> String {
        match config {
            Err(StoreError::Misconfigured { advice, .. }) => advice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_text_names_every_topology() {
        for (url, expected) in [
            ("redis://localhost", "Standalone"),
            ("redis://user:p%40ss@[::1]:6380/3", "Standalone"),
            ("unix:///run/redis.sock?db=1", "Standalone"),
            (
                "redis-cluster://:secret@10.0.0.1:6379,10.0.0.2",
                "Cluster(2)",
            ),
            (
                "redis-sentinel://u:secret@10.0.0.1,10.0.0.2,10.0.0.3/main/2",
                "Sentinel(3)",
            ),
        ] {
            let config = RedisCacheConfig::from_url(url).expect("a URL of the documentation");
            let shown = format!("{config:?}");
            assert!(shown.contains(expected), "{url} became {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
        let config =
            RedisCacheConfig::from_url("redis-sentinel://u:secret@10.0.0.1/main/2").unwrap();
        let Topology::Sentinel {
            sentinels,
            service,
            server,
        } = config.topology
        else {
            panic!("a Sentinel's URL became something else");
        };
        assert_eq!(service, "main");
        assert_eq!(
            (server.username(), server.password(), server.db()),
            (Some("u"), Some("secret"), 2)
        );
        assert_eq!(
            sentinels[0].redis_settings().password(),
            None,
            "the Sentinel was given the servers' password"
        );
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for url in [
            "",
            "secret",
            "http://secret",
            "redis://:secret@host:notaport",
            "redis-cluster://",
            "redis-cluster://host/0",
        ] {
            let text = advice(RedisCacheConfig::from_url(url));
            assert!(text.contains("redis"), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(advice(RedisCacheConfig::sentinel(["redis://host"], "")).contains("service"));
        assert!(advice(RedisCacheConfig::cluster(["unix:///x"])).contains("host and port"));
        assert!(advice(RedisCacheConfig::cluster(<[&str; 0]>::default())).contains("at least one"));
    }

    #[cfg(not(feature = "tls-rustls"))]
    #[test]
    fn tls_that_was_not_compiled_in_names_the_feature() {
        assert!(advice(RedisCacheConfig::from_url("rediss://host")).contains("tls-rustls"));
        assert!(advice(RedisCacheConfig::from_url("rediss-cluster://host")).contains("tls-rustls"));
    }

    #[test]
    fn in_03_a_prefix_that_would_pin_all_keys_to_one_node_is_refused() {
        let with = |prefix: &str| {
            RedisCacheConfig::standalone("redis://host")
                .unwrap()
                .with_prefix(prefix)
        };
        for prefix in ["", "shop.eu/session-1:", &"p".repeat(128)] {
            drop(with(prefix).expect("a prefix that is fit"));
        }
        for prefix in ["{shop}:", "a b", "é", "a\n", "*", &"p".repeat(129)] {
            assert!(
                advice(with(prefix)).contains("prefix"),
                "{prefix:?} was taken"
            );
        }
    }
}
