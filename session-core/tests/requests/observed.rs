//! What an operator sees of each call of a store: its span, and with the feature `metrics` its numbers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::conformance::{Call, Operation};
#[cfg(feature = "metrics")]
use session_core::{Policy, Renewal, SessionError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::support::{Site, keep_events_on, poll_once};

/// What is in every session of these tests, and must be in nothing that an operator sees.
const CANARY: &str = "canary-2b7e151628aed2a6";

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of each span of a store's call, in the order of their ends.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>);

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name(), text);
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() == "session_core::store" {
            let mut fields = Fields::new();
            attributes.record(&mut Reader(&mut fields));
            let span = context.span(id).unwrap();
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(&mut Reader(fields));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if let Some(fields) = span.extensions_mut().remove::<Fields>() {
            self.0.lock().unwrap().push(fields);
        }
    }
}

impl Spans {
    /// Operation and outcome of each call so far.
    fn take(&self) -> Vec<(String, String)> {
        let spans = std::mem::take(&mut *self.0.lock().unwrap());
        let told = |fields: &Fields| {
            assert_eq!(fields["db.system.name"], "memory", "the store has no name");
            let seconds: f64 = fields["duration_seconds"].parse().unwrap();
            assert!(seconds >= 0.0, "a call took {seconds} s");
            assert_eq!(fields.len(), 4, "a span says more than it may: {fields:?}");
            let all = format!("{fields:?}");
            assert!(!all.contains(CANARY), "a span holds data: {all}");
            let of = |name| fields[name].clone();
            (of("db.operation.name"), of("outcome"))
        };
        spans.iter().map(told).collect()
    }
}

/// Runs `body` on a clock that only moves when everybody waits.
fn watched<F: Future<Output = ()>>(body: impl FnOnce(Spans) -> F) {
    watched_at(LevelFilter::DEBUG, body);
}

fn watched_at<F: Future<Output = ()>>(level: LevelFilter, body: impl FnOnce(Spans) -> F) {
    let spans = Spans::default();
    keep_events_on();
    let subscriber = Registry::default().with(level).with(spans.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(body(spans)));
}

fn pairs<'a>(spans: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
    let pair = |(operation, outcome): &'a (String, String)| (operation.as_str(), outcome.as_str());
    spans.iter().map(pair).collect()
}

#[test]
fn each_call_of_a_store_is_a_span_that_says_how_it_ended() {
    watched(async |spans| {
        let site = Site::new();
        let key = site
            .visitor(|session| session.set("name", CANARY).unwrap())
            .await;
        assert_eq!(pairs(&spans.take()), [("create", "ok")]);

        let request = site.request(Some(&key));
        request.session().await.set("name", CANARY).unwrap();
        request.finish().await.expect_done();
        assert_eq!(pairs(&spans.take()), [("load", "ok"), ("save", "ok")]);

        let request = site.request(Some(&key));
        request.session().await.log_in(7).unwrap();
        let new_key = request.finish().await.expect_issued();
        assert_eq!(pairs(&spans.take()), [("load", "ok"), ("rotate", "ok")]);

        assert!(site.stored(&key).await.is_none());
        assert_eq!(pairs(&spans.take()), [("load", "not_found")]);

        let request = site.request(Some(&new_key));
        let session = request.session().await;
        assert_eq!(session.own_sessions().await.unwrap().len(), 1);
        session.end_all().await.unwrap();
        let calls = [
            ("load", "ok"),
            ("list_sessions", "ok"),
            ("end_sessions", "ok"),
        ];
        assert_eq!(pairs(&spans.take()), calls);
    });
}

#[test]
fn a_call_that_fails_or_is_given_up_is_told_from_one_that_succeeds() {
    watched(async |spans| {
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        spans.take();

        site.store.refuse(Call::of(Operation::Load).and_later());
        site.manager.load(&key).await.unwrap_err();
        // It is harmless to read twice.
        let twice = [("load", "unavailable"), ("load", "unavailable")];
        assert_eq!(pairs(&spans.take()), twice);
        assert!(site.store.clear_faults(), "the store was not asked");

        let _gate = site.store.hold(Operation::Load);
        {
            let mut load = Box::pin(site.manager.load(&key));
            assert!(poll_once(&mut load).await.is_none());
        }
        assert_eq!(pairs(&spans.take()), [("load", "given_up")]);
    });
}

#[test]
fn a_span_lasts_as_long_as_its_call() {
    watched(async |spans| {
        let site = Site::new();
        let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
        spans.take();
        let gate = site.store.hold(Operation::Load);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            gate.release();
        };
        let (loaded, ()) = tokio::join!(site.manager.load(&key), slow);
        assert!(loaded.unwrap().is_some());
        let spans = spans.0.lock().unwrap().clone();
        assert_eq!(spans[0]["duration_seconds"], "0.25");
    });
}

#[test]
fn whoever_listens_to_info_hears_of_no_call() {
    watched_at(LevelFilter::INFO, async |spans| {
        let site = Site::new();
        site.visitor(|session| session.set("n", &1).unwrap()).await;
        assert_eq!(spans.take(), [], "a quiet log has a span for each call");
    });
}

#[cfg(feature = "metrics")]
mod numbers {
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString, Unit,
    };

    use super::*;

    /// Keeps every value under its name and labels, and what was said of each name.
    #[derive(Clone, Default)]
    struct Numbers(Arc<Mutex<BTreeMap<String, f64>>>, Arc<Mutex<Vec<String>>>);

    struct Cell(Numbers, String);

    impl Cell {
        fn add(&self, value: f64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, value: u64) {
            self.add(f64::from(u32::try_from(value).unwrap()));
        }

        fn absolute(&self, _: u64) {
            unreachable!("counters only go up");
        }
    }

    impl HistogramFn for Cell {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Numbers {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let text = format!("{} {}", key.name(), labels.join(","));
            Arc::new(Cell(self.clone(), text.trim().to_owned()))
        }

        fn of(&self, text: &str) -> f64 {
            *self
                .0
                .lock()
                .unwrap()
                .get(text)
                .unwrap_or_else(|| panic!("nothing was counted as `{text}`: {:?}", self.0))
        }
    }

    impl Recorder for Numbers {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            assert!(unit.is_some());
            self.1.lock().unwrap().push(name.as_str().to_owned());
        }

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            assert!(unit.is_some());
            self.1.lock().unwrap().push(name.as_str().to_owned());
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.cell(key))
        }
    }

    fn counted<F: Future<Output = ()>>(body: impl FnOnce(Numbers) -> F) {
        let numbers = Numbers::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        metrics::with_local_recorder(&numbers, || {
            session_core::telemetry::describe_metrics();
            runtime.block_on(body(numbers.clone()));
        });
        for name in numbers.0.lock().unwrap().keys() {
            assert!(!name.contains(CANARY), "a number is named by data: {name}");
            let bare = name.split(' ').next().unwrap().to_owned();
            assert!(
                numbers.1.lock().unwrap().contains(&bare),
                "{bare} has no description"
            );
        }
    }

    #[test]
    fn sessions_are_counted_as_they_come_and_go() {
        counted(async |numbers| {
            let site = Site::with_policy(Policy::new().with_renewal(Renewal::EveryRequest));
            let value = "v".repeat(98);
            let key = site
                .visitor(|session| session.set("n", &value).unwrap())
                .await;
            assert_eq!(numbers.of("session.created"), 1.0);
            assert_eq!(
                numbers.of("session.payload.size direction=write"),
                101.0,
                "the name, the text and its quotes"
            );

            site.clock.advance(Duration::from_secs(200_000));
            let request = site.request(Some(&key));
            request.session().await;
            request.finish().await.expect_done();
            assert_eq!(numbers.of("session.renewals"), 1.0);
            assert_eq!(numbers.of("session.payload.size direction=read"), 101.0);

            let request = site.request(Some(&key));
            request.session().await.log_in(7).unwrap();
            let new_key = request.finish().await.expect_issued();
            assert_eq!(numbers.of("session.rotated"), 1.0);

            let request = site.request(Some(&key));
            request.session().await;
            assert_eq!(numbers.of("session.unknown_keys"), 1.0);

            let request = site.request(Some(&new_key));
            request.session().await.log_out();
            request.finish().await;
            assert_eq!(numbers.of("session.ended reason=log_out"), 1.0);
            assert_eq!(numbers.of("session.interruptions"), 0.0);
        });
    }

    #[test]
    fn requests_that_meet_and_stores_that_fail_are_counted() {
        counted(async |numbers| {
            let site = Site::new();
            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            let (one, other) = (site.request(Some(&key)), site.request(Some(&key)));
            one.session().await.set("a", &1).unwrap();
            other.session().await.set("b", &2).unwrap();
            one.finish().await.expect_done();
            other.finish().await.expect_done();
            assert_eq!(numbers.of("session.conflicts"), 1.0);

            let late = site.request(Some(&key));
            late.session().await.set("a", &2).unwrap();
            let ends = site.request(Some(&key));
            ends.session().await.log_out();
            ends.finish().await;
            let told = late.finish().await.0;
            assert!(matches!(told, Err(SessionError::Interrupted)));
            assert_eq!(numbers.of("session.interruptions"), 1.0);

            site.store.refuse(Operation::Load);
            assert!(site.stored(&key).await.is_none());
            let retried = "session.store.retries";
            assert_eq!(numbers.of(retried), 1.0);
            let calls = numbers.0.lock().unwrap();
            let failed = "session.store.operation.duration \
                db.system.name=memory,db.operation.name=load,outcome=unavailable";
            assert!(calls.contains_key(failed), "{calls:?}");
        });
    }

    #[test]
    fn sessions_that_somebody_else_ends_are_counted_by_why() {
        counted(async |numbers| {
            let limit = std::num::NonZeroUsize::new(1).unwrap();
            let site = Site::with_policy(Policy::new().with_sessions_per_owner_max(limit));
            for _ in 0..3 {
                site.visitor(|session| session.log_in(7).unwrap()).await;
                site.clock.advance(Duration::from_secs(1));
            }
            assert_eq!(numbers.of("session.ended reason=limit"), 2.0);
            site.manager.end_all(&7.into()).await.unwrap();
            assert_eq!(numbers.of("session.ended reason=by_owner"), 1.0);
            assert_eq!(numbers.of("session.ended reason=log_out"), 0.0);
        });
    }

    #[test]
    fn loaded_sessions_that_are_over_or_damaged_are_counted() {
        counted(async |numbers| {
            let site = Site::new();
            let key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            site.clock.advance(Duration::from_secs(10));
            let now = session_core::Clock::now(&site.clock);
            let strict = site.with(Policy::new().with_not_before(now.into()));
            assert!(strict.stored(&key).await.is_none());
            assert_eq!(numbers.of("session.expired"), 1.0);

            let key = session_core::SessionKey::generate().unwrap();
            let store_key = site.manager.policy().keys().store_key(&key);
            let damaged = session_core::store::Payload::from_bytes("{");
            let until = now.saturating_add(Duration::from_secs(100));
            let new = session_core::store::NewRecord::new(damaged, until);
            let store: &dyn session_core::store::SessionStore = &site.store;
            store.create(&store_key, new, now).await.unwrap();
            let request = site.request(Some(&key));
            request.session().await;
            assert_eq!(numbers.of("session.damaged"), 1.0);
            assert_eq!(numbers.of("session.expired"), 1.0);
        });
    }

    #[test]
    fn what_has_expired_is_counted_when_it_is_removed() {
        counted(async |numbers| {
            let site = Site::new();
            for _ in 0..3 {
                site.visitor(|session| session.set("n", &1).unwrap()).await;
            }
            let later = session_core::store::Timestamp::from_secs(2_000_000_000);
            let store: &dyn session_core::store::SessionStore = &site.store;
            store.clear_expired(later, &mut |_| {}).await.unwrap();
            assert_eq!(numbers.of("session.purged"), 3.0);
        });
    }
}
