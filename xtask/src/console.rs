//! What xtask says to the person who runs it: the one place that prints.

use std::fmt;

/// One line of result.
#[expect(
    clippy::print_stdout,
    reason = "this is a command line tool, and its answers go to standard output"
)]
pub(crate) fn say(line: impl fmt::Display) {
    println!("{line}");
}

/// One line of complaint.
#[expect(
    clippy::print_stderr,
    reason = "this is a command line tool, and its complaints go to standard error"
)]
pub(crate) fn complain(line: impl fmt::Display) {
    eprintln!("{line}");
}
