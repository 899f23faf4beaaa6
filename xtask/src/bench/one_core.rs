//! Keeps what xtask starts meanwhile on one core of the machine.
//!
//! A client and a server that take turns cost twice as much on two cores as on one, and which it is the kernel decides anew
//! for each connection. What two connections cost can only be compared where it has no choice.

use std::process::Command;

use crate::Result;

const ADVICE: &str = "`taskset`, of the package util-linux, can't keep the benchmark on one core";

/// Until this is dropped, the thread that took it has one core, and so have the programs that it starts.
pub(super) struct OneCore {
    /// The cores from before, as `taskset` lists them.
    before: String,
}

impl OneCore {
    /// Takes the last of the cores that xtask may use: most interrupts are served by the first.
    pub(super) fn take() -> Result<Self> {
        let said = taskset(&[])?;
        let before = listed(&said).ok_or_else(|| format!("{ADVICE}: it said {said}"))?;
        let last = before.rsplit([',', '-']).next().unwrap_or(before);
        taskset(&[last])?;
        Ok(Self {
            before: before.to_owned(),
        })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        if let Err(error) = taskset(&[&self.before]) {
            crate::console::complain(format_args!("what follows runs on one core: {error}"));
        }
    }
}

/// `pid 7's current affinity list: 0,2-3`
fn listed(said: &str) -> Option<&str> {
    let (_, cores) = said.trim().rsplit_once(": ")?;
    cores
        .ends_with(|c: char| c.is_ascii_digit())
        .then_some(cores)
}

/// Says or sets the cores of this thread. Not of all: others may end meanwhile, which `taskset` takes for a failure.
fn taskset(cores: &[&str]) -> Result<String> {
    let thread = std::fs::read_link("/proc/thread-self")?;
    let thread = thread
        .file_name()
        .ok_or("the kernel does not say which thread this is")?;
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", "--pid"])
        .args(cores)
        .arg(thread);
    let output = command
        .output()
        .map_err(|error| format!("{ADVICE}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{ADVICE}: {}", said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_meanwhile_has_one_core_and_what_follows_as_many_as_before() {
        let cores = || std::thread::available_parallelism().map_or(0, usize::from);
        let before = cores();
        let one = OneCore::take().expect("taskset is installed");
        assert_eq!(cores(), 1);
        drop(one);
        assert_eq!(cores(), before);
    }

    #[test]
    fn the_cores_are_what_taskset_lists() {
        assert_eq!(
            listed("pid 7's current affinity list: 0,2-3\n"),
            Some("0,2-3")
        );
        assert_eq!(listed("pid 7's current affinity list: 5"), Some("5"));
        assert_eq!(listed("pid 7's current affinity list: "), None);
        assert_eq!(listed("no such process"), None);
    }
}
