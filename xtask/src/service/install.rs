//! Installs the Debian packages that services lack, when the caller may and wants it.

use std::process::{Command, Stdio};

use super::{Service, account};
use crate::console::{complain, say};

const INSTALL: &str = include_str!("install.sh");

/// Whether packages may be installed, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// This is root: a container, or CI.
    AsRoot,
    /// The caller asked for it.
    ThroughSudo,
    No,
}

impl Permission {
    /// What may be done when the caller passed `--install`, or did not.
    pub(crate) fn given(is_wanted: bool) -> Self {
        match (account::is_root(), is_wanted) {
            (true, _) => Self::AsRoot,
            (false, true) => Self::ThroughSudo,
            (false, false) => Self::No,
        }
    }
}

/// Installs what `services` lack. A failure is said, and then shows as a missing service.
pub(super) fn install(services: &[&Service], permission: Permission) {
    let mut packages: Vec<&str> = services
        .iter()
        .filter(|service| service.missing().is_some())
        .flat_map(|service| service.packages_missing())
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return;
    }
    let mut command = match permission {
        Permission::AsRoot => Command::new("sh"),
        Permission::ThroughSudo => {
            let mut command = Command::new("sudo");
            command.arg("sh");
            command
        }
        Permission::No => return,
    };
    say(format_args!(
        "--- installing Debian packages: {}",
        packages.join(" ")
    ));
    let output = command
        .args(["-c", INSTALL, "install"])
        .args(&packages)
        .stdin(Stdio::inherit())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            complain(String::from_utf8_lossy(&output.stdout).trim_end());
            complain(String::from_utf8_lossy(&output.stderr).trim_end());
            complain(format_args!(
                "the packages could not be installed: {}",
                output.status
            ));
        }
        Err(error) => complain(format_args!("the packages could not be installed: {error}")),
    }
}
