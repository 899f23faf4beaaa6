//! Writers that are killed: what they do and say, and what their parent then checks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use session_core::store::{Saved, SessionStore, StoreKey};
use session_file::{FileStore, FileStoreConfig, SyncPolicy};

use super::{NOW, change, key, load, new, text, this_test_as};

pub(crate) const TEST: &str = "killed_writers_lose_nothing_that_they_acknowledged";
pub(crate) const WRITERS: u64 = 8;
/// Counters that one writer has to itself; all are in one shard, so that a stuck lock would stop everybody.
pub(crate) const COUNTERS: u64 = 3;

/// How many kills: all of them with `SESSION_TEST_FULL=1`.
pub(crate) fn kills() -> u32 {
    match std::env::var("SESSION_TEST_FULL") {
        Ok(full) if full == "1" => 200,
        _ => 12,
    }
}

/// What a counter's record says. The length differs from save to save, and what is torn does not read like this.
pub(crate) fn counted(count: u64) -> String {
    let unit = format!("{count};");
    unit.repeat(1 + usize::try_from(count * 37 % 1_500).unwrap_or(0))
}

pub(crate) fn count(text: &str) -> u64 {
    let count = text.split(';').next().and_then(|unit| unit.parse().ok());
    let count = count.unwrap_or(u64::MAX);
    assert_eq!(text, counted(count), "a record is torn");
    count
}

pub(crate) fn counter(writer: u64, number: u64) -> StoreKey {
    key("4a", writer * 1_000 + number)
}

pub(crate) fn shared() -> StoreKey {
    key("4a", 999_999)
}

/// Where a writer's session is after `turn` rotations.
pub(crate) fn rotating(writer: u64, turn: u64) -> StoreKey {
    let shard = if turn.is_multiple_of(2) { "90" } else { "10" };
    key(shard, writer * 1_000_000 + turn)
}

/// A small generator of numbers, from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Tells the seed when the test fails.
pub(crate) struct Seed(pub(crate) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(writeln!(std::io::stderr(), "the seed was {}", self.0));
        }
    }
}

pub(crate) fn acknowledge(line: &str) {
    // One write: a line that the parent sees in part was not said.
    let line = format!("{line}\n");
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .expect("the parent listens");
    stdout.flush().expect("the parent listens");
}

/// In a child: writes and acknowledges until it is killed.
pub(crate) async fn write(role: &str) {
    let mut parts = role
        .split(' ')
        .map(|part| part.parse::<u64>().expect("a number"));
    let mut next = || parts.next().expect("writer and turn");
    let (writer, mut turn) = (next(), next());
    let folder = std::env::var_os("SESSION_FILE_TEST_FOLDER").expect("the parent names it");
    let sync = match writer % 2 {
        0 => SyncPolicy::Never,
        _ => SyncPolicy::EveryWrite,
    };
    let config = FileStoreConfig::new(folder).with_sync(sync);
    let store = config.open().expect("the folder is fine");
    acknowledge("\nstarted");
    for round in 0_u64.. {
        increment(&store, &counter(writer, round % COUNTERS), "own").await;
        increment(&store, &shared(), "shared").await;

        let (from, to) = (rotating(writer, turn), rotating(writer, turn + 1));
        let record = load(&store, &from).await.expect("it is where it was");
        let text = text(&record);
        acknowledge(&format!("rotating {turn}"));
        let rotated = store.rotate(&from, &record.version, &to, change(&text), NOW);
        assert!(
            matches!(rotated.await, Ok(Saved::Stored(_))),
            "nobody else rotates it"
        );
        turn += 1;
        acknowledge(&format!("rotated {turn}"));

        let short = key("4a", writer * 1_000 + 500);
        store
            .create(&short, new("x"), NOW)
            .await
            .expect("it was ended");
        let ended = store.delete(&short).await.expect("the disk is fine");
        assert!(ended, "nobody else ends it");
        acknowledge("ended");
    }
}

pub(crate) async fn increment(store: &FileStore, key: &StoreKey, whose: &str) {
    loop {
        let record = load(store, key).await.expect("it is never ended");
        let next = count(&text(&record)) + 1;
        let saved = store
            .save(key, &record.version, change(&counted(next)), NOW)
            .await;
        match saved.expect("nothing is wrong with the disk, and no lock is stuck") {
            Saved::Stored(_) => return acknowledge(&format!("{whose} {} {next}", key.as_str())),
            Saved::Conflict => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A child as the parent sees it.
pub(crate) struct Writer {
    pub(crate) number: u64,
    child: Child,
    lines: Receiver<String>,
    pub(crate) heard: Heard,
}

/// What a child has acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    own: HashMap<String, u64>,
    shared: u64,
    turn: u64,
    rotating: bool,
    ended: bool,
}

impl Heard {
    pub(crate) fn line(&mut self, line: &str) {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        match next() {
            "own" => {
                let key = next().to_owned();
                self.own.insert(key, next().parse().unwrap_or(u64::MAX));
                self.ended = false;
            }
            "shared" => {
                next();
                self.shared = next().parse().unwrap_or(u64::MAX);
            }
            "rotating" => self.rotating = true,
            "rotated" => {
                self.rotating = false;
                self.turn = next().parse().unwrap_or(u64::MAX);
            }
            "ended" => self.ended = true,
            _ => {}
        }
    }

    /// Whether all that it acknowledged is there. Gives its session's turn.
    pub(crate) async fn check(&self, number: u64, store: &FileStore) -> u64 {
        for (key, acknowledged) in &self.own {
            let key = StoreKey::parse(key).expect("the child wrote a key");
            let record = load(store, &key)
                .await
                .expect("an acknowledged save is gone");
            let found = count(&text(&record));
            assert!(
                (*acknowledged..=acknowledged + 1).contains(&found),
                "save {acknowledged} was acknowledged, and {found} is there"
            );
            // Its lock is free at once, and the record can be written.
            let change = change(&counted(found));
            let saved = store.save(&key, &record.version, change, NOW).await;
            assert!(
                matches!(saved, Ok(Saved::Stored(_))),
                "the record is stuck: {saved:?}"
            );
        }
        let record = load(store, &shared()).await.expect("it is never ended");
        assert!(
            count(&text(&record)) >= self.shared,
            "an acknowledged save was lost"
        );

        let (here, there) = (rotating(number, self.turn), rotating(number, self.turn + 1));
        let (here, there) = (load(store, &here).await, load(store, &there).await);
        if self.turn > 0 {
            let before = load(store, &rotating(number, self.turn - 1)).await;
            assert!(before.is_none(), "an old key lives after its rotation");
        }
        let has_moved = there.is_some();
        assert!(
            here.is_some() != has_moved,
            "not exactly one key is alive: {self:?}"
        );
        assert!(!has_moved || self.rotating, "it rotated before it tried");

        let short = key("4a", number * 1_000 + 500);
        if load(store, &short).await.is_some() {
            assert!(!self.ended, "a session that was ended is back");
            store.delete(&short).await.expect("no lock is stuck");
        }
        self.turn + u64::from(has_moved)
    }
}

impl Writer {
    pub(crate) fn start(folder: &Path, number: u64, turn: u64) -> Self {
        let mut child = this_test_as(TEST, &format!("{number} {turn}"));
        child.env("SESSION_FILE_TEST_FOLDER", folder);
        child.stdout(Stdio::piped());
        let mut child = child.spawn().expect("a child");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut stdout = stdout;
            let mut line = String::new();
            // A line without its end was not said.
            while stdout.read_line(&mut line).is_ok_and(|len| len > 0) && line.ends_with('\n') {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let heard = Heard {
            turn,
            ..Heard::default()
        };
        let mut writer = Self {
            number,
            child,
            lines,
            heard,
        };
        while writer.hear() != "started" {}
        writer
    }

    pub(crate) fn hear(&mut self) -> String {
        let line = self.lines.recv();
        let line = line.expect("a writer failed by itself: see above");
        self.heard.line(&line);
        line
    }

    /// Kills it with SIGKILL, and takes in what it had still said.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        let status = self.child.wait().expect("it is ours");
        assert!(
            !status.success() && status.code().is_none(),
            "it failed by itself: {status}"
        );
        while let Ok(line) = self.lines.recv() {
            self.heard.line(&line);
        }
    }
}
