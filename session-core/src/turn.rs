//! One at a time: the calls of one request that talk to the store.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A lock that nearly always is free, and then costs one step. Whoever waits is woken by whoever goes, in no order.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    is_taken: AtomicBool,
    /// How many wait. Counted before they look once more, so that whoever goes either sees them or is seen to be gone.
    waiting: AtomicUsize,
    freed: Notify,
}

/// The turn, until it is dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it keeps nobody waiting"]
pub(crate) struct Taken<'a>(&'a Turn);

/// One who waits, until it is dropped.
struct Waiting<'a>(&'a Turn);

impl Turn {
    pub(crate) fn is_free(&self) -> bool {
        !self.is_taken.load(Ordering::SeqCst)
    }

    pub(crate) fn try_take(&self) -> Option<Taken<'_>> {
        let was_taken = self.is_taken.swap(true, Ordering::SeqCst);
        (!was_taken).then(|| Taken(self))
    }

    /// Waits for it. Whoever stops waiting leaves their wake-up to the next one.
    pub(crate) async fn take(&self) -> Taken<'_> {
        let _waiting = Waiting::new(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no wake-up is missed.
            freed.as_mut().enable();
            if let Some(taken) = self.try_take() {
                return taken;
            }
            freed.await;
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Self(turn) = self;
        turn.is_taken.store(false, Ordering::SeqCst);
        if turn.waiting.load(Ordering::SeqCst) > 0 {
            turn.freed.notify_one();
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(turn: &'a Turn) -> Self {
        turn.waiting.fetch_add(1, Ordering::SeqCst);
        Self(turn)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn whoever_waits_gets_the_turn_when_it_is_given_back() {
        let turn = Turn::default();
        let taken = turn.try_take().expect("nobody has it");
        assert!(turn.try_take().is_none(), "two have the turn");
        let mut second = pin!(turn.take());
        assert!(poll(second.as_mut()).is_pending());
        drop(taken);
        assert!(poll(second.as_mut()).is_ready(), "the wake-up was missed");
    }

    #[test]
    fn one_who_was_woken_and_gives_up_leaves_the_turn_to_the_next() {
        let turn = Turn::default();
        let taken = turn.try_take();
        let mut second = Box::pin(turn.take());
        let mut third = Box::pin(turn.take());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        drop(taken);
        drop(second);
        assert!(poll(third.as_mut()).is_ready(), "the wake-up was lost");
    }

    #[test]
    fn many_threads_take_it_one_at_a_time_and_none_waits_for_ever() {
        let turn = Arc::new(Turn::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (turn, inside) = (Arc::clone(&turn), Arc::clone(&inside));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        for _ in 0..2_000 {
                            let _taken = turn.take().await;
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(turn.is_free());
    }
}
