//! Django's own table on each of the databases, stores of it, and what the vectors say of it.
use std::str::FromStr;
use std::sync::LazyLock;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use session_core::django::DjangoSettings;
use session_core::store::{
    Change, NewRecord, OwnerIndex, Payload, Record, Saved, SessionStore, StoreError, StoreKey,
    StoreScan, Timestamp, Version,
};
use session_core::{Limits, SessionManager};
use session_db::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use session_db::sqlx::{ConnectOptions as _, Connection as _};
use session_db::{DjangoDbStore, SyncPolicy};

use super::Server;
use super::beside::Beside;
use super::records::PATIENT;

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let vectors = include_str!("../../../session-core/tests/data/django-sessions.json");
    serde_json::from_str(vectors).expect("the vectors are JSON")
});

/// The cases of a section, of which there are so many.
pub(crate) fn cases(section: &str, count: usize) -> &'static [Value] {
    let cases = VECTORS.pointer(section).and_then(Value::as_array);
    let cases = cases.unwrap_or_else(|| panic!("the vectors have no {section}"));
    assert_eq!(cases.len(), count, "{section} has changed");
    cases
}

pub(crate) fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} is not a text in {case}"))
}

/// The whole second that a time of the vectors is in.
pub(crate) fn second(time: &Value) -> Timestamp {
    let time = time.as_f64().expect("a time in seconds");
    let whole = format!("{:.0}", time.floor());
    Timestamp::from_secs(whole.parse().expect("a whole number"))
}

pub(crate) fn settings() -> DjangoSettings {
    DjangoSettings::new("the secret key of these tests")
}

/// The settings of a case.
pub(crate) fn settings_of(case: &Value) -> DjangoSettings {
    let secret = case["secret_key"].as_str();
    let secret = secret.unwrap_or_else(|| text(&VECTORS["constants"], "default_secret_key"));
    let settings = DjangoSettings::new(secret);
    let settings = match case["cookie_age"].as_u64() {
        Some(age) => settings.with_cookie_age(std::time::Duration::from_secs(age)),
        None => settings,
    };
    match case["use_tz"] == false {
        true => settings
            .with_naive_times(text(case, "time_zone"))
            .expect("the system knows the zone"),
        false => settings,
    }
}

/// What Django's own migration runs, for a table of this name.
pub(crate) fn ddl(server: &Server, table: &str) -> Vec<String> {
    let database = match server.name {
        "postgres" => "postgresql",
        "mariadb" => "mysql",
        name => name,
    };
    let texts = VECTORS.pointer(&format!("/db/schema/{database}"));
    let texts = texts.and_then(Value::as_array).expect("it is there");
    texts
        .iter()
        .map(|text| text.as_str().expect("SQL is text"))
        .map(|text| text.replace("django_session", table))
        .collect()
}

/// Makes the table, as Django does.
pub(crate) async fn make_table(server: &Server, table: &str) {
    if server.name == "sqlite" {
        let options = SqliteConnectOptions::from_str(&server.url).expect("a URL");
        let made: SqliteConnection = options
            .create_if_missing(true)
            .connect()
            .await
            .expect("a folder that is ours");
        made.close().await.expect("a new file");
    }
    let mut beside = Beside::connect(&server.url).await;
    for text in ddl(server, table) {
        beside.execute(&text).await;
    }
}

/// A store of the table that is there.
pub(crate) async fn store_in(
    server: &Server,
    table: &str,
    settings: &DjangoSettings,
) -> DjangoDbStore {
    let config = server.config(table).with_sync(SyncPolicy::AtCheckpoints);
    let store = config.connect_beside_django(&server.url, settings).await;
    store.expect("the server answers")
}

/// A store of a new table.
pub(crate) async fn new_store(server: &Server, settings: &DjangoSettings) -> DjangoDbStore {
    let table = super::new_table();
    make_table(server, &table).await;
    store_in(server, &table, settings).await
}

/// A manager more patient than any machine is slow.
pub(crate) fn patient_manager(store: DjangoDbStore, settings: &DjangoSettings) -> SessionManager {
    let mut limits = Limits::default();
    limits.store_timeout = PATIENT;
    limits.commit_timeout = PATIENT;
    let policy = settings.policy().with_limits(limits);
    settings
        .manager(store, policy)
        .expect("Django's own policy")
}

/// Any bytes in a table that holds ASCII: the contract's payloads, as hexadecimal digits.
#[derive(Debug)]
pub(crate) struct AsDigits(pub(crate) DjangoDbStore);

fn to_digits(payload: &Payload) -> Result<Payload, StoreError> {
    let bytes = payload.to_bytes()?;
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16).expect("below 16");
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    Ok(Payload::from_bytes(digits.collect::<String>()))
}

fn from_digits(payload: &Payload) -> Result<Payload, StoreError> {
    let digits = payload.to_bytes()?;
    let bytes = digits.chunks(2).map(|digits| {
        let digits = str::from_utf8(digits).expect("digits are ASCII");
        u8::from_str_radix(digits, 16).expect("two digits")
    });
    Ok(Payload::from_bytes(bytes.collect::<Bytes>()))
}

#[async_trait]
impl SessionStore for AsDigits {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let Some(mut record) = self.0.load(key, now).await? else {
            return Ok(None);
        };
        record.payload = from_digits(&record.payload)?;
        Ok(Some(record))
    }

    async fn create(
        &self,
        key: &StoreKey,
        mut new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        new.payload = to_digits(&new.payload)?;
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        change.payload = to_digits(&change.payload)?;
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.0.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        change.payload = to_digits(&change.payload)?;
        self.0.rotate(from, expected, to, change, now).await
    }

    async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        self.0.clear_expired(now, progress).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.0.owner_index()
    }

    fn scan(&self) -> Option<&dyn StoreScan> {
        self.0.scan()
    }
}
