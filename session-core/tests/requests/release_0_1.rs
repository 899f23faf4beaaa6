//! What release 0.1 has stored, and what its clients hold, read by this release. A format that changes gets files of its own beside
//! these, which stay.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use session_core::codec::{Binding, Codec, JsonCodec, SealedCodec};
use session_core::store::{StoreKey, Timestamp};
use session_core::{KeyRing, ManualClock, Owner, Policy, SealedIrrevocableCookies, SessionData};

const JSON: &[u8] = include_bytes!("../fixtures/0.1/payload.json");
const SEALED: &[u8] = include_bytes!("../fixtures/0.1/payload.sealed");
const COOKIE: &[u8] = include_bytes!("../fixtures/0.1/cookie.txt");

/// When the fixtures were written, by their own clock.
const WRITTEN_SECS: u64 = 1_800_000_000;

/// The secret that they are sealed with.
fn ring() -> KeyRing {
    let key: Vec<u8> = (0..32_u8)
        .map(|n| n.wrapping_mul(37).wrapping_add(11))
        .collect();
    KeyRing::from_bytes(&key).unwrap()
}

fn binding() -> Binding {
    let key = StoreKey::parse("4a5ab9cb7cd0f40c6ee3f4f02ff6b9ae81c6f6ff").unwrap();
    let mut binding = Binding::new(key);
    binding.owner = Some(Owner::from("ada"));
    binding.created_at = Some(Timestamp::from_secs(1_800_000_000));
    binding
}

fn assert_whole(data: &SessionData) {
    assert_eq!(data.get::<Vec<u8>>("cart").unwrap(), Some(vec![1, 2]));
    let name = data.get::<String>("from_name").unwrap();
    assert_eq!(name.as_deref(), Some("Ada \"Countess\" Lövelace"));
    assert_eq!(data.get::<Option<u8>>("nothing").unwrap(), Some(None));
}

#[test]
fn json_of_release_0_1_is_read_and_written_in_the_same_bytes() {
    let data = SessionData::from_json(JSON.to_vec()).expect("JSON of 0.1 can't be read");
    assert_whole(&data);
    assert_eq!(data.to_json(), JSON, "servers of 0.1 would not read it");
}

#[test]
fn a_payload_that_release_0_1_sealed_is_opened() {
    let codec = SealedCodec::new(JsonCodec::default(), &ring());
    let data = codec.decode(&binding(), &SEALED.to_vec().into());
    let data = data.expect("everybody who had a session under 0.1 is logged out");
    assert_whole(&data);
    assert_eq!(data.to_json(), JSON);
    // What is sealed now has the same head: magic, version, and the key's id.
    let sealed = codec.encode(&binding(), &data).unwrap();
    assert_eq!(sealed[..8], SEALED[..8], "servers of 0.1 would not open it");
    assert_eq!(sealed.len(), SEALED.len());
}

#[tokio::test]
async fn a_cookie_that_release_0_1_sealed_is_a_session() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN_SECS + 10);
    let cookies = SealedIrrevocableCookies::new(&ring());
    let manager = cookies.manager(Policy::new()).unwrap();
    let slot = manager.with_clock(Arc::new(ManualClock::at(now))).slot();
    slot.present([COOKIE]);
    let session = slot.session().await.unwrap();
    assert_eq!(
        session.owner(),
        Some(Owner::from("ada")),
        "a log-in is lost"
    );
    assert_whole(&session.snapshot());
    assert!(session.test_cookie_worked());
    let life = Duration::from_secs(1_209_600);
    let left = session.expires_at().duration_since(now).unwrap();
    assert!(left <= life, "it lives for {left:?}");
    assert_eq!(session.messages().peek().unwrap().len(), 1);
}
