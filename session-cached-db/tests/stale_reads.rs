//! How old a read may be: the three races of Django's cached database, every step that can be skipped, and the bound.

use std::sync::Arc;
use std::time::Duration;

use session_cached_db::CachedDbConfig;
use session_core::Owner;
use session_core::conformance::Operation;
use session_core::store::{
    Change, EndScope, ExpiryChange, OwnerIndex, Payload, Saved, SessionStore, Timestamp,
};

use support::fault_cache::{CacheCall, Fate, Gate};
use support::site::{Process, STALENESS_MAX, Site, version_of};
use support::{NOW, at, change, key, new, new_of, shown};

#[cfg(test)]
mod support;

const BOUND: i64 = 60;

/// A session that both processes have read, so that the slot has a copy.
#[cfg(test)]
async fn cached() -> (Site, Process, Process) {
    let site = Site::new();
    let (here, there) = (site.process(), site.process());
    here.store
        .create(&key(1), new_of("ada"), NOW)
        .await
        .unwrap();
    for process in [&here, &there] {
        assert!(shown(&process.store, &key(1), NOW).await.is_some());
    }
    (site, here, there)
}

// Django, race (a): a row is removed by something that does not know the cache. There the session is read until the copy
// expires, for up to two weeks, and every save fails meanwhile, since nothing drops the copy.
#[tokio::test]
async fn django_a_row_that_was_removed_behind_the_cache_is_over_with_the_next_save_or_the_bound() {
    let (site, here, there) = cached().await;
    let version = version_of(&here.store, &key(1)).await;
    assert!(site.database.delete(&key(1)).await.unwrap());
    assert!(
        shown(&here.store, &key(1), at(BOUND - 1)).await.is_some(),
        "the race did not happen: this test shows nothing"
    );
    for process in [&here, &there] {
        assert!(
            shown(&process.store, &key(1), at(BOUND)).await.is_none(),
            "a session without a row is read beyond the bound"
        );
    }
    let saved = here.store.save(&key(1), &version, change("x"), NOW).await;
    assert_eq!(saved.unwrap(), Saved::Gone);
    for process in [&here, &there] {
        assert!(
            shown(&process.store, &key(1), NOW).await.is_none(),
            "a save found the session gone, and its copy is read on"
        );
    }
}

// Django, race (b): a row is changed by something that does not know the cache. There the old copy is read on, and the next
// save overwrites the change.
#[tokio::test]
async fn django_b_row_that_was_changed_behind_the_cache_is_merged_with_and_not_overwritten() {
    let (site, here, there) = cached().await;
    let version = version_of(&here.store, &key(1)).await;
    let changed = site
        .database
        .save(&key(1), &version, change("theirs"), NOW)
        .await;
    assert!(matches!(changed, Ok(Saved::Stored(_))), "{changed:?}");
    assert_eq!(
        shown(&here.store, &key(1), at(BOUND - 1)).await.as_deref(),
        Some("data"),
        "the race did not happen: this test shows nothing"
    );
    assert_eq!(
        shown(&there.store, &key(1), at(BOUND)).await.as_deref(),
        Some("theirs"),
        "an older copy is read beyond the bound"
    );
    let saved = here
        .store
        .save(&key(1), &version, change("mine"), NOW)
        .await;
    assert_eq!(
        saved.unwrap(),
        Saved::Conflict,
        "the change was overwritten"
    );
    for process in [&here, &there] {
        assert_eq!(
            shown(&process.store, &key(1), NOW).await.as_deref(),
            Some("theirs"),
            "a merge is given the copy that it conflicted with"
        );
    }
}

// Django, race (c): a reader reads the row, somebody logs out, and then the reader fills the cache. There the session can
// be read again until the copy expires, for up to two weeks.
#[tokio::test]
async fn race_01_race_06_django_c_reader_that_is_slower_than_a_log_out_fills_nothing() {
    let site = Site::new();
    let (reader, leaver) = (site.process(), site.process());
    reader.store.create(&key(1), new("x"), NOW).await.unwrap();
    let gate = Gate::new();
    reader
        .cache
        .each(CacheCall::Fill, Fate::Held(Arc::clone(&gate)));
    let reading = tokio::spawn({
        let store = reader.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    assert!(leaver.store.delete(&key(1)).await.unwrap());
    gate.open();
    assert!(
        reading.await.unwrap().is_some(),
        "it was read while it lived"
    );
    for process in [&reader, &leaver] {
        assert!(
            shown(&process.store, &key(1), NOW).await.is_none(),
            "a slow reader has undone a log-out"
        );
    }
}

#[tokio::test]
async fn a_reader_that_is_slower_than_a_save_fills_nothing() {
    let site = Site::new();
    let (reader, writer) = (site.process(), site.process());
    let version = reader.store.create(&key(1), new("old"), NOW).await.unwrap();
    let gate = Gate::new();
    reader
        .cache
        .each(CacheCall::Fill, Fate::Held(Arc::clone(&gate)));
    let reading = tokio::spawn({
        let store = reader.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    let saved = writer
        .store
        .save(&key(1), &version, change("new"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    gate.open();
    assert_eq!(reading.await.unwrap().as_deref(), Some("old"));
    for process in [&reader, &writer] {
        assert_eq!(
            shown(&process.store, &key(1), NOW).await.as_deref(),
            Some("new"),
            "a slow reader has put an older copy into the cache"
        );
    }
}

/// The operations that have a step on the cache after the row.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Save,
    Retime,
    Shorten,
    EndBySave,
    Conflict,
    Gone,
    Touch,
    Rotate,
    Delete,
    End,
}

#[cfg(test)]
impl Deed {
    const ALL: [Self; 10] = [
        Self::Save,
        Self::Retime,
        Self::Shorten,
        Self::EndBySave,
        Self::Conflict,
        Self::Gone,
        Self::Touch,
        Self::Rotate,
        Self::Delete,
        Self::End,
    ];

    /// Does it, past the cache's own faults, and says whether it was answered with success.
    async fn perform(self, site: &Site, process: &Process) -> bool {
        let store = &process.store;
        let version = version_of(site.database.as_ref(), &key(1)).await;
        let save = async |expiry: ExpiryChange| {
            let change = Change::new(Payload::from_bytes("new"), expiry);
            let saved = store.save(&key(1), &version, change, NOW).await;
            matches!(saved, Ok(Saved::Stored(_)))
        };
        match self {
            Self::Save => save(ExpiryChange::Keep).await,
            Self::Retime => save(ExpiryChange::Set(at(200_000))).await,
            Self::Shorten => save(ExpiryChange::Set(at(30))).await,
            Self::EndBySave => save(ExpiryChange::Set(NOW)).await,
            Self::Conflict => {
                let rows = &site.database;
                let saved = rows.save(&key(1), &version, change("theirs"), NOW).await;
                assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
                let saved = store.save(&key(1), &version, change("new"), NOW).await;
                saved.unwrap() == Saved::Conflict
            }
            Self::Gone => {
                site.database.delete(&key(1)).await.unwrap();
                let saved = store.save(&key(1), &version, change("new"), NOW).await;
                saved.unwrap() == Saved::Gone
            }
            Self::Touch => store.touch(&key(1), at(200_000), NOW).await.unwrap(),
            Self::Rotate => {
                let rotated = store
                    .rotate(&key(1), &version, &key(2), change("new"), NOW)
                    .await;
                matches!(rotated, Ok(Saved::Stored(_)))
            }
            Self::Delete => store.delete(&key(1)).await.is_ok(),
            Self::End => store.end(&Owner::from("ada"), EndScope::All).await.is_ok(),
        }
    }

    /// How many calls on the cache it makes, and whether they are answered with success if all of them fail.
    const fn is_answered_without_the_cache(self) -> bool {
        !matches!(self, Self::Delete | Self::End)
    }
}

/// All that a visitor could see of a session.
#[cfg(test)]
async fn seen(store: &dyn SessionStore, now: Timestamp) -> Option<(String, Timestamp)> {
    let record = store
        .load(&key(1), now)
        .await
        .expect("the database answers");
    record.map(|record| (support::text(&record), record.expires_at))
}

#[tokio::test(start_paused = true)]
async fn race_06_whichever_step_is_skipped_nothing_older_is_read_here_at_once_nor_anywhere_beyond_the_bound()
 {
    let mut skipped = 0;
    for deed in Deed::ALL {
        // Each step alone, and all of them.
        for step in [Some(1), Some(2), Some(3), None] {
            for fate in [Fate::Refused, Fate::AnswerLost, Fate::Hangs] {
                let (site, here, there) = cached().await;
                here.cache.plan({
                    let fate = fate.clone();
                    move |_, call| match step {
                        Some(step) if step != call => Fate::Passes,
                        _ => fate.clone(),
                    }
                });
                let is_answered = deed.perform(&site, &here).await;
                if step.is_some_and(|step| step > here.cache.calls()) {
                    continue;
                }
                skipped += 1;
                assert_eq!(
                    is_answered,
                    step.is_some() || deed.is_answered_without_the_cache(),
                    "{deed:?} without step {step:?} is answered wrongly"
                );
                here.cache.heal();
                let row = seen(site.database.as_ref(), NOW).await;
                assert_eq!(
                    seen(&here.store, NOW).await,
                    row,
                    "{deed:?} without step {step:?}: the process itself reads something else than the row"
                );
                let row = seen(site.database.as_ref(), at(BOUND)).await;
                for process in [&there, &here] {
                    assert_eq!(
                        seen(&process.store, at(BOUND)).await,
                        row,
                        "{deed:?} without step {step:?}: something older is read beyond the bound"
                    );
                }
            }
        }
    }
    assert!(skipped >= 60, "only {skipped} steps were skipped");
}

#[tokio::test(start_paused = true)]
async fn saves_do_not_keep_an_expiry_that_a_skipped_step_has_made_old() {
    let (site, here, there) = cached().await;
    // A touch moves the row, and the slot does not learn of it.
    there.cache.all(Fate::Refused);
    assert!(there.store.touch(&key(1), at(200_000), NOW).await.unwrap());
    assert_eq!(
        seen(&here.store, NOW).await.map(|(_, expiry)| expiry),
        Some(support::LATER),
        "the step was not skipped: this test shows nothing"
    );
    // A session that is saved all the time.
    for secs in (0..BOUND).step_by(10) {
        let record = here
            .store
            .load(&key(1), at(secs))
            .await
            .unwrap()
            .expect("it lives");
        let saving = Change::of(&record, record.payload.clone(), ExpiryChange::Keep);
        let saved = here
            .store
            .save(&key(1), &record.version, saving, at(secs))
            .await;
        assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    }
    let row = seen(site.database.as_ref(), at(BOUND)).await;
    assert_eq!(
        seen(&here.store, at(BOUND)).await,
        row,
        "every save hands on an expiry that nobody has read from the row"
    );
}

#[tokio::test]
async fn a_busy_session_is_read_from_its_row_once_in_a_bound() {
    let (site, here, _) = cached().await;
    site.forget_counts();
    for secs in 0..3 * BOUND {
        let record = here
            .store
            .load(&key(1), at(secs))
            .await
            .unwrap()
            .expect("it lives");
        let saving = Change::of(&record, record.payload.clone(), ExpiryChange::Keep);
        let saved = here
            .store
            .save(&key(1), &record.version, saving, at(secs))
            .await;
        assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    }
    let reads = site.reads();
    assert!(
        (2..=6).contains(&reads),
        "180 reads of a session that is saved each time cost {reads} reads of its row"
    );
}

#[tokio::test]
async fn race_06_the_deadline_of_a_copy_counts_from_before_the_row_was_read() {
    let site = Site::new();
    let (reader, writer) = (site.process(), site.process());
    let version = reader.store.create(&key(1), new("old"), NOW).await.unwrap();
    // The row was read at NOW, and the copy is put half a minute later, after the lease of the reader was renewed by nobody.
    let gate = site.database.hold_answer(Operation::Load);
    let reading = tokio::spawn({
        let store = reader.store.clone();
        async move { shown(&store, &key(1), NOW).await }
    });
    gate.reached().await;
    // A save that the cache is not told of.
    writer.cache.all(Fate::Refused);
    let saved = writer
        .store
        .save(&key(1), &version, change("new"), at(1))
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    gate.release();
    assert_eq!(reading.await.unwrap().as_deref(), Some("old"));
    assert_eq!(
        shown(&reader.store, &key(1), at(BOUND - 1))
            .await
            .as_deref(),
        Some("old"),
        "nothing was filled: this test shows nothing"
    );
    assert_eq!(
        shown(&reader.store, &key(1), at(BOUND)).await.as_deref(),
        Some("new"),
        "a slow read makes a copy live longer than its bound"
    );
}

#[tokio::test]
async fn race_06_a_copy_does_not_outlive_its_session() {
    let site = Site::new();
    let process = site.process();
    let mut short = new("x");
    short.expires_at = at(5);
    process.store.create(&key(1), short, NOW).await.unwrap();
    assert!(shown(&process.store, &key(1), NOW).await.is_some());
    assert!(shown(&process.store, &key(1), at(4)).await.is_some());
    assert!(
        shown(&process.store, &key(1), at(5)).await.is_none(),
        "an expired session is read from its copy"
    );
    let cleared = process.store.clear_expired(at(5), &mut |_| {}).await;
    assert_eq!(cleared.unwrap(), 1);
    assert!(shown(&process.store, &key(1), at(5)).await.is_none());
}

#[tokio::test]
async fn a_bound_of_zero_believes_no_copy() {
    let site = Site::new();
    let config = CachedDbConfig::new().with_staleness_max(Duration::ZERO);
    let (here, there) = (site.process_with(config.clone()), site.process_with(config));
    here.store.create(&key(1), new("old"), NOW).await.unwrap();
    shown(&here.store, &key(1), NOW).await;
    let version = version_of(&here.store, &key(1)).await;
    let saved = site
        .database
        .save(&key(1), &version, change("new"), NOW)
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))), "{saved:?}");
    for process in [&here, &there] {
        assert_eq!(
            shown(&process.store, &key(1), NOW).await.as_deref(),
            Some("new"),
            "a copy is believed that nobody may believe"
        );
    }
    assert_eq!(STALENESS_MAX.as_secs(), 60, "the documentation says 60");
    assert_eq!(site.process().store.staleness_max(), STALENESS_MAX);
}
