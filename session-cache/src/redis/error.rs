//! What of Redis' errors may be shown, and what each means for the caller: codes, never a server's own text.

use std::borrow::Cow;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use session_core::store::StoreError;

/// The name in every error.
pub(super) const NAME: &str = "Redis";

const IS_CLUSTER: &str = "this server is part of a cluster; use the constructor for a cluster, or a URL redis-cluster://";

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connection broke or went silent: what was asked may have happened.
    Lost,
    /// It could not be sent, and has not happened.
    Unsent,
    /// The server answered that it can't right now, and has done nothing.
    Refused,
    /// The server takes no writes, and has done nothing: there may be another primary by now.
    Demoted,
    /// Another node of the cluster has the key. The server has done nothing.
    Moved,
    /// The key is on its way to another node of the cluster, which is to be asked. The server has done nothing.
    Asked,
    /// The server does not know the script, and has done nothing.
    NoScript,
    /// Something else than a slot is kept under the key.
    WrongType,
    /// Not set up; the advice says what to do. The server has done nothing.
    NotSetUp,
    /// Anything else.
    Other,
}

/// An error without the server's or the library's text, which may quote what was sent.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    code: Option<String>,
    advice: Cow<'static, str>,
    /// The node to ask instead.
    pub(super) node: Option<(String, u16)>,
}

impl Failure {
    pub(super) fn new(kind: Kind, advice: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            code: None,
            advice: advice.into(),
            node: None,
        }
    }

    /// Nothing came within the time that was given.
    pub(super) fn silent() -> Self {
        Self::new(
            Kind::Lost,
            "nothing was answered in time; is the server overloaded, or the network down?",
        )
    }

    /// No connection was made within the time that was given.
    pub(super) fn unreachable() -> Self {
        Self::new(
            Kind::Unsent,
            "no connection was made in time; is the server running, and does the network reach it?",
        )
    }

    /// The server has passed us on to another, as nodes of a cluster do.
    pub(super) fn is_cluster() -> Self {
        Self::new(Kind::NotSetUp, IS_CLUSTER)
    }

    /// The answer is none that this code could mean.
    pub(super) fn strange() -> Self {
        Self::new(
            Kind::Other,
            "the answer is of no known shape; is something between this program and Redis that changes it?",
        )
    }

    /// Sorts an error of the library. The only place that looks into one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the library's error must not live on beside what may be shown of it"
    )]
    pub(super) fn of(error: RedisError) -> Self {
        let code = error.code().map(str::to_owned);
        let (kind, advice) = match error.kind() {
            ErrorKind::Server(kind) => sort_answer(kind, error.detail().unwrap_or_default()),
            ErrorKind::Extension => sort_code(code.as_deref().unwrap_or_default()),
            kind => sort_own(kind),
        };
        let node = error
            .redirect_node()
            .and_then(|(node, _slot)| parse_node(node));
        Self {
            kind,
            code: code.filter(|code| is_code(code)).or_else(|| {
                let refused = error.is_connection_refusal();
                refused.then(|| "connection refused".to_owned())
            }),
            advice: advice.into(),
            node,
        }
    }

    /// Whether the connection is of no more use.
    pub(super) const fn ends_connection(&self) -> bool {
        matches!(self.kind, Kind::Lost | Kind::Demoted)
    }

    pub(super) fn into_error(self, operation: &'static str) -> StoreError {
        match self.kind {
            Kind::Lost
            | Kind::Unsent
            | Kind::Refused
            | Kind::Demoted
            | Kind::Moved
            | Kind::Asked
            | Kind::NoScript => StoreError::unavailable(NAME, operation, self),
            Kind::WrongType => StoreError::damaged(NAME, self),
            Kind::NotSetUp => {
                let advice = self.advice.to_string();
                StoreError::misconfigured(NAME, advice, Some(self.into()))
            }
            Kind::Other => StoreError::failed(NAME, operation, self),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.advice),
            None => f.write_str(&self.advice),
        }
    }
}

impl std::error::Error for Failure {}

fn sort_answer(kind: ServerErrorKind, detail: &str) -> (Kind, &'static str) {
    match kind {
        ServerErrorKind::ResponseError => sort_text(detail),
        known => sort_code(code_of(known)),
    }
}

/// The codes that have a kind of their own in the library.
const fn code_of(kind: ServerErrorKind) -> &'static str {
    match kind {
        ServerErrorKind::BusyLoading => "LOADING",
        ServerErrorKind::NoScript => "NOSCRIPT",
        ServerErrorKind::Moved => "MOVED",
        ServerErrorKind::Ask => "ASK",
        ServerErrorKind::TryAgain => "TRYAGAIN",
        ServerErrorKind::ClusterDown => "CLUSTERDOWN",
        ServerErrorKind::CrossSlot => "CROSSSLOT",
        ServerErrorKind::MasterDown => "MASTERDOWN",
        ServerErrorKind::ReadOnly => "READONLY",
        ServerErrorKind::NoPerm => "NOPERM",
        _ => "ERR",
    }
}

/// Redis 6 wraps what a command within a script answers into the text of an error without a code of its own.
fn sort_text(text: &str) -> (Kind, &'static str) {
    const CODES: [&str; 5] = ["READONLY", "OOM", "MISCONF", "NOREPLICAS", "MASTERDOWN"];
    let is_in = |code: &&&str| text.contains(&format!("-{code} "));
    if let Some(code) = CODES.iter().find(is_in) {
        return sort_code(code);
    }
    if text.contains("max number of clients") {
        return (
            Kind::Refused,
            "the server has as many clients as it takes; raise its maxclients",
        );
    }
    if text.contains("DB index is out of range") {
        return (
            Kind::NotSetUp,
            "the server has no database of this number; look at the URL",
        );
    }
    if text.contains("AUTH") && text.contains("password") {
        return (
            Kind::NotSetUp,
            "the URL has a password, and the server knows of none; remove it or set the server's requirepass",
        );
    }
    if text.contains("cluster support disabled") {
        return (
            Kind::NotSetUp,
            "this server is not part of a cluster; use the constructor for a standalone server, or a URL redis://",
        );
    }
    (
        Kind::Other,
        "the server could not run the command; the release notes say which versions of Redis are supported",
    )
}

fn sort_code(code: &str) -> (Kind, &'static str) {
    match code {
        "BUSY" => (
            Kind::Refused,
            "a script of somebody else keeps the server busy",
        ),
        "LOADING" => (Kind::Refused, "the server is starting and reads its data"),
        "MASTERDOWN" => (Kind::Demoted, "this is a replica that has lost its primary"),
        "READONLY" => (
            Kind::Demoted,
            "this server is a replica, which takes no writes; the primary is being looked for",
        ),
        "CLUSTERDOWN" => (
            Kind::Refused,
            "the cluster has lost a part; see CLUSTER INFO",
        ),
        "TRYAGAIN" => (Kind::Refused, "the cluster is moving keys"),
        "MOVED" => (Kind::Moved, "the cluster has moved the key"),
        "ASK" => (Kind::Asked, "the cluster is moving the key"),
        "OOM" => (
            Kind::Refused,
            "the server's memory is full, and its policy is to evict nothing; raise maxmemory",
        ),
        "NOREPLICAS" => (
            Kind::Refused,
            "fewer replicas follow than min-replicas-to-write asks for",
        ),
        "MISCONF" => (
            Kind::Refused,
            "the server can't save its data to disk and takes no writes; is the disk full?",
        ),
        "UNKILLABLE" | "UNBLOCKED" => (Kind::Refused, "the server was told to give up"),
        "NOSCRIPT" => (Kind::NoScript, "the server does not know the script"),
        "WRONGTYPE" => (
            Kind::WrongType,
            "something else than a session is kept under its key; does another program use the same prefix?",
        ),
        "NOAUTH" => (
            Kind::NotSetUp,
            "the server asks for a password; put it into the URL: redis://:password@host",
        ),
        "WRONGPASS" => (
            Kind::NotSetUp,
            "the server does not know this user or password; look at the URL",
        ),
        "NOPERM" => (
            Kind::NotSetUp,
            "the server's user may not do this; grant it +@read +@write +@scripting +@connection on the prefix's keys",
        ),
        "CROSSSLOT" => (Kind::NotSetUp, IS_CLUSTER),
        _ => sort_text(""),
    }
}

fn sort_own(kind: ErrorKind) -> (Kind, &'static str) {
    match kind {
        ErrorKind::AuthenticationFailed => (
            Kind::NotSetUp,
            "the server did not accept user and password; look at the URL",
        ),
        ErrorKind::InvalidClientConfig => (
            Kind::NotSetUp,
            "the connection's options can't be used; look at the URL",
        ),
        ErrorKind::RESP3NotSupported => (
            Kind::NotSetUp,
            "the server does not speak RESP3, which Redis does since 6.0; add ?protocol=resp2 to the URL if it is something else",
        ),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => (
            Kind::Lost,
            "what was answered is not the protocol of Redis; the connection was given up",
        ),
        ErrorKind::ClusterConnectionNotFound => (
            Kind::Unsent,
            "no node of the cluster that should have the key can be reached",
        ),
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::EmptySentinelList => {
            (Kind::Refused, "no Sentinel knows a primary")
        }
        _ => (
            Kind::Lost,
            "the connection broke; is the server running, and does the network reach it?",
        ),
    }
}

fn is_code(code: &str) -> bool {
    (1..=32).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A host and a port, as clusters write them.
pub(super) fn parse_node(node: &str) -> Option<(String, u16)> {
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Failure {
        let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes());
        let error = value
            .and_then(redis::Value::extract_error)
            .expect_err("an answer with a minus is an error");
        Failure::of(error)
    }

    #[test]
    fn fail_04_every_answer_that_says_later_is_unavailable() {
        for text in [
            "BUSY Redis is busy running a script",
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down",
            "CLUSTERDOWN The cluster is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "MOVED 3999 127.0.0.1:6381",
            "ASK 3999 127.0.0.1:6381",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOSCRIPT No matching script. Please use EVAL.",
            "ERR max number of clients reached",
            "ERR Error running script (call to f_abc): @user_script:1: @user_script: 1: -READONLY You can't write",
            "ERR Error running script (call to f_abc): @user_script:1: @user_script: 1: -OOM command not allowed",
        ] {
            let error = answer(text).into_error("load");
            assert!(
                matches!(error, StoreError::Unavailable { .. }),
                "{text} became {error:?}"
            );
        }
    }

    #[test]
    fn what_an_operator_must_change_is_misconfigured_and_says_what() {
        for (text, advice) in [
            ("NOAUTH Authentication required.", "password"),
            ("WRONGPASS invalid username-password pair", "URL"),
            ("NOPERM this user has no permissions", "grant"),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                "cluster",
            ),
            ("ERR DB index is out of range", "database"),
        ] {
            let error = answer(text).into_error("load");
            let StoreError::Misconfigured { advice: found, .. } = &error else {
                panic!("{text} became {error:?}");
            };
            assert!(found.contains(advice), "{text} is answered with: {found}");
        }
    }

    #[test]
    fn a_key_of_another_type_is_damaged() {
        let error = answer("WRONGTYPE Operation against a key").into_error("load");
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    }

    #[test]
    fn leak_01_nothing_that_the_server_says_is_shown_but_its_code() {
        for code in ["ERR", "OOM", "canaryCODE", "MOVED 1"] {
            let failure = answer(&format!("{code} canary of a key"));
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn a_redirection_says_which_node_to_ask() {
        let failure = answer("ASK 3999 ::1:6381");
        assert_eq!(failure.kind, Kind::Asked);
        assert_eq!(failure.node, Some(("::1".to_owned(), 6381)));
    }
}
