//! A marked value, a marked key: whatever goes wrong, neither is in a log line, an error, its sources or a `Debug`.
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Site, keep_events_on};
use session_core::codec::{Binding, Codec, JsonCodec};
use session_core::conformance::{Call, Operation};
use session_core::store::{
    Change, ExpiryChange, Label, NewRecord, Payload, SessionStore, StoreError, StoreKey, Version,
    VersionContent,
};
use session_core::{Clock, Limits, Owner, Policy, SessionBase, SessionError, SessionKey};
use tracing_subscriber::fmt::MakeWriter;

const CANARY: &str = "CANARY-8f1d";

/// Everything that was printed anywhere.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn debug(&self, value: &impl Debug) {
        self.add(&format!("{value:?} {value:#?}\n"));
    }

    fn error(&self, error: &dyn Error) {
        self.debug(&error);
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(&format!("{error}\n"));
            next = error.source();
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Printed {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn leak_01_leak_02_no_key_and_no_value_is_printed_whatever_goes_wrong() {
    let printed = Printed::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(printed.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    keep_events_on();
    let keys = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(provoke_everything(&printed))
    });
    let text = printed.text();
    assert!(
        text.contains("damaged session") && text.contains("WARN"),
        "the log was not captured: {text}"
    );
    assert!(
        text.contains("is not of the type"),
        "the errors were not captured: {text}"
    );
    assert!(
        !text.contains(CANARY),
        "a value was printed: {}",
        around(&text, CANARY)
    );
    for key in keys {
        assert!(
            !text.contains(&key),
            "a key was printed: {}",
            around(&text, &key)
        );
    }
}

/// Where it was printed.
fn around<'a>(text: &'a str, found: &str) -> &'a str {
    text.lines()
        .find(|line| line.contains(found))
        .unwrap_or_default()
}

async fn provoke_everything(printed: &Printed) -> Vec<String> {
    let mut limits = Limits::default();
    limits.names_max = 4;
    let site = Site::with_policy(Policy::new().with_limits(limits));
    let fill = |session: &SessionBase| {
        session.log_in(CANARY).unwrap();
        session.set_label(CANARY).unwrap();
        session.set("name", CANARY).unwrap();
    };
    let one = site.visitor(fill).await;
    let two = site.visitor(fill).await;
    let damaged = SessionKey::generate().unwrap();
    let store_key = |key: &SessionKey| site.manager.policy().keys().store_key(key);
    let now = site.clock.now();
    let payload = Payload::from_bytes(format!("{{\"name\": {CANARY}"));
    let new = NewRecord::new(payload.clone(), now.saturating_add(Duration::from_secs(60)));
    site.store
        .create(&store_key(&damaged), new.clone(), now)
        .await
        .unwrap();

    // Values.
    let request = site.request(Some(&one));
    let session = request.session().await;
    for error in [
        session.get::<u32>("name").unwrap_err(),
        session.pop::<u32>("name").unwrap_err(),
        session.modify("name", |_: &mut u32| {}).unwrap_err(),
        session
            .modify_now("name", |_: &mut u32| {})
            .await
            .unwrap_err(),
        session.take::<Vec<String>>("name").await.unwrap_err(),
        session
            .set("other", &BTreeMap::from([((CANARY, 1), CANARY)]))
            .unwrap_err(),
        session.set_all(&CANARY).unwrap_err(),
        session
            .set_all(
                &(0..9)
                    .map(|n| (n.to_string(), CANARY))
                    .collect::<BTreeMap<_, _>>(),
            )
            .unwrap_err(),
        session.set("big", &CANARY.repeat(200_000)).unwrap_err(),
        session.log_in(CANARY.repeat(100)).unwrap_err(),
        session.set_label(CANARY.repeat(100).as_str()).unwrap_err(),
        CANARY.parse::<session_core::SessionHandle>().unwrap_err(),
    ] {
        printed.error(&error);
    }
    printed.debug(&session);
    printed.debug(&request.slot);
    printed.debug(&session.snapshot());
    printed.debug(&session.owner());
    printed.debug(&session.own_sessions().await.unwrap());
    printed.debug(&session.session_key());
    session.cycle_key();
    let ended = request.finish().await;
    printed.debug(&ended.0);
    let one = ended.expect_issued();

    // Keys.
    for brought in [vec![&one, &two], vec![&damaged], vec![]] {
        let slot = site.manager.slot();
        slot.present(
            brought
                .iter()
                .map(|key| key.expose_secret().as_bytes())
                .chain([CANARY.as_bytes()]),
        );
        let session = slot.session().await.unwrap();
        session.set("mine", CANARY).unwrap();
        printed.debug(
            &slot
                .commit(session_core::adapter::Completion::Success)
                .await,
        );
    }

    // Stores and codecs.
    for operation in [
        Operation::Load,
        Operation::Create,
        Operation::Save,
        Operation::Rotate,
        Operation::Delete,
    ] {
        let key = site.visitor(fill).await;
        site.store.refuse(Call::of(operation).and_later());
        let request = site.request(Some(&key));
        match request.slot.session().await {
            Ok(session) => {
                session.set("name", CANARY).unwrap();
                match operation {
                    Operation::Rotate => session.cycle_key(),
                    Operation::Delete => session.flush(),
                    Operation::Create => {
                        session.flush();
                        session.set("name", CANARY).unwrap();
                    }
                    _ => {}
                }
                let ended = request.finish().await;
                printed.debug(&ended);
                printed.error(&ended.0.unwrap_err());
            }
            Err(error) => printed.error(&error),
        }
        assert!(site.store.clear_faults(), "{operation:?} was never refused");
    }
    printed.error(
        &site
            .store
            .create(&store_key(&damaged), new.clone(), now)
            .await
            .unwrap_err(),
    );
    printed.error(
        &JsonCodec::default()
            .decode(&Binding::new(store_key(&one)), &payload.to_bytes().unwrap())
            .unwrap_err(),
    );
    printed.error(&SessionError::from(StoreError::key_taken("a store")));
    printed.debug(&site.store.load(&store_key(&damaged), now).await);
    printed.debug(&new);
    printed.debug(&Change::new(payload, ExpiryChange::Keep));
    printed.debug(&(
        Label::new(CANARY),
        Owner::from(CANARY),
        StoreKey::parse("0canary"),
        &one,
    ));
    printed.debug(&Version::Content(VersionContent::new(CANARY.into())));
    printed.debug(&site.manager);
    [&one, &two, &damaged]
        .iter()
        .flat_map(|key| {
            [
                key.expose_secret().to_owned(),
                store_key(key).as_str().to_owned(),
            ]
        })
        .chain(["0canary".to_owned()])
        .collect()
}
