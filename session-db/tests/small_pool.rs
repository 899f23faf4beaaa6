//! Many more clients than connections: they wait for each other, lose nothing, and are told so when there is nothing to be had.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use session_core::store::{Saved, SessionStore, Version};
use session_db::{DbPool, DbStore, sqlx};
use support::records::{NOW, assert_unavailable, bounded, change, key, new, text};
use support::{Server, block_on, load, new_table};
use tokio::task::JoinSet;

const CLIENTS: u64 = 64;
const CONNECTIONS: u32 = 4;

/// The session that all write, besides one of each.
const SHARED: u64 = 1_000;

/// So patient that only the tests' own bound ends what hangs.
const FOREVER: Duration = Duration::from_secs(3_600);

/// A store over a small pool, with the clients' sessions in it.
#[cfg(test)]
async fn small(server: &Server, table: &str) -> (DbStore, Vec<Version>) {
    let config = server.config(table);
    let store = config.with_connections_max(CONNECTIONS);
    let store = store.connect(&server.url).await.unwrap();
    store.migrate().await.unwrap();
    let mut versions = Vec::new();
    for number in 0..CLIENTS {
        versions.push(store.create(&key(number), new("0"), NOW).await.unwrap());
    }
    store.create(&key(SHARED), new("0"), NOW).await.unwrap();
    (store, versions)
}

/// Adds one, as often as it takes. Whatever a store answers that can't be: a session is there, and nobody ends it.
#[cfg(test)]
async fn add_one(store: &DbStore, number: u64) {
    loop {
        let record = store.load(&key(number), NOW).await.unwrap();
        let record = record.expect("a wait for a connection was taken for no session");
        let count: u64 = text(&record).parse().unwrap();
        let added = change(&(count + 1).to_string());
        let saved = store.save(&key(number), &record.version, added, NOW).await;
        match saved.unwrap() {
            Saved::Stored(_) => return,
            Saved::Conflict => {}
            other => panic!("a session that nobody ended is {other:?}"),
        }
    }
}

#[test]
fn sixty_four_clients_of_four_connections_lose_nothing() {
    const REQUESTS: u64 = 5;
    for server in Server::all("sixty_four_clients_of_four_connections_lose_nothing") {
        block_on(async {
            let (store, _) = small(&server, &new_table()).await;
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let store = store.clone();
                clients.spawn(async move {
                    for _ in 0..REQUESTS {
                        add_one(&store, number).await;
                    }
                    add_one(&store, SHARED).await;
                });
            }
            clients.join_all().await;
            for number in 0..CLIENTS {
                let record = load(&store, &key(number)).await.expect("nobody ended it");
                assert_eq!(text(&record), REQUESTS.to_string(), "{}", server.name);
            }
            let shared = load(&store, &key(SHARED)).await.expect("nobody ended it");
            assert_eq!(
                text(&shared),
                CLIENTS.to_string(),
                "{}: of the writes to one session some were lost",
                server.name
            );
            assert!(pool_size(&store) <= CONNECTIONS, "{}", server.name);
        });
    }
}

/// Two connections, both kept by the store: whoever is done keeps its own, and somebody waits for it. Clients go away at every
/// moment of a call.
#[test]
fn clients_that_go_away_leave_the_others_their_connections() {
    const TEST: &str = "clients_that_go_away_leave_the_others_their_connections";
    for server in Server::all(TEST) {
        block_on(async {
            let config = server.config(&new_table()).with_timeout(FOREVER);
            let store = config.with_connections_max(2).connect(&server.url).await;
            let store = store.unwrap();
            store.migrate().await.unwrap();
            for number in 0..CLIENTS {
                store.create(&key(number), new("0"), NOW).await.unwrap();
            }
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                let store = store.clone();
                clients.spawn(async move {
                    // Every third stays; the others go after a few steps, of a read or of a write.
                    match number % 3 {
                        0 => add_one(&store, number).await,
                        1 => for_steps(number / 3, load(&store, &key(number))).await,
                        _ => for_steps(number / 3, add_one(&store, number)).await,
                    }
                });
            }
            bounded("a client", clients.join_all()).await;
            for number in (0..CLIENTS).step_by(3) {
                let record = bounded("a load", load(&store, &key(number))).await;
                let record = record.expect("nobody ended it");
                assert_eq!(text(&record), "1", "{}: a write was lost", server.name);
            }
        });
    }
}

#[test]
fn who_comes_after_a_client_that_went_away_gets_no_answer_of_theirs() {
    const TEST: &str = "who_comes_after_a_client_that_went_away_gets_no_answer_of_theirs";
    for server in Server::all(TEST) {
        block_on(async {
            let config = server.config(&new_table()).with_connections_max(1);
            let store = config.connect(&server.url).await.unwrap();
            store.migrate().await.unwrap();
            for number in 0..3 {
                let mine = new(&number.to_string());
                store.create(&key(number), mine, NOW).await.unwrap();
            }
            for steps in 0..12 {
                for_steps(steps, load(&store, &key(0))).await;
                let record = bounded("a load", load(&store, &key(1))).await;
                let record = record.expect("nobody ended it");
                assert_eq!(text(&record), "1", "{}: another's session", server.name);

                for_steps(steps, add_one(&store, 2)).await;
                let record = bounded("a load", load(&store, &key(0))).await;
                let record = record.expect("nobody ended it");
                assert_eq!(text(&record), "0", "{}: another's session", server.name);
                let absent = bounded("a load", load(&store, &key(3))).await;
                assert!(absent.is_none(), "{}: another's session", server.name);
            }
        });
    }
}

#[test]
fn an_application_that_asks_for_the_pool_finds_every_connection_in_it() {
    const TEST: &str = "an_application_that_asks_for_the_pool_finds_every_connection_in_it";
    for server in Server::all(TEST) {
        block_on(async {
            let config = server.config(&new_table()).with_timeout(FOREVER);
            let store = config.with_connections_max(CONNECTIONS);
            let store = store.connect(&server.url).await.unwrap();
            store.migrate().await.unwrap();
            let calls = (0..CLIENTS).map(|number| {
                let store = store.clone();
                async move { load(&store, &key(number)).await }
            });
            let found = calls.collect::<JoinSet<_>>().join_all().await;
            assert!(found.iter().all(Option::is_none), "{}", server.name);

            drop(bounded("a connection", Held::all(&store)).await);
            // And after the store has used them again.
            load(&store, &key(0)).await;
            drop(bounded("a connection", Held::all(&store)).await);
        });
    }
}

/// Goes on with a call for so many steps, and gives it up if it has not ended by then.
#[cfg(test)]
async fn for_steps<T>(steps: u64, call: impl Future<Output = T>) {
    let mut call = pin!(call);
    let mut left = steps;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        let step = call.as_mut().poll(context).map(drop);
        if left == 0 { Poll::Ready(()) } else { step }
    })
    .await;
}

#[test]
fn dos_07_clients_for_whom_there_is_no_connection_are_told_so_and_write_nothing() {
    const TEST: &str =
        "dos_07_clients_for_whom_there_is_no_connection_are_told_so_and_write_nothing";
    for server in Server::all(TEST) {
        block_on(async {
            let table = new_table();
            let (store, versions) = small(&server, &table).await;
            let impatient = server.config(&table);
            let impatient = impatient.with_timeout(Duration::from_millis(200));
            let impatient = impatient.with_pool(store.pool());

            let held = Held::all(&store).await;
            let mut clients = JoinSet::new();
            for (number, version) in (0..).zip(versions.clone()) {
                let store = impatient.clone();
                clients.spawn(async move {
                    let key = key(number);
                    assert_unavailable(store.load(&key, NOW).await.map(drop), "in time");
                    let saved = store.save(&key, &version, change("late"), NOW).await;
                    assert_unavailable(saved, "in time");
                    assert_unavailable(store.delete(&key).await, "in time");
                });
            }
            clients.join_all().await;
            drop(held);

            let mut clients = JoinSet::new();
            for (number, version) in (0..).zip(versions) {
                let store = store.clone();
                clients.spawn(async move {
                    let record = load(&store, &key(number)).await;
                    let record = record.expect("what could not be ended lives");
                    assert_eq!(record.version, version, "what was refused was done");
                    let saved = store
                        .save(&key(number), &version, change("next"), NOW)
                        .await;
                    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
                });
            }
            clients.join_all().await;
        });
    }
}

/// Connections that the application keeps for itself.
#[cfg(test)]
#[expect(
    dead_code,
    reason = "they are held, and given back when this is dropped"
)]
enum Held {
    Sqlite(Vec<sqlx::pool::PoolConnection<sqlx::Sqlite>>),
    Postgres(Vec<sqlx::pool::PoolConnection<sqlx::Postgres>>),
    MariaDb(Vec<sqlx::pool::PoolConnection<sqlx::MySql>>),
}

#[cfg(test)]
impl Held {
    /// All that the store's pool may have.
    async fn all(store: &DbStore) -> Self {
        async fn of<DB: sqlx::Database>(
            pool: sqlx::Pool<DB>,
        ) -> Vec<sqlx::pool::PoolConnection<DB>> {
            let mut all = Vec::new();
            for _ in 0..CONNECTIONS {
                all.push(pool.acquire().await.expect("the server answers"));
            }
            all
        }
        match store.pool() {
            DbPool::Sqlite(pool) => Self::Sqlite(of(pool).await),
            DbPool::Postgres(pool) => Self::Postgres(of(pool).await),
            DbPool::MySql(pool) => Self::MariaDb(of(pool).await),
            other => panic!("{other:?} is new"),
        }
    }
}

#[cfg(test)]
fn pool_size(store: &DbStore) -> u32 {
    match store.pool() {
        DbPool::Sqlite(pool) => pool.size(),
        DbPool::Postgres(pool) => pool.size(),
        DbPool::MySql(pool) => pool.size(),
        other => panic!("{other:?} is new"),
    }
}
