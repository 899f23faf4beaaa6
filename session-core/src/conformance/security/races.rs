//! Requests that meet on one session, and answers that are lost.

use crate::clock::Clock as _;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::together;
use crate::conformance::fixture::Stores;
use crate::conformance::security::site::Site;
use crate::error::SessionError;
use crate::outcome::{Completion, Outcome};
use crate::session::SessionBase;
use crate::store::SessionStore as _;
use crate::testing::Operation;

pub(in crate::conformance) async fn race_01_nothing_late_brings_a_session_back(
    stores: Stores,
) -> Result<(), Broken> {
    type Deed = fn(&SessionBase) -> Result<(), SessionError>;
    const DEEDS: &[(&str, Deed)] = &[
        ("a save", |session| session.set("n", &1)),
        ("a rotation", |session| {
            session.cycle_key();
            Ok(())
        }),
        ("a renewal", |session| session.get::<u32>("n").map(drop)),
        ("a second log-out", |session| {
            session.log_out();
            Ok(())
        }),
    ];
    for (what, deed) in DEEDS {
        let site = Site::new(&stores).await?;
        let key = site.log_in(7, "a").await?;
        // Late enough for a renewal to be due.
        site.clock
            .advance(std::time::Duration::from_secs(7 * 24 * 60 * 60));
        let late = site.request(Some(&key)).await?;
        deed(&late.session)?;
        let told = site
            .does(&key, |session| {
                session.log_out();
                Ok(())
            })
            .await?;
        ensure!(
            matches!(told, Outcome::Revoke),
            "the log-out did not work; found {told:?}"
        );
        let told = late.finish().await;
        ensure!(
            !matches!(told, Ok(Outcome::Issue { .. })),
            "{what} that came late gave its client a key"
        );
        let left = site.store.load(&site.place(&key), site.clock.now()).await?;
        ensure!(
            left.is_none(),
            "{what} that came late brought the session back"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn race_02_race_03_concurrent_requests_lose_nothing(
    stores: Stores,
) -> Result<(), Broken> {
    const REQUESTS: u32 = 20;
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "a").await?;
    let mut requests = Vec::new();
    for n in 0..REQUESTS {
        let request = site.request(Some(&key)).await?;
        request.session.set(&format!("n{n}"), &n)?;
        request.session.modify("sum", |sum: &mut u32| *sum += 1)?;
        requests.push(request);
    }
    let commits = requests
        .into_iter()
        .map(|request| async move { request.slot.commit(Completion::Success).await });
    for outcome in together(commits).await? {
        drop(outcome?);
    }
    let session = site.request(Some(&key)).await?.session;
    ensure_eq!(
        session.get::<u32>("sum")?,
        Some(REQUESTS),
        "concurrent requests have lost a count"
    );
    for n in 0..REQUESTS {
        ensure_eq!(
            session.get::<u32>(&format!("n{n}"))?,
            Some(n),
            "concurrent requests have lost a name"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn race_04_a_value_is_handed_to_one_of_twenty(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "once").await?;
    let mut takers = Vec::new();
    for _ in 0..20 {
        let session = site.request(Some(&key)).await?.session;
        takers.push(async move { session.take::<String>("secret").await });
    }
    let mut taken = 0;
    for answer in together(takers).await? {
        taken += u32::from(answer?.is_some());
    }
    ensure_eq!(taken, 1, "a value was not handed out once");
    ensure_eq!(
        site.secret_of(&key).await?,
        None,
        "a value that was taken is still there"
    );
    Ok(())
}

pub(in crate::conformance) async fn fail_03_what_was_done_although_nobody_answered_is_not_done_twice(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "a").await?;

    site.store.lose_answer(Operation::Save);
    let request = site.request(Some(&key)).await?;
    request.session.modify("sum", |sum: &mut u32| *sum += 1)?;
    ensure!(
        request.session.save().await.is_err(),
        "a save without an answer is said to have worked"
    );
    drop(request.finish().await?);
    let sum = site.request(Some(&key)).await?.session.get::<u32>("sum")?;
    ensure_eq!(sum, Some(1), "one change was made twice, or not at all");

    site.store.lose_answer(Operation::Delete);
    let told = site
        .does(&key, |session| {
            session.log_out();
            Ok(())
        })
        .await?;
    ensure!(
        matches!(told, Outcome::Revoke),
        "a log-out whose answer was lost is not tried again; found {told:?}"
    );
    ensure!(!site.is_alive(&key).await?, "the session outlived it");

    site.store.lose_answer(Operation::Create);
    let request = site.request(None).await?;
    request.session.log_in(7)?;
    ensure!(
        request.finish().await.is_err(),
        "a client was told a key whose session may not exist"
    );
    ensure!(
        site.store.clear_faults(),
        "the kit's own: an answer was not lost"
    );
    Ok(())
}
