//! The contract's own `touch` and `rotate`, over this store's required methods: also when the store fails between their
//! steps, and when others come in between.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    END, NOW, at, change, data, dead, key, live, new, payload, stored,
};
use crate::conformance::default_bodies::DefaultBodies;
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::record::{Change, ExpiryChange, Saved};
use crate::store::SessionStore;
use crate::testing::Operation;
use crate::testing::{Call, FaultStore};

/// More steps than a default body has.
const STEPS_MAX: u64 = 16;

/// When a record that nobody was given the key of must be gone: the default body gives it a minute.
const ORPHANS_GONE: crate::clock::Timestamp = at(60);

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// One call does not reach the store.
    Refused,
    /// One call is carried out, and its answer is lost.
    AnswerLost,
    /// One call does not reach the store, nor does any after it.
    Down,
    /// The answer of one call is lost, and no later one reaches the store.
    DownAfter,
}

impl Failure {
    const ALL: [Self; 4] = [Self::Refused, Self::AnswerLost, Self::Down, Self::DownAfter];

    fn strike<S>(self, store: &FaultStore<S>, nth: u64) {
        let call = Call::any().nth(nth);
        match self {
            Self::Refused => store.refuse(call),
            Self::AnswerLost => store.lose_answer(call),
            Self::Down => store.refuse(call.and_later()),
            Self::DownAfter => {
                store.lose_answer(call);
                store.refuse(Call::any().nth(nth + 1).and_later());
            }
        }
    }
}

fn over(store: &Store) -> DefaultBodies<FaultStore<Store>> {
    DefaultBodies::new(FaultStore::new(Arc::clone(store)))
}

pub(in crate::conformance) async fn the_default_rotate_leaves_one_key_whichever_step_fails(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut keys = (0..).map(key);
    for failure in Failure::ALL {
        let mut failed = 0;
        for nth in 1..=STEPS_MAX {
            let (Some(from), Some(to)) = (keys.next(), keys.next()) else {
                break;
            };
            let version = store.create(&from, new("before"), NOW).await?;
            let steps = over(&store);
            failure.strike(steps.inner(), nth);
            let rotated = steps
                .rotate(&from, &version, &to, change("after"), NOW)
                .await;
            let Ok(saved) = rotated else {
                failed += 1;
                judge_failed_rotate(&store, &from, &to, failure, nth).await?;
                continue;
            };
            stored(saved, "a rotate whose steps all succeeded was refused")?;
            let what = "after a rotate the session is not under its new key, with its full life";
            let record = live(&store, &to, at(999), what).await?;
            ensure!(
                data(&record)? == "after",
                "a rotate does not carry the changes of its request"
            );
            dead(
                &store,
                &from,
                NOW,
                "after a rotate the old key still opens a session",
            )
            .await?;
            break;
        }
        ensure!(
            failed >= 3,
            "the default rotate needs several steps, and only {failed} of them could fail"
        );
    }
    leave_an_orphan(&store, &key(1_000), &key(1_001)).await
}

/// Somebody saves before the old record is ended, and then the copy can't be taken back.
async fn leave_an_orphan(store: &Store, from: &StoreKey, to: &StoreKey) -> Result<(), Broken> {
    let version = store.create(from, new("before"), NOW).await?;
    let steps = Arc::new(over(store));
    let gate = steps.inner().hold(Operation::Save);
    steps.inner().refuse(Operation::Delete);
    let rotating = tokio::spawn({
        let (steps, from, to) = (Arc::clone(&steps), from.clone(), to.clone());
        let version = version.clone();
        async move {
            steps
                .rotate(&from, &version, &to, change("after"), NOW)
                .await
        }
    });
    gate.reached().await;
    let saved = store.save(from, &version, change("saved"), NOW).await?;
    stored(saved, "a save was refused because a rotate had begun")?;
    gate.release();
    let rotated = rotating.await?;
    ensure!(
        rotated.is_err(),
        "a rotate that could not take its copy back does not say so"
    );
    let what = "a rotate that was refused ended the session";
    let record = live(store, from, NOW, what).await?;
    ensure!(data(&record)? == "saved", "a rotate lost a save's update");
    let what =
        "a rotate that could not take its copy back left two sessions for more than a minute";
    dead(store, to, ORPHANS_GONE, what).await
}

async fn judge_failed_rotate(
    store: &Store,
    from: &StoreKey,
    to: &StoreKey,
    failure: Failure,
    nth: u64,
) -> Result<(), Broken> {
    let old = store.load(from, NOW).await?;
    if let Some(old) = &old {
        ensure!(
            data(old)? == "before" && old.expires_at == END,
            "a rotate that failed at step {nth} ({failure:?}) changed the session and left it alive"
        );
        let what = format!(
            "a rotate that failed at step {nth} ({failure:?}) left two sessions: the old one and a copy that lives on"
        );
        dead(store, to, ORPHANS_GONE, what).await?;
    }
    if let Some(copy) = store.load(to, NOW).await? {
        ensure!(
            data(&copy)? == "after",
            "a rotate that failed at step {nth} ({failure:?}) left half a session under the new key"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn the_default_rotate_sees_who_comes_between_its_steps(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut keys = (0..).map(key);
    for ended in [false, true] {
        for nth in 1..=STEPS_MAX {
            let (Some(from), Some(to)) = (keys.next(), keys.next()) else {
                break;
            };
            let version = store.create(&from, new("before"), NOW).await?;
            let steps = Arc::new(over(&store));
            let gate = steps.inner().hold(Call::any().nth(nth));
            let mut rotating = tokio::spawn({
                let (steps, from, to) = (Arc::clone(&steps), from.clone(), to.clone());
                let version = version.clone();
                async move {
                    steps
                        .rotate(&from, &version, &to, change("rotated"), NOW)
                        .await
                }
            });
            let mut reached = Box::pin(gate.reached());
            let done = poll_fn(|context| match reached.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => Pin::new(&mut rotating).poll(context).map(Some),
            })
            .await;
            drop(reached);
            if let Some(rotated) = done {
                stored(rotated??, "a rotate that nobody disturbed was refused")?;
                break;
            }
            let first = if ended {
                store.delete(&from).await?;
                None
            } else {
                Some(store.save(&from, &version, change("saved"), NOW).await?)
            };
            gate.release();
            let rotated = rotating.await??;
            let between = Between { from, to, nth };
            match first {
                None => between.judge_delete(&store, rotated).await?,
                Some(saved) => between.judge_save(&store, saved, rotated).await?,
            }
        }
    }
    Ok(())
}

/// Somebody came in before step `nth` of a rotate.
struct Between {
    from: StoreKey,
    to: StoreKey,
    nth: u64,
}

impl Between {
    async fn judge_delete(&self, store: &Store, rotated: Saved) -> Result<(), Broken> {
        let Self { from, to, nth } = self;
        dead(store, from, NOW, "a session is served after its logout").await?;
        match rotated {
            // The old record had ended already: the logout found nothing to end, and the new session is the only one.
            Saved::Stored(_) => {
                let what = format!(
                    "a rotate with a logout before its step {nth} says that it is stored, and is not"
                );
                live(store, to, at(999), what).await?;
            }
            Saved::Gone => {
                let what = format!(
                    "a logout before step {nth} of a rotate ended the old session, and a copy lives on under the new key"
                );
                dead(store, to, NOW, what).await?;
            }
            Saved::Conflict => {
                return Err(Broken::new(format!(
                    "a rotate of a session that was logged out before its step {nth} is a Conflict, not Gone"
                )));
            }
        }
        Ok(())
    }

    async fn judge_save(&self, store: &Store, saved: Saved, rotated: Saved) -> Result<(), Broken> {
        let Self { from, to, nth } = self;
        match (&saved, &rotated) {
            (Saved::Stored(_), Saved::Conflict) => {
                let what = format!("a save before step {nth} of a rotate was stored, and is gone");
                let record = live(store, from, NOW, what).await?;
                ensure!(
                    data(&record)? == "saved",
                    "a save before step {nth} of a rotate was stored, and is lost"
                );
                let what = format!("a rotate that was refused at step {nth} left a second session");
                dead(store, to, NOW, what).await
            }
            (Saved::Conflict | Saved::Gone, Saved::Stored(_)) => {
                dead(
                    store,
                    from,
                    NOW,
                    "after a rotate the old key still opens a session",
                )
                .await?;
                let what = format!(
                    "a rotate with a save before its step {nth} says that it is stored, and is not"
                );
                live(store, to, at(999), what).await.map(drop)
            }
            other => Err(Broken::new(format!(
                "of a save and a rotate at one version exactly one is stored, also when the save comes before step {nth}; found {other:?}"
            ))),
        }
    }
}

pub(in crate::conformance) async fn the_default_touch_survives_whichever_step_fails(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let mut keys = (0..).map(key);
    for failure in Failure::ALL {
        let mut failed = 0;
        for nth in 1..=STEPS_MAX {
            let Some(key) = keys.next() else { break };
            store.create(&key, new("data"), NOW).await?;
            let steps = over(&store);
            failure.strike(steps.inner(), nth);
            let touched = steps.touch(&key, at(5_000), NOW).await;
            let what = format!("a touch that failed at step {nth} ({failure:?}) ended the session");
            let record = live(&store, &key, NOW, what).await?;
            ensure!(
                data(&record)? == "data",
                "a touch that failed at step {nth} ({failure:?}) changed the data"
            );
            match touched {
                Ok(lives) => {
                    ensure!(lives, "a touch of a live session was refused");
                    ensure_eq!(
                        record.expires_at,
                        at(5_000),
                        "a touch did not move the expiry"
                    );
                    break;
                }
                Err(_) => {
                    failed += 1;
                    ensure!(
                        [END, at(5_000)].contains(&record.expires_at),
                        "a touch that failed at step {nth} ({failure:?}) left an expiry that nobody asked for"
                    );
                }
            }
        }
        ensure!(
            failed >= 2,
            "the default touch needs two steps, and only {failed} of them could fail"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn the_default_touch_sees_who_comes_between_its_steps(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for (n, expiry) in (0..).zip([
        None,
        Some(ExpiryChange::Keep),
        Some(ExpiryChange::Set(at(2_000))),
        Some(ExpiryChange::Set(at(9_000))),
        Some(ExpiryChange::Set(at(-1))),
    ]) {
        let key = key(n);
        let version = store.create(&key, new("before"), NOW).await?;
        let steps = Arc::new(over(&store));
        let gate = steps.inner().hold(Operation::Save);
        let touching = tokio::spawn({
            let (steps, key) = (Arc::clone(&steps), key.clone());
            async move { steps.touch(&key, at(5_000), NOW).await }
        });
        gate.reached().await;
        let Some(expiry) = expiry else {
            store.delete(&key).await?;
            gate.release();
            ensure!(
                !touching.await??,
                "a touch says that a session lives that was logged out before its last step"
            );
            dead(
                &store,
                &key,
                NOW,
                "a touch brought back a session that was logged out",
            )
            .await?;
            continue;
        };
        let between = Change::new(payload("saved"), expiry);
        let saved = store.save(&key, &version, between, NOW).await?;
        stored(saved, "a save was refused because a touch had only loaded")?;
        gate.release();
        let lives = touching.await??;
        if expiry == ExpiryChange::Set(at(-1)) {
            ensure!(
                !lives,
                "a touch says that a session lives that was ended before its last step"
            );
            dead(
                &store,
                &key,
                NOW,
                "a touch revived a session that was ended before its last step",
            )
            .await?;
            continue;
        }
        ensure!(lives, "a touch of a live session was refused");
        let record = live(&store, &key, NOW, "a touch ended the session").await?;
        ensure!(
            data(&record)? == "saved",
            "a touch lost the update of a request that saved before its last step"
        );
        ensure_eq!(
            record.expires_at,
            expiry.apply(END).max(at(5_000)),
            "a touch and a save with {expiry:?} before its last step left the wrong expiry"
        );
    }
    Ok(())
}
