//! Which server is the primary now: what the Sentinels say, and what the server itself says.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{
    ConnectionAddr, ConnectionInfo, FromRedisValue as _, ProtocolVersion, RedisConnectionInfo,
    Value,
};
use tokio::time::timeout;

use super::error::{Failure, Kind};
use super::link::connect_to;

/// Asks one Sentinel after the other, and gives a connection to the server that one of them knows as the primary, provided that
/// the server agrees. Right after a failover a Sentinel may still name the old one.
pub(super) async fn connect_to_primary(
    sentinels: &[ConnectionInfo],
    service: &str,
    server: &RedisConnectionInfo,
    is_closed: &Arc<AtomicBool>,
    time: Duration,
) -> Result<MultiplexedConnection, Failure> {
    let mut last = Failure::new(Kind::Refused, "there is no Sentinel to ask");
    // A Sentinel that is silent must leave time for the others.
    let share = time / u32::try_from(sentinels.len()).unwrap_or(u32::MAX).max(1);
    for sentinel in sentinels {
        let asked = timeout(share, async {
            let address = ask_sentinel(sentinel, service).await?;
            let info = server_at(address, sentinel, server)?;
            let mut connection = connect_to(info, is_closed).await?;
            let role = connection
                .req_packed_command(&redis::cmd("ROLE"))
                .await
                .map_err(Failure::of)?;
            if is_primary(&role) {
                Ok(connection)
            } else {
                Err(Failure::new(
                    Kind::Demoted,
                    "the server that the Sentinel names is not the primary, or not any more",
                ))
            }
        });
        match asked.await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => last = failure,
            Err(_elapsed) => last = Failure::unreachable(),
        }
    }
    Err(last)
}

async fn ask_sentinel(sentinel: &ConnectionInfo, service: &str) -> Result<(String, u16), Failure> {
    let unused = Arc::new(AtomicBool::new(false));
    // A Sentinel has no databases, and for one question no need of RESP3.
    let settings = sentinel
        .redis_settings()
        .clone()
        .set_db(0)
        .set_protocol(ProtocolVersion::RESP2);
    let sentinel = sentinel.clone().set_redis_settings(settings);
    let mut connection = connect_to(sentinel, &unused).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(service);
    let answer = connection
        .req_packed_command(&question)
        .await
        .map_err(Failure::of)?;
    let address = Option::<(String, u16)>::from_redis_value(answer)
        .map_err(|_other_shape| Failure::strange())?;
    address.ok_or_else(|| {
        Failure::new(
            Kind::NotSetUp,
            "the Sentinel does not know a service of this name; see `sentinel monitor` in its configuration",
        )
    })
}

/// The server by TLS if the Sentinel was.
fn server_at(
    (host, port): (String, u16),
    sentinel: &ConnectionInfo,
    server: &RedisConnectionInfo,
) -> Result<ConnectionInfo, Failure> {
    let addr = match sentinel.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    let info = redis::IntoConnectionInfo::into_connection_info(addr).map_err(Failure::of)?;
    Ok(info.set_redis_settings(server.clone()))
}

fn is_primary(role: &Value) -> bool {
    let Value::Array(parts) = role else {
        return false;
    };
    match parts.first() {
        Some(Value::BulkString(name)) => name == b"master",
        Some(Value::SimpleString(name)) => name == "master",
        _ => false,
    }
}
