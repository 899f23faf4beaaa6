//! What is measured: which programs, of whom, how often, and how much of it.

use super::load::MEMORY;
use super::tables::{ACTIX, LEAST, OURS, OURS_ACTIX};

pub(super) const IN_PROCESS: &str = "in-process";
/// These need servers: their names, the libraries in them that are put under load, and those that are tested with races.
pub(super) const STORES: [(&str, &[&str], &[&str]); 2] = [
    (
        STORES_OF_OURS,
        &[OURS, "axum_session", OURS_ACTIX, ACTIX],
        &[OURS, "axum_session"],
    ),
    (
        "stores-tower-sessions",
        &["tower-sessions"],
        &["tower-sessions"],
    ),
];
pub(super) const STORES_OF_OURS: &str = "stores";

/// The variables by which these get the URLs of servers, and those servers' names.
pub(super) const SERVERS: [(&str, &str); 3] = [
    ("BENCH_MARIADB", "mariadb"),
    ("BENCH_POSTGRES", "postgres"),
    ("BENCH_REDIS", "redis"),
];

/// The libraries of the program in this process, and what has a program of its own beside it.
pub(super) const LIBRARIES: [&str; 6] = [
    OURS,
    "tower-sessions",
    "axum_session",
    OURS_ACTIX,
    ACTIX,
    LEAST,
];

/// Those of them that are put under load, with the stores that stand for memory.
pub(super) const SERVED: [(&str, &str); 5] = [
    (OURS, MEMORY),
    ("tower-sessions", MEMORY),
    ("axum_session", MEMORY),
    (OURS_ACTIX, MEMORY),
    (ACTIX, "cookie"),
];

/// Those of them that are tested with races.
pub(super) const JUDGED: [&str; 3] = [OURS, "tower-sessions", "axum_session"];

/// Packages whose versions a reader wants to know.
pub(super) const NAMED: [&str; 14] = [
    "actix-session",
    "actix-web",
    "axum",
    "axum_session",
    "axum_session_redispool",
    "axum_session_sqlx",
    "fred",
    "redis",
    "session-http",
    "sqlx",
    "tokio",
    "tower-sessions",
    "tower-sessions-redis-store",
    "tower-sessions-sqlx-store",
];

/// Batches of each scenario: for a look, and for a report.
pub(super) const BATCHES_QUICK: usize = 5;
pub(super) const BATCHES: usize = 60;
pub(super) const STORE_BATCHES: usize = 20;

/// Rounds in which each server has its turns, and how often each visitor asks in a slice of one.
pub(super) const LOAD_QUICK: (usize, usize) = (3, 25);
pub(super) const LOAD: (usize, usize) = (15, 100);

/// Where growth is measured, in how many rounds, and at how many sessions.
pub(super) const GROWING: [&str; 6] = ["memory", "file", "sqlite", "postgres", "mariadb", "redis"];
pub(super) const GROWTH_ROUNDS: usize = 60;
pub(super) const SIZES: [u64; 3] = [1000, 10_000, 100_000];
pub(super) const SIZE_FULL: u64 = 1_000_000;
/// A file takes a block of the disk, and long to remove: no more than these without `--full`.
pub(super) const FILES_MAX: u64 = 10_000;

/// Where many clients meet on one session, and how many nodes can share it.
pub(super) const CONTENDED: [(&str, &[u64]); 7] = [
    ("memory", &[1]),
    ("file", &[1, 2]),
    ("sqlite", &[1, 2]),
    ("postgres", &[1, 2]),
    ("mariadb", &[1, 2]),
    ("redis", &[1, 2]),
    ("cached", &[1, 2]),
];
