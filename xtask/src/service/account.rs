//! Which user a service runs as: not root, which database servers refuse to be.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::database;
use crate::Result;

/// The user to be instead of root. It owns nothing on a machine, so that no data of another server can be touched.
const USER: &str = "nobody";
const GROUP: &str = "nogroup";

/// Whether xtask acts as root.
pub(super) fn is_root() -> bool {
    // This process's own folder in /proc belongs to the user that it acts as.
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A command that runs `program` in `folder`, as another user if this is root.
pub(super) fn unprivileged(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={USER}"))
            .arg(format!("--regid={GROUP}"))
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).env("HOME", folder);
    command
}

/// Makes `folder`, with what is in it, one that [`unprivileged`] programs can use.
pub(super) fn hand_over(folder: &Path) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut command = Command::new("chown");
    command.args(["--recursive", &format!("{USER}:{GROUP}")]);
    database::run(command.arg(folder))
}
