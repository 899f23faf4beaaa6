//! Writers that are killed at any instant: what they acknowledged is there, nothing is torn, and no lock is stuck.

#[cfg(test)]
mod support;

use session_core::store::{SessionStore, StoreKey};
use support::writers::{
    COUNTERS, Random, Seed, WRITERS, Writer, counted, counter, kills, rotating, shared, write,
};
use support::{LATER, NOW, block_on, files_ending, new, open, role};

#[test]
fn killed_writers_lose_nothing_that_they_acknowledged() {
    if let Some(role) = role() {
        return block_on(write(&role));
    }
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) | 1;
    let mut random = Random(seed);
    let _told = Seed(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    block_on(async {
        for writer in 0..WRITERS {
            for number in 0..COUNTERS {
                let key = counter(writer, number);
                store
                    .create(&key, new(&counted(0)), NOW)
                    .await
                    .expect("a new key");
            }
            let key = rotating(writer, 0);
            store
                .create(&key, new("on the move"), NOW)
                .await
                .expect("a new key");
        }
        store
            .create(&shared(), new(&counted(0)), NOW)
            .await
            .expect("a new key");
    });

    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::start(folder.path(), number, 0))
        .collect();
    for _ in 0..kills() {
        let which = usize::try_from(random.below(WRITERS)).unwrap_or(0);
        let writer = writers.get_mut(which).expect("there are eight");
        // A random instant: after some lines, and then some more instructions.
        for _ in 0..random.below(20) {
            writer.hear();
        }
        for _ in 0..random.below(400_000) {
            std::hint::spin_loop();
        }
        writer.kill();
        let turn = block_on(writer.heard.check(writer.number, &store));
        *writer = Writer::start(folder.path(), writer.number, turn);
    }
    for writer in &mut writers {
        writer.kill();
        block_on(writer.heard.check(writer.number, &store));
    }

    // Nothing is torn, whatever it is, and what the dead have left is swept.
    for file in files_ending(&folder.path().join("records"), "") {
        let name = file.file_name().and_then(|name| name.to_str());
        if let Some(key) = name.and_then(StoreKey::parse) {
            let read = block_on(store.load(&key, NOW));
            assert!(read.is_ok(), "a file is torn: {read:?}");
        }
    }
    let cleared = block_on(store.clear_expired(NOW, &mut |_| {})).expect("no lock is stuck");
    assert_eq!(cleared, 0, "a living session was cleared");
    let left = files_ending(&folder.path().join("records"), ".tmp");
    assert!(left.is_empty(), "temporary files of the dead were left");
    for writer in &writers {
        block_on(writer.heard.check(writer.number, &store));
    }
    let cleared = block_on(store.clear_expired(LATER, &mut |_| {})).expect("no lock is stuck");
    assert_eq!(cleared, WRITERS * (COUNTERS + 1) + 1);
}
