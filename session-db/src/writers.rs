//! Where a database has one writer: the writes of this process queue up, and those that wait together are committed together.
//!
//! A commit that is synced costs a disk as much for sixty writes as for one. Nobody waits for others to come: whoever finds the
//! database free writes at once, and who comes meanwhile is taken along by the next commit. Each is answered after the commit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use crate::dialect::{Answer, Call, Dialect, Row};
use crate::error::{Failure, Kind};
use crate::lent::{Lender, Lent};

/// How many writes a commit takes along at most: enough to share a sync among, few enough for other processes to get their
/// turn soon.
const TOGETHER_MAX: usize = 64;

/// What became of a write.
type Written<D> = Result<Answer<Row<D>>, Failure>;

/// The queue of a store's writes.
pub(crate) struct Writers<D: Dialect>(Arc<Shared<D>>);

struct Shared<D: Dialect> {
    lender: Lender<D>,
    begin: &'static str,
    timeout: Duration,
    queue: Mutex<Queue<D>>,
}

struct Queue<D: Dialect> {
    /// By number.
    waiting: VecDeque<Waiting<D>>,
    next_number: u64,
    state: State,
}

/// What the task that writes is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    Absent,
    Connecting,
    Writing,
}

/// A write that nobody has begun.
struct Waiting<D: Dialect> {
    number: u64,
    call: Arc<Call>,
    deadline: Instant,
    span: Span,
    answer: oneshot::Sender<Written<D>>,
}

impl<D: Dialect> Writers<D> {
    pub(crate) fn new(lender: Lender<D>, begin: &'static str, timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            lender,
            begin,
            timeout,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                next_number: 0,
                state: State::Absent,
            }),
        }))
    }

    /// Runs a statement that writes. One that is given up before it was begun is never begun.
    pub(crate) async fn write(
        &self,
        call: &Arc<Call>,
        begin_by: Instant,
        deadline: Instant,
    ) -> Written<D> {
        let (answer, mut answered) = oneshot::channel();
        let place = self.queue_up(Arc::clone(call), deadline, answer);
        let written = match timeout_at(begin_by, &mut answered).await {
            Ok(written) => written,
            Err(_elapsed) => match place.leave() {
                Some(State::Connecting) => {
                    return Err(Failure::of::<D>(sqlx::Error::PoolTimedOut));
                }
                Some(_) => {
                    return Err(Failure::new::<D>(
                        Kind::Unavailable,
                        "other writers of this process were not done in time; is the disk slow, or the database locked?",
                    ));
                }
                None => match timeout_at(deadline, answered).await {
                    Ok(written) => written,
                    Err(_elapsed) => return Err(Failure::too_slow::<D>()),
                },
            },
        };
        written.unwrap_or_else(|_dropped| {
            Err(Failure::new::<D>(
                Kind::Unavailable,
                "the runtime is shutting down",
            ))
        })
    }

    fn queue_up(
        &self,
        call: Arc<Call>,
        deadline: Instant,
        answer: oneshot::Sender<Written<D>>,
    ) -> Place<'_, D> {
        let span = Span::current();
        let mut queue = self.0.lock();
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiting.push_back(Waiting {
            number,
            call,
            deadline,
            span,
            answer,
        });
        let is_first = queue.state == State::Absent;
        if is_first {
            queue.state = State::Connecting;
        }
        drop(queue);
        if is_first {
            // A task, since others wait for its end, and a task comes to that whoever forgets to ask for it. Not under the lock: a
            // runtime that is shutting down drops it at once, which takes the lock.
            drop(tokio::spawn(Writer::new(&self.0).write_all()));
        }
        Place {
            writers: &self.0,
            number,
        }
    }
}

/// A place in the queue, for as long as somebody waits there.
struct Place<'a, D: Dialect> {
    writers: &'a Shared<D>,
    number: u64,
}

impl<D: Dialect> Place<'_, D> {
    /// Leaves the queue, and says what the task that writes was doing. `None` if the write was begun.
    fn leave(&self) -> Option<State> {
        let mut queue = self.writers.lock();
        let found = queue
            .waiting
            .binary_search_by_key(&self.number, |waiting| waiting.number);
        let left = queue.waiting.remove(found.ok()?)?;
        let state = queue.state;
        drop(queue);
        drop(left);
        Some(state)
    }
}

impl<D: Dialect> Drop for Place<'_, D> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<D: Dialect> Shared<D> {
    fn lock(&self) -> MutexGuard<'_, Queue<D>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who are written next.
    fn begin(&self) -> Vec<Waiting<D>> {
        let mut queue = self.lock();
        queue.state = State::Writing;
        let together = queue.waiting.len().min(TOGETHER_MAX);
        queue.waiting.drain(..together).collect()
    }

    /// Whether somebody waits. The task that writes ends otherwise, and the next one who comes starts another.
    fn goes_on(&self) -> bool {
        let mut queue = self.lock();
        queue.state = match queue.waiting.is_empty() {
            true => State::Absent,
            false => State::Connecting,
        };
        queue.state != State::Absent
    }

    /// Without a connection, those who waited for it since before `number` came hear why.
    fn refuse_before(&self, number: u64, failure: &Failure) {
        let mut queue = self.lock();
        let refused = queue
            .waiting
            .partition_point(|waiting| waiting.number < number);
        let refused: Vec<_> = queue.waiting.drain(..refused).collect();
        drop(queue);
        for waiting in refused {
            waiting.hears(Err(failure.clone()));
        }
    }
}

/// The task that writes. There is one at a time.
struct Writer<D: Dialect> {
    shared: Arc<Shared<D>>,
    is_done: bool,
}

/// Why writes were not committed together.
enum Spoiled {
    /// The transaction did not begin.
    NotBegun(Failure),
    /// One of them spoiled it, and none has happened.
    Undone,
    /// Nobody knows whether it was committed.
    Unknown(Failure),
}

impl<D: Dialect> Drop for Writer<D> {
    /// Its runtime may end before its work does. Those who wait then hear so, and a store that another runtime goes on with is
    /// not left without.
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut queue = self.shared.lock();
        let left = std::mem::take(&mut queue.waiting);
        queue.state = State::Absent;
        drop(queue);
        drop(left);
    }
}

impl<D: Dialect> Writer<D> {
    fn new(shared: &Arc<Shared<D>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            is_done: false,
        }
    }

    async fn write_all(mut self) {
        while !self.is_done {
            let number = self.shared.lock().next_number;
            match self.acquire(Instant::now() + self.shared.timeout).await {
                Err(failure) => self.shared.refuse_before(number, &failure),
                Ok(lent) => {
                    let begun = self.shared.begin();
                    if begun.len() > 1 {
                        self.write_together(lent, begun).await;
                    } else if let Some(alone) = begun.into_iter().next() {
                        write_alone(lent, alone).await;
                    } else {
                        lent.keep();
                    }
                }
            }
            self.is_done = !self.shared.goes_on();
        }
    }

    async fn acquire(&self, deadline: Instant) -> Result<Lent<D>, Failure> {
        self.shared.lender.acquire(deadline).await
    }

    async fn write_together(&self, mut lent: Lent<D>, begun: Vec<Waiting<D>>) {
        let deadlines = begun.iter().map(|waiting| waiting.deadline);
        let deadline = deadlines.max().unwrap_or_else(Instant::now);
        let transaction = self.commit_together(&mut lent, &begun);
        let committed = timeout_at(deadline, transaction)
            .await
            .unwrap_or_else(|_elapsed| Err(Spoiled::Unknown(Failure::too_slow::<D>())));
        let failure = match committed {
            Ok(written) => {
                lent.keep();
                for (waiting, written) in begun.into_iter().zip(written) {
                    waiting.hears(written);
                }
                return;
            }
            Err(Spoiled::Undone) => {
                // sqlx would take it for one that is in a transaction still, if SQLite has undone that by itself.
                lent.close();
                for waiting in begun {
                    match self.acquire(waiting.deadline).await {
                        Ok(lent) => write_alone(lent, waiting).await,
                        Err(failure) => waiting.hears(Err(failure)),
                    }
                }
                return;
            }
            Err(Spoiled::NotBegun(failure)) => {
                lent.give_back();
                failure
            }
            Err(Spoiled::Unknown(failure)) => {
                lent.close();
                failure
            }
        };
        self.shared.lender.note(&failure);
        for waiting in begun {
            waiting.hears(Err(failure.clone()));
        }
    }

    /// Runs them all in one transaction. Each may still have failed for itself.
    async fn commit_together(
        &self,
        lent: &mut Lent<D>,
        begun: &[Waiting<D>],
    ) -> Result<Vec<Written<D>>, Spoiled> {
        let connection = lent.connection().map_err(Spoiled::NotBegun)?;
        let mut transaction = connection
            .begin_with(self.shared.begin)
            .await
            .map_err(|error| Spoiled::NotBegun(Failure::of::<D>(error)))?;
        let mut written = Vec::with_capacity(begun.len());
        for Waiting { call, span, .. } in begun {
            let statement = D::run(&mut transaction, call).instrument(span.clone());
            let result = statement.await.map_err(Failure::of::<D>);
            if matches!(&result, Err(failure) if !failure.leaves_others()) {
                return Err(Spoiled::Undone);
            }
            written.push(result);
        }
        let committed = transaction.commit().await;
        committed.map_err(|error| Spoiled::Unknown(Failure::of::<D>(error)))?;
        Ok(written)
    }
}

/// Without a transaction around it, which would be two trips more to the thread of the connection.
async fn write_alone<D: Dialect>(lent: Lent<D>, waiting: Waiting<D>) {
    let statement = lent.run(&waiting.call, waiting.deadline);
    let written = statement.instrument(waiting.span.clone()).await;
    waiting.hears(written);
}

impl<D: Dialect> Waiting<D> {
    fn hears(self, written: Written<D>) {
        // Who has given up meanwhile does not hear it.
        drop(self.answer.send(written));
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;
