//! A move from one store to another, while both are used.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::store::{
    Change, ExpiryChange, Payload, Saved, SessionStore, StoreKey, Timestamp,
};

use crate::support::{
    Ended, Kind, Site, key, lives, logged_in, long_ago, now, sessions, shown, started, tool,
};
use crate::writers::{assert_same, visit};

const DIRECTIONS: [(Kind, Kind); 2] = [(Kind::Sqlite, Kind::File), (Kind::File, Kind::Sqlite)];

/// A move under way.
struct Move {
    from: Site,
    to: Site,
    journal: String,
}

impl Move {
    fn new((from, to): (Kind, Kind)) -> Self {
        let (from, to) = (Site::migrated(from), Site::migrated(to));
        let journal = to.folder().join("journal").display().to_string();
        Self { from, to, journal }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec![
            "copy",
            &self.from.named,
            &self.to.named,
            "--journal",
            &self.journal,
        ];
        arguments.extend(more);
        arguments
    }

    #[track_caller]
    fn copy(&self, more: &[&str]) -> Ended {
        sessions(&[&self.arguments(more)[..], &["--json"]].concat())
    }
}

/// Changes a record as an application's request does.
async fn change(store: &dyn SessionStore, key: &StoreKey, payload: &'static str) {
    let record = store.load(key, now()).await.unwrap().expect("it lives");
    let change = Change::of(&record, Payload::from_bytes(payload), ExpiryChange::Keep);
    let saved = store
        .save(key, &record.version, change, now())
        .await
        .unwrap();
    assert!(matches!(saved, Saved::Stored(_)), "{saved:?}");
}

async fn payload(store: &dyn SessionStore, key: &StoreKey) -> Option<String> {
    let record = store.load(key, now()).await.unwrap()?;
    let bytes = record.payload.to_bytes().unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn everything_arrives_as_it_was_and_a_second_copy_has_nothing_to_do() {
    for direction in DIRECTIONS {
        let moving = Move::new(direction);
        let manager = moving.from.manager().await;
        let session = logged_in(&manager, "ada", "Zürich").await;
        let store = moving.from.store().await;
        for n in 0..220 {
            store
                .create(&key(n), lives(500, &format!("of {n}")), now())
                .await
                .unwrap();
        }
        store
            .create(&key(1_000), lives(-100, "dead"), long_ago())
            .await
            .unwrap();

        let dry = moving.copy(&["--dry-run"]).with(3).json();
        assert_eq!(dry["left_to_do"]["created"], 221);
        assert!(
            moving.to.records().await.is_empty(),
            "a dry run has written"
        );
        assert!(
            !std::path::Path::new(&moving.journal).exists(),
            "a dry run has begun a journal"
        );

        let done = moving.copy(&[]).with(0).json();
        assert_eq!(done["written"]["created"], 221);
        assert_eq!((&done["same"], &done["expired"]), (&221.into(), &1.into()));
        assert_eq!(moving.to.records().await, moving.from.records().await);
        let again = moving.copy(&[]).with(0).json();
        assert_eq!(again["written"]["created"], 0);
        assert_eq!(again["written"]["updated"], 0);

        // The visitor's key is as good there, and the owner can be found.
        let found = moving
            .to
            .manager()
            .await
            .load(&session.session_key().unwrap())
            .await;
        let found = found.unwrap().expect("it was copied");
        assert_eq!(found.own_sessions().await.unwrap().len(), 1);
        let text = sessions(&moving.arguments(&[])).with(0).out;
        assert!(
            text.contains("the same") && text.contains("created              0"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn after_the_switch_the_rest_follows_and_nothing_that_ended_comes_back() {
    for direction in DIRECTIONS {
        let moving = Move::new(direction);
        let (from, to) = (moving.from.store().await, moving.to.store().await);
        for n in 0..20 {
            from.create(&key(n), lives(500, "copied"), now())
                .await
                .unwrap();
        }
        moving.copy(&[]).with(0);

        // Requests on servers that still use FROM.
        change(&*from, &key(1), "changed in from").await;
        change(&*from, &key(2), "changed in from").await;
        change(&*from, &key(3), "changed in from").await;
        from.delete(&key(4)).await.unwrap();
        from.delete(&key(5)).await.unwrap();
        from.create(&key(30), lives(500, "new in from"), now())
            .await
            .unwrap();
        let record = from.load(&key(6), now()).await.unwrap().unwrap();
        let rotated = Change::of(
            &record,
            Payload::from_bytes("logged in"),
            ExpiryChange::Keep,
        );
        let saved = from
            .rotate(&key(6), &record.version, &key(60), rotated, now())
            .await
            .unwrap();
        assert!(matches!(saved, Saved::Stored(_)));
        // And on servers that use TO already.
        change(&*to, &key(2), "changed in to").await;
        to.delete(&key(3)).await.unwrap();
        change(&*to, &key(5), "changed in to").await;
        to.delete(&key(7)).await.unwrap();
        change(&*to, &key(8), "changed in to").await;
        to.create(&key(40), lives(500, "new in to"), now())
            .await
            .unwrap();

        let only_known = moving.copy(&["--known-only", "--dry-run"]).with(3).json();
        assert_eq!(only_known["not_known"], 2, "{only_known}");
        let done = moving.copy(&[]).with(0).json();
        let written = &done["written"];
        assert_eq!(
            (&written["created"], &written["updated"], &written["ended"]),
            (&2.into(), &1.into(), &3.into()),
            "{done}"
        );
        assert_eq!(
            (
                &done["newer_in_to"],
                &done["ended_in_to"],
                &done["only_in_to"]
            ),
            (&2.into(), &2.into(), &1.into())
        );
        for (n, expected, why) in [
            (0, Some("copied"), "nobody has touched it"),
            (1, Some("changed in from"), "what was written last is lost"),
            (
                2,
                Some("changed in to"),
                "what TO's application wrote was overwritten",
            ),
            (3, None, "a session that was ended in TO is back"),
            (4, None, "a session that was ended in FROM lives on"),
            (
                5,
                None,
                "a session that was ended in FROM lives on, since it was used in TO",
            ),
            (6, None, "the key from before a log-in still works"),
            (60, Some("logged in"), "a log-in is lost"),
            (7, None, "a session that was ended in TO is back"),
            (
                8,
                Some("changed in to"),
                "what TO's application wrote was overwritten",
            ),
            (30, Some("new in from"), "a new session is lost"),
            (40, Some("new in to"), "a session that began in TO is lost"),
        ] {
            assert_eq!(
                payload(&*to, &key(n)).await.as_deref(),
                expected,
                "{why} ({n})"
            );
        }
        assert_eq!(
            from.load(&key(3), now())
                .await
                .unwrap()
                .map(|record| record.is_live(now())),
            Some(true),
            "FROM was changed"
        );
        let again = moving.copy(&[]).with(0).json();
        assert_eq!(
            again["left_to_do"],
            serde_json::json!({ "created": 0, "updated": 0, "ended": 0 })
        );
    }
}

#[tokio::test]
async fn known_only_leaves_behind_what_no_earlier_copy_knew() {
    let moving = Move::new(DIRECTIONS[0]);
    let (from, to) = (moving.from.store().await, moving.to.store().await);
    from.create(&key(1), lives(500, "copied"), now())
        .await
        .unwrap();
    moving.copy(&[]).with(0);
    from.create(&key(2), lives(500, "late"), now())
        .await
        .unwrap();
    change(&*from, &key(1), "changed").await;
    let done = moving.copy(&["--known-only"]).with(0).json();
    assert_eq!(done["not_known"], 1);
    assert_eq!(payload(&*to, &key(2)).await, None);
    assert_eq!(payload(&*to, &key(1)).await.as_deref(), Some("changed"));
}

#[tokio::test]
async fn what_has_expired_in_from_is_not_ended_where_it_was_renewed() {
    let moving = Move::new(DIRECTIONS[0]);
    let (from, to) = (moving.from.store().await, moving.to.store().await);
    let (soon, past) = (now().as_secs() + 500, now().as_secs() - 500);
    let mut new = lives(0, "a");
    new.expires_at = Timestamp::from_secs(soon);
    from.create(&key(1), new, now()).await.unwrap();
    let other = lives(5_000, "keeps FROM from being empty");
    from.create(&key(2), other, now()).await.unwrap();
    moving.copy(&[]).with(0);
    let later = Timestamp::from_secs(soon + 500);
    assert!(to.touch(&key(1), later, now()).await.unwrap());

    // A thousand seconds pass: what was to expire soon has expired.
    let record = from.load(&key(1), now()).await.unwrap().unwrap();
    let expiry = ExpiryChange::Set(Timestamp::from_secs(past));
    let change = Change::of(&record, record.payload.clone(), expiry);
    let saved = from.save(&key(1), &record.version, change, now()).await;
    assert!(matches!(saved.unwrap(), Saved::Stored(_)));
    let journal = std::fs::read_to_string(&moving.journal).unwrap();
    let journal = journal.replace(&format!(" {soon}\n"), &format!(" {past}\n"));
    let mut file = File::create(&moving.journal).unwrap();
    file.write_all(journal.as_bytes()).unwrap();
    for _ in 0..2 {
        let done = moving.copy(&[]).with(0).json();
        assert_eq!(done["newer_in_to"], 1, "{done}");
        assert_eq!(
            payload(&*to, &key(1)).await.as_deref(),
            Some("a"),
            "a renewed session was ended"
        );
        // And the same once it has been cleared away.
        from.clear_expired(now(), &mut |_| {}).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_and_another_moves_journal_end_nothing() {
    let moving = Move::new(DIRECTIONS[0]);
    let (from, to) = (moving.from.store().await, moving.to.store().await);
    from.create(&key(1), lives(500, "copied"), now())
        .await
        .unwrap();
    moving.copy(&[]).with(0);
    from.delete(&key(1)).await.unwrap();
    let refused = moving.copy(&[]).with(1).json();
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("no live session"),
        "{refused}"
    );
    assert_eq!(payload(&*to, &key(1)).await.as_deref(), Some("copied"));

    let back = sessions(&[
        "copy",
        &moving.to.named,
        &moving.from.named,
        "--journal",
        &moving.journal,
    ]);
    back.with(1).says("no journal of a copy from");
    let not_migrated = Site::empty(Kind::Sqlite);
    drop(not_migrated.store().await);
    let journal = format!("{}2", moving.journal);
    sessions(&[
        "copy",
        &moving.to.named,
        &not_migrated.named,
        "--journal",
        &journal,
    ])
    .with(1)
    .says("migrate");
}

#[tokio::test]
async fn a_copy_that_is_killed_goes_on_where_it_was() {
    for direction in DIRECTIONS {
        let moving = Move::new(direction);
        let from = moving.from.store().await;
        for n in 0..230 {
            from.create(&key(n), lives(500, &format!("of {n}")), now())
                .await
                .unwrap();
        }
        // So slow that it is killed between its first batch and its second.
        let mut slow = tool(&moving.arguments(&["--rate", "1", "--quiet"]));
        let mut slow = slow.stdout(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        loop {
            let arrived = moving.to.records().await.len();
            if arrived > 0 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "nothing arrives");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slow.kill().unwrap();
        slow.wait().unwrap();
        let arrived = moving.to.records().await.len();
        assert!(arrived < 230, "it was not slow, and nothing is tested");
        let done = moving.copy(&[]).with(0).json();
        assert_eq!(
            done["ended_in_to"], 0,
            "what the killed copy did not write is taken for ended"
        );
        assert_eq!(moving.to.records().await, moving.from.records().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_beside_writers_ends_with_one_that_has_everything_and_nothing_more() {
    const VISITORS: usize = 2;
    for direction in DIRECTIONS {
        let moving = Arc::new(Move::new(direction));
        let manager = moving.from.manager().await;
        // The first copy finds something.
        for visitor in 0..50 {
            started(&manager, &format!("before {visitor}")).await;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let visitors: Vec<_> = (0..VISITORS)
            .map(|visitor| tokio::spawn(visit(manager.clone(), visitor, Arc::clone(&is_over))))
            .collect();
        let mut written = 0;
        for _ in 0..3 {
            let moving = Arc::clone(&moving);
            let copied = tokio::task::spawn_blocking(move || moving.copy(&[]))
                .await
                .unwrap();
            assert!(matches!(copied.code, Some(0 | 3)), "{copied:?}");
            let json = copied.json();
            for what in ["created", "updated", "ended"] {
                written += json["written"][what].as_u64().unwrap();
            }
            assert_eq!(
                json["newer_in_to"], 0,
                "nobody but the copy writes there: {json}"
            );
            assert_eq!(json["only_in_to"], 0, "{json}");
        }
        assert!(
            written > 60,
            "nobody wrote while it was copied, and nothing is tested"
        );
        is_over.store(true, Ordering::Relaxed);
        let mut alive = Vec::new();
        for visitor in visitors {
            alive.extend(visitor.await.unwrap());
        }

        // The application is stopped, or uses TO: nobody writes FROM any more.
        moving.copy(&[]).with(0);
        let (before, after) = (moving.from.records().await, moving.to.records().await);
        assert_same(&before, &after);
        let manager = moving.to.manager().await;
        for session in alive {
            let key = session.session_key().expect("it was saved");
            assert!(
                manager.load(&key).await.unwrap().is_some(),
                "a visitor was logged out by the move"
            );
        }
    }
}

#[test]
fn a_record_in_words_differs_when_the_record_does() {
    let record = |payload: &str| {
        session_core::store::Record::created(
            lives(500, payload),
            session_core::store::Version::Counter(1),
        )
    };
    assert_ne!(shown(&record("a")), shown(&record("b")));
}
