//! What has ended stays ended, and an owner sees and ends what is theirs and nothing else.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use crate::clock::Clock as _;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::canaries::Canaries;
use crate::conformance::clause::setting::together;
use crate::conformance::fixture::Stores;
use crate::conformance::security::site::{Site, issued, reached};
use crate::error::SessionError;
use crate::key::SessionKey;
use crate::outcome::Outcome;
use crate::owner::Owner;
use crate::policy::Policy;
use crate::session::SessionBase;
use crate::store::SessionStore as _;
use crate::testing::Operation;

pub(in crate::conformance) async fn fix_03_end_01_a_key_opens_nothing_after_its_log_out(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "a").await?;
    let told = site
        .does(&key, |session| {
            session.log_out();
            Ok(())
        })
        .await?;
    ensure!(
        matches!(told, Outcome::Revoke),
        "a log-out does not tell the client; found {told:?}"
    );
    let replayed = site.request(Some(&key)).await?;
    ensure!(
        replayed.session.owner().is_none() && replayed.session.is_empty(),
        "the cookie of an ended session opens it"
    );
    let told = replayed.finish().await?;
    ensure!(
        matches!(told, Outcome::Accessed),
        "an ended session's key is answered with a cookie; found {told:?}"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_03_of_fifty_log_outs_one_ends_the_session(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "a").await?;
    let place = site.place(&key);
    let deletes = (0..50).map(|_| {
        let (store, place) = (std::sync::Arc::clone(&site.store), place.clone());
        async move { store.delete(&place).await }
    });
    let mut ended = 0;
    for answer in together(deletes).await? {
        ended += u32::from(answer?);
    }
    ensure_eq!(ended, 1, "one session was ended more than once, or never");
    let told = site
        .does(&key, |session| {
            session.log_out();
            Ok(())
        })
        .await?;
    ensure!(
        matches!(told, Outcome::Accessed | Outcome::Revoke),
        "a log-out that comes late is an error; found {told:?}"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_04_a_list_of_sessions_shows_no_key(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "canary-value").await?;
    let other = site.log_in(7, "canary-value").await?;
    drop(
        site.does(&other, |session| session.set_label("a phone"))
            .await?,
    );
    let asking = site.request(Some(&key)).await?;
    let listed = asking.session.own_sessions().await?;
    ensure_eq!(listed.len(), 2, "a session is not in its owner's list");
    let current = listed.iter().filter(|listed| listed.is_current).count();
    ensure_eq!(current, 1, "a visitor can't tell which session is this one");
    let labels: Vec<_> = listed
        .iter()
        .filter_map(|one| one.label.as_deref())
        .collect();
    ensure_eq!(labels, ["a phone"], "a device is listed without its name");
    let mut canaries = Canaries::new();
    for key in [&key, &other] {
        canaries.add("a key", key.expose_secret());
        canaries.add("a store key", site.place(key).as_str());
    }
    canaries.add("data", "canary-value");
    let mut shown = format!("{listed:?} {listed:#?}");
    for one in &listed {
        shown.push_str(one.handle.as_str());
    }
    if let Some(found) = canaries.found_in(shown.as_bytes()) {
        return Err(Broken::new(format!("a list of sessions shows {found}")));
    }
    Ok(())
}

pub(in crate::conformance) async fn end_05_a_handle_ends_a_session_of_its_own_owner_alone(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let (ada, phone, bob) = (
        site.log_in("ada", "a").await?,
        site.log_in("ada", "p").await?,
        site.log_in("bob", "b").await?,
    );
    let handle = async |key: &SessionKey| {
        let listed = site
            .request(Some(key))
            .await?
            .session
            .own_sessions()
            .await?;
        let current = listed.into_iter().find(|listed| listed.is_current);
        let current = current.ok_or_else(|| Broken::new("a session is not in its own list"))?;
        Ok::<_, Broken>(current.handle)
    };
    let (phones, bobs) = (handle(&phone).await?, handle(&bob).await?);
    let unknown = "0123456789abcdef01234567".parse()?;
    let session = site.request(Some(&ada)).await?.session;
    for (what, handle) in [("another's", &bobs), ("an unknown", &unknown)] {
        ensure!(
            !session.end(handle).await?,
            "{what} handle is said to have ended something"
        );
    }
    ensure!(
        site.is_alive(&bob).await?,
        "a stranger's handle ended a session"
    );
    ensure!(
        session.end(&phones).await?,
        "an owner can't end their session"
    );
    ensure!(
        !site.is_alive(&phone).await?,
        "a session that was ended lives"
    );
    ensure!(
        site.is_alive(&ada).await?,
        "ending another session ended this one"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_06_end_08_ending_all_ends_what_was_and_spares_what_comes(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(site.log_in(7, "before").await?);
    }
    let neighbour = site.log_in(8, "neighbour").await?;
    // Each request has loaded; they are stored while all sessions are being ended, or after it.
    let gate = site.store.hold_answer(Operation::End);
    let mut ending = tokio::spawn({
        let manager = site.manager.clone();
        async move { manager.end_all(&Owner::from(7)).await }
    });
    reached(&gate, &mut ending).await?;
    let mut later = Vec::new();
    for _ in 0..20 {
        later.push(site.log_in(7, "later").await?);
    }
    gate.release();
    ensure_eq!(
        ending.await??,
        20,
        "a closed account is told another number of sessions than it had"
    );
    ensure_eq!(
        (site.alive(&before).await?, site.alive(&later).await?),
        (0, 20),
        "ending all missed a session, or ended one of a later log-in"
    );
    let (spared, others) = later
        .split_first()
        .ok_or_else(|| Broken::new("the kit's own: twenty are not none"))?;
    let session = site.request(Some(spared)).await?.session;
    ensure_eq!(
        session.end_others().await?,
        19,
        "ending the others counted wrong"
    );
    ensure_eq!(
        (site.alive(others).await?, site.is_alive(spared).await?),
        (0, true),
        "ending the others missed one, or ended this one"
    );
    ensure!(
        site.is_alive(&neighbour).await?,
        "somebody else's session was ended"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_10_a_moment_ends_every_session_that_began_before_it(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let old = site.log_in(1, "old").await?;
    let anonymous = site.visitor(|session| session.set("n", &1)).await?;
    site.clock.advance(Duration::from_secs(10));
    let moment = SystemTime::from(site.clock.now());
    let young = site.log_in(2, "young").await?;
    let after = site.with_policy(Policy::new().with_not_before(moment))?;
    ensure!(
        !after.is_alive(&old).await? && !after.is_alive(&anonymous).await?,
        "a session from before the moment lives"
    );
    ensure!(
        after.is_alive(&young).await?,
        "a session from after the moment ended as well"
    );
    let late = after.request(Some(&old)).await?;
    late.session.log_in(1)?;
    let anew = issued(late.finish().await?)?;
    ensure!(
        after.is_alive(&anew).await? && !after.is_alive(&old).await?,
        "a log-in brought back what had ended"
    );
    Ok(())
}

pub(in crate::conformance) async fn end_11_of_fifty_log_ins_as_many_live_as_the_limit_says(
    stores: Stores,
) -> Result<(), Broken> {
    let limit = NonZeroUsize::MIN.saturating_add(2);
    let site = Site::new(&stores).await?;
    let site = site.with_policy(Policy::new().with_sessions_per_owner_max(limit))?;
    let other = site.log_in(8, "somebody else").await?;
    let log_ins = (0..50).map(|_| {
        let manager = site.manager.clone();
        async move {
            let session = manager.start();
            session.log_in(7)?;
            session.save().await?;
            session
                .session_key()
                .ok_or_else(|| Broken::new("a session that was saved has no key"))
        }
    });
    let keys: Vec<SessionKey> = together(log_ins)
        .await?
        .into_iter()
        .collect::<Result<_, Broken>>()?;
    ensure_eq!(
        site.alive(&keys).await?,
        limit.get(),
        "an owner has not as many sessions as the limit says"
    );
    ensure!(
        site.is_alive(&other).await?,
        "somebody else's session was ended by the limit"
    );
    Ok(())
}

pub(in crate::conformance) async fn fix_06_rot_03_the_old_key_is_dead_once_a_log_in_has_answered(
    stores: Stores,
) -> Result<(), Broken> {
    type Deed = fn(&SessionBase) -> Result<(), SessionError>;
    let deeds: [Deed; 3] = [
        |session| session.log_in(7),
        |session| session.log_in(8),
        |session| {
            session.cycle_key();
            Ok(())
        },
    ];
    let site = Site::new(&stores).await?;
    let mut key = site.visitor(|session| session.set("cart", &1)).await?;
    for deed in deeds {
        // A request that loaded the session before, and comes to its end after.
        let late = site.request(Some(&key)).await?;
        late.session.set("late", &1)?;
        let next = issued(site.does(&key, deed).await?)?;
        ensure!(
            !site.is_alive(&key).await?,
            "a key from before a log-in opens the session after it"
        );
        let told = late.finish().await;
        ensure!(
            matches!(told, Err(SessionError::Interrupted)),
            "a request under the old key has written; found {told:?}"
        );
        ensure!(
            !site.is_alive(&key).await? && site.is_alive(&next).await?,
            "a late request brought the old key back, or ended the new one"
        );
        key = next;
    }
    Ok(())
}

pub(in crate::conformance) async fn rot_04_a_rotation_that_fails_leaves_one_key(
    stores: Stores,
) -> Result<(), Broken> {
    for lost in [false, true] {
        let site = Site::new(&stores).await?;
        let key = site.log_in(7, "a").await?;
        let request = site.request(Some(&key)).await?;
        request.session.cycle_key();
        if lost {
            site.store.lose_answer(Operation::Rotate);
        } else {
            site.store.refuse(Operation::Rotate);
        }
        ensure!(
            request.finish().await.is_err(),
            "a rotation is said to have worked that did not"
        );
        let owners = site.manager.end_all(&Owner::from(7)).await?;
        ensure_eq!(
            owners,
            1,
            "a rotation that failed left two sessions, or none (its answer was lost: {lost})"
        );
    }
    Ok(())
}
