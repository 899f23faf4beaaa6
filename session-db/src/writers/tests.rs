//! What is committed together, and that nobody notices but the disk.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Saved, SessionStore, StoreError, StoreKey, Timestamp,
    Version,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};

use super::TOGETHER_MAX;
use crate::DbStore;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// A store over a pool of one connection, so that a test that has the connection has all writers wait.
struct Bed {
    store: DbStore,
    pool: SqlitePool,
    commits: Arc<AtomicUsize>,
    may_commit: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("sessions"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let commits = Arc::new(AtomicUsize::new(0));
        let may_commit = Arc::new(AtomicBool::new(true));
        let hook = (Arc::clone(&commits), Arc::clone(&may_commit));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .after_connect(move |connection, _| {
                let (commits, may_commit) = hook.clone();
                Box::pin(async move {
                    connection.lock_handle().await?.set_commit_hook(move || {
                        let may_commit = may_commit.load(Ordering::SeqCst);
                        commits.fetch_add(usize::from(may_commit), Ordering::SeqCst);
                        may_commit
                    });
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .unwrap();
        let store = DbStore::new(pool.clone());
        store.migrate().await.unwrap();
        Self {
            store,
            pool,
            commits,
            may_commit,
            _folder: folder,
        }
    }

    async fn create(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Version> {
        let mut versions = Vec::new();
        for number in numbers {
            let new = NewRecord::new(payload("new"), LATER);
            versions.push(self.store.create(&key(number), new, NOW).await.unwrap());
        }
        versions
    }

    /// Has all of `writes` wait for the one connection, in this order, and then lets them go on.
    async fn at_once<T>(&self, writes: Vec<Write<'_, T>>) -> Vec<Result<T, StoreError>> {
        let connection = self.pool.acquire().await.unwrap();
        let mut writes = writes;
        for write in &mut writes {
            begin(write);
        }
        // The task that writes is asking for the connection.
        tokio::task::yield_now().await;
        self.commits.store(0, Ordering::SeqCst);
        drop(connection);
        let mut written = Vec::new();
        for write in writes {
            written.push(write.await);
        }
        written
    }

    fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    async fn text(&self, number: usize) -> String {
        let record = self.store.load(&key(number), NOW).await.unwrap();
        let payload = record.expect("it is there").payload;
        String::from_utf8(payload.to_bytes().unwrap().to_vec()).unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await;
        done.unwrap();
    }
}

type Write<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

fn begin<T>(write: &mut Write<'_, T>) {
    let polled = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(
        matches!(polled, Poll::Pending),
        "nobody waited for the connection"
    );
}

fn key(number: usize) -> StoreKey {
    StoreKey::parse(&format!("{number:040x}")).unwrap()
}

fn payload(text: &'static str) -> Payload {
    Payload::from_bytes(text)
}

fn change(text: &'static str) -> Change {
    Change::new(payload(text), ExpiryChange::Keep)
}

fn save<'a>(
    bed: &'a Bed,
    number: usize,
    version: &'a Version,
    text: &'static str,
) -> Write<'a, Saved> {
    Box::pin(async move {
        bed.store
            .save(&key(number), version, change(text), NOW)
            .await
    })
}

fn is_stored(saved: &Result<Saved, StoreError>) -> bool {
    matches!(saved, Ok(Saved::Stored(_)))
}

#[tokio::test]
async fn writes_that_wait_together_are_committed_together() {
    let bed = Bed::new().await;
    let versions = bed.create(0..TOGETHER_MAX + 1).await;
    let saves = versions.iter().enumerate();
    let saves = saves.map(|(number, version)| save(&bed, number, version, "saved"));
    let saved = bed.at_once(saves.collect()).await;
    assert!(saved.iter().all(is_stored), "{saved:?}");
    assert_eq!(
        bed.commits(),
        2,
        "one commit for as many as one may take, one for the last"
    );
    for number in 0..=TOGETHER_MAX {
        assert_eq!(bed.text(number).await, "saved");
    }
}

#[tokio::test]
async fn among_writers_of_one_session_one_wins() {
    let bed = Bed::new().await;
    let versions = bed.create([0]).await;
    let saves = (0..9)
        .map(|_| save(&bed, 0, &versions[0], "saved"))
        .collect();
    let saved = bed.at_once(saves).await;
    assert!(
        is_stored(&saved[0]),
        "who came first did not win: {saved:?}"
    );
    let conflicts = saved
        .iter()
        .filter(|saved| matches!(saved, Ok(Saved::Conflict)));
    assert_eq!(conflicts.count(), 8, "{saved:?}");
}

#[tokio::test]
async fn one_that_fails_for_itself_leaves_the_others() {
    let bed = Bed::new().await;
    let versions = bed.create(0..3).await;
    let onto_a_live_one: Write<'_, Saved> = Box::pin(async {
        let (from, to) = (key(1), key(2));
        bed.store
            .rotate(&from, &versions[1], &to, change("moved"), NOW)
            .await
    });
    let writes = vec![
        save(&bed, 0, &versions[0], "saved"),
        onto_a_live_one,
        save(&bed, 2, &versions[2], "saved"),
    ];
    let written = bed.at_once(writes).await;
    assert!(
        is_stored(&written[0]) && is_stored(&written[2]),
        "{written:?}"
    );
    assert!(
        matches!(written[1], Err(StoreError::KeyTaken { .. })),
        "{written:?}"
    );
    assert_eq!(bed.text(1).await, "new");
    assert_eq!(bed.text(2).await, "saved");
}

#[tokio::test]
async fn one_that_spoils_the_transaction_spoils_nobodys_write() {
    for action in ["ABORT", "ROLLBACK"] {
        let bed = Bed::new().await;
        let versions = bed.create(0..3).await;
        bed.execute(match action {
            "ABORT" => "CREATE TRIGGER t BEFORE UPDATE ON web_sessions WHEN NEW.payload = x'626164' BEGIN SELECT RAISE(ABORT, 'bad'); END",
            _ => "CREATE TRIGGER t BEFORE UPDATE ON web_sessions WHEN NEW.payload = x'626164' BEGIN SELECT RAISE(ROLLBACK, 'bad'); END",
        })
        .await;
        let writes = vec![
            save(&bed, 0, &versions[0], "saved"),
            save(&bed, 1, &versions[1], "bad"),
            save(&bed, 2, &versions[2], "saved"),
        ];
        let written = bed.at_once(writes).await;
        assert!(
            is_stored(&written[0]) && is_stored(&written[2]),
            "{action}: {written:?}"
        );
        assert!(written[1].is_err(), "{action}: {written:?}");
        for (number, text) in [(0, "saved"), (1, "new"), (2, "saved")] {
            assert_eq!(bed.text(number).await, text, "{action}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_of_it() {
    let bed = Bed::new().await;
    let versions = bed.create(0..3).await;
    bed.may_commit.store(false, Ordering::SeqCst);
    let saves = versions.iter().enumerate();
    let saves = saves.map(|(number, version)| save(&bed, number, version, "saved"));
    let saved = bed.at_once(saves.collect()).await;
    assert!(
        saved.iter().all(Result::is_err),
        "what was not committed was acknowledged: {saved:?}"
    );
    bed.may_commit.store(true, Ordering::SeqCst);
    for (number, version) in versions.iter().enumerate() {
        assert_eq!(bed.text(number).await, "new");
        let saved = save(&bed, number, version, "again").await;
        assert!(
            is_stored(&saved),
            "a commit that failed is in the way of the next: {saved:?}"
        );
    }
}

#[tokio::test]
async fn one_that_is_given_up_before_it_begins_never_happens() {
    let bed = Bed::new().await;
    let versions = bed.create(0..3).await;
    let connection = bed.pool.acquire().await.unwrap();
    let mut saves: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(number, version)| save(&bed, number, version, "saved"))
        .collect();
    saves.iter_mut().for_each(begin);
    drop(saves.remove(1));
    drop(connection);
    for saved in saves {
        assert!(is_stored(&saved.await));
    }
    assert_eq!(bed.text(1).await, "new");
}

#[test]
fn a_runtime_that_ends_leaves_the_queue_to_the_next() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (bed, versions, connection) = first.block_on(async {
        let bed = Arc::new(Bed::new().await);
        let versions = bed.create(0..2).await;
        let connection = bed.pool.acquire().await.unwrap();
        let (waiting, version) = (Arc::clone(&bed), versions[0].clone());
        drop(tokio::spawn(async move {
            save(&waiting, 0, &version, "saved").await.map(drop)
        }));
        // The save waits in the queue, and the task that writes for the connection.
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
        (bed, versions, connection)
    });
    drop(first);
    runtime().block_on(async {
        drop(connection);
        let saved = save(&bed, 1, &versions[1], "saved").await;
        assert!(is_stored(&saved), "{saved:?}");
        assert_eq!(bed.text(0).await, "new");
    });
}

#[test]
fn a_write_while_its_runtime_ends_is_refused() {
    /// Writes when it is dropped.
    struct Last(Arc<Bed>, std::sync::mpsc::Sender<bool>);

    impl Drop for Last {
        fn drop(&mut self) {
            let new = NewRecord::new(payload("new"), LATER);
            let mut write = Box::pin(async { self.0.store.create(&key(0), new, NOW).await });
            let context = &mut Context::from_waker(Waker::noop());
            let polled = write.as_mut().poll(context);
            let is_refused = matches!(polled, Poll::Ready(Err(StoreError::Unavailable { .. })));
            self.1.send(is_refused).unwrap();
        }
    }

    let (tell, told) = std::sync::mpsc::channel();
    // On a thread of its own, which the test need not wait for if it hangs.
    drop(std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let last = Last(Arc::new(Bed::new().await), tell);
            drop(tokio::spawn(async move {
                let _last = last;
                std::future::pending::<()>().await;
            }));
            tokio::task::yield_now().await;
        });
        drop(runtime);
    }));
    let is_refused = told.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(is_refused, Ok(true), "a write hung, or was taken");
}
