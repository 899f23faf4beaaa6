//! What the clauses' tests begin with: an application that has a secret, and its requests.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use crate::clock::ManualClock;
use crate::codec::{Codec, JsonCodec, SealedCodec};
use crate::conformance::Broken;
use crate::conformance::clause::setting::NOW;
use crate::conformance::fixture::{Store, Stores};
use crate::error::SessionError;
use crate::key::{DigestKeys, KeyPolicy, SessionKey, StoreKey};
use crate::key_ring::KeyRing;
use crate::manager::SessionManager;
use crate::outcome::{Completion, Outcome};
use crate::owner::Owner;
use crate::policy::{Limits, Policy};
use crate::record::{NewRecord, Record};
use crate::session::SessionBase;
use crate::slot::SessionSlot;
use crate::store::SessionStore;
use crate::testing::FaultStore;
use crate::testing::Gate;

/// Longer than fifty requests at once take on a busy machine.
const PATIENT: Duration = Duration::from_secs(120);

/// Which secrets a server has, the newest first.
pub(super) const DIGEST: &[u8] = &[100];
pub(super) const SEALING: &[u8] = &[1];

/// One server of an application. Others with other secrets may share its store and its clock.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) manager: SessionManager,
    pub(super) store: Arc<FaultStore<Store>>,
    pub(super) clock: Arc<ManualClock>,
}

impl Site {
    /// A new store, and a server that hashes keys and seals data.
    pub(super) async fn new(stores: &Stores) -> Result<Self, Broken> {
        Self::over(stores.fresh().await)
    }

    pub(super) fn over(store: Store) -> Result<Self, Broken> {
        let store = Arc::new(FaultStore::new(store));
        let clock = Arc::new(ManualClock::at(SystemTime::from(NOW)));
        let codec = SealedCodec::new(JsonCodec::default(), &ring(SEALING)?);
        Self::on(store, clock, DIGEST, codec, Policy::new())
    }

    fn on(
        store: Arc<FaultStore<Store>>,
        clock: Arc<ManualClock>,
        digest: &[u8],
        codec: impl Codec,
        policy: Policy,
    ) -> Result<Self, Broken> {
        let limits = Limits {
            store_timeout: PATIENT,
            commit_timeout: PATIENT,
            ..Limits::default()
        };
        let policy = policy
            .with_keys(KeyPolicy::Keyed(DigestKeys::new(&ring(digest)?)))
            .with_limits(limits);
        let manager = SessionManager::new(Arc::clone(&store))
            .with_codec(codec)
            .with_policy(policy)
            .with_clock(Arc::clone(&clock));
        Ok(Self {
            manager,
            store,
            clock,
        })
    }

    /// The same application with other secrets.
    pub(super) fn with_secrets(&self, digest: &[u8], sealing: &[u8]) -> Result<Self, Broken> {
        let codec = SealedCodec::new(JsonCodec::default(), &ring(sealing)?);
        self.with_codec(digest, codec)
    }

    /// The same application, its data written in another way.
    pub(super) fn with_codec(&self, digest: &[u8], codec: impl Codec) -> Result<Self, Broken> {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Self::on(store, clock, digest, codec, Policy::new())
    }

    /// The same application under another policy.
    pub(super) fn with_policy(&self, policy: Policy) -> Result<Self, Broken> {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let codec = SealedCodec::new(JsonCodec::default(), &ring(SEALING)?);
        Self::on(store, clock, DIGEST, codec, policy)
    }

    /// A request that brings `key`, and its session.
    pub(super) async fn request(&self, key: Option<&SessionKey>) -> Result<Request, Broken> {
        let slot = self.manager.slot();
        slot.present(key.map(|key| key.expose_secret().as_bytes()));
        let session = slot.session().await?;
        Ok(Request { slot, session })
    }

    /// A request that brings `key`, does this, and ends well.
    pub(super) async fn does(
        &self,
        key: &SessionKey,
        deed: impl FnOnce(&SessionBase) -> Result<(), SessionError>,
    ) -> Result<Outcome, Broken> {
        let request = self.request(Some(key)).await?;
        deed(&request.session)?;
        Ok(request.finish().await?)
    }

    /// A visitor whose session holds what `fill` puts there.
    pub(super) async fn visitor(
        &self,
        fill: impl FnOnce(&SessionBase) -> Result<(), SessionError>,
    ) -> Result<SessionKey, Broken> {
        let request = self.request(None).await?;
        fill(&request.session)?;
        issued(request.finish().await?)
    }

    /// Somebody who is logged in and has something in the session.
    pub(super) async fn log_in(
        &self,
        owner: impl Into<Owner>,
        secret: &str,
    ) -> Result<SessionKey, Broken> {
        let owner = owner.into();
        self.visitor(|session| {
            session.log_in(owner)?;
            session.set("secret", secret)
        })
        .await
    }

    /// What the visitor with this key finds in the session; `None` if there is none.
    pub(super) async fn secret_of(&self, key: &SessionKey) -> Result<Option<String>, Broken> {
        match self.manager.load(key).await? {
            Some(session) => Ok(session.get("secret")?),
            None => Ok(None),
        }
    }

    pub(super) async fn is_alive(&self, key: &SessionKey) -> Result<bool, Broken> {
        Ok(self.manager.load(key).await?.is_some())
    }

    /// How many of these sessions live.
    pub(super) async fn alive(&self, keys: &[SessionKey]) -> Result<usize, Broken> {
        let mut alive = 0;
        for key in keys {
            alive += usize::from(self.is_alive(key).await?);
        }
        Ok(alive)
    }

    /// Where the session of `key` is.
    pub(super) fn place(&self, key: &SessionKey) -> StoreKey {
        self.manager.policy().keys().store_key(key)
    }

    /// What is there.
    pub(super) async fn record(&self, place: &StoreKey) -> Result<Record, Broken> {
        let found = self.store.load(place, self.manager.now()).await?;
        found.ok_or_else(|| Broken::new("a session that was just stored is not there"))
    }

    /// What somebody does who can write the store: puts this there, whatever it was.
    pub(super) async fn forge(&self, place: &StoreKey, record: &Record) -> Result<(), Broken> {
        self.store.delete(place).await?;
        let payload = crate::payload::Payload::from_bytes(record.payload.to_bytes()?);
        let mut new = NewRecord::new(payload, record.expires_at);
        new.owner = record.owner.clone();
        new.label = record.label.clone();
        new.created_at = record.created_at;
        self.store.create(place, new, self.manager.now()).await?;
        Ok(())
    }
}

pub(super) struct Request {
    pub(super) slot: SessionSlot,
    pub(super) session: SessionBase,
}

impl Request {
    pub(super) async fn finish(&self) -> Result<Outcome, SessionError> {
        self.slot.commit(Completion::Success).await
    }
}

/// The key that a client was given, or the clause is broken.
pub(super) fn issued(outcome: Outcome) -> Result<SessionKey, Broken> {
    match outcome {
        Outcome::Issue { value, .. } => SessionKey::parse(value.expose_secret().as_bytes())
            .ok_or_else(|| Broken::new("what a client is given is no key")),
        other => Err(Broken::new(format!(
            "a visitor should have been given a key; found {other:?}"
        ))),
    }
}

/// Waits until a task is held up at the gate; a task that is over before will never be.
pub(super) async fn reached<T>(gate: &Gate, task: &mut JoinHandle<T>) -> Result<(), Broken> {
    let mut held = pin!(gate.reached());
    poll_fn(|context| {
        if held.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *task).poll(context).map(|_over| {
            Err(Broken::new(
                "what should have changed sessions changed none",
            ))
        })
    })
    .await
}

/// Secrets that are nobody's, one for each number.
pub(super) fn ring(numbers: &[u8]) -> Result<KeyRing, Broken> {
    let secret = |first: u8| -> Vec<u8> { (0..32).map(|n| first.wrapping_add(n)).collect() };
    let (first, older) = numbers
        .split_first()
        .ok_or_else(|| Broken::new("the kit's own: a ring has a key"))?;
    older
        .iter()
        .try_fold(KeyRing::from_bytes(&secret(*first))?, |ring, number| {
            Ok(ring.with_older(&secret(*number))?)
        })
}
