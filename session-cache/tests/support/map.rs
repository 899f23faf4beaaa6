//! Cells in a map, as memcached or NATS would keep them: with a token for each state, and forgotten on time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use session_cache::Cells;
use session_core::store::{StoreError, StoreKey};

#[derive(Debug, Default)]
pub(crate) struct Map(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_token: u64,
    cells: HashMap<StoreKey, Cell>,
}

#[derive(Debug)]
struct Cell {
    bytes: Bytes,
    token: u64,
    written: Instant,
    kept_for: Duration,
}

impl Map {
    /// What is in the cell, as somebody else could have written it.
    pub(crate) fn spoil(&self, key: &StoreKey, bytes: &'static [u8]) {
        let mut state = self.state();
        state.last_token += 1;
        let cell = Cell {
            bytes: Bytes::from_static(bytes),
            token: state.last_token,
            written: Instant::now(),
            kept_for: Duration::MAX,
        };
        state.cells.insert(key.clone(), cell);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn cell(&mut self, key: &StoreKey) -> Option<&Cell> {
        self.cells
            .retain(|_, cell| cell.written.elapsed() < cell.kept_for);
        self.cells.get(key)
    }
}

#[async_trait]
impl Cells for Map {
    type Token = u64;

    fn name(&self) -> &'static str {
        "the map"
    }

    async fn read(&self, key: &StoreKey) -> Result<Option<(Bytes, u64)>, StoreError> {
        // Somebody else may come in between.
        tokio::task::yield_now().await;
        let mut state = self.state();
        Ok(state.cell(key).map(|cell| (cell.bytes.clone(), cell.token)))
    }

    async fn write(
        &self,
        key: &StoreKey,
        expected: Option<&u64>,
        bytes: Option<Bytes>,
        kept_for: Duration,
    ) -> Result<bool, StoreError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        if state.cell(key).map(|cell| cell.token) != expected.copied() {
            return Ok(false);
        }
        state.last_token += 1;
        let token = state.last_token;
        match bytes {
            None => drop(state.cells.remove(key)),
            Some(bytes) => {
                let cell = Cell {
                    bytes,
                    token,
                    written: Instant::now(),
                    kept_for,
                };
                state.cells.insert(key.clone(), cell);
            }
        }
        Ok(true)
    }
}
