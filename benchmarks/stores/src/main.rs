//! What a session costs a request whose session is kept outside this process: ours and its peers, each with its own stores,
//! beside the least that a store's client does.
//!
//! It can be asked what all benchmark programs can, `growth STORE ROUNDS SIZE...`, and `contention STORE NODES`. MariaDB is that
//! of the variable `BENCH_MARIADB`.

#[path = "../../apps/actix_app.rs"]
mod actix_app;
#[path = "../../apps/actix_session.rs"]
mod actix_session_app;
#[path = "../../apps/axum_session.rs"]
mod axum_session_app;
#[path = "../../apps/ours.rs"]
mod ours;
#[path = "../../apps/ours_actix.rs"]
mod ours_actix;
mod backends;
mod contention;
mod growth;
mod primitives;

use actix_session::storage::RedisSessionStore;
use actix_web::cookie::Key;
use axum_session::{DatabasePool, SessionConfig, SessionStore};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::{SessionPgPool, SessionSqlitePool};
use harness::{AxumApp, Candidate, Library, Place, Result, runtime};
use redis_pool::SingleRedisPool;
use session_cache::RedisStore;
use session_db::DbStore;
use session_db::sqlx::postgres::PgPoolOptions;
use session_db::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use session_file::FileStore;
use session_http::{SessionLayer, SessionManager};
use tokio::runtime::Runtime;

const CANDIDATES: &[Candidate] = &[
    Candidate {
        store: "file",
        library: "primitive",
        make: primitives::file,
    },
    Candidate {
        store: "file",
        library: "ours",
        make: |place| our_app(runtime()?, FileStore::open(place.folder.join("sessions"))?),
    },
    Candidate {
        store: "sqlite",
        library: "primitive",
        make: primitives::sqlite,
    },
    Candidate {
        store: "sqlite",
        library: "ours",
        make: |place| {
            let file = place.folder.join("ours.db");
            our_database(&format!("sqlite:{}", file.display()))
        },
    },
    Candidate {
        store: "sqlite",
        library: "axum_session",
        make: |place| {
            let runtime = runtime()?;
            let options = SqliteConnectOptions::new()
                .filename(place.folder.join("axum_session.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let pool = SqlitePoolOptions::new().test_before_acquire(false);
            let pool = runtime.block_on(pool.connect_with(options))?;
            axum_session_app(runtime, SessionSqlitePool::from(pool))
        },
    },
    Candidate {
        store: "postgres",
        library: "primitive",
        make: primitives::postgres,
    },
    Candidate {
        store: "postgres",
        library: "ours",
        make: |place| our_database(postgres(place)?),
    },
    Candidate {
        store: "postgres",
        library: "axum_session",
        make: |place| {
            let runtime = runtime()?;
            let pool = PgPoolOptions::new().connect(postgres(place)?);
            let pool = runtime.block_on(pool)?;
            axum_session_app(runtime, SessionPgPool::from(pool))
        },
    },
    Candidate {
        store: "redis",
        library: "primitive",
        make: primitives::redis,
    },
    Candidate {
        store: "redis",
        library: "ours",
        make: |place| {
            let runtime = runtime()?;
            let store = runtime.block_on(RedisStore::connect(redis_url(place)?))?;
            our_app(runtime, store)
        },
    },
    Candidate {
        store: "redis",
        library: "axum_session",
        make: |place| {
            let client = redis::Client::open(redis_url(place)?)?;
            let pool = SingleRedisPool::from(client);
            axum_session_app(runtime()?, SessionRedisPool::from(pool))
        },
    },
    Candidate {
        store: "redis",
        library: "ours-actix",
        make: |place| {
            let runtime = runtime()?;
            let store = runtime.block_on(RedisStore::connect(redis_url(place)?))?;
            let layer = SessionLayer::new(store);
            let routes = move || ours_actix::routes(layer.clone());
            let holds_large = true;
            Ok(actix_app::library(
                "ours-actix",
                routes,
                holds_large,
                runtime,
            ))
        },
    },
    Candidate {
        store: "redis",
        library: "actix-session",
        make: |place| {
            let runtime = runtime()?;
            let store = runtime.block_on(RedisSessionStore::new(redis_url(place)?));
            let store = store.map_err(|error| error.to_string())?;
            let key = Key::generate();
            let routes = move || actix_session_app::routes(store.clone(), &key);
            let holds_large = true;
            Ok(actix_app::library(
                "actix-session",
                routes,
                holds_large,
                runtime,
            ))
        },
    },
];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [growth, store, rounds, sizes @ ..] if growth == "growth" => {
            let sizes = sizes.iter().map(|size| size.parse());
            let sizes: std::result::Result<Vec<usize>, _> = sizes.collect();
            growth::run(store, rounds.parse()?, &sizes?)
        }
        [contention, store, nodes] if contention == "contention" => {
            contention::run(store, nodes.parse()?)
        }
        _ => harness::run(CANDIDATES),
    }
}

fn our_app(runtime: Runtime, store: impl Into<SessionManager>) -> Result<Box<dyn Library>> {
    let app = || ours::app(store);
    Ok(Box::new(AxumApp::new("ours", runtime, app)))
}

fn our_database(url: &str) -> Result<Box<dyn Library>> {
    let runtime = runtime()?;
    let store = runtime.block_on(async {
        let store = DbStore::connect(url).await?;
        store.migrate().await?;
        Ok::<_, session_db::Error>(store)
    })?;
    our_app(runtime, store)
}

fn axum_session_app<P>(runtime: Runtime, pool: P) -> Result<Box<dyn Library>>
where
    P: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static,
{
    let config = SessionConfig::default();
    let store = runtime.block_on(SessionStore::new(Some(pool), config))?;
    let app = || axum_session_app::app(store);
    Ok(Box::new(AxumApp::new("axum_session", runtime, app)))
}

fn postgres(place: &Place) -> Result<&str> {
    Ok(place.postgres.as_deref().ok_or("there is no PostgreSQL")?)
}

fn mariadb(place: &Place) -> Result<&str> {
    Ok(place.mariadb.as_deref().ok_or("there is no MariaDB")?)
}

fn redis_url(place: &Place) -> Result<&str> {
    Ok(place.redis.as_deref().ok_or("there is no Redis")?)
}
