//! The least that each store's client does for a read: through the client and the pool that our own store uses.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use harness::{Library, Place, Primitive, Result, runtime};
use redis::aio::MultiplexedConnection;
use session_db::sqlx::{PgPool, SqlitePool, query, query_scalar};
use session_db::{DbPool, DbStore};

use crate::{postgres as postgres_url, redis_url};

/// The bytes of a small session.
const PAYLOAD: &[u8] = &[b'x'; 125];

/// One hop to a thread that may block: open, read, close.
pub(crate) fn file(place: &Place) -> Result<Box<dyn Library>> {
    let path = place.folder.join("primitive");
    File::create(&path)?.write_all(PAYLOAD)?;
    let path = Arc::new(path);
    Ok(Box::new(Primitive::new(
        "primitive",
        runtime()?,
        move || {
            let path = Arc::clone(&path);
            async move {
                let read = tokio::task::spawn_blocking(move || {
                    let mut bytes = Vec::with_capacity(PAYLOAD.len() + 1);
                    File::open(path.as_path())?.read_to_end(&mut bytes)?;
                    Ok::<_, std::io::Error>(bytes)
                });
                is_whole(read.await??.len())
            }
        },
    )))
}

/// A point query by a prepared statement.
pub(crate) fn sqlite(place: &Place) -> Result<Box<dyn Library>> {
    let runtime = runtime()?;
    let url = format!("sqlite:{}", place.folder.join("primitive.db").display());
    let DbPool::Sqlite(pool) = runtime.block_on(DbStore::connect(&url))?.pool() else {
        return Err("this is not SQLite".into());
    };
    runtime.block_on(fill_sqlite(&pool))?;
    Ok(Box::new(Primitive::new("primitive", runtime, move || {
        let pool = pool.clone();
        async move {
            let read = query_scalar::<_, Vec<u8>>("SELECT payload FROM point WHERE name = $1");
            is_whole(read.bind("one").fetch_one(&pool).await?.len())
        }
    })))
}

/// A point query by a prepared statement.
pub(crate) fn postgres(place: &Place) -> Result<Box<dyn Library>> {
    let runtime = runtime()?;
    let store = runtime.block_on(DbStore::connect(postgres_url(place)?))?;
    let DbPool::Postgres(pool) = store.pool() else {
        return Err("this is not PostgreSQL".into());
    };
    runtime.block_on(fill_postgres(&pool))?;
    Ok(Box::new(Primitive::new("primitive", runtime, move || {
        let pool = pool.clone();
        async move {
            let read = query_scalar::<_, Vec<u8>>("SELECT payload FROM point WHERE name = $1");
            is_whole(read.bind("one").fetch_one(&pool).await?.len())
        }
    })))
}

/// `GET`.
pub(crate) fn redis(place: &Place) -> Result<Box<dyn Library>> {
    let runtime = runtime()?;
    let client = redis::Client::open(redis_url(place)?)?;
    let mut connection = runtime.block_on(client.get_multiplexed_async_connection())?;
    let mut set = redis::cmd("SET");
    set.arg("primitive").arg(PAYLOAD);
    runtime.block_on(set.exec_async(&mut connection))?;
    Ok(Box::new(Primitive::new("primitive", runtime, move || {
        get(connection.clone())
    })))
}

async fn get(mut connection: MultiplexedConnection) -> Result<()> {
    let mut get = redis::cmd("GET");
    get.arg("primitive");
    let bytes: Vec<u8> = get.query_async(&mut connection).await?;
    is_whole(bytes.len())
}

async fn fill_sqlite(pool: &SqlitePool) -> Result<()> {
    query("CREATE TABLE IF NOT EXISTS point (name TEXT PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID")
        .execute(pool)
        .await?;
    query("INSERT INTO point VALUES ('one', $1) ON CONFLICT DO NOTHING")
        .bind(PAYLOAD)
        .execute(pool)
        .await?;
    Ok(())
}

async fn fill_postgres(pool: &PgPool) -> Result<()> {
    query("CREATE TABLE IF NOT EXISTS point (name TEXT PRIMARY KEY, payload BYTEA NOT NULL)")
        .execute(pool)
        .await?;
    query("INSERT INTO point VALUES ('one', $1) ON CONFLICT DO NOTHING")
        .bind(PAYLOAD)
        .execute(pool)
        .await?;
    Ok(())
}

fn is_whole(length: usize) -> Result<()> {
    if length == PAYLOAD.len() {
        Ok(())
    } else {
        Err("what was stored did not come back".into())
    }
}
