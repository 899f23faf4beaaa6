//! Runs other programs so that each ends, with all its children, when xtask no longer wants it: also when xtask panics or is killed.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::Result;

const SUPERVISE: &str = include_str!("supervise.sh");

/// How long the end of a stopped program is awaited: `supervise.sh` kills after 5 seconds, and this leaves room.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// A program that runs, in a process group of its own. It is stopped when this is dropped.
pub(crate) struct Running {
    supervisor: Child,
    lifeline: Option<ChildStdin>,
    exit_codes: Receiver<i32>,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code: 127 when it could not be started, above 128 when a signal ended it.
    Exited(i32),
    /// Not in time. It was stopped.
    TimedOut,
}

/// The signal that asks a program to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StopSignal {
    Terminate,
}

impl Running {
    /// Starts `command`, whose output goes to the end of the file `log`.
    pub(crate) fn start(command: &Command, log: &Path, signal: StopSignal) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SUPERVISE, "supervise", signal.name()])
            .arg(log)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut supervisor = shell.spawn()?;
        let lifeline = supervisor.stdin.take();
        let (sender, exit_codes) = mpsc::channel();
        if let Some(output) = supervisor.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Ok(code) = line.parse()
                        && sender.send(code).is_err()
                    {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            supervisor,
            lifeline,
            exit_codes,
        })
    }

    /// Waits for the program's own end, for at most `limit`.
    pub(crate) fn wait(self, limit: Duration) -> Result<Ended> {
        match self.exit_codes.recv_timeout(limit) {
            Ok(code) => Ok(Ended::Exited(code)),
            Err(RecvTimeoutError::Timeout) => Ok(Ended::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err("the supervising shell was killed".into()),
        }
    }

    /// Whether the program has not ended by itself yet.
    pub(crate) fn is_alive(&self) -> bool {
        self.exit_codes.try_recv() == Err(mpsc::TryRecvError::Empty)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        loop {
            match self.exit_codes.recv_timeout(STOP_TIME_MAX) {
                Ok(_) => {}
                // The supervisor and its watcher are gone, and they were the last.
                Err(RecvTimeoutError::Disconnected) => {
                    drop(self.supervisor.wait());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => return,
            }
        }
    }
}

impl StopSignal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn log(name: &str) -> PathBuf {
        let folder = std::env::temp_dir();
        let log = folder.join(format!("xtask-process-{}-{name}", std::process::id()));
        drop(fs::remove_file(&log));
        log
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn start(script: &str, log: &Path) -> Running {
        Running::start(&sh(script), log, StopSignal::Terminate).unwrap()
    }

    #[test]
    fn the_exit_code_and_all_output_reach_the_caller() {
        let log = log("exit-code");
        let running = start("echo out; echo err >&2; exit 7", &log);
        assert_eq!(
            running.wait(Duration::from_secs(60)).unwrap(),
            Ended::Exited(7)
        );
        assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_program_that_is_not_installed_ends_with_127() {
        let log = log("missing");
        let command = Command::new("xtask-has-no-such-program");
        let running = Running::start(&command, &log, StopSignal::Terminate).unwrap();
        assert_eq!(
            running.wait(Duration::from_secs(60)).unwrap(),
            Ended::Exited(127)
        );
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_dropped_program_is_gone_with_its_children_even_if_they_ignore_the_signal() {
        let log = log("children");
        let fifo = log.with_extension("fifo");
        drop(fs::remove_file(&fifo));
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let script = format!(
            "sh -c \"trap '' TERM; echo ready; while :; do sleep 1; done\" >{} & wait",
            fifo.display()
        );
        let running = start(&script, &log);
        let mut output = BufReader::new(fs::File::open(&fifo).unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        assert!(running.is_alive(), "the program ended by itself");
        drop(running);
        // Ends only when nothing holds the other end any more.
        assert_eq!(output.read_line(&mut line).unwrap(), 0);
        fs::remove_file(fifo).unwrap();
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_program_that_takes_too_long_is_stopped() {
        let log = log("too-long");
        let running = start("exec sleep 600", &log);
        assert_eq!(
            running.wait(Duration::from_millis(50)).unwrap(),
            Ended::TimedOut
        );
        fs::remove_file(log).unwrap();
    }
}
