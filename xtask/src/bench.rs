//! Runs the in-process benchmark.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use crate::Result;
use crate::workspace::Workspace;

/// The package and the benchmark in it.
const PACKAGE: &str = "session-http";
const BENCH: &str = "request";

/// Becomes the benchmark. Returns only if that fails.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<bool> {
    let error = workspace
        .cargo([
            "bench",
            "--package",
            PACKAGE,
            "--all-features",
            "--bench",
            BENCH,
            "--",
        ])
        .args(arguments)
        .exec();
    Err(format!("cargo can't be started: {error}").into())
}
