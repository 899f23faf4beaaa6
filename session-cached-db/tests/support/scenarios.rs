//! What visitors do at once, through the session API, on a site of two processes: a manager each, over one database and one
//! cache. The same for every pairing of the two.

use std::collections::BTreeSet;

use session_core::{Owner, SessionError, SessionKey, SessionManager};

/// Two processes of one site.
pub(crate) struct Pair {
    pub(crate) one: SessionManager,
    pub(crate) other: SessionManager,
}

const WRITERS: usize = 50;

impl Pair {
    fn of(&self, number: usize) -> &SessionManager {
        if number.is_multiple_of(2) {
            &self.one
        } else {
            &self.other
        }
    }

    /// A new session that both processes have read.
    async fn visitor(&self) -> SessionKey {
        let session = self.one.start();
        session.set("count", &0_u32).expect("a number is JSON");
        session.set("ticket", &1_u32).expect("a number is JSON");
        session.save().await.expect("a new session");
        let key = session.session_key().expect("it is saved");
        for manager in [&self.one, &self.other] {
            assert!(is_alive(manager, &key).await, "a new session is not read");
        }
        key
    }

    async fn is_dead(&self, key: &SessionKey) -> bool {
        !is_alive(&self.one, key).await && !is_alive(&self.other, key).await
    }
}

async fn is_alive(manager: &SessionManager, key: &SessionKey) -> bool {
    let loaded = manager.load(key).await;
    loaded.expect("the database answers").is_some()
}

fn again(key: &SessionKey) -> SessionKey {
    SessionKey::parse(key.expose_secret().as_bytes()).expect("a key")
}

/// Everything above, one after the other.
pub(crate) async fn all(pair: &Pair) {
    fifty_writers_lose_nothing(pair).await;
    a_count_by_fifty_is_exact(pair).await;
    of_twenty_who_take_one_gets_it(pair).await;
    a_log_out_beats_every_later_save(pair).await;
    a_new_key_ends_the_old_one_everywhere(pair).await;
    logging_out_everywhere_means_everywhere(pair).await;
    what_one_process_writes_the_other_reads_at_once(pair).await;
}

pub(crate) async fn fifty_writers_lose_nothing(pair: &Pair) {
    let key = fifty_writers(pair).await;
    for manager in [&pair.one, &pair.other] {
        has_all(manager, &key).await;
    }
}

/// Where a step may have been skipped, so that an older copy is read for a while: a save finds the newest.
pub(crate) async fn fifty_writers_lose_nothing_in_the_end(pair: &Pair) {
    let key = fifty_writers(pair).await;
    for manager in [&pair.one, &pair.other] {
        let session = manager.load(&key).await.expect("it is read");
        let session = session.expect("it lives");
        session.set("last", &true).expect("a value");
        session.save().await.expect("it is saved");
        has_all(manager, &key).await;
    }
}

async fn has_all(manager: &SessionManager, key: &SessionKey) {
    let session = manager.load(key).await.expect("it is read");
    let session = session.expect("it lives");
    for number in 0..WRITERS {
        assert!(
            session.contains_key(format!("name{number}")),
            "what a request saved was lost"
        );
    }
}

async fn fifty_writers(pair: &Pair) -> SessionKey {
    let key = pair.visitor().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (manager, key) = (pair.of(number).clone(), again(&key));
            tokio::spawn(async move {
                let session = manager.load(&key).await?.expect("it lives");
                session.set(&format!("name{number}"), &number)?;
                session.save().await
            })
        })
        .collect();
    for writer in writers {
        let saved = writer.await.expect("nobody panics");
        saved.expect("every writer gets through");
    }
    key
}

pub(crate) async fn a_count_by_fifty_is_exact(pair: &Pair) {
    let key = pair.visitor().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (manager, key) = (pair.of(number).clone(), again(&key));
            tokio::spawn(async move {
                let session = manager.load(&key).await?.expect("it lives");
                let counted = session.modify_now("count", |count: &mut u32| {
                    *count += 1;
                    *count
                });
                counted.await
            })
        })
        .collect();
    let mut drawn = BTreeSet::new();
    for writer in writers {
        let counted: Result<u32, SessionError> = writer.await.expect("nobody panics");
        drawn.insert(counted.expect("every request gets through"));
    }
    assert_eq!(drawn.len(), WRITERS, "two requests drew the same number");
    for manager in [&pair.one, &pair.other] {
        let session = manager.load(&key).await.expect("it is read");
        let count = session.expect("it lives").get::<u32>("count");
        assert_eq!(
            count.expect("a number"),
            u32::try_from(WRITERS).ok(),
            "a count was lost, or is not read"
        );
    }
}

pub(crate) async fn of_twenty_who_take_one_gets_it(pair: &Pair) {
    let key = pair.visitor().await;
    let takers: Vec<_> = (0..20)
        .map(|number| {
            let (manager, key) = (pair.of(number).clone(), again(&key));
            tokio::spawn(async move {
                let session = manager.load(&key).await?.expect("it lives");
                session.take::<u32>("ticket").await
            })
        })
        .collect();
    let mut taken = 0;
    for taker in takers {
        let got = taker.await.expect("nobody panics");
        taken += u32::from(got.expect("every request gets through").is_some());
    }
    assert_eq!(taken, 1, "what can be taken once was taken so often");
}

pub(crate) async fn a_log_out_beats_every_later_save(pair: &Pair) {
    for round in 0..10 {
        let key = pair.visitor().await;
        let saves: Vec<_> = (0..6)
            .map(|number| {
                let (manager, key) = (pair.of(number).clone(), again(&key));
                tokio::spawn(async move {
                    let Some(session) = manager.load(&key).await? else {
                        return Ok(());
                    };
                    session.set("late", &number)?;
                    session.save().await
                })
            })
            .collect();
        let session = pair.of(round).load(&key).await.expect("it is read");
        if let Some(session) = session {
            session.log_out();
            session.save().await.expect("a log-out is assured");
        }
        assert!(
            pair.is_dead(&key).await,
            "a session is read after its log-out"
        );
        for save in saves {
            let saved = save.await.expect("nobody panics");
            assert!(
                matches!(saved, Ok(()) | Err(SessionError::Interrupted)),
                "a save beside a log-out is answered wrongly: {saved:?}"
            );
        }
        assert!(
            pair.is_dead(&key).await,
            "a late save brought a session back"
        );
    }
}

pub(crate) async fn a_new_key_ends_the_old_one_everywhere(pair: &Pair) {
    for round in 0..10 {
        let key = pair.visitor().await;
        let logins: Vec<_> = (0..4)
            .map(|number| {
                let (manager, key) = (pair.of(number).clone(), again(&key));
                tokio::spawn(async move {
                    let Some(session) = manager.load(&key).await? else {
                        return Ok(None);
                    };
                    session.set("by", &number)?;
                    if number == 0 {
                        session.cycle_key();
                    }
                    session.save().await?;
                    Ok(session.session_key())
                })
            })
            .collect();
        let session = pair.of(round).load(&key).await.expect("it is read");
        let mut cycled = None;
        if let Some(session) = session {
            session.cycle_key();
            if session.save().await.is_ok() {
                cycled = session.session_key();
            }
        }
        let mut keys: BTreeSet<String> = cycled
            .iter()
            .map(|key| key.expose_secret().to_owned())
            .collect();
        for login in logins {
            let answer: Result<Option<SessionKey>, SessionError> =
                login.await.expect("nobody panics");
            match answer {
                Ok(key) => keys.extend(key.map(|key| key.expose_secret().to_owned())),
                Err(error) => assert!(
                    matches!(error, SessionError::Interrupted),
                    "a request beside a log-in is answered wrongly: {error:?}"
                ),
            }
        }
        let mut alive = 0;
        for text in &keys {
            let key = SessionKey::parse(text.as_bytes()).expect("a key");
            let lives = is_alive(&pair.one, &key).await;
            assert_eq!(
                lives,
                is_alive(&pair.other, &key).await,
                "two processes disagree whether a key lives"
            );
            alive += usize::from(lives);
        }
        assert_eq!(alive, 1, "of the keys that clients hold one must live");
        assert!(
            pair.is_dead(&key).await,
            "the key from before the log-in still works"
        );
    }
}

pub(crate) async fn logging_out_everywhere_means_everywhere(pair: &Pair) {
    let owner = Owner::from("ada");
    let mut keys = Vec::new();
    for number in 0..6 {
        let session = pair.of(number).start();
        session.log_in(&owner).expect("an owner");
        session.save().await.expect("a new session");
        let key = session.session_key().expect("it is saved");
        for manager in [&pair.one, &pair.other] {
            assert!(is_alive(manager, &key).await, "a new session is not read");
        }
        keys.push(key);
    }
    let ended = pair.other.end_all(&owner).await;
    assert_eq!(ended.expect("an end is assured"), 6);
    for key in &keys {
        assert!(
            pair.is_dead(key).await,
            "a session is read after its owner has ended all"
        );
    }
}

pub(crate) async fn what_one_process_writes_the_other_reads_at_once(pair: &Pair) {
    let key = pair.visitor().await;
    for number in 0..20_u32 {
        let writer = pair.of(usize::try_from(number).expect("a small number"));
        let session = writer.load(&key).await.expect("it is read");
        let session = session.expect("it lives");
        session.set("latest", &number).expect("a number is JSON");
        session.save().await.expect("it is saved");
        for manager in [&pair.one, &pair.other] {
            let session = manager.load(&key).await.expect("it is read");
            let latest = session.expect("it lives").get::<u32>("latest");
            assert_eq!(
                latest.expect("a number"),
                Some(number),
                "a process reads what is older than an acknowledged write"
            );
        }
    }
}
