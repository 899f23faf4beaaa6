//! No block of memory that is freed on the way of a request holds a session key or a secret of the server.
//!
//! What is not our own buffer is not looked at here, and may hold a key:
//!
//! - the `Cookie` header of a request and the `Set-Cookie` header of a response, which are the HTTP framework's (`http`'s
//!   `HeaderValue`, marked as sensitive where we make it) and the kernel's;
//! - what a program hands to us: the text of an environment variable, the file of a key ring in the page cache;
//! - what a driver is given: a store key, which is no key, and with `KeyPolicy::UnhashedSharedWithDjango` the key itself;
//! - registers and the stack, which no allocator sees;
//! - a session's data: they are the application's, and copied wherever it reads them.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use session_core::adapter::{Completion, Outcome, SessionSlot};
use session_core::codec::{JsonCodec, SealedCodec};
use session_core::{
    DigestKeys, KeyPolicy, KeyRing, MemoryStore, Policy, SessionBase, SessionKey, SessionManager,
};
use session_heap_trap::Trap;

#[global_allocator]
static TRAP: Trap = Trap::new();

fn manager(secret: &[u8; 32]) -> SessionManager {
    let ring = KeyRing::from_bytes(secret).unwrap();
    let policy = Policy::new().with_keys(KeyPolicy::Keyed(DigestKeys::new(&ring)));
    SessionManager::new(MemoryStore::new())
        .with_codec(SealedCodec::new(JsonCodec::default(), &ring))
        .with_policy(policy)
}

/// All keys that there have been, in memory that is not freed. Only functions without an `.await` touch them, since a future keeps
/// what its variables were, and is freed with it.
static KEYS: Mutex<[[u8; 32]; 16]> = Mutex::new([[0; 32]; 16]);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Keeps a copy of a key, and gives its number.
fn keep(key: &str) -> usize {
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    KEYS.lock().unwrap()[number].copy_from_slice(key.as_bytes());
    number
}

fn present(slot: &SessionSlot, key: Option<usize>) {
    let keys = KEYS.lock().unwrap();
    slot.present(key.map(|number| keys[number].as_slice()));
}

/// One request: what it does, and the number of the key that its client has been given.
async fn request(
    manager: &SessionManager,
    key: Option<usize>,
    does: impl FnOnce(&SessionBase),
) -> Option<usize> {
    let slot = manager.slot();
    present(&slot, key);
    let session = slot.session().await.unwrap();
    does(&session);
    drop(session.session_key());
    match slot.commit(Completion::Success).await.unwrap() {
        Outcome::Issue { value, .. } => Some(keep(value.expose_secret())),
        _ => None,
    }
}

/// What a job does that has a session's key and no request.
async fn without_a_request(manager: &SessionManager) {
    let key = SessionKey::generate().unwrap();
    keep(key.expose_secret());
    // On a task, whose memory is freed with all that it has held.
    let task = tokio::spawn({
        let manager = manager.clone();
        async move { manager.load(&key).await.unwrap().is_some() }
    });
    assert!(
        !task.await.unwrap(),
        "a key that nobody was given opens a session"
    );
    let session = manager.start();
    session.log_in(8).unwrap();
    session.save().await.unwrap();
    keep(session.session_key().unwrap().expose_secret());
    session.cycle_key();
    session.save().await.unwrap();
    keep(session.session_key().unwrap().expose_secret());
    session.log_out();
    session.save().await.unwrap();
}

async fn requests(manager: &SessionManager) {
    let first = request(manager, None, |session| session.set("n", &1).unwrap()).await;
    let second = request(manager, first, |session| session.log_in(7).unwrap()).await;
    assert!(second.is_some(), "a log-in does not change the key");
    request(manager, second, |session| session.set("n", &2).unwrap()).await;
    // A key that is unknown by now.
    request(manager, first, |_| {}).await;
    let third = request(manager, second, SessionBase::cycle_key).await;
    assert!(third.is_some(), "a changed key is not told");
    request(manager, third, SessionBase::log_out).await;
}

#[test]
fn leak_05_no_freed_block_holds_a_key() {
    let secret: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 7 + 3).unwrap());
    let canary: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 5 + 1).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    TRAP.set();
    drop(black_box(canary.to_vec()));
    {
        let unkeyed = SessionManager::new(MemoryStore::new());
        for manager in [manager(&secret), unkeyed] {
            runtime.block_on(requests(&manager));
            runtime.block_on(without_a_request(&manager));
        }
    }
    drop(runtime);
    let freed = TRAP.spring();
    let is_in = |secret: &[u8]| freed.windows(secret.len()).any(|part| part == secret);
    assert!(is_in(&canary), "the trap catches nothing");
    let keys = KEYS.lock().unwrap();
    let count = COUNT.load(Ordering::SeqCst);
    assert_eq!(count, 12, "a request has not done what it was to do");
    let found: Vec<usize> = (0..count).filter(|number| is_in(&keys[*number])).collect();
    assert!(
        found.is_empty(),
        "keys {found:?} are in memory that was freed"
    );
    assert!(
        !is_in(&secret),
        "the server's secret is in memory that was freed"
    );
}
