//! Redis: one server, a cluster of three, and a primary with a replica under a Sentinel. Each of the servers is started again
//! when a test has killed it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Ground, Place, Service, account, database, free_port, program};
use crate::Result;
use crate::process::StopSignal;

pub(super) const STANDALONE: Service = Service {
    name: "redis",
    prepare: prepare_standalone,
    // It answers only whom it knows, and says so.
    answers: |port| database::answer(port, b"PING\r\n", 7).is_some_and(|said| said == b"-NOAUTH"),
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("redis://:{password}@127.0.0.1:{port}/0")
    },
    variable: "SESSION_TEST_REDIS",
    ..SERVICE
};

pub(super) const CLUSTER: Service = Service {
    name: "redis-cluster",
    prepare: prepare_cluster,
    // The first node does, once all of them agree.
    answers: |port| says(port, "ECHO together", "\r\ntogether\r\n"),
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("redis-cluster://{USER}:{password}@127.0.0.1:{port}")
    },
    variable: "SESSION_TEST_REDIS_CLUSTER",
    ..SERVICE
};

pub(super) const SENTINEL: Service = Service {
    name: "redis-sentinel",
    prepare: prepare_sentinel,
    // It knows the replica.
    answers: |port| says(port, "INFO sentinel", "slaves=1"),
    url: |place| {
        let Place { port, ground, .. } = place;
        let password = &ground.password;
        format!("redis-sentinel://{USER}:{password}@127.0.0.1:{port}/sessions/0")
    },
    variable: "SESSION_TEST_REDIS_SENTINEL",
    ..SERVICE
};

/// What the three have in common.
const SERVICE: Service = Service {
    name: "",
    // The test of TLS makes its certificates with OpenSSL.
    programs: &["redis-server", "redis-cli", "openssl"],
    lacks: || None,
    // Debian's own package starts a server at its installation, if the system lets it; that one is left alone.
    packages: &["redis-server", "openssl"],
    variable: "",
    behind: None,
    prepare: prepare_standalone,
    signal: StopSignal::Terminate,
    answers: |_| false,
    url: |_| String::new(),
};

/// Who may do everything on the servers that tell users apart.
const USER: &str = "sessions";

const SERVERS: &str = include_str!("redis.sh");
const RESTART: &str = include_str!("restart.sh");

/// Nothing is written to disk, so that a restarted server is empty; a test that wants otherwise says `CONFIG SET`.
const SETTINGS: &str = "
bind 127.0.0.1
save \"\"
appendonly no
repl-diskless-sync-delay 0
";

fn prepare_standalone(place: &Place) -> Result<Command> {
    let Place {
        port,
        folder,
        ground: Ground { password, .. },
        ..
    } = place;
    let settings = folder.join("server.conf");
    let text = format!(
        "{SETTINGS}port {port}\nrequirepass {password}\nunixsocket {}\n",
        folder.join("socket").display()
    );
    database::append(&settings, &text)?;
    account::hand_over(folder)?;
    let mut server = account::unprivileged(program::path("redis-server"), folder);
    server.arg(&settings);
    Ok(database::restarted(&server, "TERM"))
}

fn prepare_cluster(place: &Place) -> Result<Command> {
    let ports = [place.port, free_port()?, free_port()?];
    for port in ports {
        let bus = free_port()?;
        let text = format!(
            "{SETTINGS}{}port {port}\ncluster-enabled yes\ncluster-port {bus}\n\
             cluster-config-file nodes.conf\ncluster-node-timeout 1000\n",
            users(&place.ground.password, "+ping"),
        );
        server_in(place, port, &text)?;
    }
    let [first, second, third] = ports;
    // In a shell of its own, which ends when the nodes agree.
    let agree = format!(
        "ask {first} CLUSTER ADDSLOTSRANGE 0 5460\n\
         ask {second} CLUSTER ADDSLOTSRANGE 5461 10922\n\
         ask {third} CLUSTER ADDSLOTSRANGE 10923 16383\n\
         ask {first} CLUSTER SET-CONFIG-EPOCH 1\n\
         ask {second} CLUSTER SET-CONFIG-EPOCH 2\n\
         ask {third} CLUSTER SET-CONFIG-EPOCH 3\n\
         ask {first} CLUSTER MEET 127.0.0.1 {second} $(bus {second})\n\
         ask {first} CLUSTER MEET 127.0.0.1 {third} $(bus {third})\n\
         for port in {first} {second} {third}; do\n\
         until ask $port CLUSTER INFO | grep -q cluster_state:ok; do sleep 0.05; done\n\
         until ask $port CLUSTER INFO | grep -q cluster_known_nodes:3; do sleep 0.05; done\n\
         done\n\
         ask {first} ACL SETUSER default +echo\n"
    );
    servers(place, &ports, &agree)
}

fn prepare_sentinel(place: &Place) -> Result<Command> {
    let Place { port, ground, .. } = place;
    let password = &ground.password;
    let (primary, replica) = (free_port()?, free_port()?);
    for port in [primary, replica] {
        let mut text = format!(
            "{SETTINGS}{}port {port}\nmasteruser {USER}\nmasterauth {password}\n",
            users(password, "+ping"),
        );
        if port == replica {
            text.push_str(&format!("replicaof 127.0.0.1 {primary}\n"));
        }
        server_in(place, port, &text)?;
    }
    let text = format!(
        "bind 127.0.0.1\nport {port}\n\
         sentinel monitor sessions 127.0.0.1 {primary} 1\n\
         sentinel auth-user sessions {USER}\n\
         sentinel auth-pass sessions {password}\n\
         sentinel down-after-milliseconds sessions 500\n\
         sentinel failover-timeout sessions 2000\n"
    );
    server_in(place, *port, &text)?;
    std::fs::File::create(place.folder.join(port.to_string()).join("sentinel"))?;
    account::hand_over(&place.folder)?;
    servers(place, &[primary, replica, *port], ":")
}

/// The users: one for the tests, and one for whoever else comes along.
fn users(password: &str, others_may: &str) -> String {
    format!("user {USER} on >{password} ~* &* +@all\nuser default on nopass -@all {others_may}\n")
}

/// A folder for the server at `port`, with its settings.
fn server_in(place: &Place, port: u16, settings: &str) -> Result<()> {
    let folder = place.folder.join(port.to_string());
    std::fs::create_dir(&folder)?;
    database::append(&folder.join("server.conf"), settings)
}

fn servers(place: &Place, ports: &[u16], agree: &str) -> Result<Command> {
    let folder: &Path = &place.folder;
    account::hand_over(folder)?;
    let mut command = account::unprivileged("sh", folder);
    command
        .args(["-c", SERVERS, "servers"])
        .args([RESTART, agree])
        .args(ports.iter().map(u16::to_string))
        .env("SERVER", program::path("redis-server"))
        .env("CLI", program::path("redis-cli"))
        // Not as an argument, which others can see.
        .env("REDISCLI_AUTH", &place.ground.password);
    Ok(command)
}

/// Whether the server at `port` says `expected` when it is asked `question`.
fn says(port: u16, question: &str, expected: &str) -> bool {
    /// A server that says something else falls silent then, and is asked again.
    const SILENCE_MAX: Duration = Duration::from_millis(200);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.write_all(format!("{question}\r\n").as_bytes())?;
        let mut said = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let length = stream.read(&mut piece)?;
            said.extend_from_slice(piece.get(..length).unwrap_or_default());
            if String::from_utf8_lossy(&said).contains(expected) {
                return Ok(true);
            }
            if length == 0 {
                return Ok(false);
            }
        }
    };
    ask().unwrap_or(false)
}
