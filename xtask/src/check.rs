//! Runs one cargo command as one line of the report: says that it starts, how it went, and on failure what it printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::console::say;
use crate::process::{Ended, Running, StopSignal};
use crate::report::{Counts, Report, Row};

/// How long one command may take: well above what a cold build on two cores needs, so that only a hang reaches it.
const TIME_MAX: Duration = Duration::from_secs(20 * 60);

/// Runs commands one after the other and keeps their output in a folder.
pub(crate) struct Checks {
    logs: PathBuf,
    report: Report,
}

/// What a command's success consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Its exit code.
    TheCommand,
    /// The tests that it ran.
    ItsTests,
}

impl Checks {
    /// Checks whose output goes to files in `logs`, which is emptied.
    pub(crate) fn new(logs: PathBuf, report: Report) -> Result<Self> {
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        Ok(Self { logs, report })
    }

    /// Runs `command` as the check `name`.
    pub(crate) fn run(&mut self, name: &str, command: &Command, counting: Counting) {
        say(format_args!("--- {name}"));
        let log = self.logs.join(file_name(name));
        let started = Instant::now();
        let ended = Running::start(command, &log, StopSignal::Terminate)
            .and_then(|running| running.wait(TIME_MAX));
        let took = started.elapsed();
        let output = fs::read(&log)
            .map(|output| String::from_utf8_lossy(&output).into_owned())
            .unwrap_or_default();
        let row = judge(name, ended, &output, counting, took);
        if row.counts.failed > 0 {
            say(format_args!("$ {}", in_words(command)));
            say(output.trim_end());
        }
        self.push(row);
    }

    /// Adds a row that needed no command.
    pub(crate) fn push(&mut self, row: Row) {
        self.report.push(row);
        let Some(row) = self.report.latest() else {
            return;
        };
        let seconds = row.took.as_secs_f64();
        let reason = row.reason.as_deref();
        say(format_args!(
            "    {} {} in {seconds:.1} s{}{}",
            row.name,
            row.verdict(),
            if reason.is_some() { ": " } else { "" },
            reason.unwrap_or_default(),
        ));
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    pub(crate) fn finish(self) -> Report {
        self.report
    }
}

fn judge(
    name: &str,
    ended: Result<Ended>,
    output: &str,
    counting: Counting,
    took: Duration,
) -> Row {
    let counts = match counting {
        Counting::TheCommand => Counts::default(),
        Counting::ItsTests => Counts::read(output),
    };
    let problem = match ended {
        Ok(Ended::Exited(0)) if counts.failed == 0 => None,
        Ok(Ended::Exited(0)) => Some("its tests failed, yet it ended well".to_owned()),
        Ok(Ended::Exited(code)) => Some(format!("exit code {code}, see above")),
        Ok(Ended::TimedOut) => Some(format!("stopped after {} minutes", TIME_MAX.as_secs() / 60)),
        Err(error) => Some(error.to_string()),
    };
    match (problem, counting) {
        (None, Counting::TheCommand) => Row::passed(name, took),
        (None, Counting::ItsTests) => Row::counted(name, counts, took),
        (Some(problem), _) => {
            // What kept the command from running its tests, or ended it between two, is a failure too.
            let failed = Row::failed(name, took, problem);
            let counts = Counts {
                failed: counts.failed.max(failed.counts.failed),
                ..counts
            };
            Row { counts, ..failed }
        }
    }
}

/// The command as one could type it.
fn in_words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string(),
    ];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.display().to_string()),
    );
    words.join(" ")
}

fn file_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{plain}.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_secs(1);
    const FIVE_GOOD: &str = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured";
    const TWO_BAD: &str = "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured";

    fn counted(ended: Result<Ended>, output: &str, counting: Counting) -> (u64, u64) {
        let row = judge("sample", ended, output, counting, TOOK);
        (row.counts.passed, row.counts.failed)
    }

    #[test]
    fn a_command_counts_once_and_a_test_run_counts_its_tests() {
        let good = || Ok(Ended::Exited(0));
        assert_eq!(counted(good(), "", Counting::TheCommand), (1, 0));
        assert_eq!(counted(good(), FIVE_GOOD, Counting::ItsTests), (5, 0));
    }

    #[test]
    fn whatever_goes_wrong_counts_as_a_failure() {
        let cases = [
            (Ok(Ended::Exited(101)), "", (0, 1)),
            (Ok(Ended::Exited(101)), TWO_BAD, (5, 2)),
            (Ok(Ended::Exited(101)), FIVE_GOOD, (5, 1)),
            (Ok(Ended::Exited(0)), TWO_BAD, (5, 2)),
            (Ok(Ended::TimedOut), FIVE_GOOD, (5, 1)),
            (Err("no shell".into()), "", (0, 1)),
        ];
        for (ended, output, counts) in cases {
            let shown = format!("{ended:?} with {output:?}");
            assert_eq!(
                counted(ended, output, Counting::ItsTests),
                counts,
                "{shown}"
            );
        }
    }
}
