//! Runs what CI runs, in the order in which a mistake is found soonest, and ends with a table.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::TestAll;
use crate::check::{Checks, Counting};
use crate::console::say;
use crate::report::{Report, Row, Skips};
use crate::service::{self, Fleet, NotInstalled, Permission, ServiceTest};
use crate::workspace::{FeatureSet, Package, Workspace};
use crate::{Result, outside_crate, tidy};

/// Set for the tests by `--full`: what is too long for every run is wanted.
const FULL: &str = "SESSION_TEST_FULL";

/// The crate whose tests include the outside crate and the heap trap.
const OUTSIDE_CRATE_TESTS: &str = "session-core";

/// The tests of what session-core leaves in memory.
const HEAP_TRAP: &str = "session-core/heap-trap/Cargo.toml";

/// Runs everything, and says whether it was good.
pub(crate) fn run(workspace: &Workspace, options: &TestAll) -> Result<bool> {
    let packages = match &options.only {
        Some(name) => vec![workspace.package(name)?],
        None => workspace.packages.iter().collect(),
    };
    let skips = if options.ci {
        Skips::AreFailures
    } else {
        Skips::AreAllowed
    };
    let logs = workspace.target.join("test-all");
    let checks = Checks::new(logs, Report::new(skips))?;
    let mut run = Run {
        workspace,
        options,
        packages,
        checks,
    };
    run.formatting();
    run.tidy();
    run.libraries();
    run.all_targets();
    run.docs();
    run.tests();
    run.outside_crate();
    run.heap_trap();
    run.service_tests();

    let report = run.checks.finish();
    say("");
    say(report.table());
    Ok(report.is_good())
}

struct Run<'a> {
    workspace: &'a Workspace,
    options: &'a TestAll,
    packages: Vec<&'a Package>,
    checks: Checks,
}

impl Run<'_> {
    fn formatting(&mut self) {
        let command = self.workspace.cargo(["fmt", "--all", "--check"]);
        self.checks.run("fmt", &command, Counting::TheCommand);
    }

    fn tidy(&mut self) {
        let started = Instant::now();
        let results = match tidy::check(self.workspace) {
            Ok(results) => results,
            Err(error) => {
                let row = Row::failed("tidy", started.elapsed(), error.to_string());
                self.checks.push(row);
                return;
            }
        };
        for result in results {
            let name = format!("tidy: {}", result.name);
            for finding in &result.findings {
                say(format_args!("    {finding}"));
            }
            self.checks.push(if result.findings.is_empty() {
                Row::passed(name, result.took)
            } else {
                let reason = format!("{} findings, see above", result.findings.len());
                Row::failed(name, result.took, reason)
            });
        }
    }

    /// Each library as its users build it: alone, and without what the tests' dependencies switch on.
    fn libraries(&mut self) {
        for package in self.packages.clone() {
            // What nobody depends on is built with its tests alone.
            if !package.is_library || !package.is_published {
                continue;
            }
            for set in package.feature_sets() {
                self.lint("library", package, &set, &[]);
            }
        }
    }

    /// Each package with its tests and programs, which a full run also does for each feature alone.
    fn all_targets(&mut self) {
        for package in self.packages.clone() {
            for set in self.sets_with_tests(package) {
                self.lint("all targets", package, &set, &["--all-targets"]);
            }
        }
    }

    fn lint(&mut self, what: &str, package: &Package, set: &FeatureSet, targets: &[&str]) {
        let mut command = self.on(package, "clippy", set);
        // Without --no-deps a warning in one crate would fail all that use it.
        command.args(targets);
        command.args(["--no-deps", "--", "--deny=warnings"]);
        let name = format!("clippy: {}, {what} ({})", package.name, set.label);
        self.checks.run(&name, &command, Counting::TheCommand);
    }

    fn docs(&mut self) {
        let libraries: Vec<_> = self.packages.iter().filter(|p| p.is_library).collect();
        if libraries.is_empty() {
            return;
        }
        let mut command = self.workspace.cargo(["doc", "--no-deps", "--all-features"]);
        for package in libraries {
            command.args(["--package", &package.name]);
        }
        command.env("RUSTDOCFLAGS", "--deny=warnings");
        self.checks.run("docs", &command, Counting::TheCommand);
    }

    /// With all features. What a single feature brings, and what is missing without it, is compiled by the lints, and a full run
    /// tests each set.
    fn tests(&mut self) {
        for package in self.packages.clone() {
            for set in self.sets_with_tests(package) {
                for (kind, targets) in ordinary_tests(package) {
                    let mut command = self.on(package, "test", &set);
                    command.arg("--no-fail-fast").args(targets);
                    let name = format!("{kind}: {} ({})", package.name, set.label);
                    self.checks.run(&name, &command, Counting::ItsTests);
                }
            }
        }
    }

    /// The feature sets whose tests are compiled: the last has all features.
    fn sets_with_tests(&self, package: &Package) -> Vec<FeatureSet> {
        let mut sets = package.feature_sets();
        if !self.options.full {
            sets.drain(..sets.len().saturating_sub(1));
        }
        sets
    }

    fn outside_crate(&mut self) {
        if self
            .options
            .only
            .as_deref()
            .is_some_and(|only| only != OUTSIDE_CRATE_TESTS)
        {
            return;
        }
        let name = format!("outside crate of {}", outside_crate::DOCUMENT);
        match outside_crate::prepare(self.workspace) {
            Ok(command) => self.checks.run(&name, &command, Counting::ItsTests),
            Err(error) => {
                let row = Row::failed(name, Duration::ZERO, error.to_string());
                self.checks.push(row);
            }
        }
    }

    /// What freed memory holds: in a workspace of its own, since an allocator needs `unsafe`.
    fn heap_trap(&mut self) {
        let is_wanted = |only: &str| only == OUTSIDE_CRATE_TESTS;
        if !self.options.only.as_deref().is_none_or(is_wanted) {
            return;
        }
        let mut command = self.workspace.cargo(["test", "--locked"]);
        command.args(["--manifest-path", HEAP_TRAP, "--target-dir"]);
        command.arg(&self.workspace.target);
        self.checks.run("heap trap", &command, Counting::ItsTests);
    }

    fn service_tests(&mut self) {
        let tests: Vec<_> = service::TESTS
            .iter()
            .filter(|test| self.packages.iter().any(|p| p.name == test.package))
            .collect();
        if tests.is_empty() {
            return;
        }
        let services: Vec<_> = tests
            .iter()
            .flat_map(|test| test.services.iter().copied())
            .collect();
        service::install(&services, Permission::given(self.options.install));
        let mut fleet = match Fleet::new(self.workspace, self.checks.logs().to_owned()) {
            Ok(fleet) => fleet,
            Err(error) => {
                let row = Row::failed("services", Duration::ZERO, error.to_string());
                return self.checks.push(row);
            }
        };
        for test in tests {
            self.service_test(test, &mut fleet);
        }
    }

    fn service_test(&mut self, test: &ServiceTest, fleet: &mut Fleet) {
        let name = format!("tests: {}, {}", test.package, test.test);
        let mut command = self.workspace.cargo(["test", "--no-fail-fast"]);
        let package = self.packages.iter().find(|p| p.name == test.package);
        let features = package.map(|package| package.all_features().arguments);
        command.args(features.unwrap_or_default());
        command.args(["--package", test.package, "--test", test.test]);
        self.for_tests(&mut command);
        let mut is_worth_it = false;
        for service in test.services {
            let name = format!("{name}, on {}", service.name);
            if let Some(advice) = service.missing() {
                self.checks.push(Row::skipped(name, advice));
                continue;
            }
            let started = Instant::now();
            match fleet.start(service) {
                Ok(address) => {
                    command.env(service.variable, address.url);
                    is_worth_it = true;
                }
                Err(error) if error.is::<NotInstalled>() => {
                    self.checks.push(Row::skipped(name, error.to_string()));
                }
                Err(error) => {
                    let row = Row::failed(name, started.elapsed(), error.to_string());
                    self.checks.push(row);
                }
            }
        }
        if is_worth_it {
            self.checks.run(&name, &command, Counting::ItsTests);
        }
    }

    fn on(&self, package: &Package, command: &str, set: &FeatureSet) -> Command {
        let mut command = self.workspace.cargo([command, "--package", &package.name]);
        command.args(&set.arguments);
        self.for_tests(&mut command);
        command
    }

    fn for_tests(&self, command: &mut Command) {
        if self.options.full {
            command.env(FULL, "1");
        }
    }
}

/// What `cargo test` is to run for a package, without the tests that need a service.
fn ordinary_tests(package: &Package) -> Vec<(&'static str, Vec<String>)> {
    let needs_service = |name: &str| {
        service::TESTS
            .iter()
            .any(|test| test.package == package.name && test.test == name)
    };
    if !package.tests.iter().any(|name| needs_service(name)) {
        return vec![("tests", Vec::new())];
    }
    let mut targets = vec!["--bins".to_owned(), "--examples".to_owned()];
    for name in package.tests.iter().filter(|name| !needs_service(name)) {
        targets.extend(["--test".to_owned(), name.clone()]);
    }
    if !package.is_library {
        return vec![("tests", targets)];
    }
    targets.push("--lib".to_owned());
    // Cargo runs doc tests only when no target is named, or they alone.
    vec![("tests", targets), ("doc tests", vec!["--doc".to_owned()])]
}
