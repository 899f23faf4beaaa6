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
    let port = match port {
        Some(port) => port,
        None => usable_port()?,
    };
    let store = store.unwrap_or_else(|| {
        let mut store = OsString::from("file:");
        store.push(workspace.target.join("demo-sessions"));
        store
    });
    say(format_args!(
        "Building the demo; it will answer at http://127.0.0.1:{port}/ (Ctrl-C ends it)"
    ));
    let error = workspace
        .cargo(["run", "--quiet", "--package", PACKAGE, "--", "--port"])
        .arg(port.to_string())
        .arg("--store")
        .arg(store)
        .args(rest)
        .exec();
    Err(format!("cargo can't be started: {error}").into())
}

fn usable_port() -> Result<u16> {
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = at(PORT).or_else(|_taken| at(0))?;
    Ok(listener.local_addr()?.port())
}
