//! Lends connections to statements, and takes them back by how the statement ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, Pool};
use tokio::time::{Instant, timeout_at};

use crate::dialect::{Answer, Call, Connection, Dialect, Row};
use crate::error::{Failure, Kind};
use crate::kept::{Keep, Stock, Taken};

/// For how long after a broken connection others are tested before they are used: longer than a pool takes to hand out each
/// of its idle connections once, under any load to speak of.
const WARY_FOR: Duration = Duration::from_secs(60);

/// Lends connections to statements. Clones lend the same ones.
pub(crate) struct Lender<D: Dialect> {
    stock: Arc<Stock<D::Driver>>,
    wariness: Arc<Wariness>,
}

impl<D: Dialect> Clone for Lender<D> {
    fn clone(&self) -> Self {
        Self {
            stock: Arc::clone(&self.stock),
            wariness: Arc::clone(&self.wariness),
        }
    }
}

impl<D: Dialect> Lender<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, keep: Keep) -> Self {
        Self {
            stock: Arc::new(Stock::new(pool, keep)),
            wariness: Arc::new(Wariness::new()),
        }
    }

    /// The pool, for the application's own queries.
    pub(crate) fn share(&self) -> Pool<D::Driver> {
        self.stock.share()
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> u32 {
        self.stock.connections()
    }

    /// If a connection broke, the others are likely to be broken as well.
    pub(crate) fn note(&self, failure: &Failure) {
        if failure.is_lost() {
            self.wariness.begin();
            self.stock.give_back_all();
        }
    }

    /// A connection. Not tested before its use, which would cost a round trip each time, unless one broke lately.
    pub(crate) async fn acquire(&self, deadline: Instant) -> Result<Lent<D>, Failure> {
        loop {
            let taken = match timeout_at(deadline, self.stock.take()).await {
                Ok(taken) => taken.map_err(Failure::of::<D>)?,
                Err(_elapsed) => return Err(Failure::of::<D>(sqlx::Error::PoolTimedOut)),
            };
            let mut lent = Lent {
                taken: Some(taken),
                lender: self.clone(),
            };
            if !self.wariness.is_on() {
                return Ok(lent);
            }
            // What fails the test is dropped, which makes room for a new one.
            match timeout_at(deadline, lent.connection()?.ping()).await {
                Ok(Ok(())) => return Ok(lent),
                Ok(Err(_broken)) => {}
                Err(_elapsed) => return Err(Failure::of::<D>(sqlx::Error::PoolTimedOut)),
            }
        }
    }
}

/// A connection that is used again only if its statement came to an end.
pub(crate) struct Lent<D: Dialect> {
    taken: Option<Taken<D::Driver>>,
    lender: Lender<D>,
}

impl<D: Dialect> Lent<D> {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection<D>, Failure> {
        let taken = self.taken.as_mut();
        taken
            .map(Taken::connection)
            .ok_or_else(|| Failure::new::<D>(Kind::Other, "the connection was given back"))
    }

    /// Runs one statement, which the database commits when it ends. The connection is done with then.
    pub(crate) async fn run(
        mut self,
        call: &Call,
        deadline: Instant,
    ) -> Result<Answer<Row<D>>, Failure> {
        let result = match timeout_at(deadline, D::run(self.connection()?, call)).await {
            Ok(result) => result.map_err(Failure::of::<D>),
            Err(_elapsed) => Err(Failure::too_slow::<D>()),
        };
        match &result {
            Ok(_) => self.keep(),
            Err(failure) if failure.is_an_answer() => self.give_back(),
            Err(failure) => {
                self.lender.note(failure);
                drop(self);
            }
        }
        result
    }

    /// Its statement did what it should: the next one may have it as it is. While others are tested before their use, this
    /// one goes to where they are.
    pub(crate) fn keep(mut self) {
        if let Some(taken) = self.taken.take() {
            let Lender { stock, wariness } = &self.lender;
            stock.put(taken, || !wariness.is_on());
        }
    }

    /// Nobody is to use it again.
    pub(crate) fn close(mut self) {
        if let Some(taken) = self.taken.take() {
            taken.close();
        }
    }

    /// Its statement is done.
    pub(crate) fn give_back(mut self) {
        drop(self.taken.take());
    }
}

impl<D: Dialect> Drop for Lent<D> {
    fn drop(&mut self) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        if D::SURVIVES_ABANDONMENT {
            // The pool's test comes after the statement.
            drop(taken);
        } else {
            taken.close();
        }
    }
}

/// Whether connections are to be tested before their use, since one broke lately.
#[derive(Debug)]
struct Wariness {
    start: Instant,
    until_ms: AtomicU64,
}

impl Wariness {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            until_ms: AtomicU64::new(0),
        }
    }

    fn begin(&self) {
        let until = self.start.elapsed() + WARY_FOR;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms > 0 && self.start.elapsed() < Duration::from_millis(until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wariness_ends() {
        let wariness = Wariness::new();
        assert!(
            !wariness.is_on(),
            "no connection is tested without a reason"
        );
        wariness.begin();
        assert!(wariness.is_on());
        tokio::time::advance(WARY_FOR).await;
        assert!(!wariness.is_on(), "an old fault slows every statement");
    }
}
