//! What is written is what is read.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::conformance::broken::{Broken, ensure, ensure_eq};
use crate::conformance::clause::setting::{
    Data, END, NOW, at, change, data, key, label, live, new, payload, second, stored,
};
use crate::conformance::fixture::{Store, Stores};
use crate::key::StoreKey;
use crate::owner::Owner;
use crate::record::{Change, ExpiryChange, Label, NewRecord, Record};
use crate::store::SessionStore;

pub(in crate::conformance) async fn load_gives_back_every_byte(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let all: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
    let samples: [(&str, Bytes); 7] = [
        ("no bytes", Bytes::new()),
        ("one byte", Bytes::from_static(b"x")),
        ("one NUL", Bytes::from_static(b"\0")),
        ("all byte values", Bytes::from(all)),
        (
            "quotes and line ends",
            Bytes::from_static(b"'\"\\`\r\n\t%s{}$1;--"),
        ),
        (
            "bytes that are no UTF-8",
            Bytes::from_static(b"\xc3\x28\xff"),
        ),
        ("space at both ends", Bytes::from_static(b" \n{} \n")),
    ];
    for (n, (sample, bytes)) in (0..).zip(samples) {
        let trip = Trip::new(&store, sample, n);
        trip.go(&bytes).await?;
    }
    Ok(())
}

pub(in crate::conformance) async fn load_gives_back_a_mebibyte(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    Trip::new(&store, "1 MiB", 0).go(&mebibyte(1)).await
}

/// 1 MiB that neither compresses to nothing nor repeats in step with any block size.
fn mebibyte(seed: u32) -> Bytes {
    let mut state = seed;
    let next = || {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .flatten()
        .take(1024 * 1024)
        .collect()
}

/// Sends bytes into a store by every way there is.
struct Trip<'a> {
    store: &'a Store,
    sample: &'a str,
    keys: [StoreKey; 2],
}

impl<'a> Trip<'a> {
    fn new(store: &'a Store, sample: &'a str, n: u64) -> Self {
        Self {
            store,
            sample,
            keys: [key(2 * n), key(2 * n + 1)],
        }
    }

    async fn go(&self, bytes: &Bytes) -> Result<(), Broken> {
        let [first, second] = &self.keys;
        let by_create = self.store.create(first, new(bytes.clone()), NOW).await?;
        let record = self.found(first, bytes, "create").await?;
        ensure_eq!(
            record.version,
            by_create,
            "load gives another version than create did, so that every save after it would conflict"
        );

        let saved = self
            .store
            .save(first, &by_create, change("something else"), NOW)
            .await?;
        let version = stored(saved, "a save at the version that create gave was refused")?;
        let saved = self
            .store
            .save(first, &version, change(bytes.clone()), NOW)
            .await?;
        let version = stored(saved, "a save at the version that a save gave was refused")?;
        let record = self.found(first, bytes, "save").await?;
        ensure_eq!(
            record.version,
            version,
            "load gives another version than save did, so that every save after it would conflict"
        );

        let rotated = self
            .store
            .rotate(first, &version, second, change(bytes.clone()), NOW)
            .await?;
        let version = stored(
            rotated,
            "a rotate at the version that a save gave was refused",
        )?;
        let record = self.found(second, bytes, "rotate").await?;
        ensure_eq!(
            record.version,
            version,
            "load gives another version than rotate did, so that every save after it would conflict"
        );
        Ok(())
    }

    async fn found(&self, key: &StoreKey, bytes: &Bytes, by: &str) -> Result<Record, Broken> {
        let sample = self.sample;
        let what = format!("a session of {sample} is gone after {by}");
        let record = live(self.store, key, NOW, what).await?;
        ensure_eq!(
            data(&record)?,
            Data(bytes.clone()),
            "{by} does not keep {sample} as they are"
        );
        Ok(record)
    }
}

pub(in crate::conformance) async fn load_of_a_key_that_was_never_there_is_none(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    for now in [NOW, Timestamp::from_secs(0), Timestamp::MIN, Timestamp::MAX] {
        ensure!(
            store.load(&key(1), now).await?.is_none(),
            "a key that nobody was given opens a session"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn keys_of_every_length_are_kept_apart(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let texts = [
        "a",
        "0",
        "ab",
        "abc",
        "abcd",
        "abcdefghijklmnopqrstuvwxyz012345",
        "abcdefghijklmnopqrstuvwxyz012346",
        "0123456789abcdef0123456789abcdef01234567",
        "0123456789abcdef0123456789abcdef01234568",
        "0123456789abcdef0123456789abcdef0123456",
        "1123456789abcdef0123456789abcdef01234567",
        "00",
        "000",
        "con",
        "tmp",
        "lock",
    ];
    let keys: Vec<StoreKey> = texts
        .iter()
        .filter_map(|text| StoreKey::parse(text))
        .collect();
    ensure_eq!(keys.len(), texts.len(), "the kit's own keys");
    for key in &keys {
        let created = store
            .create(key, new(format!("of {}", key.as_str())), NOW)
            .await;
        ensure!(
            created.is_ok(),
            "the key {:?} can't be used beside the others",
            key.as_str()
        );
    }
    for key in &keys {
        let what = format!("the session under {:?} is gone", key.as_str());
        let record = live(&store, key, NOW, what).await?;
        ensure!(
            data(&record)? == format!("of {}", key.as_str()).as_str(),
            "the key {:?} opens somebody else's session",
            key.as_str()
        );
    }
    for (n, key) in keys.iter().enumerate() {
        ensure!(
            store.delete(key).await?,
            "logging out under {:?} found nothing: another key's logout took it along",
            key.as_str()
        );
        for left in keys.iter().skip(n + 1) {
            let what = format!(
                "logging out under {:?} ended the session under {:?}",
                key.as_str(),
                left.as_str()
            );
            live(&store, left, NOW, what).await?;
        }
    }
    Ok(())
}

pub(in crate::conformance) async fn expiries_come_back_to_the_second(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let moments = [at(1), at(86_399), at(400 * 86_400), Timestamp::MAX];
    for (n, expires_at) in (0..).zip(moments) {
        let (first, second_key) = (key(2 * n), key(2 * n + 1));
        let created = store
            .create(&first, NewRecord::new(payload("x"), expires_at), NOW)
            .await?;
        let record = live(&store, &first, NOW, "the session ended too early").await?;
        ensure_eq!(
            record.expires_at,
            expires_at,
            "create does not keep the expiry to the second"
        );

        let set = |moment| Change::new(payload("x"), ExpiryChange::Set(moment));
        let saved = store.save(&first, &created, set(at(500)), NOW).await?;
        let version = stored(saved, "a save was refused")?;
        let saved = store.save(&first, &version, set(expires_at), NOW).await?;
        let version = stored(saved, "a save was refused")?;
        let record = live(&store, &first, NOW, "the session ended too early").await?;
        ensure_eq!(
            record.expires_at,
            expires_at,
            "save does not keep the expiry to the second"
        );

        let rotated = store
            .rotate(&first, &version, &second_key, change("x"), NOW)
            .await?;
        stored(rotated, "a rotate was refused")?;
        let last = expires_at.saturating_sub(second());
        let record = live(&store, &second_key, last, "the session ended too early").await?;
        ensure_eq!(
            record.expires_at,
            expires_at,
            "rotate does not keep the expiry to the second"
        );
    }
    Ok(())
}

/// Owner, label and creation time, to be compared.
type Particulars = (Option<Owner>, Option<Label>, Option<Timestamp>);

fn particulars(record: &Record) -> Particulars {
    let Record {
        owner,
        label,
        created_at,
        ..
    } = record;
    (owner.clone(), label.clone(), *created_at)
}

pub(in crate::conformance) async fn owner_label_and_creation_time_come_back(
    stores: Stores,
) -> Result<(), Broken> {
    let store = stores.fresh().await;
    let longest = "é".repeat(128);
    let samples: [(&str, Particulars); 8] = [
        ("nothing", (None, None, None)),
        ("an owner alone", (Some(Owner::from(7)), None, None)),
        ("a label alone", (None, label("Firefox on Linux"), None)),
        ("a creation time alone", (None, None, Some(at(-3_600)))),
        (
            "256 bytes each",
            (
                Some(Owner::from(longest.as_str())),
                label(&longest),
                Some(Timestamp::from_secs(0)),
            ),
        ),
        (
            "quotes, spaces and control characters",
            (
                Some(Owner::from(" o'\"\\\n\t:*?[x]{%_}/../.")),
                label(" l'\"\\\r\n\u{1}%_ "),
                Some(at(0)),
            ),
        ),
        (
            "characters beyond the first plane",
            (
                Some(Owner::from("ада🦀")),
                label("📱 téléphone"),
                Some(Timestamp::MAX),
            ),
        ),
        (
            "an empty label",
            (Some(Owner::from("0")), label(""), Some(at(1))),
        ),
    ];
    for (n, (sample, (owner, label, created_at))) in (0..).zip(samples) {
        let expected = (owner.clone(), label.clone(), created_at);
        let (first, second) = (key(2 * n), key(2 * n + 1));
        let new_record = NewRecord {
            owner: owner.clone(),
            label: label.clone(),
            created_at,
            ..NewRecord::new(payload("x"), END)
        };
        let with_all = Change {
            owner,
            label,
            created_at,
            ..change("x")
        };
        let broken = |by: &str| {
            format!("{by} does not keep owner, label and creation time as they are, with {sample}")
        };

        let version = store.create(&first, new_record, NOW).await?;
        let record = live(&store, &first, NOW, "the session is gone").await?;
        ensure!(particulars(&record) == expected, "{}", broken("create"));

        let saved = store.save(&first, &version, change("x"), NOW).await?;
        let version = stored(saved, "a save was refused")?;
        let record = live(&store, &first, NOW, "the session is gone").await?;
        ensure!(
            particulars(&record) == (None, None, None),
            "a save without owner, label and creation time leaves the old ones: who logged out stays the owner"
        );

        let saved = store.save(&first, &version, with_all.clone(), NOW).await?;
        let version = stored(saved, "a save was refused")?;
        let record = live(&store, &first, NOW, "the session is gone").await?;
        ensure!(particulars(&record) == expected, "{}", broken("save"));

        store.touch(&first, at(2_000), NOW).await?;
        let record = live(&store, &first, NOW, "the session is gone").await?;
        ensure!(particulars(&record) == expected, "{}", broken("touch"));

        let version = if version == record.version {
            version
        } else {
            record.version
        };
        let rotated = store
            .rotate(&first, &version, &second, with_all, NOW)
            .await?;
        let version = stored(rotated, "a rotate was refused")?;
        let record = live(&store, &second, NOW, "the session is gone").await?;
        ensure!(particulars(&record) == expected, "{}", broken("rotate"));

        let rotated = store
            .rotate(&second, &version, &first, change("x"), NOW)
            .await?;
        stored(rotated, "a rotate was refused")?;
        let record = live(&store, &first, NOW, "the session is gone").await?;
        ensure!(
            particulars(&record) == (None, None, None),
            "a rotate without owner, label and creation time leaves the old ones: who logged out stays the owner"
        );
    }
    Ok(())
}

pub(in crate::conformance) async fn every_live_record_survives_memory_pressure(
    stores: Stores,
) -> Result<(), Broken> {
    const RECORDS: u32 = 24;
    let store = stores.fresh().await;
    for n in 0..RECORDS {
        store
            .create(&key(u64::from(n)), new(mebibyte(n)), NOW)
            .await?;
    }
    for n in 0..RECORDS {
        let what = "a visitor was logged out because others came";
        let record = live(&store, &key(u64::from(n)), NOW, what).await?;
        ensure_eq!(
            data(&record)?,
            Data(mebibyte(n)),
            "a visitor's session is another's under memory pressure"
        );
    }
    Ok(())
}
