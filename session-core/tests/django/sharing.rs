//! Requests on sessions that a Django shares, without HTTP: whose they are, what is merged, and what is left alone.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use session_core::adapter::{Completion, Outcome};
use session_core::codec::{Binding, Codec};
use session_core::conformance::FourMethodStore;
use session_core::django::{DjangoCodec, DjangoSettings, DjangoUser};
use session_core::store::{
    Change, NewRecord, Payload, Record, Saved, SessionStore, StoreError, StoreKey, Timestamp,
    Version,
};
use session_core::{
    Clock, ManualClock, Owner, SessionBase, SessionError, SessionKey, SessionManager,
};

use crate::support::{any_place, data};

const BACKEND: &str = "django.contrib.auth.backends.ModelBackend";
const KEY: &[u8] = b"abcdefghijklmnopqrstuvwxyz012345";

/// Keeps what Django's table keeps: bytes and an expiry, nothing of owners, labels and beginnings.
#[derive(Debug)]
struct Table(FourMethodStore);

fn as_bytes(payload: &Payload) -> Result<Payload, StoreError> {
    Ok(Payload::from_bytes(payload.to_bytes()?))
}

#[async_trait]
impl SessionStore for Table {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        let new = NewRecord::new(as_bytes(&new.payload)?, new.expires_at);
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let change = Change::new(as_bytes(&change.payload)?, change.expiry);
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }
}

/// A table, and both sides of it.
struct Site {
    settings: DjangoSettings,
    table: Arc<Table>,
    manager: SessionManager,
    clock: Arc<ManualClock>,
}

impl Site {
    fn new() -> Self {
        let settings = DjangoSettings::new("the project's secret key");
        let table = Arc::new(Table(FourMethodStore::new()));
        let clock = Arc::new(ManualClock::at(
            UNIX_EPOCH + Duration::from_secs(1_767_323_045),
        ));
        let manager = settings
            .manager(Arc::clone(&table), settings.policy())
            .unwrap();
        let manager = manager.with_clock(Arc::clone(&clock));
        Self {
            settings,
            table,
            manager,
            clock,
        }
    }

    fn codec(&self) -> DjangoCodec {
        DjangoCodec::new(&self.settings).with_clock(Arc::clone(&self.clock))
    }

    /// What Django does with the whole of a session: read it, and write it back changed.
    async fn django_writes(&self, json: &str) {
        let payload = self.codec().encode(&any_place(), &data(json)).unwrap();
        self.put(Payload::from_bytes(payload)).await;
    }

    async fn put(&self, payload: Payload) {
        let now = self.clock.now();
        let expires_at = now.saturating_add(self.settings.cookie_age());
        self.table.delete(&any_place().key).await.unwrap();
        self.table
            .create(&any_place().key, NewRecord::new(payload, expires_at), now)
            .await
            .unwrap();
    }

    /// What Django reads at a key.
    async fn django_reads(&self, key: &SessionKey) -> Option<String> {
        let key = self.manager.policy().keys().store_key(key);
        let record = self.table.load(&key, self.clock.now()).await.unwrap()?;
        let data = self
            .codec()
            .decode(&Binding::new(key), &record.payload.to_bytes().unwrap())
            .unwrap();
        Some(String::from_utf8(data.to_json().to_vec()).unwrap())
    }

    async fn session(&self) -> SessionBase {
        let key = SessionKey::parse(KEY).unwrap();
        self.manager
            .load(&key)
            .await
            .unwrap()
            .expect("Django's session is there")
    }

    fn user(&self, id: u32) -> DjangoUser {
        DjangoUser::new(&self.settings, id, BACKEND, "the password field")
    }
}

#[tokio::test]
async fn both_sides_write_one_session() {
    let site = Site::new();
    site.django_writes(r#"{"cart":[1,2],"name":"Zo\u00eb"}"#)
        .await;
    let session = site.session().await;
    session
        .modify("cart", |cart: &mut Vec<u32>| cart.push(3))
        .unwrap();
    // Django is faster.
    site.django_writes(r#"{"cart":[1,2],"name":"Zo\u00eb","language":"de"}"#)
        .await;
    session.save().await.unwrap();
    let key = SessionKey::parse(KEY).unwrap();
    assert_eq!(
        site.django_reads(&key).await.as_deref(),
        Some(r#"{"cart":[1,2,3],"name":"Zo\u00eb","language":"de"}"#),
        "somebody's change is lost"
    );
}

#[tokio::test]
async fn who_logged_in_on_django_is_logged_in_here_and_the_other_way_round() {
    let site = Site::new();
    site.django_writes(r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":"x"}"#)
        .await;
    assert_eq!(site.session().await.owner(), Some(Owner::from(42)));

    let session = site.manager.start();
    session.set("cart", &1).unwrap();
    site.user(7).log_in(&session).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let read = site.django_reads(&key).await.unwrap();
    let read = DjangoUser::in_data(&data(&read)).expect("Django sees nobody");
    assert_eq!(read.id(), &Owner::from(7));
    assert_eq!(
        site.manager.load(&key).await.unwrap().unwrap().owner(),
        Some(Owner::from(7))
    );
    session.clear();
    assert_eq!(
        session.owner(),
        None,
        "Django's user is among the data that were cleared"
    );
}

#[tokio::test]
async fn a_log_in_changes_the_key_and_anothers_data_die_also_when_another_request_was_faster() {
    let site = Site::new();
    site.django_writes(r#"{"cart":1}"#).await;
    let session = site.session().await;
    session.set("mine", &1).unwrap();
    site.user(7).log_in(&session).unwrap();
    // Somebody else logs in to the same session meanwhile.
    site.django_writes(
        r#"{"secret":1,"_auth_user_id":"9","_auth_user_backend":"b","_auth_user_hash":"x"}"#,
    )
    .await;
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    assert_ne!(
        key.expose_secret().as_bytes(),
        KEY,
        "a planted key is still good"
    );
    assert_eq!(
        site.django_reads(&SessionKey::parse(KEY).unwrap()).await,
        None
    );
    let read = data(&site.django_reads(&key).await.unwrap());
    assert!(!read.contains("secret"), "7 reads the data of 9");
    assert_eq!(DjangoUser::in_data(&read).unwrap().id(), &Owner::from(7));
}

#[tokio::test]
async fn what_django_has_no_place_for_is_refused() {
    let site = Site::new();
    let session = site.manager.start();
    assert!(matches!(
        session.log_in(7),
        Err(SessionError::Unsupported { .. })
    ));
    let minute = Duration::from_secs(60);
    assert!(matches!(
        session.set_absolute_timeout(minute),
        Err(SessionError::Unsupported { .. })
    ));
    assert!(matches!(
        session.set_label("phone"),
        Err(SessionError::Unsupported { .. })
    ));
    assert!(session.is_empty() && session.owner().is_none());
    site.user(7).log_in(&session).unwrap();
    session.save().await.unwrap();
    assert!(matches!(
        session.own_sessions().await,
        Err(SessionError::Unsupported { .. })
    ));
    assert!(matches!(
        session.end_others().await,
        Err(SessionError::Unsupported { .. })
    ));
}

#[tokio::test]
async fn what_only_python_can_hold_fails_the_request_and_is_left_alone() {
    let site = Site::new();
    for body in [r#"{"f":NaN}"#, r#"{"s":"\ud800"}"#] {
        use base64::Engine;
        let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(body);
        let value = format!("{body}:1vbVSP");
        let signed = sign(&value);
        let bytes = bytes::Bytes::from(signed);
        site.put(Payload::from_bytes(bytes.clone())).await;
        let slot = site.manager.slot();
        slot.present([KEY]);
        let error = slot.session().await.unwrap_err();
        assert!(
            matches!(
                error,
                SessionError::Store(StoreError::Unrepresentable { .. })
            ),
            "{error}"
        );
        assert!(!matches!(
            slot.commit(Completion::Success).await,
            Ok(Outcome::Revoke | Outcome::Issue { .. })
        ));
        let record = site
            .table
            .load(&any_place().key, site.clock.now())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            record.payload.to_bytes().unwrap(),
            bytes,
            "it was overwritten"
        );
    }
}

#[tokio::test]
async fn what_nobody_can_read_is_left_alone_and_the_visitor_starts_afresh() {
    let site = Site::new();
    site.put(Payload::from_bytes("garbage")).await;
    let slot = site.manager.slot();
    slot.present([KEY]);
    let session = slot.session().await.unwrap();
    session.set("cart", &1).unwrap();
    let outcome = slot.commit(Completion::Success).await.unwrap();
    let Outcome::Issue { value, .. } = outcome else {
        panic!("the visitor is not told of the new key: {outcome:?}")
    };
    assert_ne!(
        value.expose_secret().as_bytes(),
        KEY,
        "a damaged session was overwritten"
    );
    let record = site
        .table
        .load(&any_place().key, site.clock.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.payload.to_bytes().unwrap(), "garbage");
}

#[tokio::test]
async fn every_save_moves_the_expiry_and_sends_the_cookie_as_in_django() {
    let site = Site::new();
    site.django_writes(r#"{"cart":1}"#).await;
    site.clock.advance(Duration::from_secs(1));
    let slot = site.manager.slot();
    slot.present([KEY]);
    slot.session().await.unwrap().set("cart", &2).unwrap();
    let outcome = slot.commit(Completion::Success).await.unwrap();
    let Outcome::Issue { max_age, .. } = outcome else {
        panic!("the cookie is not sent: {outcome:?}")
    };
    assert_eq!(max_age, Some(site.settings.cookie_age()));
    let record = site
        .table
        .load(&any_place().key, site.clock.now())
        .await
        .unwrap()
        .unwrap();
    let expires_at = site.clock.now().saturating_add(site.settings.cookie_age());
    assert_eq!(record.expires_at, expires_at);
    // A request that only reads moves nothing.
    site.clock.advance(Duration::from_secs(100_000));
    let slot = site.manager.slot();
    slot.present([KEY]);
    slot.session().await.unwrap();
    assert!(matches!(
        slot.commit(Completion::Success).await,
        Ok(Outcome::Accessed)
    ));
    let record = site
        .table
        .load(&any_place().key, site.clock.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.expires_at, expires_at);
}

fn sign(value: &str) -> String {
    crate::support::sign_with(
        value,
        "django.contrib.sessions.SessionStore",
        "the project's secret key",
    )
}
