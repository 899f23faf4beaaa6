//! The one place where the operating system is asked for secrets. There is no other source, and nothing to seed.

/// Fills `bytes` from the operating system's generator.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    #[cfg(test)]
    if failing::is_on() {
        return Err(getrandom::Error::UNSUPPORTED);
    }
    getrandom::fill(bytes)
}

/// A generator that fails, for this crate's own tests.
#[cfg(test)]
pub(crate) mod failing {
    use std::cell::Cell;

    thread_local! {
        static IS_ON: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_on() -> bool {
        IS_ON.get()
    }

    /// Lets the generator fail on this thread, or work again.
    pub(crate) fn switch(is_on: bool) {
        IS_ON.set(is_on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Completion;
    use crate::{MemoryStore, SessionError, SessionKey, SessionManager};

    fn block_on(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn id_02_without_randomness_nothing_is_stored_and_nobody_gets_a_key() {
        block_on(async {
            let manager = SessionManager::new(MemoryStore::new());
            let slot = manager.slot();
            let session = slot.session().await.unwrap();
            session.set("n", &1).unwrap();
            failing::switch(true);
            let key = SessionKey::generate();
            let outcome = slot.commit(Completion::Success).await;
            failing::switch(false);
            assert!(
                matches!(key, Err(SessionError::Randomness { .. })),
                "{key:?}"
            );
            assert!(
                matches!(outcome, Err(SessionError::Randomness { .. })),
                "{outcome:?}"
            );
            let scan = manager.store().scan().unwrap();
            let page = scan.page(crate::store::Page::first(10)).await.unwrap();
            assert!(page.is_empty(), "a session was stored without randomness");
            assert_eq!(session.session_key().map(|_| ()), None);
        });
    }

    #[test]
    fn id_02_a_session_whose_key_cannot_be_changed_keeps_its_old_one() {
        block_on(async {
            let manager = SessionManager::new(MemoryStore::new());
            let session = manager.start();
            session.set("n", &1).unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            session.log_in(7).unwrap();
            failing::switch(true);
            let saved = session.save().await;
            failing::switch(false);
            assert!(matches!(saved, Err(SessionError::Randomness { .. })));
            let stored = manager.load(&key).await.unwrap().expect("it lives");
            assert_eq!(
                stored.owner(),
                None,
                "somebody is logged in under the old key"
            );
        });
    }
}
