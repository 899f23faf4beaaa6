//! The least that a store's client does: what a read of a session is compared with.

use std::net::TcpListener;
use std::pin::Pin;

use tokio::runtime::Runtime;

use crate::{Library, Payload, Result, Scenario};

type Once = Box<dyn FnMut() -> Pin<Box<dyn Future<Output = Result<()>>>>>;

/// One call of a client, again and again.
pub struct Primitive {
    name: &'static str,
    runtime: Runtime,
    once: Once,
    count: usize,
}

impl Primitive {
    /// `once` is called inside `runtime`.
    pub fn new<F: Future<Output = Result<()>> + 'static>(
        name: &'static str,
        runtime: Runtime,
        mut once: impl FnMut() -> F + 'static,
    ) -> Self {
        Self {
            name,
            runtime,
            once: Box::new(move || Box::pin(once())),
            count: 0,
        }
    }
}

impl Library for Primitive {
    fn name(&self) -> &'static str {
        self.name
    }

    fn holds(&self, payload: Payload) -> bool {
        payload == Payload::Small
    }

    fn scenarios(&self) -> &'static [Scenario] {
        &[Scenario::Bare]
    }

    fn prepare(&mut self, _: Scenario, _: Payload, count: usize) -> Result<()> {
        self.count = count;
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let Self {
            runtime,
            once,
            count,
            ..
        } = self;
        runtime.block_on(async {
            for _ in 0..*count {
                once().await?;
            }
            Ok(())
        })
    }

    fn serve(self: Box<Self>, _: TcpListener) -> Result<()> {
        Err("this answers no requests".into())
    }
}
