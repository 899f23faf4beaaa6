//! What holds for the members' manifests.

use std::collections::BTreeMap;
use std::path::Path;

use super::{File, Finding};
use crate::Result;
use crate::workspace::{self, Workspace};

/// Every member takes its lints and its dependencies from the workspace.
pub(super) fn check(workspace: &Workspace, files: &[File]) -> Vec<Finding> {
    let is_member = |file: &&File| {
        let folder = file.path.strip_suffix("/Cargo.toml");
        folder.is_some_and(|folder| workspace.packages.iter().any(|p| p.folder == folder))
    };
    files.iter().filter(is_member).flat_map(member).collect()
}

/// Nobody switches on a dependency's default features, so that everyone names what they use.
pub(super) fn default_features(workspace: &Workspace, files: &[File]) -> Result<Vec<Finding>> {
    let metadata = workspace::metadata(&workspace.root, &["--locked"]).map_err(|error| {
        format!("{error}\nIf Cargo.lock is behind, run `cargo check` and commit it.")
    })?;
    let defaults: BTreeMap<&str, bool> = workspace::list(&metadata, "packages")
        .map(|package| {
            let brings_any = workspace::features(package)
                .get("default")
                .is_some_and(|brought| !brought.is_empty());
            (workspace::text(package, "name"), brings_any)
        })
        .collect();
    let mut names: Vec<&str> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.uses_default_features)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| defaults.get(name) == Some(&true))
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| {
            let line = files
                .iter()
                .find(|file| file.path == "Cargo.toml")
                .and_then(|root| dependencies(root).find(|entry| entry.name == name))
                .map_or(1, |entry| entry.line);
            let message = format!(
                "write `default-features = false` for {name}, and name the features that are used"
            );
            Finding::new("Cargo.toml", line, message)
        })
        .collect())
}

fn member(manifest: &File) -> Vec<Finding> {
    let mut findings: Vec<_> = dependencies(manifest)
        .filter(|entry| !entry.is_inherited)
        .map(|entry| {
            let message = format!(
                "write `{name}.workspace = true` or `{name} = {{ workspace = true, … }}`: \
                 the version belongs to [workspace.dependencies] in the root's Cargo.toml",
                name = entry.name
            );
            manifest.finding(entry.line, message)
        })
        .collect();
    for (number, line) in manifest.lines() {
        if line.starts_with('[') && line.contains("dependencies.") {
            let message = "write this dependency on one line of the section above";
            findings.push(manifest.finding(number, message));
        }
    }
    let has_lints = sections(manifest)
        .any(|line| line.section == "lints" && line.text.replace(' ', "") == "workspace=true");
    if !has_lints {
        findings.push(manifest.finding(1, "add the section [lints] with `workspace = true`"));
    }
    findings
}

struct Entry {
    line: usize,
    name: String,
    is_inherited: bool,
}

/// The dependencies that a manifest lists, of all kinds.
fn dependencies(manifest: &File) -> impl Iterator<Item = Entry> {
    // An array over several lines has its closing bracket at the start of a line, so only such lines begin an entry.
    let begins_entry =
        |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    sections(manifest)
        .filter(|line| {
            let last = line.section.rsplit('.').next().unwrap_or_default();
            last.ends_with("dependencies")
        })
        .filter(move |line| begins_entry(line.text))
        .map(|line| {
            let (key, value) = line.text.split_once('=').unwrap_or((line.text, ""));
            let (name, field) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
            let plain = value.replace(' ', "");
            Entry {
                line: line.number,
                name: Path::new(name).display().to_string(),
                is_inherited: (field == "workspace" && plain == "true")
                    || plain.contains("{workspace=true")
                    || plain.contains(",workspace=true"),
            }
        })
}

struct Line<'a> {
    number: usize,
    section: &'a str,
    text: &'a str,
}

/// The lines of a manifest that are no headings and no comments, each with its section.
fn sections(manifest: &File) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    manifest.lines().filter_map(move |(number, line)| {
        let text = line.split(" #").next().unwrap_or_default().trim_end();
        if let Some(heading) = text.strip_prefix('[') {
            section = heading.trim_end_matches(']');
            return None;
        }
        (!text.is_empty() && !text.starts_with('#')).then_some(Line {
            number,
            section,
            text,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    const LINTS: &str = "\n[lints]\nworkspace = true\n";

    fn found(text: &str) -> Vec<usize> {
        lines(&member(&file("session-sample/Cargo.toml", text)))
    }

    #[test]
    fn a_member_that_inherits_everything_is_fine() {
        let text = format!(
            "[package]\nname = \"sample\"\n\n[dependencies]\n# Why.\na.workspace = true\nb = {{ workspace = true, features = [\n    \"std\",\n] }} # why\nc = {{ optional = true, workspace = true }}\n{LINTS}"
        );
        assert!(found(&text).is_empty(), "{:?}", found(&text));
    }

    #[test]
    fn a_version_of_its_own_is_found_in_every_kind_of_dependencies() {
        for section in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            for entry in [
                "a = \"1\"",
                "a = { version = \"1\" }",
                "a.version = \"1\"",
                "a = { path = \"../a\" }",
            ] {
                let text = format!("[{section}]\nb.workspace = true\n{entry}\n{LINTS}");
                assert_eq!(found(&text), [3], "[{section}] {entry}");
            }
        }
    }

    #[test]
    fn a_section_for_one_dependency_is_found() {
        let text = format!("[dependencies.a]\nversion = \"1\"\n{LINTS}");
        assert_eq!(found(&text), [1]);
    }

    #[test]
    fn missing_lints_are_found() {
        for text in [
            "[package]\n",
            "[lints]\n",
            "[lints.rust]\nworkspace = true\n",
        ] {
            assert_eq!(found(text), [1], "{text}");
        }
    }
}
