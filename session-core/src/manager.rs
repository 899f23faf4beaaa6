//! One store, one codec, one policy, one clock: everything that sessions of an application have in common.

use std::sync::{Arc, LazyLock};

use crate::budget::Budget;
#[cfg(any(feature = "django", feature = "sealed"))]
use crate::client::ClientCodec;
use crate::client::{Client, Place};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::codec::{Codec, JsonCodec};
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events::UnknownKeys;
use crate::key::{SessionKey, StoreKey};
use crate::owner::Owner;
use crate::policy::Policy;
use crate::session::SessionBase;
use crate::slot::SessionSlot;
use crate::state::{Phase, Shared, State};
use crate::store::{EndScope, SessionStore};

/// What the sessions of an application have in common: a store, a codec, a policy, a clock. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use session_core::{MemoryStore, Policy, SessionManager};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let manager = SessionManager::new(MemoryStore::new())
///     .with_policy(Policy::new().with_idle_timeout(Duration::from_secs(3600)));
///
/// let session = manager.start();
/// session.set("from_name", "Ada")?;
/// session.save().await?;
///
/// let key = session.session_key().expect("a saved session has a key");
/// let session = manager.load(&key).await?.expect("it was just saved");
/// assert_eq!(session.get::<String>("from_name")?.as_deref(), Some("Ada"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionManager(triomphe::Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    store: Arc<dyn SessionStore>,
    codec: Arc<dyn Codec>,
    /// For sessions that live with their client. The store then keeps nothing.
    client: Option<Client>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    /// Where requests that were in each other's way wait for their turn, by key. Shared by clones.
    queues: Arc<[tokio::sync::Mutex<()>; QUEUES]>,
    unknown_keys: Arc<UnknownKeys>,
    budget: Arc<Budget>,
}

/// Sessions that meet in one queue by chance only wait a little longer.
const QUEUES: usize = 64;

/// One for all managers, so that they recognize each other's decoded payloads.
static JSON: LazyLock<Arc<dyn Codec>> = LazyLock::new(|| Arc::new(JsonCodec));

impl SessionManager {
    /// Sessions in `store`, as JSON, under the default policy and the system's clock.
    #[must_use]
    pub fn new(store: impl SessionStore) -> Self {
        Self(triomphe::Arc::new(Inner {
            store: Arc::new(store),
            codec: Arc::clone(&JSON),
            client: None,
            policy: Policy::new(),
            clock: Arc::new(SystemClock),
            queues: Arc::new([const { tokio::sync::Mutex::const_new(()) }; QUEUES]),
            unknown_keys: Arc::default(),
            budget: Arc::default(),
        }))
    }

    /// When sessions expire, and how much they may hold.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        triomphe::Arc::make_mut(&mut self.0).policy = policy;
        self
    }

    /// How data become bytes. JSON by default.
    #[must_use]
    pub fn with_codec(mut self, codec: impl Codec) -> Self {
        triomphe::Arc::make_mut(&mut self.0).codec = Arc::new(codec);
        self
    }

    /// Sessions that live with their client. The codec says whose they are, and encodes nothing.
    #[cfg(any(feature = "django", feature = "sealed"))]
    pub(crate) fn on_client(client: impl ClientCodec, codec: impl Codec) -> Self {
        let mut manager = Self::new(crate::client::Nowhere).with_codec(codec);
        triomphe::Arc::make_mut(&mut manager.0).client = Some(Client::new(client));
        manager
    }

    /// For HTTP adapters: in what clients keep the sessions that live with them, such as a cookie of this name, and how many bytes the
    /// text may have that they are sent. A text is bound to the name, so that it is worth nothing in another cookie. Changes nothing
    /// for sessions that are in a store.
    #[must_use]
    pub fn kept_by_clients_in(mut self, name: &str, text_bytes_max: usize) -> Self {
        if self.0.client.is_some()
            && let Some(client) = &mut triomphe::Arc::make_mut(&mut self.0).client
        {
            client.place = Place {
                name: Arc::from(name),
                text_bytes_max,
            };
        }
        self
    }

    /// Where the time comes from. The system's clock by default.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        triomphe::Arc::make_mut(&mut self.0).clock = Arc::new(clock);
        self
    }

    /// Refuses a store that can't find sessions by their owner, which "my sessions" and "log out everywhere" need.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unsupported`] when the store has no owner index.
    pub fn require_owner_index(self) -> Result<Self, SessionError> {
        let has_index = self.store().owner_index().is_some();
        if has_index {
            Ok(self)
        } else {
            Err(SessionError::Unsupported {
                operation: "find sessions by their owner",
            })
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// How many keys were presented to this manager and its clones that no live session has; those of a request that brings too
    /// many are not looked at, and not counted. Somebody who guesses shows here; so do visitors whose session has expired.
    #[must_use]
    pub fn unknown_keys(&self) -> u64 {
        self.0.unknown_keys.count()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn SessionStore {
        &*self.0.store
    }

    /// A place for a session in a request, for HTTP adapters.
    #[must_use]
    pub fn slot(&self) -> SessionSlot {
        SessionSlot(triomphe::Arc::new(Shared::new(
            self.clone(),
            State::default(),
        )))
    }

    /// The same for a client that sent `values` under the session's name, be they keys or not: with nothing left to
    /// [`present`](SessionSlot::present).
    #[must_use]
    pub fn slot_with<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> SessionSlot {
        let mut shared = triomphe::Arc::new(Shared::new(self.clone(), State::default()));
        if let Some(shared) = triomphe::Arc::get_mut(&mut shared) {
            shared.state_mut().present(self, values);
        }
        SessionSlot(shared)
    }

    /// A new, empty session outside of HTTP. It is stored by its own [`save`](SessionBase::save).
    #[must_use]
    pub fn start(&self) -> SessionBase {
        let state = State {
            phase: Phase::Loaded,
            is_late: true,
            ..State::default()
        };
        SessionBase(triomphe::Arc::new(Shared::new(self.clone(), state)))
    }

    /// The live session of `key` outside of HTTP, or `None`. What changes is stored by its own
    /// [`save`](SessionBase::save).
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] when the store can't be asked.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<SessionBase>, SessionError> {
        let mut deadline = Deadline::new(self);
        let Some(held) = self.load_held(key, &mut deadline).await? else {
            return Ok(None);
        };
        let state = State {
            phase: Phase::Loaded,
            held: Some(held),
            is_late: true,
            ..State::default()
        };
        Ok(Some(SessionBase(triomphe::Arc::new(Shared::new(
            self.clone(),
            state,
        )))))
    }

    /// Ends all sessions of `owner`, and says how many: a password was changed, an account was closed.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unsupported`] when the store has no owner index; what the store answers.
    ///
    /// # Cancel safety
    ///
    /// Some of the sessions have ended. Ending again is harmless.
    pub async fn end_all(&self, owner: &Owner) -> Result<u64, SessionError> {
        self.end_of(owner, EndScope::All).await
    }

    pub(crate) fn note_unknown_key(&self) {
        self.0.unknown_keys.note(self.now());
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(crate) fn codec(&self) -> &Arc<dyn Codec> {
        &self.0.codec
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        self.0.client.as_ref()
    }

    /// Refuses what needs a place that several requests share.
    pub(crate) fn require_store(&self, operation: &'static str) -> Result<(), SessionError> {
        if self.0.client.is_some() {
            return Err(SessionError::Unsupported { operation });
        }
        Ok(())
    }

    /// The queue of the requests that write the session at `key`.
    pub(crate) fn queue_of(&self, key: &StoreKey) -> &tokio::sync::Mutex<()> {
        // Keys are random: the sum of their characters spreads them well enough.
        let sum: usize = key.as_str().bytes().map(usize::from).sum();
        let [first, ..] = &*self.0.queues;
        self.0.queues.get(sum % QUEUES).unwrap_or(first)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl<S: SessionStore> From<S> for SessionManager {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}
