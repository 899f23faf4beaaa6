//! Builds the demo and serves it on this machine.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;

use crate::Result;
use crate::arguments::Demo;
use crate::console::say;
use crate::workspace::Workspace;

/// The package that is the demo.
const PACKAGE: &str = "mail";

/// The port that is tried first.
const PORT: u16 = 8000;

/// Becomes the demo, so that Ctrl-C and the exit code are the demo's own. Returns only if that fails.
pub(crate) fn run(workspace: &Workspace, options: Demo) -> Result<bool> {
    let Demo { port, store, rest } = options;
    let port = port.unwrap_or_else(usual_port);
    let store = store.unwrap_or_else(|| {
        let mut store = OsString::from("sqlite:");
        store.push(workspace.target.join("demo-sessions.db"));
        store
    });
    say("Building the demo; it prints its address when it serves, and Ctrl-C ends it.");
    let error = workspace
        .cargo(["run", "--package", PACKAGE, "--", "--port"])
        .arg(port.to_string())
        .arg("--store")
        .arg(store)
        .args(rest)
        .exec();
    Err(format!("cargo can't be started: {error}").into())
}

/// The port that people expect, or 0, which stands for any, if another program has it.
fn usual_port() -> u16 {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
        Ok(_free) => PORT,
        Err(_taken) => 0,
    }
}
