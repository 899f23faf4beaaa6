//! What an operator would read in the log.

use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// The events of this thread, from now on.
pub(crate) struct Events {
    seen: Arc<Mutex<Vec<Event>>>,
    _until: tracing::subscriber::DefaultGuard,
}

#[derive(Clone)]
struct Event {
    level: tracing::Level,
    text: String,
    fields: String,
}

struct Layer(Arc<Mutex<Vec<Event>>>);

impl Events {
    pub(crate) fn capture() -> Self {
        keep_events_on();
        let seen = Arc::default();
        let layer = Layer(Arc::clone(&seen));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            seen,
            _until: tracing::subscriber::set_default(subscriber),
        }
    }

    fn seen(&self) -> Vec<Event> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn texts_above_debug(&self) -> Vec<String> {
        let seen = self.seen();
        let loud = seen
            .iter()
            .filter(|event| event.level < tracing::Level::DEBUG);
        loud.map(|event| format!("{} {}", event.level, event.text))
            .collect()
    }

    pub(crate) fn everything(&self) -> String {
        let seen = self.seen();
        seen.iter()
            .map(|event| format!("{} {}\n", event.text, event.fields))
            .collect()
    }
}

/// Lets it hear every event of its own thread. While there is one listener in the process, `tracing` asks the thread that
/// meets an event first, which may be another test's, whether anybody listens, and keeps the answer for all.
fn keep_events_on() {
    static SECOND: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Layer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Event {
            level: *event.metadata().level(),
            text: fields.message,
            fields: fields.others,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &tracing::field::Field, value: fmt::Arguments<'_>) {
        let to = if field.name() == "message" {
            &mut self.message
        } else {
            &mut self.others
        };
        to.write_fmt(value).expect("strings take text");
        if field.name() != "message" {
            to.push(' ');
        }
    }
}

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_error(
        &mut self,
        field: &tracing::field::Field,
        value: &(dyn std::error::Error + 'static),
    ) {
        let mut error = Some(value);
        while let Some(one) = error {
            self.add(field, format_args!("{one} {one:?}"));
            error = one.source();
        }
    }
}
