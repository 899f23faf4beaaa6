//! The task that clears what has expired: it works, survives trouble, and stops when it is told to. And batches: all of
//! them, with progress after each, by as many cleaners as like, and what an operator sees of it.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(test)]
mod support;

/// What an operator sees: the spans of runs that are told apart by a span around them, and the number of removed records.
#[cfg(test)]
mod operator {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, LazyLock, Mutex};

    use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder};
    use metrics::{SharedString, Unit};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
    use tracing_subscriber::registry::{LookupSpan, Registry};

    use crate::support::records::bounded;

    pub(crate) type Fields = BTreeMap<&'static str, String>;

    /// The name of the span around a run that is looked at.
    pub(crate) const WATCHED: &str = "watched";

    static CLOSED: LazyLock<Mutex<Vec<Fields>>> = LazyLock::new(Mutex::default);

    struct Spans;

    struct Reader<'a>(&'a mut Fields);

    impl Visit for Reader<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let text = format!("{value:?}").trim_matches('"').to_owned();
            self.0.insert(field.name(), text);
        }
    }

    impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            let span = context.span(id).expect("it is new");
            let is_watched = span.parent().is_some_and(|span| span.name() == WATCHED);
            if attributes.metadata().target() == "session_core::store" && is_watched {
                let mut fields = Fields::new();
                attributes.record(&mut Reader(&mut fields));
                span.extensions_mut().insert(fields);
            }
        }

        fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
            let span = context.span(id).expect("it is open");
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                values.record(&mut Reader(fields));
            }
        }

        fn on_close(&self, id: Id, context: Context<'_, S>) {
            let span = context.span(&id).expect("it is still known");
            if let Some(fields) = span.extensions_mut().remove::<Fields>() {
                CLOSED.lock().expect("nothing panics under it").push(fields);
            }
        }
    }

    /// Listens from now on.
    pub(crate) fn listen() {
        let subscriber = Registry::default().with(Spans);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    }

    /// The watched spans that ended since the last look: at least one, for which this waits. A run that was given up ends
    /// with the statement that is under way.
    pub(crate) async fn spans() -> Vec<Fields> {
        bounded("a run", async {
            loop {
                let closed = std::mem::take(&mut *CLOSED.lock().expect("nothing panics under it"));
                if !closed.is_empty() {
                    return closed;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Adds up what is counted as removed.
    #[derive(Clone, Default)]
    pub(crate) struct Purged(Arc<AtomicU64>);

    impl Purged {
        pub(crate) fn so_far(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl CounterFn for Purged {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Ordering::SeqCst);
        }

        fn absolute(&self, _: u64) {
            unreachable!("counters only go up");
        }
    }

    impl Recorder for Purged {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            match key.name() {
                "session.purged" => Counter::from_arc(Arc::new(self.clone())),
                _ => Counter::noop(),
            }
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
}

use std::time::Duration;

use session_core::store::{NewRecord, Page, Payload, SessionStore, StoreScan, Timestamp};
use session_db::{DbPool, DbStore, sqlx};
use support::records::{LATER, NOW, bounded, key, new};
use support::{Server, block_on, load, new_table};
use tracing::Instrument as _;

use operator::{Purged, WATCHED};

/// A record that expired long ago by any clock.
#[cfg(test)]
async fn create_expired(store: &DbStore, number: u64) {
    let new = NewRecord::new(Payload::from_bytes("old"), Timestamp::from_secs(1_000));
    let created = store
        .create(&key(number), new, Timestamp::from_secs(500))
        .await;
    created.expect("a new key");
}

/// Three batches that have expired at [`LATER`].
#[cfg(test)]
async fn create_1_500_expired(store: &DbStore) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6_u64 {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..250 {
                let key = key(1_000 * writer + number);
                store.create(&key, new("old"), NOW).await.unwrap();
            }
        });
    }
    writers.join_all().await;
}

#[cfg(test)]
async fn rows(store: &DbStore) -> usize {
    store.page(Page::first(10_000)).await.expect("a page").len()
}

#[cfg(test)]
async fn until_rows(store: &DbStore, expected: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while rows(store).await != expected {
        assert!(
            std::time::Instant::now() < deadline,
            "what has expired is not cleared"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
async fn execute(store: &DbStore, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    let done = match store.pool() {
        DbPool::Sqlite(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::Postgres(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        DbPool::MySql(pool) => sqlx::raw_sql(sql).execute(&pool).await.map(drop),
        other => panic!("{other:?} is new"),
    };
    done.expect("the test's own SQL is fine");
}

#[test]
fn the_task_clears_survives_trouble_and_stops() {
    for server in Server::all("the_task_clears_survives_trouble_and_stops") {
        block_on(async {
            let table = new_table();
            let store = server.store_in(&table).await;
            store.create(&key(1), new("living"), NOW).await.unwrap();
            create_expired(&store, 2).await;
            let task = store.spawn_clear_expired(Duration::from_millis(20));
            until_rows(&store, 1).await;

            // The table is away for a while, and the task does not end over it.
            execute(
                &store,
                &format!("ALTER TABLE {table} RENAME TO {table}_away"),
            )
            .await;
            let missing = store.load(&key(1), NOW).await;
            assert!(missing.is_err(), "the table is away");
            tokio::time::sleep(Duration::from_millis(100)).await;
            execute(
                &store,
                &format!("ALTER TABLE {table}_away RENAME TO {table}"),
            )
            .await;
            create_expired(&store, 3).await;
            until_rows(&store, 1).await;

            task.stop().await;
            create_expired(&store, 4).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(rows(&store).await, 2, "{}: it goes on", server.name);

            let dropped = store.spawn_clear_expired(Duration::from_secs(1_000_000));
            drop(dropped);
            assert_eq!(rows(&store).await, 2);
        });
    }
}

#[test]
fn dos_08_more_than_a_batch_is_cleared_in_several_with_progress_after_each() {
    const TEST: &str = "dos_08_more_than_a_batch_is_cleared_in_several_with_progress_after_each";
    for server in Server::all(TEST) {
        block_on(async {
            let store = server.store().await;
            create_1_500_expired(&store).await;
            let mut reports = Vec::new();
            let cleared = store
                .clear_expired(LATER, &mut |total| reports.push(total))
                .await;
            assert_eq!(cleared.unwrap(), 1_500, "{}", server.name);
            // At first a few, and then as many as the database does in a moment, but never more than 500.
            assert_eq!(reports[0], 50, "{}", server.name);
            assert_eq!(reports.last(), Some(&1_500), "{}", server.name);
            let steps = reports.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(steps.max() <= Some(500), "{}: {reports:?}", server.name);
            assert_eq!(rows(&store).await, 0, "{}", server.name);
        });
    }
}

#[test]
fn two_cleaners_at_once_share_the_work_and_spare_what_lives() {
    for server in Server::all("two_cleaners_at_once_share_the_work_and_spare_what_lives") {
        block_on(async {
            let table = new_table();
            let (one, other) = (server.store_in(&table).await, server.store_in(&table).await);
            create_1_500_expired(&one).await;
            let mut living = new("living");
            living.expires_at = Timestamp::from_secs(LATER.as_secs() + 1);
            one.create(&key(9_999), living, NOW).await.unwrap();
            let (mut ignore, mut ignore_too) = (|_| {}, |_| {});
            let (by_one, by_other) = tokio::join!(
                one.clear_expired(LATER, &mut ignore),
                other.clear_expired(LATER, &mut ignore_too),
            );
            let removed = by_one.unwrap() + by_other.unwrap();
            assert_eq!(removed, 1_500, "{}: counted wrongly", server.name);
            assert!(
                load(&one, &key(9_999)).await.is_some(),
                "{}: a session that lives was cleared",
                server.name
            );
            assert_eq!(rows(&one).await, 1, "{}", server.name);
        });
    }
}

#[test]
fn what_an_interrupted_cleaner_left_the_next_one_clears() {
    for server in Server::all("what_an_interrupted_cleaner_left_the_next_one_clears") {
        block_on(async {
            let store = server.store().await;
            create_1_500_expired(&store).await;
            let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
            let first = {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut tell = |total| told.send(total).unwrap_or_default();
                    store.clear_expired(LATER, &mut tell).await
                })
            };
            let reported = bounded("the first batch", hears.recv()).await;
            assert_eq!(reported, Some(50), "{}", server.name);
            // It rests, or is at its second batch, which the database then does to its end.
            first.abort();
            drop(first.await);
            let removed = store.clear_expired(LATER, &mut |_| {}).await.unwrap();
            assert!(
                (1..=1_450).contains(&removed),
                "{}: {removed} were left to the next one",
                server.name
            );
            assert_eq!(rows(&store).await, 0, "{}: some were left", server.name);
        });
    }
}

/// The connection of a store that has one, out of its hands until it is dropped.
#[cfg(test)]
async fn the_connection(store: &DbStore) -> Box<dyn Send> {
    match store.pool() {
        DbPool::Sqlite(pool) => Box::new(pool.acquire().await.unwrap()),
        DbPool::Postgres(pool) => Box::new(pool.acquire().await.unwrap()),
        DbPool::MySql(pool) => Box::new(pool.acquire().await.unwrap()),
        other => panic!("{other:?} is new"),
    }
}

#[test]
fn an_operator_sees_each_run_and_how_many_records_it_removed() {
    const TEST: &str = "an_operator_sees_each_run_and_how_many_records_it_removed";
    const KINDS: [(&str, &str); 3] = [
        ("sqlite", "sqlite"),
        ("postgres", "postgresql"),
        ("mariadb", "mysql"),
    ];
    operator::listen();
    for server in Server::all(TEST) {
        let kind = KINDS.iter().find(|(name, _)| *name == server.name);
        let system = kind.expect("it is one of the three").1;
        let told = async |outcome: &str, rows: &str| {
            let spans = operator::spans().await;
            let [span] = &spans[..] else {
                panic!("{system}: a run must be one span: {spans:?}");
            };
            assert_eq!(span["db.system.name"], system);
            assert_eq!(span["db.operation.name"], "clear_expired");
            assert_eq!(span["outcome"], outcome, "{system}");
            assert_eq!(span["rows"], rows, "{system}");
            let seconds: f64 = span["duration_seconds"].parse().expect("a number");
            assert!(seconds >= 0.0, "{system}: it took {seconds} s");
            assert_eq!(
                span.len(),
                5,
                "{system}: it says more than it may: {span:?}"
            );
        };
        let watch = || tracing::info_span!(WATCHED);
        let purged = Purged::default();
        metrics::with_local_recorder(&purged, || {
            block_on(async {
                let table = new_table();
                let config = server.config(&table).with_connections_max(1);
                let store = config.connect(&server.url).await.unwrap();
                store.migrate().await.unwrap();
                create_1_500_expired(&store).await;
                let cleared = store
                    .clear_expired(LATER, &mut |_| {})
                    .instrument(watch())
                    .await;
                assert_eq!(cleared.unwrap(), 1_500, "{system}");
                told("ok", "1500").await;
                assert_eq!(purged.so_far(), 1_500, "{system}: session.purged");

                create_expired(&store, 1).await;
                let connection = the_connection(&store).await;
                let mut halting = Box::pin(
                    async { store.clear_expired(NOW, &mut |_| {}).await }.instrument(watch()),
                );
                tokio::select! {
                    biased;
                    _ = &mut halting => panic!("{system}: it needs the connection"),
                    () = std::future::ready(()) => {}
                }
                drop(halting);
                told("given_up", "0").await;
                drop(connection);

                execute(&store, &format!("DROP TABLE {table}")).await;
                let failed = store
                    .clear_expired(NOW, &mut |_| {})
                    .instrument(watch())
                    .await;
                assert!(failed.is_err(), "{system}: there is no table");
                told("misconfigured", "0").await;
                assert_eq!(purged.so_far(), 1_500, "{system}: what did not happen");
            });
        });
    }
}
