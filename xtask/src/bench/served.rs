//! Benchmark programs that answer by HTTP: how one is started, and when it is ready.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::{Running, StopSignal};
use crate::service::free_port;

use super::browser::Node;

/// How long a program may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);

/// What is served.
pub(super) struct Served<'a> {
    pub(super) program: &'a Path,
    pub(super) library: &'a str,
    pub(super) store: &'a str,
    pub(super) variables: &'a [(&'static str, String)],
    /// For what the program prints.
    pub(super) log: PathBuf,
}

impl Served<'_> {
    /// A server that answers, until the second value is dropped.
    pub(super) fn start(&self) -> Result<(Node, Running)> {
        let port = free_port()?;
        let mut command = Command::new(self.program);
        command.args(["serve", self.library, self.store, &port.to_string()]);
        for (name, value) in self.variables {
            command.env(name, value);
        }
        let running = Running::start(&command, &self.log, StopSignal::Terminate)?;
        let node = Node { port };
        wait_until(START_MAX, || Ok(node.say("/gate/open").is_ok()))?;
        Ok((node, running))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is nothing to wait on in another program"
)]
pub(super) fn wait_until(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > limit {
            return Err("a benchmark program does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
