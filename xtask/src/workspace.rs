//! What the workspace consists of: its folder, its packages, and the feature sets in which a package is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// The checkout that xtask was started for.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the root, with `/` between the parts.
    pub(crate) folder: String,
    pub(crate) is_library: bool,
    /// Whether others get it from the registry.
    pub(crate) is_published: bool,
    /// Its integration tests' names.
    pub(crate) tests: Vec<String>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// The features without any of which it does not compile, by its own word: `package.metadata.xtask.one-of` in its
    /// manifest.
    pub(crate) one_of: Vec<String>,
    /// The features that only pass on those of other crates, which are checked there: `package.metadata.xtask.passed-on`.
    pub(crate) passed_on: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependencies.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
    pub(crate) uses_default_features: bool,
}

/// Features that are checked together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FeatureSet {
    pub(crate) label: String,
    pub(crate) arguments: Vec<String>,
}

impl Workspace {
    /// The members that others get from the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_published)
    }

    /// Asks cargo, which also finds the root when xtask is started in a folder below it.
    pub(crate) fn find() -> Result<Self> {
        let metadata = metadata(Path::new("."), &["--no-deps"])?;
        let root = PathBuf::from(text(&metadata, "workspace_root"));
        let packages = list(&metadata, "packages")
            .map(|package| Package::read(&root, package))
            .collect();
        Ok(Self {
            target: PathBuf::from(text(&metadata, "target_directory")),
            root,
            packages,
        })
    }

    /// The member called `name`, or a message that lists the members.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        self.packages
            .iter()
            .find(|package| package.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.packages.iter().map(|p| p.name.as_str()).collect();
                format!(
                    "there is no crate {name} here; there are {}",
                    names.join(", ")
                )
                .into()
            })
    }

    /// A cargo command that runs at the root.
    pub(crate) fn cargo(
        &self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Command {
        let mut command = cargo(&self.root);
        command.args(arguments.into_iter().map(Into::into));
        command
    }
}

impl Package {
    fn read(root: &Path, package: &Value) -> Self {
        let manifest = Path::new(text(package, "manifest_path"));
        let folder = manifest.parent().unwrap_or(root);
        let targets_of = |kind: &str| {
            let kind = kind.to_owned();
            list(package, "targets")
                .filter(move |target| list(target, "kind").any(|of| *of == *kind))
                .map(|target| text(target, "name").to_owned())
        };
        Self {
            name: text(package, "name").to_owned(),
            folder: folder
                .strip_prefix(root)
                .unwrap_or(folder)
                .display()
                .to_string(),
            is_library: targets_of("lib").next().is_some(),
            is_published: package["publish"].is_null(),
            tests: targets_of("test").collect(),
            features: features(package),
            one_of: said(package, "one-of"),
            passed_on: said(package, "passed-on"),
            dependencies: list(package, "dependencies")
                .map(|dependency| Dependency {
                    name: text(dependency, "name").to_owned(),
                    is_dev: text(dependency, "kind") == "dev",
                    uses_default_features: dependency["uses_default_features"] == true,
                })
                .collect(),
        }
    }

    /// No features, each feature alone, all features; sets that switch on the same things are listed once, and those that
    /// can't compile not at all.
    pub(crate) fn feature_sets(&self) -> Vec<FeatureSet> {
        let mut sets = Vec::new();
        if self.one_of.is_empty() {
            sets.push(FeatureSet {
                label: "no features".to_owned(),
                arguments: vec!["--no-default-features".to_owned()],
            });
        }
        let mut seen = BTreeSet::from([BTreeSet::new()]);
        for name in self.own_features() {
            let on = self.switched_on([name]);
            let compiles =
                self.one_of.is_empty() || self.one_of.iter().any(|one| on.contains(one.as_str()));
            if compiles && seen.insert(on) {
                sets.push(FeatureSet {
                    label: name.clone(),
                    arguments: vec![
                        "--no-default-features".to_owned(),
                        format!("--features={name}"),
                    ],
                });
            }
        }
        let all: Vec<&String> = self.own_features().collect();
        if seen.insert(self.switched_on(all.iter().copied())) {
            sets.push(self.all_features());
        }
        sets
    }

    /// All that are checked together.
    pub(crate) fn all_features(&self) -> FeatureSet {
        if self.passed_on.is_empty() {
            return FeatureSet {
                label: "all features".to_owned(),
                arguments: vec!["--all-features".to_owned()],
            };
        }
        let own: Vec<&str> = self.own_features().map(String::as_str).collect();
        FeatureSet {
            label: format!("all features but {}", self.passed_on.join(", ")),
            arguments: vec![
                "--no-default-features".to_owned(),
                format!("--features={}", own.join(",")),
            ],
        }
    }

    fn own_features(&self) -> impl Iterator<Item = &String> {
        let is_own = |name: &&String| *name != "default" && !self.passed_on.contains(name);
        self.features.keys().filter(is_own)
    }

    /// All that the named features bring. A feature that only stands for others is not in it.
    fn switched_on<'a>(&'a self, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
        let mut pending: Vec<&str> = names.into_iter().map(String::as_str).collect();
        let mut reached = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if reached.insert(name)
                && let Some(brought) = self.features.get(name)
            {
                pending.extend(brought.iter().map(String::as_str));
            }
        }
        reached.remove("default");
        reached
    }
}

/// What a manifest says to xtask.
fn said(package: &Value, name: &str) -> Vec<String> {
    let metadata = package.pointer("/metadata/xtask").unwrap_or(&Value::Null);
    let said = list(metadata, name).filter_map(Value::as_str);
    said.map(str::to_owned).collect()
}

/// Cargo's metadata for the workspace at `folder`.
pub(crate) fn metadata(folder: &Path, arguments: &[&str]) -> Result<Value> {
    let output = cargo(folder)
        .args(["metadata", "--format-version=1"])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        )
        .into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The text at `name` in a JSON object, or nothing.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The list at `name` in a JSON object, or an empty one.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> std::slice::Iter<'a, Value> {
    value[name].as_array().map_or([].iter(), |list| list.iter())
}

/// A package's features, each with what it switches on.
pub(crate) fn features(package: &Value) -> BTreeMap<String, Vec<String>> {
    let brought = |value: &Value| {
        let names = value.as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    package["features"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), brought(value)))
        .collect()
}

/// The cargo that started xtask, so that a chosen toolchain stays chosen.
fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(features: &[(&str, &[&str])]) -> Vec<String> {
        labels_with(features, &[])
    }

    fn labels_with(features: &[(&str, &[&str])], one_of: &[&str]) -> Vec<String> {
        labels_of(&sample(features, one_of))
    }

    fn sample(features: &[(&str, &[&str])], one_of: &[&str]) -> Package {
        Package {
            name: "sample".to_owned(),
            folder: "sample".to_owned(),
            is_library: true,
            is_published: true,
            tests: Vec::new(),
            features: features
                .iter()
                .map(|(name, brought)| {
                    let brought = brought.iter().map(|&name| name.to_owned()).collect();
                    ((*name).to_owned(), brought)
                })
                .collect(),
            one_of: one_of.iter().map(|&name| name.to_owned()).collect(),
            passed_on: Vec::new(),
            dependencies: Vec::new(),
        }
    }

    fn labels_of(package: &Package) -> Vec<String> {
        let sets = package.feature_sets();
        sets.into_iter().map(|set| set.label).collect()
    }

    #[test]
    fn a_crate_without_features_is_checked_once() {
        assert_eq!(labels(&[]), ["no features"]);
        assert_eq!(labels(&[("default", &[])]), ["no features"]);
    }

    #[test]
    fn each_feature_is_checked_alone_and_then_all_together() {
        assert_eq!(
            labels(&[("default", &[]), ("a", &["dep:a"]), ("b", &["dep:b"])]),
            ["no features", "a", "b", "all features"]
        );
    }

    #[test]
    fn a_set_that_cannot_compile_is_left_out() {
        let features: &[(&str, &[&str])] =
            &[("a", &["dep:a"]), ("b", &["dep:b"]), ("tls", &["b?/tls"])];
        assert_eq!(
            labels_with(features, &["a", "b"]),
            ["a", "b", "all features"]
        );
    }

    #[test]
    fn what_is_only_passed_on_is_in_no_set() {
        let features: &[(&str, &[&str])] = &[
            ("default", &["a", "b", "tls"]),
            ("a", &["dep:a"]),
            ("b", &["dep:b"]),
            ("tls", &["b?/tls"]),
        ];
        let mut package = sample(features, &["a", "b"]);
        package.passed_on = vec!["tls".to_owned()];
        assert_eq!(labels_of(&package), ["a", "b", "all features but tls"]);
        let all = package.all_features().arguments;
        assert_eq!(all, ["--no-default-features", "--features=a,b"]);
    }

    #[test]
    fn a_set_that_equals_an_earlier_one_is_not_checked_again() {
        assert_eq!(labels(&[("a", &["dep:a"])]), ["no features", "a"]);
        assert_eq!(
            labels(&[("default", &["a"]), ("a", &["b"]), ("b", &[])]),
            ["no features", "a", "b"]
        );
    }
}
