//! Several processes on one folder.

#[cfg(test)]
mod support;

use session_core::store::{OwnerIndex, Page, Saved, SessionStore};
use session_core::{Owner, SessionManager};
use support::children::{
    EACH, PROCESSES, run_children, run_children_on, say, session_key, wait_for_the_others,
};
use support::{NOW, block_on, change, key, load, new, new_of, open, role, text};

#[test]
fn no_increment_of_four_processes_is_lost() {
    const TEST: &str = "no_increment_of_four_processes_is_lost";
    let counter = key("4a", 1);
    if let Some(role) = role() {
        let (_, store) = wait_for_the_others(&role);
        return block_on(async {
            for _ in 0..EACH {
                loop {
                    let record = load(&store, &counter).await.expect("it is never ended");
                    let next = text(&record).parse::<u64>().expect("a number") + 1;
                    let change = change(&next.to_string());
                    let saved = store.save(&counter, &record.version, change, NOW).await;
                    match saved.expect("nothing is wrong with the disk") {
                        Saved::Stored(_) => break,
                        Saved::Conflict => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    block_on(store.create(&counter, new("0"), NOW)).expect("a new key");
    run_children(TEST, folder.path());
    let record = block_on(load(&store, &counter)).expect("it is never ended");
    assert_eq!(
        text(&record),
        (PROCESSES * EACH).to_string(),
        "lost updates"
    );
}

#[test]
fn sessions_of_four_processes_are_all_there_and_listed_in_a_fifth() {
    const TEST: &str = "sessions_of_four_processes_are_all_there_and_listed_in_a_fifth";
    if let Some(role) = role() {
        let (number, store) = wait_for_the_others(&role);
        return block_on(async {
            for session in 0..EACH {
                // Two writers at a time meet in each shard.
                let key = key(&format!("{session:02x}"), number);
                let version = store.create(&key, new_of("ada"), NOW).await;
                let version = version.expect("a new key");
                let mut later = change("later");
                later.owner = Some("ada".into());
                let saved = store.save(&key, &version, later, NOW).await;
                assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
            }
        });
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    run_children(TEST, folder.path());
    let store = open(folder.path());
    let ada = Owner::from("ada");
    let listed = store.sessions_of(&ada, Page::first(1_000), NOW);
    let listed = block_on(listed).expect("a list");
    assert_eq!(listed.len() as u64, PROCESSES * EACH);
    assert!(listed.iter().all(|(_, record)| text(record) == "later"));
}

#[test]
fn one_of_four_processes_ends_each_session() {
    const TEST: &str = "one_of_four_processes_ends_each_session";
    if let Some(role) = role() {
        let (_, store) = wait_for_the_others(&role);
        let ended = block_on(async {
            let mut ended = 0;
            for session in 0..EACH {
                let deleted = store.delete(&key("4a", session)).await;
                ended += u64::from(deleted.expect("nothing is wrong with the disk"));
            }
            ended
        });
        return say(&format!("said {ended}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    for session in 0..EACH {
        block_on(store.create(&key("4a", session), new("x"), NOW)).expect("a new key");
    }
    let said = run_children(TEST, folder.path());
    let ended: u64 = said.iter().map(|count| count.parse().unwrap_or(0)).sum();
    assert_eq!(ended, EACH, "a session was ended twice, or not: {said:?}");
}

#[test]
fn one_of_four_processes_rotates_each_session() {
    const TEST: &str = "one_of_four_processes_rotates_each_session";
    if let Some(role) = role() {
        let (number, store) = wait_for_the_others(&role);
        let rotated = block_on(async {
            let mut rotated = 0;
            for session in 0..EACH {
                let from = key("4a", session);
                let Some(record) = load(&store, &from).await else {
                    continue;
                };
                let to = key(&format!("{number}0"), session);
                let moved = store.rotate(&from, &record.version, &to, change("new"), NOW);
                match moved.await.expect("nothing is wrong with the disk") {
                    Saved::Stored(_) => rotated += 1,
                    Saved::Gone => {
                        let two = load(&store, &to).await.is_some();
                        assert!(!two, "a rotation that failed left a second session");
                    }
                    other => panic!("{other:?}"),
                }
            }
            rotated
        });
        return say(&format!("said {rotated}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    for session in 0..EACH {
        block_on(store.create(&key("4a", session), new("x"), NOW)).expect("a new key");
    }
    let said = run_children(TEST, folder.path());
    let rotated: u64 = said.iter().map(|count| count.parse().unwrap_or(0)).sum();
    assert_eq!(rotated, EACH, "a session went two ways, or none: {said:?}");
}

#[test]
fn requests_in_four_processes_draw_different_numbers_and_keep_all_names() {
    const TEST: &str = "requests_in_four_processes_draw_different_numbers_and_keep_all_names";
    /// In each process at once: 52 in all.
    const REQUESTS: u32 = 13;
    if let Some(role) = role() {
        let (number, store) = wait_for_the_others(&role);
        let manager = SessionManager::new(store);
        let drawn = block_on(async {
            let mut requests = tokio::task::JoinSet::new();
            for request in 0..REQUESTS {
                let manager = manager.clone();
                requests.spawn(async move {
                    let session = manager.load(&session_key()).await;
                    let session = session.expect("the disk is fine");
                    let session = session.expect("nobody ended it");
                    let draw = |last: &mut u32| {
                        *last += 1;
                        *last
                    };
                    let drawn = session.modify_now("number", draw).await;
                    let name = format!("{number}/{request}");
                    session.set(&name, &true).expect("it may be stored");
                    session.save().await.expect("all get through");
                    drawn.expect("all get through").to_string()
                });
            }
            requests.join_all().await
        });
        return say(&format!("said {}", drawn.join(",")));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manager = SessionManager::new(open(folder.path()));
    let session = manager.start();
    session.set("number", &0_u32).expect("it may be stored");
    block_on(session.save()).expect("a new session");
    let key = session.session_key().expect("it was saved");
    let said = run_children_on(TEST, folder.path(), key.expose_secret());

    let mut drawn: Vec<u32> = said
        .iter()
        .flat_map(|said| said.split(','))
        .flat_map(str::parse)
        .collect();
    drawn.sort_unstable();
    let all: Vec<u32> = (1..=52).collect();
    assert_eq!(drawn, all, "a number was drawn twice, or never");
    let session = block_on(manager.load(&key)).expect("the disk is fine");
    let names = session.expect("nobody ended it").len();
    assert_eq!(names, 53, "a name was lost");
}
