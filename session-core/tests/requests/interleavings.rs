//! Every order in which the store calls of two requests on one session can meet, on the real code; of three with
//! `SESSION_TEST_FULL=1`. Enumerated, not sampled.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use session_core::adapter::{Completion, SessionSlot};
use session_core::store::{
    Change, NewRecord, Page, Record, Saved, SessionStore, StoreError, StoreKey, StoreScan,
    Timestamp, Version,
};
use session_core::{
    KeyPolicy, MemoryStore, Owner, Policy, SessionData, SessionKey, SessionManager,
};

use crate::support::Ended;

/// What a request does with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Read,
    Set,
    Modify,
    ModifyNow,
    Take,
    Clear,
    Flush,
    Cycle,
    LogIn,
    PushMessage,
    TakeMessages,
    PopMessages,
}

impl Deed {
    const ALL: [Self; 9] = [
        Self::Read,
        Self::Set,
        Self::Modify,
        Self::ModifyNow,
        Self::Take,
        Self::Clear,
        Self::Flush,
        Self::Cycle,
        Self::LogIn,
    ];

    const MESSAGES: [Self; 3] = [Self::PushMessage, Self::TakeMessages, Self::PopMessages];
}

/// A store that lets somebody else go first before each of its calls.
#[derive(Debug, Default)]
struct Yielding(MemoryStore);

async fn others_first() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl SessionStore for Yielding {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<Record>, StoreError> {
        others_first().await;
        self.0.load(key, now).await
    }

    async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        others_first().await;
        self.0.create(key, new, now).await
    }

    async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        others_first().await;
        self.0.save(key, expected, change, now).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        others_first().await;
        self.0.delete(key).await
    }

    async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        others_first().await;
        self.0.touch(key, expires_at, now).await
    }

    async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        others_first().await;
        self.0.rotate(from, expected, to, change, now).await
    }
}

/// How one request ended.
struct Answer {
    deed: Deed,
    ended: Ended,
    /// What `take` and `modify_now` gave.
    got: Option<u32>,
    /// The messages that it has shown.
    shown: Vec<String>,
}

impl Answer {
    fn is_ok(&self) -> bool {
        self.ended.0.is_ok()
    }
}

async fn request(slot: SessionSlot, number: usize, deed: Deed) -> Answer {
    let (mut got, mut shown) = (None, Vec::new());
    let done = async {
        let session = slot.session().await?;
        match deed {
            Deed::Read => drop(session.get::<u32>("count")?),
            Deed::Set => session.set(&format!("name{number}"), &number)?,
            Deed::Modify => session.modify("count", |count: &mut u32| *count += 1)?,
            Deed::ModifyNow => {
                let counted = session.modify_now("count", |count: &mut u32| {
                    *count += 1;
                    *count
                });
                got = Some(counted.await?);
            }
            Deed::Take => got = session.take("ticket").await?,
            Deed::Clear => session.clear(),
            Deed::Flush => session.flush(),
            Deed::Cycle => session.cycle_key(),
            Deed::LogIn => {
                session.set(&format!("name{number}"), &number)?;
                session.log_in(7)?;
            }
            Deed::PushMessage => session.messages().info(format!("new{number}"))?,
            Deed::TakeMessages => shown = session.messages().take().await?,
            Deed::PopMessages => shown = session.messages().pop()?,
        }
        slot.commit(Completion::Success).await
    };
    let ended = Ended(done.await);
    let shown = shown.iter().map(|one| one.text().to_owned()).collect();
    Answer {
        deed,
        ended,
        got,
        shown,
    }
}

/// Tells whether a future may be polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Running {
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    woken: Arc<Woken>,
    answer: Option<Answer>,
}

/// How the servers make store keys: the one that began the session, and those that take the requests, by turns.
struct Servers {
    first: KeyPolicy,
    others: Vec<KeyPolicy>,
}

impl Servers {
    /// All of them in the same way.
    fn alike() -> Self {
        Self {
            first: KeyPolicy::Hashed,
            others: vec![KeyPolicy::Hashed],
        }
    }
}

/// One order, from the first call to the last. `choices` says whose turn it is at each step, and 0 from its end on; gives the
/// choices that were made, and among how many.
fn run(servers: &Servers, deeds: &[Deed], choices: &[usize]) -> Vec<(usize, usize)> {
    let store = Arc::new(Yielding::default());
    let manager = |keys: &KeyPolicy| {
        let policy = Policy::new().with_keys(keys.clone());
        SessionManager::new(Arc::clone(&store)).with_policy(policy)
    };
    let session = manager(&servers.first).start();
    session.set("original", &true).unwrap();
    session.set("ticket", &1).unwrap();
    session.set("count", &10).unwrap();
    session.messages().info("old").unwrap();
    finish(session.save()).unwrap();
    let key: SessionKey = session.session_key().unwrap();
    let mut requests: Vec<Running> = deeds
        .iter()
        .zip(servers.others.iter().cycle())
        .enumerate()
        .map(|(number, (deed, keys))| {
            let slot = manager(keys).slot();
            slot.present([key.expose_secret().as_bytes()]);
            let woken = Arc::new(Woken(AtomicBool::new(true)));
            Running {
                future: Box::pin(request(slot, number, *deed)),
                woken,
                answer: None,
            }
        })
        .collect();
    let mut made = Vec::new();
    while requests.iter().any(|request| request.answer.is_none()) {
        let ready =
            |request: &Running| request.answer.is_none() && request.woken.0.load(Ordering::SeqCst);
        let mut ready: Vec<&mut Running> = requests
            .iter_mut()
            .filter(|request| ready(request))
            .collect();
        assert!(
            !ready.is_empty(),
            "{deeds:?} wait for each other after {made:?}"
        );
        let choice = choices.get(made.len()).copied().unwrap_or(0);
        made.push((choice, ready.len()));
        assert!(made.len() < 200, "{deeds:?} never end");
        let chosen = &mut *ready[choice];
        chosen.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&chosen.woken));
        if let Poll::Ready(answer) = chosen
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
        {
            chosen.answer = Some(answer);
        }
    }
    let answers: Vec<Answer> = requests
        .into_iter()
        .filter_map(|request| request.answer)
        .collect();
    let records = finish(store.0.page(Page::first(100))).unwrap();
    let data =
        |record: &Record| SessionData::from_json(record.payload.to_bytes().unwrap()).unwrap();
    let stored: Vec<SessionData> = records.iter().map(|(_, record)| data(record)).collect();
    let owners: Vec<Option<Owner>> = records
        .iter()
        .map(|(_, record)| record.owner.clone())
        .collect();
    nothing_is_lost_and_nothing_comes_back(&answers, &stored, &owners);
    made
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

/// All orders, one after the other; says how many there were.
fn every_order(servers: &Servers, deeds: &[Deed]) -> u64 {
    let mut choices = Vec::new();
    let mut orders = 0;
    loop {
        let mut made = with_timers(|| run(servers, deeds, &choices));
        orders += 1;
        // The next order differs at the last step that had another choice.
        loop {
            let Some((choice, among)) = made.pop() else {
                return orders;
            };
            if choice + 1 < among {
                choices = made
                    .iter()
                    .map(|(choice, _)| *choice)
                    .chain([choice + 1])
                    .collect();
                break;
            }
        }
    }
}

/// What must hold however the requests met.
///
/// A request that came too late, when its key was dead, has begun a session of its own, and its client was told: those of
/// the deeds that need no new key say "issue" then.
fn nothing_is_lost_and_nothing_comes_back(
    answers: &[Answer],
    stored: &[SessionData],
    owners: &[Option<Owner>],
) {
    let deeds: Vec<_> = answers
        .iter()
        .map(|answer| (answer.deed, answer.ended.word()))
        .collect();
    let did = |deed: Deed| answers.iter().filter(move |answer| answer.deed == deed);
    let is_done = |deed: Deed| did(deed).any(Answer::is_ok);
    for answer in answers {
        let is_expected = answer.is_ok() || answer.ended.word() == "interrupted";
        assert!(is_expected, "{deeds:?}: a request failed");
    }
    let originals: Vec<_> = stored
        .iter()
        .filter(|data| data.contains("original"))
        .collect();
    assert!(originals.len() <= 1, "{deeds:?}: two keys are alive");

    let is_ended_in_time =
        is_done(Deed::Flush) && did(Deed::Cycle).chain(did(Deed::LogIn)).count() == 0;
    if is_ended_in_time {
        assert!(
            originals.is_empty(),
            "{deeds:?}: a session came back after its log-out"
        );
        let with_ticket = stored.iter().filter(|data| data.contains("ticket")).count();
        assert_eq!(with_ticket, 0, "{deeds:?}: something of it came back");
    }
    let is_ended_or_moved = [Deed::Flush, Deed::Cycle, Deed::LogIn]
        .into_iter()
        .any(is_done);
    if !is_ended_or_moved {
        let is_calm = answers.iter().all(Answer::is_ok);
        assert!(
            is_calm,
            "{deeds:?}: a request was interrupted, and by nobody"
        );
        assert_eq!(stored.len(), 1, "{deeds:?}: a session was lost or doubled");
    }

    let taken = did(Deed::Take)
        .filter(|answer| answer.got.is_some())
        .count();
    assert!(taken <= 1, "{deeds:?}: {taken} requests got the ticket");
    let in_original = |answer: &&Answer| answer.ended.word() == "accessed";
    let mut drawn: Vec<_> = did(Deed::ModifyNow)
        .filter(in_original)
        .map(|answer| answer.got)
        .collect();
    if did(Deed::Clear).count() == 0 {
        let requests = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(
            drawn.len(),
            requests,
            "{deeds:?}: two requests drew the same number"
        );
    }

    // Who takes messages shows none that another has taken; who pops them may.
    let mut taken: Vec<_> = did(Deed::TakeMessages)
        .flat_map(|answer| &answer.shown)
        .collect();
    let messages = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), messages, "{deeds:?}: a message is shown twice");

    // While the session lives and nobody cleared it, whatever was answered with success is in it.
    let Some(data) = originals.first() else {
        return;
    };
    if did(Deed::Clear).count() > 0 {
        return;
    }
    let left: String = data.get("_messages").unwrap().unwrap_or_default();
    let pushed = answers.iter().enumerate().filter(|(_, answer)| {
        answer.deed == Deed::PushMessage && answer.ended.word() == "accessed"
    });
    let pushed = pushed.map(|(number, _)| format!("new{number}"));
    for message in pushed.chain(["old".to_owned()]) {
        let is_shown = answers.iter().any(|answer| answer.shown.contains(&message));
        let is_left = left.contains(&format!("\"{message}\""));
        assert!(is_shown || is_left, "{deeds:?}: a message is lost");
        let is_taken = taken.contains(&&message);
        assert!(!(is_taken && is_left), "{deeds:?}: a message comes back");
    }
    for (number, answer) in answers.iter().enumerate() {
        if answer.deed == Deed::Set && in_original(&answer) {
            let is_kept = data.contains(&format!("name{number}"));
            assert!(is_kept, "{deeds:?}: an acknowledged value was lost");
        }
    }
    let counted = did(Deed::Modify)
        .chain(did(Deed::ModifyNow))
        .filter(in_original)
        .count();
    let count: u32 = data.get("count").unwrap().unwrap();
    assert_eq!(
        usize::try_from(count).unwrap(),
        10 + counted,
        "{deeds:?}: a count was lost"
    );
    if is_done(Deed::LogIn) {
        assert!(
            owners.iter().any(Option::is_some),
            "{deeds:?}: a log-in was lost"
        );
    }
}

#[test]
fn race_01_two_requests_in_every_order() {
    let mut orders = 0;
    for (at, first) in Deed::ALL.into_iter().enumerate() {
        for second in Deed::ALL.into_iter().skip(at) {
            orders += every_order(&Servers::alike(), &[first, second]);
        }
    }
    say(&format!("two requests: {orders} orders"));
    assert!(
        orders > 300,
        "only {orders} orders: the requests don't meet"
    );
}

#[test]
fn race_01_two_requests_with_messages_in_every_order() {
    let mut orders = 0;
    for first in Deed::MESSAGES {
        for second in Deed::MESSAGES.into_iter().chain(Deed::ALL) {
            orders += every_order(&Servers::alike(), &[first, second]);
        }
    }
    say(&format!("two requests with messages: {orders} orders"));
    assert!(
        orders > 300,
        "only {orders} orders: the requests don't meet"
    );
}

/// While a digest key is changed, servers have the keys in two orders, and the session is at its old place or its new one.
#[cfg(feature = "sealed")]
#[test]
fn race_01_two_requests_in_every_order_while_a_digest_key_is_changed() {
    use session_core::DigestKeys;

    use crate::at_rest::rings;

    let keyed = |first, older| KeyPolicy::Keyed(DigestKeys::new(&rings(first, &[older])));
    let (old, new) = (keyed(10, 11), keyed(11, 10));
    const DEEDS: [Deed; 6] = [
        Deed::Set,
        Deed::ModifyNow,
        Deed::Take,
        Deed::Flush,
        Deed::Cycle,
        Deed::LogIn,
    ];
    let mut orders = 0;
    for others in [[&new, &new], [&old, &new]] {
        for first in [&old, &new] {
            let servers = Servers {
                first: first.clone(),
                others: others.into_iter().cloned().collect(),
            };
            for one in DEEDS {
                for other in DEEDS {
                    orders += every_order(&servers, &[one, other]);
                }
            }
        }
    }
    say(&format!(
        "two requests beside a change of keys: {orders} orders"
    ));
    assert!(
        orders > 300,
        "only {orders} orders: the requests don't meet"
    );
}

#[test]
fn race_01_three_requests_in_every_order() {
    if std::env::var_os("SESSION_TEST_FULL").is_none() {
        // One of the sets that meet most often; all of them with SESSION_TEST_FULL=1.
        let orders = every_order(
            &Servers::alike(),
            &[Deed::Set, Deed::ModifyNow, Deed::Flush],
        );
        assert!(
            orders > 300,
            "only {orders} orders: the requests don't meet"
        );
        return;
    }
    let mut orders = 0;
    for (at, first) in Deed::ALL.into_iter().enumerate() {
        for (next, second) in Deed::ALL.into_iter().enumerate().skip(at) {
            for third in Deed::ALL.into_iter().skip(next) {
                orders += every_order(&Servers::alike(), &[first, second, third]);
            }
        }
    }
    say(&format!("three requests: {orders} orders"));
}

/// The manager bounds its waiting by tokio's timers, which are there and never ring; and since their clock stands still,
/// nobody seems to be so slow that others would have to wait for more than their turn.
fn with_timers<T>(explore: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    explore()
}

#[expect(clippy::print_stderr, reason = "counts are worth seeing")]
fn say(text: &str) {
    eprintln!("{text}");
}
