//! From the keys that a client sent to the one record that counts, or none.

use triomphe::Arc;
use zeroize::Zeroizing;

use crate::change::Content;
use crate::client::Client;
use crate::clock::Timestamp;
use crate::deadline::Deadline;
use crate::error::SessionError;
use crate::events;
use crate::expiry::Terms;
use crate::key::{SessionKey, StoreKey};
use crate::manager::SessionManager;
use crate::record::{Record, Version};
use crate::state::{Candidates, Held, Phase, Shared};
use crate::store::StoreError;
use crate::telemetry;
use crate::turn::Taken;

/// What is in one of the places where a session may be.
enum Found {
    /// Nothing, and so the key may be looked for elsewhere.
    Nothing(SessionKey),
    /// A session that is over by the policy, or damaged. That is final: no other place is looked at.
    Unusable,
    Live(Arc<Held>),
}

/// What whoever asks for the session has to do.
enum Look<'a> {
    /// Nothing: it is loaded.
    Loaded,
    /// To load it from the one place where it can be.
    OnlyKey {
        key: SessionKey,
        place: StoreKey,
        turn: Taken<'a>,
    },
    /// To find out which it is, or to wait for somebody who does.
    Else,
}

impl Found {
    fn live(self) -> Option<Arc<Held>> {
        match self {
            Self::Live(held) => Some(held),
            Self::Nothing(_) | Self::Unusable => None,
        }
    }
}

impl Shared {
    /// What whoever asks for the session has to do. A client that has sent no key has none, and then there is nothing to ask
    /// the store for.
    fn look(&self) -> Look<'_> {
        let mut state = self.lock();
        if state.phase == Phase::Unasked && !state.has_candidates() {
            state.phase = Phase::Loaded;
        }
        if state.phase == Phase::Loaded {
            return Look::Loaded;
        }
        let policy = self.policy();
        let is_simple = self.manager.client().is_none() && policy.limits().candidates_max > 0;
        let Some(key) = state.candidates.only().filter(|_| is_simple) else {
            return Look::Else;
        };
        let (key, place) = (key.duplicate(), policy.keys().store_key(key));
        let Some(turn) = self.try_take_turn() else {
            return Look::Else;
        };
        state.phase = Phase::Asked;
        Look::OnlyKey { key, place, turn }
    }

    /// Loads the session of a request like nearly all: it has one key, and nobody else in the request talks to the store, or it is
    /// loaded. `false` if it is another.
    ///
    /// The future of every handler has all of this in it, so that it is small: frameworks keep that in one allocation, and at
    /// more than about a thousand bytes allocators take their slow way.
    pub(crate) async fn load_only_key(&self) -> Result<bool, SessionError> {
        let (key, place, _turn) = match self.look() {
            Look::Loaded => return Ok(true),
            Look::OnlyKey { key, place, turn } => (key, place, turn),
            Look::Else => return Ok(false),
        };
        let manager = &self.manager;
        let mut deadline = Deadline::new(manager);
        let now = manager.now();
        let loaded = deadline
            .call_again("load", || manager.store().load(&place, now))
            .await;
        let found = match manager.found(key, &place, loaded, false, now)? {
            Found::Nothing(key) if manager.policy().keys().has_several_places() => {
                Box::pin(manager.look_in_older_places(&key, &place, &mut deadline)).await?
            }
            found => found,
        };
        let held = found.live();
        if held.is_none() {
            manager.note_unknown_key();
        }
        self.hold_loaded(held);
        Ok(true)
    }

    fn hold_loaded(&self, held: Option<Arc<Held>>) {
        let mut state = self.lock();
        // A log-out that did not wait for the record has ended the session meanwhile.
        if state.phase == Phase::Asked {
            state.phase = Phase::Loaded;
            state.held = held;
            state.show_held();
        }
    }

    /// Loads the session unless that is done. After an error the next one who asks tries anew.
    pub(crate) async fn ensure_loaded(&self) -> Result<(), SessionError> {
        let mut deadline = Deadline::new(&self.manager);
        let _turn = self.take_turn(&mut deadline).await?;
        let (candidates, texts) = {
            let mut state = self.lock();
            if state.phase == Phase::Loaded {
                return Ok(());
            }
            state.phase = Phase::Asked;
            let texts = std::mem::take(&mut state.client_texts);
            (state.candidates.clone(), texts)
        };
        let found = match self.manager.client() {
            Some(client) => self.manager.open(client, &texts),
            None => self.manager.find(&candidates, &mut deadline).await,
        };
        if found.is_err() {
            // The next one who asks tries anew.
            self.lock().client_texts = texts;
        }
        self.hold_loaded(found?);
        Ok(())
    }
}

impl SessionManager {
    /// The one live session among `candidates`. Several live ones are none: somebody set a cookie beside the visitor's,
    /// and there is no telling which is which.
    async fn find(
        &self,
        candidates: &Candidates,
        deadline: &mut Deadline<'_>,
    ) -> Result<Option<Arc<Held>>, SessionError> {
        let limit = self.policy().limits().candidates_max;
        if candidates.len() > limit {
            events::too_many_candidates(limit);
            return Ok(None);
        }
        let mut keys = candidates.iter();
        let Some(first) = keys.next() else {
            return Ok(None);
        };
        let found = self.load_known(first, deadline).await?;
        if candidates.len() == 1 {
            return Ok(found);
        }
        // Rare: the future of every request has room for what is not.
        Box::pin(async {
            let mut found = found;
            for key in keys {
                let Some(held) = self.load_known(key, deadline).await? else {
                    continue;
                };
                if found.replace(held).is_some() {
                    events::several_live();
                    return Ok(None);
                }
            }
            Ok(found)
        })
        .await
    }

    /// What a client's key opens. That it opens nothing is noted.
    async fn load_known(
        &self,
        key: &SessionKey,
        deadline: &mut Deadline<'_>,
    ) -> Result<Option<Arc<Held>>, SessionError> {
        let held = self.load_held(key, deadline).await?;
        if held.is_none() {
            self.note_unknown_key();
        }
        Ok(held)
    }

    /// The one live session among what the client keeps, or none, as for keys.
    fn open(
        &self,
        client: &Client,
        texts: &[Zeroizing<Vec<u8>>],
    ) -> Result<Option<Arc<Held>>, SessionError> {
        let limit = self.policy().limits().candidates_max;
        let now = self.now();
        let mut found = None;
        for text in texts.iter().take(limit) {
            let opened = match client.codec.open(&client.place, text, self.policy(), now) {
                Err(StoreError::Damaged { .. }) => None,
                opened => opened?,
            };
            if opened.is_some() && found.is_some() {
                events::several_live();
                return Ok(None);
            }
            found = found.or(opened);
        }
        if texts.len() > limit {
            events::too_many_candidates(limit);
            return Ok(None);
        }
        let Some((base, expires_at)) = found else {
            if !texts.is_empty() {
                self.note_unknown_key();
            }
            return Ok(None);
        };
        // Nobody is given this key. It only names the session within the request.
        let key = SessionKey::generate()?;
        let store_key = self.policy().keys().store_key(&key);
        Ok(Some(Arc::new(Held {
            key,
            store_key,
            version: Version::Counter(0),
            expires_at,
            terms: Terms::of(&base, self.policy()),
            base,
            is_to_move: false,
        })))
    }

    /// The live session at `key`, or `None`; also if its record is damaged, which is reported and left as it is.
    pub(crate) async fn load_held(
        &self,
        key: &SessionKey,
        deadline: &mut Deadline<'_>,
    ) -> Result<Option<Arc<Held>>, SessionError> {
        let keys = self.policy().keys();
        let current = keys.store_key(key);
        let found = match self.load_at(key, &current, false, deadline).await? {
            // In an allocation of its own, since it is rare, and the future of every request has room for what is not.
            Found::Nothing(_) if keys.has_several_places() => {
                Box::pin(self.look_in_older_places(key, &current, deadline)).await?
            }
            found => found,
        };
        Ok(found.live())
    }

    async fn look_in_older_places(
        &self,
        key: &SessionKey,
        current: &StoreKey,
        deadline: &mut Deadline<'_>,
    ) -> Result<Found, SessionError> {
        let older = self.policy().keys().older_store_keys(key);
        // The last look is for a session that was moved to its current place meanwhile.
        for place in older.iter().chain([current]) {
            match self.load_at(key, place, place != current, deadline).await? {
                Found::Nothing(_) => {}
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing(key.duplicate()))
    }

    /// The live session of `key` in one of the places where it may be.
    async fn load_at(
        &self,
        key: &SessionKey,
        store_key: &StoreKey,
        is_to_move: bool,
        deadline: &mut Deadline<'_>,
    ) -> Result<Found, SessionError> {
        let now = self.now();
        let loaded = deadline
            .call_again("load", || self.store().load(store_key, now))
            .await;
        self.found(key.duplicate(), store_key, loaded, is_to_move, now)
    }

    fn found(
        &self,
        key: SessionKey,
        store_key: &StoreKey,
        loaded: Result<Option<Record>, StoreError>,
        is_to_move: bool,
        now: Timestamp,
    ) -> Result<Found, SessionError> {
        match loaded {
            Ok(None) => Ok(Found::Nothing(key)),
            Ok(Some(record)) => self.judge(key, store_key, record, is_to_move, now),
            Err(error) => not_loaded(store_key, error),
        }
    }

    /// What a record comes to that the store has at `store_key`.
    fn judge(
        &self,
        key: SessionKey,
        store_key: &StoreKey,
        record: Record,
        is_to_move: bool,
        now: Timestamp,
    ) -> Result<Found, SessionError> {
        telemetry::payload("read", record.payload.weight());
        let data = match record.payload.decode(self.codec(), store_key, &record) {
            Ok(data) => data,
            Err(error) => return not_loaded(store_key, error),
        };
        let owner = if self.codec().is_shared() {
            self.codec().owner(&data)
        } else {
            record.owner
        };
        let base = Content {
            data,
            owner,
            label: record.label,
            created_at: record.created_at,
        };
        let terms = Terms::of(&base, self.policy());
        if terms.is_over(now) {
            events::expired(store_key);
            return Ok(Found::Unusable);
        }
        Ok(Found::Live(Arc::new(Held {
            key,
            store_key: store_key.clone(),
            version: record.version,
            expires_at: record.expires_at,
            base,
            terms,
            is_to_move,
        })))
    }
}

/// A damaged record is no session. What the store can't say is an error.
fn not_loaded(store_key: &StoreKey, error: StoreError) -> Result<Found, SessionError> {
    if let StoreError::Damaged { .. } = error {
        events::damaged(store_key, &error);
        return Ok(Found::Unusable);
    }
    events::store_failed("load", &error);
    Err(error.into())
}
