//! Every order in which the calls of some requests on one session can meet, with one fault at any moment.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use session_cached_db::CachedDbStore;
use session_core::store::{
    Change, EndScope, ExpiryChange, NewRecord, OwnerIndex, Payload, Record, Saved, SessionStore,
    StoreError, StoreKey, Timestamp,
};
use session_core::{MemoryStore, Owner};

use crate::parts::{Slots, Stepping, SteppingStore, Weakness};
use crate::script::{Fault, Script, Seen, text};

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const END: Timestamp = Timestamp::from_secs(1_900_001_000);
const TOUCHED: Timestamp = Timestamp::from_secs(1_900_002_000);
const RETIMED: Timestamp = Timestamp::from_secs(1_900_000_500);
const STALENESS_MAX: Duration = Duration::from_secs(60);

/// What a request does with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    Load,
    /// Loads and saves, as an ordinary request does, again after a conflict.
    Save,
    /// Saves with another expiry.
    Retime,
    Touch,
    /// Loads and moves the session to another key.
    Rotate,
    Delete,
    /// "Log out everywhere".
    End,
    /// Somebody who knows nothing of the cache removes the row.
    Purge,
    /// Saves, and then logs out.
    Leave,
}

impl Deed {
    pub(crate) const ALL: [Self; 8] = [
        Self::Load,
        Self::Save,
        Self::Retime,
        Self::Touch,
        Self::Rotate,
        Self::Delete,
        Self::End,
        Self::Purge,
    ];
}

/// Which fault comes, once, at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The slot is emptied: an eviction, the end of a lease or of a tombstone.
    Eviction,
    /// A call on the cache does not arrive, or its answer does not.
    DroppedStep,
    /// A client goes away, and its request ends where it is.
    Abandoned,
}

#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) trouble: Trouble,
    pub(crate) is_one_process: bool,
    pub(crate) is_cached: bool,
    pub(crate) weakness: Option<Weakness>,
}

#[derive(Debug, Default)]
pub(crate) struct Explored {
    pub(crate) runs: u64,
    pub(crate) states: usize,
    /// The first order that broke a promise, and which.
    pub(crate) broken: Option<String>,
}

type Store = CachedDbStore<Stepping, SteppingStore>;

fn key() -> StoreKey {
    StoreKey::parse("session").expect("letters are a key")
}

fn moved_key(request: usize) -> StoreKey {
    StoreKey::parse(&format!("moved{request}")).expect("letters are a key")
}

fn owner() -> Owner {
    Owner::from("ada")
}

fn letter(request: usize) -> char {
    ['a', 'b', 'c', 'd'][request]
}

/// One request, to its end. `Err` says which promise was broken.
struct Request {
    number: usize,
    deed: Deed,
    store: Store,
    script: Script,
    is_one_process: bool,
    /// Whether an expiry only ever grows.
    is_retimed: bool,
}

impl Request {
    async fn perform(self) -> Result<(), String> {
        match self.deed {
            Deed::Load => self.load().await.map(drop),
            Deed::Save => self.save(ExpiryChange::Keep).await,
            Deed::Retime => self.save(ExpiryChange::Set(RETIMED)).await,
            Deed::Touch => {
                if self.did(self.store.touch(&key(), TOUCHED, NOW).await)? {
                    self.script
                        .acknowledge(|facts| facts.expires_at = Some(TOUCHED));
                }
                Ok(())
            }
            Deed::Rotate => self.rotate().await,
            Deed::Delete => self.delete().await,
            Deed::Leave => {
                self.save(ExpiryChange::Keep).await?;
                self.delete().await
            }
            Deed::End => {
                self.did(self.store.end(&owner(), EndScope::All).await)?;
                // It ends what the database knows of. A row that was removed behind the cache's back is not among that.
                let is_ended = !self.script.is_purged();
                self.script.acknowledge(|facts| facts.is_ended |= is_ended);
                Ok(())
            }
            Deed::Purge => {
                self.did(self.store.database().delete(&key()).await)?;
                self.script.purged();
                Ok(())
            }
        }
    }

    fn did<T>(&self, answer: Result<T, StoreError>) -> Result<T, String> {
        answer.map_err(|error| format!("{:?} failed: {error}", self.deed))
    }

    /// With one fault at most, every end can be assured.
    async fn delete(&self) -> Result<(), String> {
        self.did(self.store.delete(&key()).await)?;
        self.script.acknowledge(|facts| facts.is_ended = true);
        Ok(())
    }

    async fn load(&self) -> Result<Option<Record>, String> {
        self.script.begins(self.number).await;
        let loaded = self.did(self.store.load(&key(), NOW).await)?;
        let facts = self.script.at_begin(self.number);
        let Some(record) = &loaded else {
            return Ok(None);
        };
        if facts.is_ended {
            return Err(format!("{:?} read a session that had ended", self.deed));
        }
        if self.script.may_be_stale(self.number, self.is_one_process) {
            return Ok(loaded);
        }
        let shown = text(record);
        if let Some(lost) = facts.saved.iter().find(|saved| !shown.contains(**saved)) {
            return Err(format!(
                "{:?} read a session without what {lost} had saved",
                self.deed
            ));
        }
        if !self.is_retimed
            && facts
                .expires_at
                .is_some_and(|touched| record.expires_at < touched)
        {
            return Err(format!(
                "{:?} read an expiry from before a touch",
                self.deed
            ));
        }
        Ok(loaded)
    }

    fn change(&self, record: &Record, expiry: ExpiryChange) -> Change {
        let mut data = text(record);
        data.push(letter(self.number));
        Change::of(record, Payload::from_bytes(data), expiry)
    }

    async fn save(&self, expiry: ExpiryChange) -> Result<(), String> {
        for _ in 0..5 {
            let Some(record) = self.load().await? else {
                return Ok(());
            };
            let change = self.change(&record, expiry);
            let saved = self.store.save(&key(), &record.version, change, NOW).await;
            match self.did(saved)? {
                Saved::Stored(_) => {
                    let letter = letter(self.number);
                    self.script.acknowledge(|facts| facts.saved.push(letter));
                    return Ok(());
                }
                Saved::Gone => return Ok(()),
                _ => {}
            }
        }
        Err(format!(
            "{:?} conflicted with the same old copy again and again",
            self.deed
        ))
    }

    async fn rotate(&self) -> Result<(), String> {
        for _ in 0..5 {
            let Some(record) = self.load().await? else {
                return Ok(());
            };
            let change = self.change(&record, ExpiryChange::Keep);
            let to = moved_key(self.number);
            let rotated = self
                .store
                .rotate(&key(), &record.version, &to, change, NOW)
                .await;
            match self.did(rotated)? {
                Saved::Stored(_) => {
                    let letter = letter(self.number);
                    self.script.acknowledge(|facts| {
                        facts.is_ended = true;
                        facts.saved.push(letter);
                    });
                    return Ok(());
                }
                Saved::Gone => return Ok(()),
                _ => {}
            }
        }
        Err("a rotation conflicted with the same old copy again and again".to_owned())
    }
}

type Performing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Running {
    /// `None` when it is done.
    future: Option<Performing>,
    woken: Arc<Woken>,
}

/// Tells whether a future may be polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One thing that can happen next.
#[derive(Debug, Clone, Copy)]
enum Move {
    Goes(usize),
    Meets(usize, Fault),
    Abandoned(usize),
    Evicted,
}

struct World {
    setting: Setting,
    script: Script,
    slots: Arc<Slots>,
    rows: Arc<MemoryStore>,
    stores: Vec<Store>,
    running: Vec<Running>,
    is_fault_over: bool,
    trace: Vec<String>,
}

impl World {
    fn new(setting: &Setting) -> Self {
        let script = Script::new(setting.deeds.len());
        let slots = Arc::new(Slots::new(setting.weakness));
        let rows = Arc::new(MemoryStore::new());
        let mut new = NewRecord::new(Payload::from_bytes("0"), END);
        new.owner = Some(owner());
        finish(rows.create(&key(), new, NOW)).expect("an empty store");
        let store = || {
            let cache = Stepping {
                slots: Arc::clone(&slots),
                script: script.clone(),
            };
            let database = SteppingStore {
                rows: Arc::clone(&rows),
                script: script.clone(),
            };
            CachedDbStore::single_process(cache, database)
        };
        let first = store();
        let mut stores: Vec<Store> = (0..setting.deeds.len())
            .map(|_| {
                if setting.is_one_process {
                    first.clone()
                } else {
                    store()
                }
            })
            .collect();
        if setting.is_cached {
            finish(first.load(&key(), NOW)).expect("nothing fails yet");
        }
        let running = setting
            .deeds
            .iter()
            .zip(&stores)
            .enumerate()
            .map(|(number, (deed, store))| {
                let request = Request {
                    number,
                    deed: *deed,
                    store: store.clone(),
                    script: script.clone(),
                    is_one_process: setting.is_one_process,
                    is_retimed: setting.deeds.contains(&Deed::Retime),
                };
                Running {
                    future: Some(Box::pin(request.perform())),
                    woken: Arc::new(Woken(AtomicBool::new(true))),
                }
            })
            .collect();
        // One more process that looks at the end.
        stores.push(store());
        let mut world = Self {
            setting: setting.clone(),
            script,
            slots,
            rows,
            stores,
            running,
            is_fault_over: false,
            trace: Vec::new(),
        };
        // Up to the first call of each, which changes nothing.
        for number in 0..world.running.len() {
            world.poll(number, None).expect("nothing has been seen yet");
        }
        world
    }

    fn poll(&mut self, number: usize, fault: Option<Fault>) -> Result<(), String> {
        self.script.turn(Some(number), fault);
        let running = &mut self.running[number];
        running.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&running.woken));
        let future = running.future.as_mut().expect("it is not done");
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.script.turn(None, None);
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(ended) => {
                running.future = None;
                ended
            }
        }
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (number, running) in self.running.iter().enumerate() {
            if running.future.is_none() || !running.woken.0.load(Ordering::SeqCst) {
                continue;
            }
            moves.push(Move::Goes(number));
            match self.setting.trouble {
                Trouble::DroppedStep if !self.is_fault_over && self.script.calls_cache(number) => {
                    moves.push(Move::Meets(number, Fault::Refused));
                    moves.push(Move::Meets(number, Fault::AnswerLost));
                }
                Trouble::Abandoned if !self.is_fault_over => moves.push(Move::Abandoned(number)),
                _ => {}
            }
        }
        let is_worth_it = || self.slot(&key()) != "empty";
        if self.setting.trouble == Trouble::Eviction
            && !self.is_fault_over
            && !moves.is_empty()
            && is_worth_it()
        {
            moves.push(Move::Evicted);
        }
        moves
    }

    fn go(&mut self, step: Move) -> Result<(), String> {
        let named = |script: &Script, number: usize| {
            let call = script.pending(number).unwrap_or("goes on");
            format!("{} {call}", letter(number))
        };
        match step {
            Move::Goes(number) => {
                self.trace.push(named(&self.script, number));
                self.poll(number, None)
            }
            Move::Meets(number, fault) => {
                let call = named(&self.script, number);
                self.trace.push(format!("{call} ({fault:?})"));
                self.is_fault_over = true;
                self.poll(number, Some(fault))
            }
            Move::Abandoned(number) => {
                let call = named(&self.script, number);
                self.trace.push(format!("{call} (abandoned)"));
                self.is_fault_over = true;
                self.script.abandon();
                self.running[number].future = None;
                Ok(())
            }
            Move::Evicted => {
                self.trace.push("the slot is evicted".to_owned());
                self.is_fault_over = true;
                self.slots.evict(&key());
                Ok(())
            }
        }
    }

    fn slot(&self, key: &StoreKey) -> String {
        use session_cache::Cache as _;
        let cache = Stepping {
            slots: Arc::clone(&self.slots),
            script: self.script.clone(),
        };
        let slot = finish(cache.get(key)).expect("nobody fails here");
        self.script.describe(&slot)
    }

    fn row(&self, key: &StoreKey) -> Option<Record> {
        finish(self.rows.load(key, NOW)).expect("nobody fails here")
    }

    fn fingerprint(&self) -> u64 {
        let rotates = |number: &usize| self.setting.deeds[*number] == Deed::Rotate;
        let keys: Vec<StoreKey> = std::iter::once(key())
            .chain((0..self.running.len()).filter(rotates).map(moved_key))
            .collect();
        // Nobody puts anything into the slots of the new keys.
        let slots = [self.slot(&key())];
        let rows: Vec<String> = keys
            .iter()
            .map(|key| self.row(key).describe(&|_| None))
            .collect();
        let mut flags = vec![self.is_fault_over];
        for running in &self.running {
            flags.push(running.future.is_none());
            flags.push(running.woken.0.load(Ordering::SeqCst));
        }
        self.script.fingerprint(&slots, &rows, &flags)
    }

    /// What must hold once everybody has finished.
    fn check_the_end(&self) -> Result<(), String> {
        let facts = self.script.facts();
        let did = |deed: Deed| self.setting.deeds.contains(&deed);
        let may_end = [Deed::Delete, Deed::End, Deed::Purge, Deed::Leave];
        let row = self.row(&key());
        if facts.is_ended && row.is_some() {
            return Err("an ended session came back in the database".to_owned());
        }
        let moved: Vec<Record> = (0..self.running.len())
            .filter_map(|number| self.row(&moved_key(number)))
            .collect();
        let rows: Vec<&Record> = row.iter().chain(&moved).collect();
        if rows.len() > 1 {
            return Err("two keys are alive".to_owned());
        }
        if did(Deed::End) && !rows.is_empty() && !self.script.is_abandoned() {
            return Err("a session escaped \"log out everywhere\"".to_owned());
        }
        if rows.is_empty() && !may_end.into_iter().any(did) {
            return Err("a session was lost".to_owned());
        }
        for record in rows {
            let held = text(record);
            if let Some(lost) = facts.saved.iter().find(|saved| !held.contains(**saved)) {
                return Err(format!("what {lost} saved was lost"));
            }
        }
        // The one whose step was dropped knows of it. Everybody else reads what is true once the bound has passed, or at
        // once if nothing was dropped.
        let knows = |number: usize| {
            self.script.dropped() == Some(number)
                || (self.setting.is_one_process && number < self.running.len())
        };
        let is_excused = self.script.is_purged() || self.script.is_abandoned();
        for (number, store) in self.stores.iter().enumerate() {
            let is_clean = self.script.dropped().is_none() || knows(number);
            let is_exact = is_clean && !is_excused;
            self.compare(number, store, NOW, is_exact, facts.is_ended)?;
        }
        let later = NOW.saturating_add(STALENESS_MAX);
        for (number, store) in self.stores.iter().enumerate() {
            self.compare(number, store, later, true, facts.is_ended)?;
        }
        Ok(())
    }

    fn compare(
        &self,
        number: usize,
        store: &Store,
        now: Timestamp,
        is_exact: bool,
        is_ended: bool,
    ) -> Result<(), String> {
        let shown = finish(store.load(&key(), now)).map_err(|error| error.to_string())?;
        if is_ended && shown.is_some() {
            return Err(format!("process {number} reads a session that has ended"));
        }
        let (shown, row) = (
            shown.describe(&|_| None),
            self.row(&key()).describe(&|_| None),
        );
        if is_exact && shown != row {
            return Err(format!(
                "process {number} reads {shown:?} {} s later, and the row is {row:?}",
                now.as_secs() - NOW.as_secs()
            ));
        }
        Ok(())
    }
}

/// A future that waits for nobody.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// What was done at one step of an order, and what else could have been.
#[derive(Debug, Clone)]
struct Choice {
    step: Move,
    /// What has not been tried yet at this step.
    others: Vec<Move>,
}

/// One order. It begins with `choices`, goes on with the first thing that can happen, and adds to `choices` what it does. It stops
/// where it comes to a state that was seen.
fn run(
    setting: &Setting,
    choices: &mut Vec<Choice>,
    seen: &mut HashSet<u64>,
) -> Result<(), String> {
    let mut world = World::new(setting);
    let told = |world: &World, broken: String| format!("{broken}\n  {}", world.trace.join("\n  "));
    for choice in choices.iter() {
        if let Err(broken) = world.go(choice.step) {
            return Err(told(&world, broken));
        }
    }
    let mut is_new = choices.is_empty() || seen.insert(world.fingerprint());
    while is_new {
        let mut moves = world.moves().into_iter();
        let Some(step) = moves.next() else {
            let all_done = world.running.iter().all(|running| running.future.is_none());
            let ended = if all_done {
                world.check_the_end()
            } else {
                Err("the requests wait for each other".to_owned())
            };
            return ended.map_err(|broken| told(&world, broken));
        };
        let others = moves.collect();
        choices.push(Choice { step, others });
        if let Err(broken) = world.go(step) {
            return Err(told(&world, broken));
        }
        if choices.len() > 300 {
            return Err(told(&world, "the requests never end".to_owned()));
        }
        is_new = seen.insert(world.fingerprint());
    }
    Ok(())
}

/// All orders, one after the other, up to the first that breaks a promise.
pub(crate) fn explore(setting: &Setting) -> Explored {
    let mut explored = Explored::default();
    let mut seen = HashSet::new();
    let mut choices = Vec::new();
    loop {
        let ended = run(setting, &mut choices, &mut seen);
        explored.runs += 1;
        explored.states = seen.len();
        if let Err(broken) = ended {
            explored.broken = Some(format!("{setting:?}: {broken}"));
            return explored;
        }
        // The next order differs at the last step at which something else could have happened.
        loop {
            let Some(last) = choices.last_mut() else {
                return explored;
            };
            if last.others.is_empty() {
                choices.pop();
            } else {
                last.step = last.others.remove(0);
                break;
            }
        }
    }
}
