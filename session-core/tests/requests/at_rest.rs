//! What a store holds is of no use to whoever has only the store: sealed payloads, and keys hashed under a secret.
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use session_core::codec::{Binding, Codec, JsonCodec, SealedCodec};
use session_core::conformance::{CountingStore, FaultStore, Operation};
use session_core::store::{
    Change, ExpiryChange, NewRecord, OwnerIndex, Page, Payload, Record, Saved, SessionStore,
    StoreError, StoreKey, StoreScan, Timestamp, Version,
};
use session_core::{
    DigestKeys, KeyPolicy, KeyRing, ManualClock, MemoryStore, Owner, Policy, SessionData,
    SessionError, SessionKey, SessionManager,
};

use crate::support::{Ended, Request};

const NOW: u64 = 1_900_000_000;

/// Keeps bytes, as a store on another machine does, and not what they were made of.
#[derive(Debug, Default)]
pub(crate) struct InBytes(MemoryStore);

#[async_trait]
impl SessionStore for InBytes {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let mut record = self.0.load(key, now).await?;
        if let Some(record) = &mut record {
            record.payload = Payload::from_bytes(record.payload.to_bytes()?);
        }
        Ok(record)
    }

    async fn create(
        &self,
        key: &StoreKey,
        mut new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        new.payload = Payload::from_bytes(new.payload.to_bytes()?);
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        change.payload = Payload::from_bytes(change.payload.to_bytes()?);
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        change.payload = Payload::from_bytes(change.payload.to_bytes()?);
        self.0.rotate(from, expected, to, change, now).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.scan()
    }
}

pub(crate) type TestStore = Arc<FaultStore<CountingStore<InBytes>>>;

/// One server of an application. Servers may have other secrets, and share a store and a clock.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) manager: SessionManager,
    pub(crate) store: TestStore,
    pub(crate) clock: Arc<ManualClock>,
}

impl Server {
    pub(crate) fn new(digest: &KeyRing, sealing: &KeyRing) -> Self {
        let store = Arc::new(FaultStore::new(CountingStore::new(InBytes::default())));
        let clock = Arc::new(ManualClock::at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        ));
        Self::on(
            &store,
            &clock,
            digest,
            SealedCodec::new(JsonCodec::default(), sealing),
        )
    }

    pub(crate) fn on(
        store: &TestStore,
        clock: &Arc<ManualClock>,
        digest: &KeyRing,
        codec: impl Codec,
    ) -> Self {
        let policy = Policy::new().with_keys(KeyPolicy::Keyed(DigestKeys::new(digest)));
        let manager = SessionManager::new(Arc::clone(store))
            .with_codec(codec)
            .with_policy(policy)
            .with_clock(Arc::clone(clock));
        Self {
            manager,
            store: Arc::clone(store),
            clock: Arc::clone(clock),
        }
    }

    /// The same application after its secrets were changed.
    pub(crate) fn with(&self, digest: &KeyRing, sealing: &KeyRing) -> Self {
        let codec = SealedCodec::new(JsonCodec::default(), sealing);
        Self::on(&self.store, &self.clock, digest, codec)
    }

    pub(crate) fn request(&self, key: &SessionKey) -> Request {
        let slot = self.manager.slot();
        slot.present([key.expose_secret().as_bytes()]);
        Request { slot }
    }

    /// Somebody who is logged in, and has something in the session.
    pub(crate) async fn visitor(&self, secret: &str) -> SessionKey {
        let request = Request {
            slot: self.manager.slot(),
        };
        let session = request.session().await;
        session.log_in(7).unwrap();
        session.set("secret", secret).unwrap();
        request.finish().await.expect_issued()
    }

    pub(crate) async fn reads(&self, key: &SessionKey) -> Option<String> {
        let request = self.request(key);
        let read = request.session().await.get("secret").unwrap();
        request.finish().await.expect_done();
        read
    }

    pub(crate) async fn write(&self, key: &SessionKey, name: &str, value: u32) -> Ended {
        let request = self.request(key);
        request.session().await.set(name, &value).unwrap();
        request.finish().await
    }

    pub(crate) async fn records(&self) -> Vec<(StoreKey, Record)> {
        let scan = self.store.scan().expect("memory can be scanned");
        scan.page(Page::first(1_000)).await.unwrap()
    }

    pub(crate) async fn record(&self) -> (StoreKey, Record) {
        let records = self.records().await;
        let [one] = <[_; 1]>::try_from(records).expect("there is one session");
        one
    }

    /// What somebody does who can write the store: puts this there, whatever it was.
    pub(crate) async fn forge(&self, key: &StoreKey, record: &Record) {
        self.store.delete(key).await.unwrap();
        let mut new = NewRecord::new(record.payload.clone(), record.expires_at);
        new.owner = record.owner.clone();
        new.label = record.label.clone();
        new.created_at = record.created_at;
        let now = self.clock_now();
        self.store.create(key, new, now).await.unwrap();
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        use session_core::Clock as _;
        self.clock.now()
    }

    pub(crate) fn calls(&self) -> u64 {
        let total = self.store.inner().total();
        self.store.inner().reset();
        total
    }
}

/// Keys that nobody else has.
fn secret(first: u8) -> Vec<u8> {
    (0..32).map(|n| first.wrapping_add(n)).collect()
}

pub(crate) fn ring(first: u8) -> KeyRing {
    KeyRing::from_bytes(&secret(first)).unwrap()
}

pub(crate) fn rings(first: u8, older: &[u8]) -> KeyRing {
    older.iter().fold(ring(first), |ring, older| {
        ring.with_older(&secret(*older)).unwrap()
    })
}

fn in_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How many sealed records name the sealing key `id`.
fn key_id(payload: &Bytes) -> [u8; 4] {
    payload[4..8].try_into().unwrap()
}

#[tokio::test]
async fn rest_01_a_store_holds_neither_the_key_nor_what_is_in_the_session() {
    let server = Server::new(&ring(1), &ring(2));
    let key = server.visitor("CANARY").await;
    let (store_key, record) = server.record().await;
    let payload = record.payload.to_bytes().unwrap();
    for held in [store_key.as_str().as_bytes(), &payload] {
        let held = in_text(held);
        assert!(
            !held.contains(key.expose_secret()),
            "the key is in the store"
        );
        assert!(!held.contains("CANARY"), "the data can be read");
        assert!(!held.contains("secret"), "a name can be read");
    }
    assert_ne!(
        store_key,
        KeyPolicy::Hashed.store_key(&key),
        "whoever knows the key finds the record without the server's secret"
    );
}

#[tokio::test]
async fn rest_02_what_a_dump_holds_is_no_cookie() {
    let server = Server::new(&ring(1), &ring(2));
    let _key = server.visitor("a").await;
    let (store_key, record) = server.record().await;
    let text = store_key.as_str();
    let payload = record.payload.to_bytes().unwrap();
    server.calls();
    for presented in [
        text.as_bytes(),
        &text.as_bytes()[..32],
        &text.as_bytes()[8..],
        &payload,
    ] {
        let slot = server.manager.slot();
        slot.present([presented]);
        let request = Request { slot };
        assert_eq!(
            request.session().await.owner(),
            None,
            "a dump lets people in"
        );
        request.finish().await.expect_done();
    }
}

#[tokio::test]
async fn rest_03_whoever_can_write_the_store_can_not_make_a_session() {
    let server = Server::new(&ring(1), &ring(2));
    let _victim = server.visitor("a").await;
    let (_, record) = server.record().await;
    let chosen = SessionKey::parse(&[b'a'; 32]).unwrap();
    for place in [
        KeyPolicy::Hashed.store_key(&chosen),
        KeyPolicy::UnhashedSharedWithDjango.store_key(&chosen),
        KeyPolicy::Keyed(DigestKeys::new(&ring(9))).store_key(&chosen),
    ] {
        server.forge(&place, &record).await;
        assert!(server.manager.load(&chosen).await.unwrap().is_none());
    }
    // Even at the right place, which only the server can compute, another's data are not believed.
    let place = server.manager.policy().keys().store_key(&chosen);
    server.forge(&place, &record).await;
    assert!(server.manager.load(&chosen).await.unwrap().is_none());
    let (_, left) = server
        .records()
        .await
        .into_iter()
        .find(|(key, _)| *key == place)
        .unwrap();
    assert_eq!(
        left.payload.to_bytes().unwrap(),
        record.payload.to_bytes().unwrap(),
        "what was refused was overwritten"
    );
}

#[test]
fn rest_04_every_name_and_purpose_has_keys_of_its_own() {
    let key = SessionKey::parse(b"abcdefghijklmnopqrstuvwxyz012345").unwrap();
    let place = |ring: &KeyRing| KeyPolicy::Keyed(DigestKeys::new(ring)).store_key(&key);
    // Computed with Python's hmac, by RFC 5869.
    assert_eq!(
        place(&ring(0)).as_str(),
        "a4e353934fe3b5ab750fae4c38410f979d762ee0"
    );
    let admin = ring(0).with_name("admin");
    assert_eq!(
        place(&admin).as_str(),
        "d65e28a48a105cd83b93573fbe7a3c0a39ceec56"
    );
    // A payload for one name can't be opened under the other.
    let binding = Binding::new(place(&ring(0)));
    let data = SessionData::from_json("{\"a\":1}").unwrap();
    let sealed = SealedCodec::new(JsonCodec::default(), &ring(0)).encode(&binding, &data);
    let opened = SealedCodec::new(JsonCodec::default(), &admin).decode(&binding, &sealed.unwrap());
    assert!(
        matches!(opened, Err(StoreError::Damaged { .. })),
        "{opened:?}"
    );
}

#[test]
fn rest_05_data_03_a_payload_that_another_library_sealed_is_opened_and_one_with_a_flipped_bit_is_not()
 {
    // Made with PyCryptodome and Python's hmac from what the documentation says.
    const SEALED: &str = "f55343012a4678a86465666768696a6b6c6d6e6f707172737475767778797a7b408d12a884c51280f08a48b9f9f3d1c51766ab7f11cdc039c54197c66054";
    let sealed = from_hex(SEALED);
    let codec = SealedCodec::new(JsonCodec::default(), &ring(0));
    let binding = golden_binding();
    let data = codec.decode(&binding, &sealed.clone().into()).unwrap();
    assert_eq!(data.get::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let opened = codec.decode(&binding, &flipped.into());
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "bit {bit} can be flipped: {opened:?}"
        );
    }
    for len in 0..sealed.len() {
        let opened = codec.decode(&binding, &sealed[..len].to_vec().into());
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "it can be cut to {len} bytes: {opened:?}"
        );
    }
}

fn golden_binding() -> Binding {
    let key = StoreKey::parse("abcdefghijklmnopqrstuvwxyz012345").unwrap();
    let mut binding = Binding::new(key);
    binding.owner = Some(Owner::from(7));
    binding.created_at = Some(Timestamp::from_secs(1_900_000_000));
    binding
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap())
        .collect()
}

#[tokio::test]
async fn rest_06_a_payload_is_believed_at_its_own_record_alone() {
    let server = Server::new(&ring(1), &ring(2));
    let key = server.visitor("a").await;
    let (place, record) = server.record().await;
    let other = server.visitor("b").await;
    let (other_place, other_record) = server
        .records()
        .await
        .into_iter()
        .find(|(found, _)| *found != place)
        .unwrap();
    type Tamper = fn(&mut Record, &Record);
    let forged: &[(&str, Tamper)] = &[
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
    for (what, forge) in forged {
        let mut tampered = record.clone();
        forge(&mut tampered, &other_record);
        server.forge(&place, &tampered).await;
        assert_eq!(server.reads(&key).await, None, "believed with {what}");
    }
    server.forge(&place, &record).await;
    assert_eq!(server.reads(&key).await.as_deref(), Some("a"));
    // Two records whose payloads were exchanged.
    let (mut one, mut two) = (record.clone(), other_record.clone());
    std::mem::swap(&mut one.payload, &mut two.payload);
    server.forge(&place, &one).await;
    server.forge(&other_place, &two).await;
    assert_eq!(server.reads(&key).await, None);
    assert_eq!(server.reads(&other).await, None);
}

#[test]
fn rest_07_no_nonce_comes_twice() {
    const THREADS: usize = 4;
    const EACH: usize = 10_000;
    let binding = golden_binding();
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // A codec of its own, as every process has.
                let codec = SealedCodec::new(JsonCodec::default(), &ring(0));
                let data = SessionData::default();
                let nonces: Vec<[u8; 24]> = (0..EACH)
                    .map(|_| {
                        codec.encode(&binding, &data).unwrap()[8..32]
                            .try_into()
                            .unwrap()
                    })
                    .collect();
                seen.lock().unwrap().extend(nonces);
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap().len(), THREADS * EACH);
}

/// Notes whether it was asked to read anything.
#[derive(Debug, Clone, Default)]
struct Spy(Arc<AtomicU64>);

impl Codec for Spy {
    fn encode(&self, binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        JsonCodec::default().encode(binding, data)
    }

    fn decode(&self, binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        JsonCodec::default().decode(binding, bytes)
    }
}

#[test]
fn rest_08_data_02_nothing_else_is_tried_on_what_is_refused() {
    let spy = Spy::default();
    let codec = SealedCodec::new(spy.clone(), &rings(1, &[2]));
    let binding = golden_binding();
    let data = SessionData::from_json("{\"a\":1}").unwrap();
    let foreign = SealedCodec::new(JsonCodec::default(), &ring(3)).encode(&binding, &data);
    let mut another_version = codec.encode(&binding, &data).unwrap().to_vec();
    another_version[3] = 0;
    let mut another_key = codec.encode(&binding, &data).unwrap().to_vec();
    let older = SealedCodec::new(JsonCodec::default(), &ring(2))
        .encode(&binding, &data)
        .unwrap();
    another_key[4..8].copy_from_slice(&older[4..8]);
    for (what, bytes) in [
        ("plain text", Bytes::from("{\"a\":1}")),
        ("nothing", Bytes::new()),
        ("what another server sealed", foreign.unwrap()),
        ("another version of the format", another_version.into()),
        ("a payload that names another key", another_key.into()),
    ] {
        let opened = codec.decode(&binding, &bytes);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{what}: {opened:?}"
        );
    }
    assert_eq!(
        spy.0.load(Ordering::SeqCst),
        0,
        "the inner codec saw what was refused"
    );
    codec
        .decode(&binding, &codec.encode(&binding, &data).unwrap())
        .unwrap();
    assert_eq!(spy.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn rest_09_a_new_sealing_key_writes_and_an_old_one_reads_until_it_is_taken_out() {
    let digest = ring(100);
    let first = Server::new(&digest, &ring(1));
    let (written, read) = (first.visitor("w").await, first.visitor("r").await);
    let second = first.with(&digest, &rings(2, &[1]));
    assert_eq!(second.reads(&written).await.as_deref(), Some("w"));
    second.write(&written, "n", 1).await.expect_done();
    let third = first.with(&digest, &rings(3, &[2]));
    assert_eq!(third.reads(&written).await.as_deref(), Some("w"));
    assert_eq!(
        third.reads(&read).await,
        None,
        "what is sealed with a key that was taken out is still believed"
    );
    assert!(third.manager.load(&read).await.unwrap().is_none());
    // Not overwritten: with the key back in the ring it is there again.
    assert_eq!(second.reads(&read).await.as_deref(), Some("r"));
}

#[tokio::test]
async fn rest_10_a_job_reseals_what_no_request_has_written_and_loses_none_of_their_updates() {
    let digest = ring(100);
    let old = Server::new(&digest, &ring(1));
    let mut keys = Vec::new();
    for n in 0..250 {
        keys.push(old.visitor(&n.to_string()).await);
    }
    let both = old.with(&digest, &rings(2, &[1]));
    let newest = key_id(&{
        let probe = both.visitor("probe").await;
        let (_, record) = both
            .records()
            .await
            .into_iter()
            .find(|(key, _)| *key == both.manager.policy().keys().store_key(&probe))
            .unwrap();
        record.payload.to_bytes().unwrap()
    });
    both.write(&keys[0], "n", 1).await.expect_done();
    // One request writes while the job has read its page and not yet saved.
    let gate = both.store.hold(Operation::Save);
    let job = tokio::spawn({
        let manager = both.manager.clone();
        async move {
            let mut pages = 0;
            let done = manager.reseal(|_| pages += 1).await.unwrap();
            (done, pages)
        }
    });
    gate.reached().await;
    for key in &keys[1..50] {
        both.write(key, "n", 2).await.expect_done();
    }
    gate.release();
    let (done, pages) = job.await.unwrap();
    assert_eq!(done.seen, 251);
    assert!(pages >= 3, "progress was told {pages} times");
    assert_eq!(done.unreadable, 0);
    assert!(done.resealed >= 200, "{done:?}");
    for (_, record) in both.records().await {
        let payload = record.payload.to_bytes().unwrap();
        assert_eq!(key_id(&payload), newest, "a record still needs the old key");
    }
    let new = old.with(&digest, &ring(2));
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(
            new.reads(key).await,
            Some(n.to_string()),
            "a session was lost"
        );
    }
    for key in &keys[1..50] {
        let session = new.manager.load(key).await.unwrap().unwrap();
        assert_eq!(
            session.get::<u32>("n").unwrap(),
            Some(2),
            "the job undid an update"
        );
        assert_eq!(session.owner(), Some(Owner::from(7)));
    }
    let again = new.manager.reseal(|_| {}).await.unwrap();
    assert_eq!((again.resealed, again.unreadable), (0, 0), "{again:?}");
    // What it can't open it leaves, and says so.
    let foreign = old.with(&digest, &ring(3));
    let done = foreign.manager.reseal(|_| {}).await.unwrap();
    assert_eq!((done.resealed, done.unreadable), (0, 251), "{done:?}");
}

#[test]
fn rest_11_no_short_empty_or_placeholder_key_works() {
    let random = "q83vEjRWeJCrze8SNFZ4kBAyVHaYutz+EDJUdpi63P4=";
    KeyRing::parse(random).unwrap();
    KeyRing::parse(&format!("# the newest\n{random} # made today\n")).unwrap();
    KeyRing::parse(random.trim_end_matches('=')).unwrap();
    KeyRing::parse(&random.replace('+', "-").replace('/', "_")).unwrap();
    for bad in [
        "",
        "# nothing but words",
        "c2VjcmV0",
        "not base64 at all, and long enough to be a key of a server",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAECAwQFBgAAAQIDBAUGAAABAgMEBQYAAAECAwQFBgA=",
        &format!("{random} {random}"),
        &format!("{random} c2VjcmV0"),
    ] {
        let error = KeyRing::parse(bad).expect_err("a key that anybody can guess works");
        assert!(
            matches!(error, SessionError::InvalidKey { .. }),
            "{error:?}"
        );
        let said = format!("{error} {error:?}");
        assert!(!said.contains(random), "an error holds a key: {said}");
    }
    KeyRing::from_bytes(&secret(1)[..31]).expect_err("a key of 31 bytes works");
    assert!(
        ring(1).with_older(&secret(1)).is_err(),
        "the same key twice"
    );
    let unset = KeyRing::from_env("SESSION_CORE_TEST_NEVER_SET").unwrap_err();
    assert!(
        unset.to_string().contains("SESSION_CORE_TEST_NEVER_SET"),
        "{unset}"
    );
    KeyRing::from_file("no such file").expect_err("a file that is not there holds a key");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{random}").unwrap();
    let read = KeyRing::from_file(file.path());
    let key = SessionKey::parse(&[b'a'; 32]).unwrap();
    let place = |ring: &KeyRing| KeyPolicy::Keyed(DigestKeys::new(ring)).store_key(&key);
    assert_eq!(
        place(&read.unwrap()),
        place(&KeyRing::parse(random).unwrap())
    );
    let shown = format!("{:?} {:?}", ring(1), DigestKeys::new(&ring(1)));
    assert_eq!(shown, "KeyRing { keys: 1 } DigestKeys { keys: 1 }");
}

#[tokio::test]
async fn rest_13_plain_payloads_are_refused_unless_a_window_is_open_and_are_sealed_in_it() {
    let digest = ring(100);
    let sealed = Server::new(&digest, &ring(1));
    let plain = Server::on(&sealed.store, &sealed.clock, &digest, JsonCodec::default());
    let (written, read) = (plain.visitor("w").await, plain.visitor("r").await);
    assert_eq!(
        sealed.reads(&written).await,
        None,
        "a plain payload is believed"
    );
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 3_600);
    let codec = SealedCodec::new(JsonCodec::default(), &ring(1))
        .accepting_plain_until(end)
        .with_clock(Arc::clone(&sealed.clock));
    let window = Server::on(&sealed.store, &sealed.clock, &digest, codec);
    assert_eq!(window.reads(&written).await.as_deref(), Some("w"));
    window.write(&written, "n", 1).await.expect_done();
    assert_eq!(
        sealed.reads(&written).await.as_deref(),
        Some("w"),
        "it was not sealed"
    );
    sealed.clock.advance(Duration::from_secs(3_600));
    assert_eq!(window.reads(&read).await, None, "the window does not close");
    sealed
        .clock
        .set(Timestamp::from_secs(i64::try_from(NOW).unwrap()));
    assert_eq!(window.manager.reseal(|_| {}).await.unwrap().resealed, 1);
    assert_eq!(sealed.reads(&read).await.as_deref(), Some("r"));
}

#[tokio::test]
async fn a_new_digest_key_moves_a_session_when_it_is_next_written() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let (key, idle) = (old.visitor("a").await, old.visitor("b").await);
    let both = old.with(&rings(11, &[10]), &sealing);
    old.calls();
    assert_eq!(both.reads(&key).await.as_deref(), Some("a"));
    assert_eq!(both.calls(), 2, "one trip for each place");
    both.write(&key, "n", 1).await.expect_done();
    assert_eq!(
        both.calls(),
        3,
        "two to find it, one to move it with its change"
    );
    assert_eq!(both.reads(&key).await.as_deref(), Some("a"));
    assert_eq!(both.calls(), 1, "it has moved");
    let new = old.with(&ring(11), &sealing);
    assert_eq!(new.reads(&key).await.as_deref(), Some("a"));
    assert_eq!(new.reads(&idle).await, None, "its digest key was taken out");
    assert_eq!(new.manager.end_all(&Owner::from(7)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_renewal_moves_a_session_that_is_only_read() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    old.clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    assert_eq!(both.reads(&key).await.as_deref(), Some("a"));
    let new = old.with(&ring(11), &sealing);
    assert_eq!(
        new.reads(&key).await.as_deref(),
        Some("a"),
        "a visitor who comes daily is logged out"
    );
}

#[tokio::test]
async fn a_session_that_is_moved_while_others_write_it_loses_none_of_their_updates() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let slow = both.request(&key);
    slow.session().await.set("slow", &1).unwrap();
    both.write(&key, "fast", 1).await.expect_done();
    slow.finish().await.expect_done();
    let session = both.manager.load(&key).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("fast").unwrap(), Some(1));
    assert_eq!(session.get::<u32>("slow").unwrap(), Some(1));
    assert_eq!(both.records().await.len(), 1, "there are two sessions now");
}

#[tokio::test]
async fn a_session_that_is_moved_between_two_looks_is_found() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    // The reader has looked where the session will be.
    let gate = both.store.hold_answer(Operation::Load);
    let reader = tokio::spawn({
        let (both, key) = (
            both.clone(),
            SessionKey::parse(key.expose_secret().as_bytes()).unwrap(),
        );
        async move { both.reads(&key).await }
    });
    gate.reached().await;
    both.write(&key, "n", 1).await.expect_done();
    gate.release();
    assert_eq!(
        reader.await.unwrap().as_deref(),
        Some("a"),
        "a visitor was logged out by a change of keys"
    );
}

#[tokio::test]
async fn a_session_ends_wherever_it_is() {
    let sealing = ring(1);
    type Ends = for<'a> fn(&'a Request) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    let ways: [(&str, Ends); 2] = [
        ("without loading it", |request| {
            Box::pin(async { request.slot.log_out() })
        }),
        ("after loading it", |request| {
            Box::pin(async { request.session().await.log_out() })
        }),
    ];
    for (how, end) in ways {
        for moved_meanwhile in [false, true] {
            let old = Server::new(&ring(10), &sealing);
            let key = old.visitor("a").await;
            let both = old.with(&rings(11, &[10]), &sealing);
            let request = both.request(&key);
            end(&request).await;
            if moved_meanwhile {
                both.write(&key, "n", 1).await.expect_done();
            }
            request.finish().await.expect_done();
            assert_eq!(
                both.records().await.len(),
                0,
                "a session outlived its log-out {how}, moved meanwhile: {moved_meanwhile}"
            );
        }
    }
}

#[tokio::test]
async fn a_late_write_does_not_bring_back_a_session_that_was_to_be_moved() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let late = both.request(&key);
    late.session().await.set("n", &1).unwrap();
    let log_out = both.request(&key);
    log_out.session().await.log_out();
    log_out.finish().await.expect_done();
    assert_eq!(late.finish().await.word(), "interrupted");
    assert_eq!(both.records().await.len(), 0, "an ended session came back");
}

#[tokio::test]
async fn a_move_whose_answer_is_lost_is_followed() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let key = old.visitor("a").await;
    let both = old.with(&rings(11, &[10]), &sealing);
    let request = both.request(&key);
    let session = request.session().await;
    session.set("n", &1).unwrap();
    both.store.lose_answer(Operation::Rotate);
    session.save().await.unwrap_err();
    session.set("m", &2).unwrap();
    request.finish().await.expect_done();
    let stored = both.manager.load(&key).await.unwrap().unwrap();
    assert_eq!(
        (stored.get("n").unwrap(), stored.get("m").unwrap()),
        (Some(1), Some(2))
    );
    assert_eq!(both.records().await.len(), 1);
}

#[tokio::test]
async fn a_session_at_its_old_place_is_listed_as_the_current_one_and_spared_by_end_others() {
    let sealing = ring(1);
    let old = Server::new(&ring(10), &sealing);
    let (key, _other) = (old.visitor("a").await, old.visitor("b").await);
    let both = old.with(&rings(11, &[10]), &sealing);
    let request = both.request(&key);
    let session = request.session().await;
    let listed = session.own_sessions().await.unwrap();
    assert_eq!(listed.iter().filter(|listed| listed.is_current).count(), 1);
    assert_eq!(session.end_others().await.unwrap(), 1);
    request.finish().await.expect_done();
    assert_eq!(both.reads(&key).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_conflict_leaves_a_sealed_store_as_a_plain_one_would() {
    let server = Server::new(&ring(1), &ring(2));
    let key = server.visitor("a").await;
    let (place, record) = server.record().await;
    let change = Change::of(&record, record.payload.clone(), ExpiryChange::Keep);
    let saved = server
        .store
        .save(&place, &record.version, change, server.clock_now())
        .await;
    assert!(matches!(saved, Ok(Saved::Stored(_))));
    server.write(&key, "n", 1).await.expect_done();
    assert_eq!(server.reads(&key).await.as_deref(), Some("a"));
}

/// Can't hold a session with a certain name in it.
#[derive(Debug)]
struct Narrow;

impl Codec for Narrow {
    fn encode(&self, binding: &Binding, data: &SessionData) -> Result<Bytes, StoreError> {
        JsonCodec::default().encode(binding, data)
    }

    fn decode(&self, binding: &Binding, bytes: &Bytes) -> Result<SessionData, StoreError> {
        let data = JsonCodec::default().decode(binding, bytes)?;
        if data.contains("wide") {
            return Err(StoreError::unrepresentable("the narrow codec", "too wide"));
        }
        Ok(data)
    }
}

#[tokio::test]
async fn rest_10_one_session_that_can_not_be_read_does_not_keep_the_job_from_the_others() {
    let digest = ring(100);
    let old = Server::new(&digest, &ring(1));
    let mut keys = Vec::new();
    for n in 0..5 {
        keys.push(old.visitor(&n.to_string()).await);
    }
    old.write(&keys[2], "wide", 1).await.expect_done();
    let codec = SealedCodec::new(Narrow, &rings(2, &[1]));
    let both = Server::on(&old.store, &old.clock, &digest, codec);
    let done = both.manager.reseal(|_| {}).await.unwrap();
    assert_eq!(
        (done.seen, done.resealed, done.unreadable),
        (5, 4, 1),
        "{done:?}"
    );
}

/// The methods that every store has to have, over bytes.
#[derive(Debug, Default)]
struct InStepsAndBytes(InBytes);

#[async_trait]
impl SessionStore for InStepsAndBytes {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn rest_06_whatever_a_request_does_its_sealed_session_opens_afterwards() {
    type Deed = (&'static str, fn(&session_core::SessionBase));
    const DEEDS: [Deed; 8] = [
        ("set", |session| session.set("n", &1).unwrap()),
        ("label", |session| session.set_label("phone").unwrap()),
        ("log in", |session| session.log_in(7).unwrap()),
        ("log in as another", |session| session.log_in(8).unwrap()),
        ("cycle", session_core::SessionBase::cycle_key),
        ("clear", session_core::SessionBase::clear),
        ("expiry", |session| {
            let expiry = session_core::Expiry::OnInactivity(Duration::from_secs(60));
            session.set_expiry(expiry).unwrap();
        }),
        ("read, which renews", |_| {}),
    ];
    let stores: [(&str, Arc<dyn SessionStore>); 3] = [
        ("memory", Arc::new(MemoryStore::new())),
        ("bytes", Arc::new(InBytes::default())),
        ("steps", Arc::new(InStepsAndBytes::default())),
    ];
    for (name, store) in stores {
        let clock = Arc::new(ManualClock::at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        ));
        let manager = SessionManager::new(Arc::clone(&store))
            .with_codec(SealedCodec::new(JsonCodec::default(), &ring(1)))
            .with_policy(Policy::new().with_renew_after(Duration::ZERO))
            .with_clock(Arc::clone(&clock));
        for (first, begin) in DEEDS {
            for (second, go_on) in DEEDS {
                let session = manager.start();
                session.set("kept", &1).unwrap();
                begin(&session);
                session.save().await.unwrap();
                clock.advance(Duration::from_secs(1));
                let Some(key) = session.session_key() else {
                    continue;
                };
                let session = manager.load(&key).await.unwrap();
                let what = format!("{first}, then {second}, in {name}");
                let session = session.unwrap_or_else(|| panic!("lost after {what}"));
                go_on(&session);
                session.save().await.unwrap();
                let key = session.session_key().unwrap();
                let place = manager.policy().keys().store_key(&key);
                let now = session_core::Clock::now(&clock);
                let later = now.saturating_add(Duration::from_secs(1_000_000_000));
                assert!(store.touch(&place, later, now).await.unwrap(), "{what}");
                let stored = manager.load(&key).await.unwrap();
                let stored = stored.unwrap_or_else(|| panic!("lost after {what}"));
                assert_eq!(stored.owner(), session.owner(), "{what}");
                assert_eq!(stored.label(), session.label(), "{what}");
                assert_eq!(
                    stored.snapshot().to_json(),
                    session.snapshot().to_json(),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn rest_06_a_payload_that_a_store_keeps_decoded_is_bound_to_its_record_all_the_same() {
    let store = Arc::new(MemoryStore::new());
    let manager = SessionManager::new(Arc::clone(&store))
        .with_codec(SealedCodec::new(JsonCodec::default(), &ring(1)));
    let session = manager.start();
    session.set("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let place = manager.policy().keys().store_key(&key);
    let now = Timestamp::from(SystemTime::UNIX_EPOCH);
    let record = store.load(&place, now).await.unwrap().unwrap();
    let mut change = Change::of(&record, record.payload.clone(), ExpiryChange::Keep);
    change.owner = Some(Owner::from(1));
    let saved = store.save(&place, &record.version, change, now).await;
    assert!(matches!(saved, Ok(Saved::Stored(_))));
    let opened = manager.load(&key).await.unwrap();
    assert!(opened.is_none(), "an owner who was put there is believed");
}

#[test]
fn in_13_data_01_no_payload_makes_a_codec_panic_or_believe_what_it_has_not_sealed() {
    let target = crate::codec_target::Target::new();
    let executions: u32 = match std::env::var("SESSION_TEST_FULL") {
        Ok(full) if full == "1" => 1_000_000,
        _ => 20_000,
    };
    let seeds: [&[u8]; 3] = [
        b"\x00{\"a\":1,\"b\":[true,null,{\"c\":\"\\u00e9\"}],\"_session_expiry\":300}",
        b"\x01\xf5SC\x01abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        b"\x02\x10abcdefgh",
    ];
    // Numbers that look random and are the same every time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..executions {
        let mut input = seeds[next(3)].to_vec();
        for _ in 0..=next(3) {
            let at = 1 + next(input.len() - 1);
            match next(3) {
                0 => input[at] = u8::try_from(next(256)).unwrap(),
                1 if input.len() > 2 => drop(input.remove(at)),
                _ => input.insert(at, u8::try_from(next(256)).unwrap()),
            }
        }
        target.codecs(&input);
    }
}
