//! What has to hold before a release and is too slow, or needs too much, for every run.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::check::{Checks, Counting};
use crate::console::say;
use crate::report::{Report, Row, Skips};
use crate::workspace::{self, Workspace, list, text};

/// Runs all of it, and says whether it was good.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let logs = workspace.target.join("release-check");
    let mut checks = Checks::new(logs, Report::new(Skips::AreFailures))?;
    policy_on_dependencies(workspace, &mut checks);
    rust_version(workspace, &mut checks);
    minimal_versions(workspace, &mut checks);
    what_must_not_compile(workspace, &mut checks);
    packages(workspace, &mut checks);
    semver(workspace, &mut checks)?;
    let report = checks.finish();
    say("");
    say(report.table());
    Ok(report.is_good())
}

/// `deny.toml`, but for advisories, which change without us and have a check of their own in `cargo deny`.
fn policy_on_dependencies(workspace: &Workspace, checks: &mut Checks) {
    const NAME: &str = "cargo deny";
    if !is_installed(workspace, &["deny", "--version"]) {
        let advice = "cargo-deny is not installed: run `cargo install cargo-deny --locked`";
        return checks.push(Row::skipped(NAME, advice.to_owned()));
    }
    let mut command = workspace.cargo(["deny", "--all-features", "check"]);
    command.args(["bans", "licenses", "sources"]);
    checks.run(NAME, &command, Counting::TheCommand);
}

/// The `rust-version` that we promise is what our dependencies need, neither less nor more, and our own code needs no more.
fn rust_version(workspace: &Workspace, checks: &mut Checks) {
    const NAME: &str = "rust-version";
    let started = Instant::now();
    let row = match workspace::metadata(&workspace.root, &["--locked"]) {
        Ok(metadata) => {
            let (ours, needed) = rust_versions(&metadata, workspace);
            if ours == needed {
                Row::passed(NAME, started.elapsed())
            } else {
                let reason = format!(
                    "Cargo.toml says {}, and the dependencies of what we publish need {}",
                    shown(ours),
                    shown(needed)
                );
                Row::failed(NAME, started.elapsed(), reason)
            }
        }
        Err(error) => Row::failed(NAME, started.elapsed(), error.to_string()),
    };
    checks.push(row);
    let mut command = workspace.cargo(["clippy", "--all-features"]);
    for package in workspace.published() {
        command.args(["--package", &package.name]);
    }
    command.args(["--", "--deny", "clippy::incompatible_msrv"]);
    checks.run("rust-version: our code", &command, Counting::TheCommand);
}

/// Builds with the oldest versions that the manifests permit, in a copy, since that needs a lock file of its own.
fn minimal_versions(workspace: &Workspace, checks: &mut Checks) {
    const NAME: &str = "minimal versions";
    if !has_nightly() {
        return checks.push(Row::skipped(NAME, NO_NIGHTLY.to_owned()));
    }
    let copy = checks.logs().join("minimal-versions");
    if let Err(error) = copy_of_head(workspace, &copy) {
        return checks.push(Row::failed(NAME, Duration::ZERO, error.to_string()));
    }
    let mut update = Command::new("cargo");
    update
        .args(["+nightly", "update", "-Zdirect-minimal-versions"])
        .current_dir(&copy);
    checks.run("minimal versions: resolve", &update, Counting::TheCommand);
    let mut check = workspace.cargo(["check", "--locked", "--all-features", "--manifest-path"]);
    check.arg(copy.join("Cargo.toml"));
    for package in workspace.published() {
        check.args(["--package", &package.name]);
    }
    check.env("CARGO_TARGET_DIR", copy.join("target"));
    checks.run(NAME, &check, Counting::TheCommand);
}

/// Every test of what must not compile fails by the mistake that it is about. The stable rustdoc is content with any.
fn what_must_not_compile(workspace: &Workspace, checks: &mut Checks) {
    const NAME: &str = "what must not compile";
    if !has_nightly() {
        return checks.push(Row::skipped(NAME, NO_NIGHTLY.to_owned()));
    }
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "test", "--locked", "--doc", "--all-features"])
        .args(["--package", "session-core", "--package", "session-http"])
        .arg("must_not_build")
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_DIR", workspace.target.join("nightly"));
    checks.run(NAME, &command, Counting::ItsTests);
}

const NO_NIGHTLY: &str = "there is no nightly toolchain: run `rustup toolchain install nightly`";

fn has_nightly() -> bool {
    succeeds(Command::new("cargo").args(["+nightly", "--version"]))
}

/// What is committed, without its history.
fn copy_of_head(workspace: &Workspace, copy: &Path) -> Result<()> {
    std::fs::create_dir_all(copy)?;
    let archive = copy.with_extension("tar");
    let done = succeeds(
        Command::new("git")
            .args(["archive", "--format=tar", "HEAD", "--output"])
            .arg(&archive)
            .current_dir(&workspace.root),
    ) && succeeds(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&archive)
            .current_dir(copy),
    );
    if done {
        Ok(())
    } else {
        Err("HEAD could not be copied: `git archive` or `tar` failed".into())
    }
}

/// What would be uploaded builds by itself. Refuses what is not committed.
fn packages(workspace: &Workspace, checks: &mut Checks) {
    let mut command = workspace.cargo(["package", "--locked"]);
    for package in workspace.published() {
        command.args(["--package", &package.name]);
    }
    checks.run("cargo package", &command, Counting::TheCommand);
}

/// No promise of the last release is broken by a version number that promises it.
fn semver(workspace: &Workspace, checks: &mut Checks) -> Result<()> {
    let described = Command::new("git")
        .args(["describe", "--tags", "--abbrev=0"])
        .current_dir(&workspace.root)
        .output()?;
    if !described.status.success() {
        checks.push(Row::passed(
            "semver: no release yet to compare with",
            Duration::ZERO,
        ));
        return Ok(());
    }
    let tag = String::from_utf8_lossy(&described.stdout);
    let name = format!("semver, against {}", tag.trim());
    if !is_installed(workspace, &["semver-checks", "--version"]) {
        let advice = "cargo-semver-checks is not installed: run `cargo install cargo-semver-checks --locked`";
        checks.push(Row::skipped(name, advice.to_owned()));
        return Ok(());
    }
    let mut command = workspace.cargo(["semver-checks", "--all-features", "--baseline-rev"]);
    command.arg(tag.trim());
    for package in workspace.published().filter(|package| package.is_library) {
        command.args(["--package", &package.name]);
    }
    checks.run(&name, &command, Counting::TheCommand);
    Ok(())
}

fn is_installed(workspace: &Workspace, arguments: &[&str]) -> bool {
    succeeds(&mut workspace.cargo(arguments))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A version of Rust, as far as manifests name it.
type RustVersion = (u32, u32);

/// The version that our packages promise, and the highest that what they are built with needs.
fn rust_versions(metadata: &Value, workspace: &Workspace) -> (RustVersion, RustVersion) {
    let nodes = || list(&metadata["resolve"], "nodes");
    let packages = || list(metadata, "packages");
    let is_ours = |package: &Value| {
        workspace
            .published()
            .any(|published| published.name == text(package, "name"))
    };
    let mut pending: Vec<&str> = packages()
        .filter(|package| is_ours(package))
        .map(|package| text(package, "id"))
        .collect();
    let mut reached = std::collections::BTreeSet::new();
    while let Some(id) = pending.pop() {
        if !reached.insert(id) {
            continue;
        }
        let node = nodes().find(|node| text(node, "id") == id);
        for dependency in node.into_iter().flat_map(|node| list(node, "deps")) {
            let is_normal = list(dependency, "dep_kinds").any(|kind| kind["kind"].is_null());
            if is_normal {
                pending.push(text(dependency, "pkg"));
            }
        }
    }
    let highest = |ours: bool| {
        packages()
            .filter(|package| is_ours(package) == ours && reached.contains(text(package, "id")))
            .filter_map(|package| version(text(package, "rust_version")))
            .max()
            .unwrap_or_default()
    };
    (highest(true), highest(false))
}

fn version(text: &str) -> Option<RustVersion> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn shown((major, minor): RustVersion) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_rust_is_compared_by_its_numbers() {
        assert_eq!(version("1.94"), Some((1, 94)));
        assert_eq!(version("1.94.0"), Some((1, 94)));
        assert!(version("1.9") < version("1.10"));
        assert_eq!(version(""), None);
    }
}
