//! Every operation, cut short at each of its steps: what is left must be the state before or the state after.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::store::{
    Change, ExpiryChange, NewRecord, Page, Payload, Saved, SessionStore, StoreError, StoreKey,
    StoreScan, Timestamp, Version,
};

use crate::publish::{Publisher, Step};
use crate::{FileStore, SyncPolicy, claim};

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const AN_HOUR_ON: Timestamp = Timestamp::from_secs(1_900_003_600);
const SOON: Timestamp = Timestamp::from_secs(1_900_010_000);
const LATER: Timestamp = Timestamp::from_secs(1_900_100_000);

/// The steps that a publisher has done, and what becomes of the next ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    done: Arc<Mutex<Vec<Step>>>,
    fate: Fate,
}

/// What happens to a program after some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Lives,
    /// It dies: nothing more is done.
    DiesAfter(usize),
    /// The disk fails it once, and it goes on.
    FailsAfter(usize),
}

impl Steps {
    pub(crate) fn take(&self, step: Step) -> io::Result<()> {
        let mut done = self.done.lock().unwrap();
        let refused = match self.fate {
            Fate::Lives => false,
            Fate::DiesAfter(steps) => done.len() >= steps,
            Fate::FailsAfter(steps) => done.len() == steps,
        };
        if !refused || matches!(self.fate, Fate::FailsAfter(_)) {
            done.push(step);
        }
        if refused {
            Err(io::Error::other("the disk is gone"))
        } else {
            Ok(())
        }
    }
}

/// Opens the folder for a program with this fate.
fn mortal(folder: &Path, sync: SyncPolicy, fate: Fate) -> (FileStore, Steps) {
    let steps = Steps {
        fate,
        ..Steps::default()
    };
    let publisher = Publisher::mortal(sync, steps.clone());
    let opened = claim::open(folder, SyncPolicy::Never).unwrap();
    let store = FileStore::new(opened, publisher, Duration::from_secs(5));
    (store, steps)
}

fn key(text: &str) -> StoreKey {
    StoreKey::parse(text).unwrap()
}

fn record(payload: &'static str) -> NewRecord {
    NewRecord::new(Payload::from_bytes(payload), SOON)
}

fn change(payload: &'static str) -> Change {
    Change::new(Payload::from_bytes(payload), ExpiryChange::Keep)
}

type Alive = [Option<(String, Timestamp)>; 2];

/// What is alive at the two keys of every case: payload and expiry.
async fn alive(store: &FileStore) -> Alive {
    let mut found = [None, None];
    for (found, name) in found.iter_mut().zip(["a1", "b1"]) {
        *found = store.load(&key(name), NOW).await.unwrap().map(|record| {
            let bytes = record.payload.to_bytes().unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            (text, record.expires_at)
        });
    }
    found
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;
type Operation = for<'a> fn(&'a FileStore, &'a Version) -> Doing<'a>;

fn stored(saved: Result<Saved, StoreError>) -> Result<(), StoreError> {
    assert!(matches!(saved?, Saved::Stored(_)));
    Ok(())
}

/// Runs an operation on a folder with one session: whole, then cut short at each step, then with an error of the disk at
/// each. Gives the steps of the whole.
async fn cut_everywhere(sync: SyncPolicy, operation: Operation) -> Vec<Step> {
    let (whole, steps) = run(sync, operation, Fate::Lives, None).await;
    for step in 0..steps.len() {
        run(sync, operation, Fate::DiesAfter(step), Some(&whole)).await;
        run(sync, operation, Fate::FailsAfter(step), Some(&whole)).await;
    }
    steps
}

/// Runs an operation on a folder with one session, and compares what is left with what the operation does when it is whole.
async fn run(
    sync: SyncPolicy,
    operation: Operation,
    fate: Fate,
    whole: Option<&Alive>,
) -> (Alive, Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let (fine, _) = mortal(folder.path(), sync, Fate::Lives);
    let version = fine.create(&key("a1"), record("old"), NOW).await.unwrap();
    let before = alive(&fine).await;
    let (store, steps) = mortal(folder.path(), sync, fate);
    let answer = operation(&store, &version).await;
    let after = alive(&fine).await;
    let done = steps.done.lock().unwrap().clone();
    let context = format!("{fate:?}, {done:?}: {after:?}");

    let whole = whole.unwrap_or(&after);
    assert!(*whole != before, "nothing was done");
    assert!(after == before || after == *whole, "half done, {context}");
    assert!(answer.is_err() || after == *whole, "not done, {context}");
    if matches!(fate, Fate::FailsAfter(_)) && after == before {
        let left = files(folder.path());
        assert_eq!(left, 1, "what did not happen left something, {context}");
    }
    // Clearing up changes nothing that can be seen, and leaves nothing that can't.
    for now in [NOW, AN_HOUR_ON] {
        let cleared = fine.clear_expired(now, &mut |_| {}).await.unwrap();
        assert_eq!(cleared, 0, "a living session was cleared, {context}");
        assert!(alive(&fine).await == after, "clearing changed, {context}");
    }
    let kept = fine.page(Page::first(9)).await.unwrap().len();
    assert_eq!(files(folder.path()), kept, "left for ever, {context}");
    (after, done)
}

fn files(folder: &Path) -> usize {
    let mut files = 0;
    for shard in std::fs::read_dir(folder.join("records")).unwrap() {
        files += std::fs::read_dir(shard.unwrap().path()).unwrap().count();
    }
    files
}

const SYNCED: [Step; 4] = [Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder];
/// Over a file that is there: the two change places, and the old one is removed.
const UNSYNCED: [Step; 3] = [Step::Write, Step::Rename, Step::Remove];

#[tokio::test]
async fn a_save_is_the_old_record_or_the_new_one() {
    let save: Operation = |store, version| {
        Box::pin(async { stored(store.save(&key("a1"), version, change("new"), NOW).await) })
    };
    assert_eq!(cut_everywhere(SyncPolicy::EveryWrite, save).await, SYNCED);
    let unsynced = cut_everywhere(SyncPolicy::Never, save).await;
    assert_eq!(unsynced, UNSYNCED);
}

#[tokio::test]
async fn a_touch_is_the_old_expiry_or_the_new_one() {
    let touch: Operation =
        |store, _| Box::pin(async { store.touch(&key("a1"), LATER, NOW).await.map(drop) });
    assert_eq!(cut_everywhere(SyncPolicy::EveryWrite, touch).await, SYNCED);
    assert_eq!(cut_everywhere(SyncPolicy::Never, touch).await, UNSYNCED);
}

#[tokio::test]
async fn a_new_record_is_there_or_not() {
    let create: Operation =
        |store, _| Box::pin(async { store.create(&key("b1"), record("new"), NOW).await.map(drop) });
    let steps = cut_everywhere(SyncPolicy::EveryWrite, create).await;
    assert_eq!(
        steps,
        [&[Step::MakeShard, Step::SyncFolder], &SYNCED[..]].concat()
    );
}

#[tokio::test]
async fn a_deletion_is_done_or_not() {
    let delete: Operation = |store, _| Box::pin(async { store.delete(&key("a1")).await.map(drop) });
    let steps = cut_everywhere(SyncPolicy::EveryWrite, delete).await;
    assert_eq!(steps, [Step::Remove, Step::SyncFolder]);
}

#[tokio::test]
async fn rot_04_a_rotation_leaves_one_key_alive_wherever_it_is_cut() {
    let rotate: Operation = |store, version| {
        Box::pin(async {
            let (from, to) = (key("a1"), key("b1"));
            stored(store.rotate(&from, version, &to, change("new"), NOW).await)
        })
    };
    let steps = cut_everywhere(SyncPolicy::EveryWrite, rotate).await;
    let first = [Step::MakeShard, Step::SyncFolder];
    assert_eq!(
        steps,
        [&first, &SYNCED[..], &SYNCED, &[Step::SetState]].concat()
    );
    let unsynced = cut_everywhere(SyncPolicy::Never, rotate).await;
    assert_eq!(
        unsynced,
        [
            &[Step::MakeShard, Step::Write, Step::Rename],
            &UNSYNCED[..],
            &[Step::SetState]
        ]
        .concat()
    );
}

#[tokio::test]
async fn a_note_of_a_rotation_goes_after_the_record_has_settled_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, steps) = mortal(folder.path(), SyncPolicy::EveryWrite, Fate::Lives);
    let (from, to) = (key("a1"), key("b1"));
    let version = store.create(&from, record("old"), NOW).await.unwrap();
    let all_but_one = 2 + 2 * SYNCED.len();
    let (dying, _) = mortal(
        folder.path(),
        SyncPolicy::EveryWrite,
        Fate::DiesAfter(all_but_one),
    );
    let rotated = dying.rotate(&from, &version, &to, change("new"), NOW).await;
    assert!(
        matches!(rotated, Ok(Saved::Stored(_))),
        "the last step may fail: {rotated:?}"
    );
    steps.done.lock().unwrap().clear();
    store.clear_expired(AN_HOUR_ON, &mut |_| {}).await.unwrap();
    assert_eq!(
        *steps.done.lock().unwrap(),
        [Step::SetState, Step::SyncFile, Step::Remove]
    );
}
