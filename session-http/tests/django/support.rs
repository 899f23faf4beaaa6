//! The vectors, and a site of a project whose settings a case names.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use session_core::codec::{Binding, Codec};
use session_core::django::{DjangoCodec, DjangoSettings};
use session_core::store::{NewRecord, Page, Payload, SessionStore, StoreKey, StoreScan, Timestamp};
use session_core::{ManualClock, MemoryStore, SessionData};
use session_http::{CookieConfig, SessionLayer};

pub(crate) static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!(
        "../../../session-core/tests/data/django-sessions.json"
    ))
    .expect("the vectors are JSON")
});

/// The moment at which every case happens: 2026-01-02 03:04:05 UTC.
pub(crate) const NOW: i64 = 1_767_323_045;

/// The cases of a section, which has so many.
pub(crate) fn cases(section: &str, count: usize) -> &'static [Value] {
    let cases = VECTORS[section].as_array().expect("the section is a list");
    assert_eq!(
        cases.len(),
        count,
        "{section} is not the one that was read when this was written"
    );
    cases
}

/// A project's sessions in memory, under a clock that stands still.
pub(crate) struct Site {
    pub(crate) settings: DjangoSettings,
    pub(crate) store: Arc<MemoryStore>,
}

impl Site {
    pub(crate) fn new(settings: DjangoSettings) -> Self {
        Self {
            settings,
            store: Arc::new(MemoryStore::new()),
        }
    }

    /// What [`SessionLayer::django`] makes, but for the clock.
    pub(crate) fn layer(&self) -> Result<SessionLayer, session_http::Error> {
        let settings = &self.settings;
        let seconds = u64::try_from(NOW).expect("it is after 1970");
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(seconds));
        let manager = settings
            .manager(Arc::clone(&self.store), settings.policy())
            .expect("a policy of Django's own")
            .with_clock(clock);
        Ok(SessionLayer::new(manager)
            .django_compatible()
            .with_cookie(CookieConfig::django(settings)?))
    }

    fn codec(&self) -> DjangoCodec {
        DjangoCodec::new(&self.settings)
    }

    /// Keeps a session that was saved at `saved_at`, in place of the one that is there.
    pub(crate) async fn put(&self, key: &StoreKey, json: &str, saved_at: Timestamp) {
        let data = SessionData::from_json(json.to_owned()).expect("a session");
        let payload = self
            .codec()
            .encode(&Binding::new(key.clone()), &data)
            .expect("Django writes it");
        let expires_at = saved_at.saturating_add(self.settings.cookie_age());
        let new = NewRecord::new(Payload::from_bytes(payload), expires_at);
        self.store.delete(key).await.expect("memory answers");
        self.store
            .create(key, new, saved_at)
            .await
            .expect("the place was emptied");
    }

    /// Every session there is, expired ones included: key, expiry and data.
    pub(crate) async fn rows(&self) -> Vec<(String, Timestamp, String)> {
        let page = self.store.page(Page::first(100)).await;
        page.expect("memory answers")
            .into_iter()
            .map(|(key, record)| {
                let bytes = record.payload.to_bytes().expect("Django could write it");
                let data = self.codec().decode(&Binding::new(key.clone()), &bytes);
                let data = data.expect("it was written here").to_json();
                let json = String::from_utf8(data.to_vec()).expect("JSON is text");
                (key.as_str().to_owned(), record.expires_at, json)
            })
            .collect()
    }
}
