//! Whoever has the store, and not the server's secrets, has nothing.

use std::time::{Duration, SystemTime};

use crate::codec::{JsonCodec, SealedCodec};
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::NOW;
use crate::conformance::fixture::Stores;
use crate::conformance::security::site::{DIGEST, SEALING, Site, issued, reached, ring};
use crate::owner::Owner;
use crate::record::Record;
use crate::store::SessionStore as _;
use crate::testing::Operation;

pub(in crate::conformance) async fn rest_02_what_a_dump_holds_is_no_cookie(
    stores: Stores,
) -> Result<(), Broken> {
    let site = Site::new(&stores).await?;
    let key = site.log_in(7, "a").await?;
    let place = site.place(&key);
    let text = place.as_str().as_bytes();
    let payload = site.record(&place).await?.payload.to_bytes()?;
    for presented in [
        text,
        text.get(..32).unwrap_or_default(),
        text.get(8..).unwrap_or_default(),
        &payload,
        payload.get(8..40).unwrap_or_default(),
    ] {
        let slot = site.manager.slot();
        slot.present([presented]);
        ensure!(
            slot.session().await?.owner().is_none(),
            "what a dump holds lets people in"
        );
    }
    ensure!(
        site.is_alive(&key).await?,
        "the visitor was logged out by it"
    );
    Ok(())
}

pub(in crate::conformance) async fn rest_06_data_08_a_payload_is_believed_at_its_own_record_alone_and_left_as_it_is(
    stores: Stores,
) -> Result<(), Broken> {
    type Tamper = fn(&mut Record, &Record);
    const FORGERIES: &[(&str, Tamper)] = &[
        ("another's payload", |record, other| {
            record.payload = other.payload.clone();
        }),
        ("another owner", |record, _| {
            record.owner = Some(Owner::from(8));
        }),
        ("no owner", |record, _| record.owner = None),
        ("a later beginning", |record, _| {
            record.created_at = record
                .created_at
                .map(|at| at.saturating_add(Duration::from_secs(1)));
        }),
        ("no beginning", |record, _| record.created_at = None),
    ];
    let site = Site::new(&stores).await?;
    let (one, two) = (
        site.log_in(7, "one's own").await?,
        site.log_in(7, "two's own").await?,
    );
    let (place, other_place) = (site.place(&one), site.place(&two));
    let record = site.record(&place).await?;
    let other = site.record(&other_place).await?;
    for (what, forge) in FORGERIES {
        let mut forged = record.clone();
        forge(&mut forged, &other);
        site.forge(&place, &forged).await?;
        let request = site.request(Some(&one)).await?;
        ensure!(
            request.session.is_empty() && request.session.owner().is_none(),
            "a session is believed with {what}"
        );
        // The visitor begins anew, under another key.
        request.session.set("n", &1)?;
        let anew = issued(request.finish().await?)?;
        ensure!(
            anew.expose_secret() != one.expose_secret(),
            "what is not believed is written again, with {what}"
        );
        let left = site.record(&place).await?;
        ensure_eq!(
            (left.payload.to_bytes()?, &left.owner),
            (forged.payload.to_bytes()?, &forged.owner),
            "what was refused was not left as it is, with {what}"
        );
    }
    site.forge(&place, &record).await?;
    ensure_eq!(
        site.secret_of(&one).await?.as_deref(),
        Some("one's own"),
        "a record that is as it was is refused"
    );
    // Two rows whose payloads change places.
    let (mut here, mut there) = (record.clone(), other.clone());
    std::mem::swap(&mut here.payload, &mut there.payload);
    site.forge(&place, &here).await?;
    site.forge(&other_place, &there).await?;
    ensure_eq!(
        (site.secret_of(&one).await?, site.secret_of(&two).await?),
        (None, None),
        "two of an owner's sessions can be exchanged"
    );
    Ok(())
}

pub(in crate::conformance) async fn rest_09_a_session_moves_to_a_new_digest_key_at_its_next_write(
    stores: Stores,
) -> Result<(), Broken> {
    let old = Site::new(&stores).await?;
    let (written, idle) = (old.log_in(7, "w").await?, old.log_in(7, "i").await?);
    let both = old.with_secrets(&[101, 100], &[2, 1])?;
    for key in [&written, &idle] {
        ensure!(
            both.is_alive(key).await?,
            "a new secret ends sessions that the old one could open"
        );
    }
    drop(both.does(&written, |session| session.set("n", &1)).await?);
    let new = old.with_secrets(&[101], &[2])?;
    ensure_eq!(
        new.secret_of(&written).await?.as_deref(),
        Some("w"),
        "a session was lost when it moved to its new place"
    );
    ensure!(
        old.store.load(&old.place(&written), NOW).await?.is_none(),
        "a session that moved is at its old place as well"
    );
    ensure!(
        !new.is_alive(&idle).await?,
        "a session opens with a secret that was taken out"
    );
    ensure!(
        both.is_alive(&idle).await?,
        "a session that can't be opened was not left as it is"
    );
    Ok(())
}

pub(in crate::conformance) async fn rest_10_sessions_are_resealed_beside_live_traffic(
    stores: Stores,
) -> Result<(), Broken> {
    const SESSIONS: u32 = 120;
    let old = Site::new(&stores).await?;
    let mut keys = Vec::new();
    for n in 0..SESSIONS {
        keys.push(old.log_in(n, &n.to_string()).await?);
    }
    let both = old.with_secrets(DIGEST, &[2, 1])?;
    // Requests write while the job has read its first page and not yet saved.
    let gate = both.store.hold(Operation::Save);
    let mut job = tokio::spawn({
        let manager = both.manager.clone();
        async move { manager.reseal(|_| {}).await }
    });
    reached(&gate, &mut job).await?;
    let (busy, _) = keys.split_at(40);
    for key in busy {
        drop(both.does(key, |session| session.set("n", &2)).await?);
    }
    gate.release();
    let done = job.await??;
    ensure_eq!(
        (done.seen, done.unreadable),
        (u64::from(SESSIONS), 0),
        "the job has not looked at all sessions"
    );
    let new = old.with_secrets(DIGEST, &[2])?;
    for (n, key) in keys.iter().enumerate() {
        ensure_eq!(
            new.secret_of(key).await?,
            Some(n.to_string()),
            "a session was lost, or still needs the old key"
        );
    }
    for key in busy {
        let session = new.manager.load(key).await?;
        let written = session.map(|session| session.get::<u32>("n")).transpose()?;
        ensure_eq!(written, Some(Some(2)), "the job undid a request's change");
    }
    let again = new.manager.reseal(|_| {}).await?;
    ensure_eq!(
        (again.resealed, again.unreadable),
        (0, 0),
        "what was done is done again"
    );
    Ok(())
}

pub(in crate::conformance) async fn rest_13_a_plain_payload_is_refused_until_its_window_opens_and_sealed_in_it(
    stores: Stores,
) -> Result<(), Broken> {
    let sealed = Site::new(&stores).await?;
    let plain = sealed.with_codec(DIGEST, JsonCodec::default())?;
    let (written, read) = (plain.log_in(7, "w").await?, plain.log_in(7, "r").await?);
    ensure!(
        !sealed.is_alive(&written).await?,
        "a plain payload is believed where data are sealed"
    );
    let end = SystemTime::from(NOW.saturating_add(Duration::from_secs(600)));
    let codec = SealedCodec::new(JsonCodec::default(), &ring(SEALING)?)
        .accepting_plain_until(end)
        .with_clock(std::sync::Arc::clone(&sealed.clock));
    let window = sealed.with_codec(DIGEST, codec)?;
    drop(
        window
            .does(&written, |session| session.set("n", &1))
            .await?,
    );
    ensure_eq!(
        sealed.secret_of(&written).await?.as_deref(),
        Some("w"),
        "a plain session was lost, or not sealed, when it was written in the window"
    );
    sealed.clock.advance(Duration::from_secs(600));
    ensure!(!window.is_alive(&read).await?, "the window does not close");
    Ok(())
}
