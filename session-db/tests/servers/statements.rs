//! Listens to what the driver says it has sent: the texts of the statements, without their values.

use std::fmt;
use std::sync::{LazyLock, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Everything that was sent since this program started to listen.
static SENT: LazyLock<Mutex<Vec<Sent>>> = LazyLock::new(Mutex::default);

struct Sent {
    sql: String,
    /// The name of the thread that sent it.
    thread: String,
}

/// Starts to listen. Whoever calls it again listens already.
pub(crate) fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
    });
}

/// What was sent to SQLite, which runs on threads of its own.
pub(crate) fn sent_by_sqlite() -> Vec<String> {
    let sent = SENT.lock().expect("nothing panics under this lock");
    sent.iter()
        .filter(|sent| sent.thread.starts_with("sqlx-sqlite-worker"))
        .map(|sent| sent.sql.clone())
        .collect()
}

/// What was sent with `part` in its text, since the beginning. Other tests of this program send as well: a table of one's
/// own tells them apart.
pub(crate) fn sent_with(part: &str) -> Vec<String> {
    let sent = SENT.lock().expect("nothing panics under this lock");
    sent.iter()
        .filter(|sent| sent.sql.contains(part))
        .map(|sent| sent.sql.clone())
        .collect()
}

struct Listener;

/// sqlx says a short text as the summary, and a long one in full.
#[derive(Default)]
struct Text {
    summary: String,
    statement: String,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let whole = match text.statement.trim() {
            "" => text.summary.trim(),
            whole => whole,
        };
        let mut sent = SENT.lock().expect("nothing panics under this lock");
        sent.push(Sent {
            sql: whole.to_owned(),
            thread: std::thread::current().name().unwrap_or("").to_owned(),
        });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
