//! One owner's sessions: list, show, end.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use session_core::store::{SessionStore, StoreError, Timestamp};
use session_core::{Owner, SessionError, SessionHandle, SessionInfo, SessionManager};

use crate::backend::Opening;
use crate::outcome::{Failure, Outcome, Report};
use crate::place::Place;
use crate::text::{harmless, moment, sessions};

/// An owner's sessions, as an administrator sees them.
struct View {
    owner: Owner,
    manager: SessionManager,
}

impl View {
    async fn open(at: &Place, owner: &str) -> Result<Self, Failure> {
        let owner = owner
            .parse()
            .map_err(|error: SessionError| Failure::Misused(error.to_string()))?;
        let store: Arc<dyn SessionStore> = at.open(Opening::Existing).await?.store();
        let manager = SessionManager::new(store);
        Ok(Self { owner, manager })
    }

    /// The newest first.
    async fn sessions(&self) -> Result<Vec<SessionInfo>, Failure> {
        Ok(self.manager.sessions_of(&self.owner).await?)
    }
}

pub(super) async fn list(at: &Place, owner: String) -> Result<Report, Failure> {
    let view = View::open(at, &owner).await?;
    let found = view.sessions().await?;
    let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
    let owner = view.owner.as_str();
    let mut text = format!("{at}: {} of {}", sessions(count), harmless(owner));
    for session in &found {
        let began = session
            .created_at
            .map_or_else(|| "unknown".to_owned(), moment);
        let label = session.label.as_deref().map(harmless).unwrap_or_default();
        text += &format!(
            "\n  {}  began {began:<20}  expires {}  {label}",
            session.handle,
            moment(session.expires_at)
        );
    }
    let listed: Vec<Value> = found.iter().map(as_json).collect();
    let json = json!({ "store": at.to_string(), "owner": owner, "sessions": listed });
    Ok(Report::done(text, json))
}

pub(super) async fn show(
    at: &Place,
    owner: String,
    handle: &SessionHandle,
) -> Result<Report, Failure> {
    let view = View::open(at, &owner).await?;
    let found = view.sessions().await?;
    let found = found.into_iter().find(|session| session.handle == *handle);
    let session = found.ok_or_else(|| not_found(&view.owner, handle))?;
    let owner = view.owner.as_str();
    let began = session
        .created_at
        .map_or_else(|| "unknown".to_owned(), moment);
    let label = session
        .label
        .as_deref()
        .map_or_else(|| "none".to_owned(), harmless);
    let text = format!(
        "handle   {handle}\nowner    {}\nbegan    {began}\nexpires  {}\ndevice   {label}",
        harmless(owner),
        moment(session.expires_at),
    );
    let json = json!({ "store": at.to_string(), "owner": owner, "session": as_json(&session) });
    Ok(Report::done(text, json))
}

pub(super) async fn end(
    at: &Place,
    owner: String,
    handle: &SessionHandle,
) -> Result<Report, Failure> {
    let view = View::open(at, &owner).await?;
    let ended = Ended::of(view.manager.end(&view.owner, handle).await.map(u64::from))?;
    if matches!(ended, Ended::Now(0)) {
        return Err(not_found(&view.owner, handle));
    }
    Ok(ended.report(at, &view.owner))
}

pub(super) async fn end_all(at: &Place, owner: String) -> Result<Report, Failure> {
    let view = View::open(at, &owner).await?;
    let ended = Ended::of(view.manager.end_all(&view.owner).await)?;
    Ok(ended.report(at, &view.owner))
}

/// What came of ending sessions.
enum Ended {
    Now(u64),
    /// They have, and a copy of some may be read for a while: the cache could not be told. In words.
    Copied(String),
}

impl Ended {
    fn of(answer: Result<u64, SessionError>) -> Result<Self, Failure> {
        match answer {
            Ok(ended) => Ok(Self::Now(ended)),
            Err(SessionError::Store(error @ StoreError::DeletedWithin { .. })) => {
                Ok(Self::Copied(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn report(&self, at: &Place, owner: &Owner) -> Report {
        let (owner, store) = (owner.as_str(), at.to_string());
        match self {
            Self::Now(ended) => Report::done(
                format!("{at}: {} of {} ended", sessions(*ended), harmless(owner)),
                json!({ "store": store, "owner": owner, "ended": ended }),
            ),
            Self::Copied(warning) => Report::done(
                format!("{at}: ended, but {warning}"),
                json!({ "store": store, "owner": owner, "ended": Value::Null, "warning": warning }),
            )
            .with(Outcome::NeedsAttention),
        }
    }
}

fn not_found(owner: &Owner, handle: &SessionHandle) -> Failure {
    Failure::NotFound(format!(
        "{} has no session {handle}; it may have ended, or have another handle since its last log-in",
        harmless(owner.as_str())
    ))
}

fn as_json(session: &SessionInfo) -> Value {
    let secs = |moment: SystemTime| Timestamp::from(moment).as_secs();
    json!({
        "handle": session.handle.as_str(),
        "created_at": session.created_at.map(secs),
        "expires_at": secs(session.expires_at),
        "label": session.label,
    })
}
