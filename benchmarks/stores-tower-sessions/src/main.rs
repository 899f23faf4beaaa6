//! What a session costs a request with the stores that tower-sessions publishes.

#[path = "../../apps/tower_sessions.rs"]
mod tower_sessions_app;

use harness::{AxumApp, Candidate, Library, Result, runtime};
use tokio::runtime::Runtime;
use tower_sessions::SessionStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

const CANDIDATES: &[Candidate] = &[
    Candidate {
        store: "sqlite",
        library: "tower-sessions",
        make: |place| {
            let runtime = runtime()?;
            let options = SqliteConnectOptions::new()
                .filename(place.folder.join("tower-sessions.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let pool = SqlitePoolOptions::new().test_before_acquire(false);
            let store = SqliteStore::new(runtime.block_on(pool.connect_with(options))?);
            runtime.block_on(store.migrate())?;
            library(runtime, store)
        },
    },
    Candidate {
        store: "postgres",
        library: "tower-sessions",
        make: |place| {
            let runtime = runtime()?;
            let url = place.postgres.as_deref().ok_or("there is no PostgreSQL")?;
            let pool = runtime.block_on(PgPoolOptions::new().connect(url))?;
            let store = PostgresStore::new(pool);
            runtime.block_on(store.migrate())?;
            library(runtime, store)
        },
    },
    Candidate {
        store: "redis",
        library: "tower-sessions",
        make: |place| {
            let runtime = runtime()?;
            let url = place.redis.as_deref().ok_or("there is no Redis")?;
            let pool = Pool::new(Config::from_url(url)?, None, None, None, 6)?;
            let pool = runtime.block_on(async {
                drop(pool.connect());
                pool.wait_for_connect().await?;
                Ok::<_, tower_sessions_redis_store::fred::error::Error>(pool)
            })?;
            library(runtime, RedisStore::new(pool))
        },
    },
];

fn main() -> Result<()> {
    harness::run(CANDIDATES)
}

fn library(runtime: Runtime, store: impl SessionStore + Clone) -> Result<Box<dyn Library>> {
    let app = || tower_sessions_app::app(store);
    Ok(Box::new(AxumApp::new("tower-sessions", runtime, app)))
}
